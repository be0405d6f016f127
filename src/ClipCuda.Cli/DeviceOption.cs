using System.CommandLine;
using ClipCuda.Devices;

namespace ClipCuda.Cli;

/// <summary><c>--device</c>, the same for every command that computes.</summary>
internal static class DeviceOption
{
    public static Option<string> Create()
    {
        string names = $"{string.Join(", ", Device.Names)}[:N]";
        var option = new Option<string>("--device") { Description = names, HelpName = "name", DefaultValueFactory = _ => "auto" };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && !Device.IsName(token.Value)) result.AddError($"There is no device '{token.Value}'; there are {names}.");
        });
        return option;
    }

    public static Option<bool> CreateTf32() => new("--tf32") { Description = "let GEMMs on a GPU round their factors to TF32: several times as fast, 10 bits of fraction" };
}
