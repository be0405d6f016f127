using System.CommandLine;
using System.Globalization;
using System.Text.RegularExpressions;

namespace ClipCuda.Cli;

/// <summary>A flag that takes a length of time: <c>11h30m</c>, <c>90s</c>, or as batch queues write it, <c>11:30:00</c> and <c>1-11:30:00</c>.</summary>
internal static partial class DurationOption
{
    public static Option<TimeSpan?> Create(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "time",
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            if (Parse(text) is { } time && time > TimeSpan.Zero) return time;
            result.AddError($"{name} is '{text}'; it takes a time such as 11h30m, 90s, 11:30:00 or 1-11:30:00.");
            return null;
        },
    };

    internal static TimeSpan? Parse(string text)
    {
        var match = Units().Match(text);
        if (!match.Success) match = Clock().Match(text);
        if (!match.Success || text.Length == 0) return null;
        double seconds = 86400 * Number("d") + 3600 * Number("h") + 60 * Number("m") + Number("s");
        return seconds < TimeSpan.MaxValue.TotalSeconds ? TimeSpan.FromSeconds(seconds) : null;

        double Number(string part) => match.Groups[part] is { Success: true, Value: var digits } ? double.Parse(digits, CultureInfo.InvariantCulture) : 0;
    }

    [GeneratedRegex(@"^((?<d>\d+)d)?((?<h>\d+)h)?((?<m>\d+)m)?((?<s>\d+)s)?$", RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Units();

    [GeneratedRegex(@"^((?<d>\d+)-)?(?<h>\d+):(?<m>[0-5]?\d):(?<s>[0-5]?\d)$", RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Clock();
}
