using System.CommandLine;
using System.Globalization;
using System.Numerics;

namespace ClipCuda.Cli;

/// <summary>Flags that take a number within bounds; without the flag the value is null.</summary>
internal static class NumberOption
{
    /// <summary>A whole number of at least <paramref name="least"/>.</summary>
    public static Option<int?> Whole(string name, string description, int least, params string[] aliases) =>
        Create<int>(name, description, NumberStyles.AllowLeadingSign, $"a whole number of at least {least}", value => value >= least, aliases);

    /// <summary>A number of 64 bits without a sign.</summary>
    public static Option<ulong?> Seed(string name, string description) =>
        Create<ulong>(name, description, NumberStyles.None, $"a whole number from 0 to {ulong.MaxValue}", _ => true);

    /// <summary>A finite number of at least 0, and above it if <paramref name="positive"/>; below <paramref name="limit"/>.</summary>
    public static Option<float?> Real(string name, string description, bool positive = false, float limit = float.PositiveInfinity)
    {
        string bounds = (positive ? "a number above 0" : "a number of at least 0") + (float.IsFinite(limit) ? $" and below {limit}" : "");
        return Create<float>(name, description, NumberStyles.Float, bounds, value => (positive ? value > 0 : value >= 0) && value < limit);
    }

    private static Option<T?> Create<T>(string name, string description, NumberStyles style, string bounds, Func<T, bool> fits, params string[] aliases)
        where T : struct, INumber<T> =>
        new(name, aliases)
        {
            Description = description,
            HelpName = "number",
            CustomParser = result =>
            {
                string text = result.Tokens[0].Value;
                if (T.TryParse(text, style, CultureInfo.InvariantCulture, out var value) && fits(value)) return value;
                result.AddError($"{name} is '{text}'; it takes {bounds}.");
                return null;
            },
        };
}
