using System.CommandLine;
using ClipCuda.Devices;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary><c>verify DIR</c>: holds the engine against a folder of reference numbers, one aligned line a tensor; exit code 1 if any is off.</summary>
internal static class VerifyCommand
{
    public static Command Create()
    {
        var folder = new Argument<string>("folder") { Description = "case.json with its safetensors, tokens.jsonl, or pixels.safetensors with pixels/: whichever it holds" };
        var device = DeviceOption.Create();
        var tf32 = DeviceOption.CreateTf32();
        var threads = NumberOption.Whole("--threads", "threads that compute; changes no result (default: one a core)", least: 1);
        var command = new Command("verify", "Compare with numbers that another implementation computed.") { folder, device, tf32, threads };
        command.SetAction(parsed =>
        {
            using var opened = Device.Open(parsed.GetValue(device)!, parsed.GetValue(threads) ?? 0, parsed.GetValue(tf32));
            return Run(parsed.GetValue(folder)!, opened, parsed.InvocationConfiguration.Output);
        });
        return command;
    }

    private static int Run(string folder, Device device, TextWriter output)
    {
        var lines = new Verification(device, folder).Run();
        output.WriteLine($"Device: {device.Announcement}");
        output.WriteLine($"{"what",-66} {"shape",-16} {"max error",10} {"allowed",10} {"used",7}");
        (int compared, int failed) = (0, 0);
        foreach (var line in lines)
        {
            compared++;
            if (!line.Passed) failed++;
            output.WriteLine($"{line.Name,-66} {line.Shape,-16} {line.Error,10:0.0e+00} {line.Allowed,10:0.0e+00} {(line.Passed ? $"{line.Share:0.0%}" : "FAILED"),7}");
        }
        output.WriteLine($"{compared} compared, {failed} failed");
        return failed == 0 ? 0 : 1;
    }
}
