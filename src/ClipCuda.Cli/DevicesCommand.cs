using System.CommandLine;
using ClipCuda.Devices;

namespace ClipCuda.Cli;

/// <summary><c>devices</c>: a line a device that <c>--device</c> takes here, or why there is no GPU.</summary>
internal static class DevicesCommand
{
    public static Command Create()
    {
        var command = new Command("devices", "List the devices that are there.");
        command.SetAction(parsed =>
        {
            ListedDevice[] devices = [.. DeviceList.Find()];
            int width = devices.Max(device => device.Name.Length);
            foreach (var device in devices) parsed.InvocationConfiguration.Output.WriteLine($"{device.Name.PadRight(width)} {device.Description}");
            return 0;
        });
        return command;
    }
}
