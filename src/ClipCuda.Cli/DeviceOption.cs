using System.CommandLine;
using ClipCuda.Devices;

namespace ClipCuda.Cli;

/// <summary><c>--device</c>, the same for every command that computes.</summary>
internal static class DeviceOption
{
    public static Option<string> Create()
    {
        string names = string.Join(", ", Device.Names);
        var option = new Option<string>("--device") { Description = names, HelpName = "name", DefaultValueFactory = _ => "auto" };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && !Device.Names.Contains(token.Value)) result.AddError($"There is no device '{token.Value}'; there are {names}.");
        });
        return option;
    }
}
