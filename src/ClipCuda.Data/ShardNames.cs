using System.Globalization;

namespace ClipCuda.Data;

/// <summary>
/// Names of tar shards as WebDataset writes them: <c>{0000..0099}</c> counts (with the zeros of its first bound), <c>{a,b}</c> lists, and
/// <c>::</c> joins several. Braces may stand several times and within one another.
/// </summary>
public static class ShardNames
{
    private const int MostShards = 1_000_000;

    /// <summary>Whether a name is that of tar shards, as opposed to a CSV file or a folder.</summary>
    public static bool IsShards(string name) => name.TrimEnd('}').EndsWith(".tar", StringComparison.OrdinalIgnoreCase);

    /// <summary>The names that a pattern stands for, in order.</summary>
    /// <exception cref="ArgumentException">A brace is not closed, a range is none, or there are too many names.</exception>
    public static IReadOnlyList<string> Expand(string pattern)
    {
        string[] names = [.. pattern.Split("::").SelectMany(part => ExpandBraces(part, pattern)).Take(MostShards + 1)];
        if (names.Any(string.IsNullOrWhiteSpace)) throw new ArgumentException($"'{pattern}' names a shard with no name; write NAME::NAME.");
        return names.Length <= MostShards ? names : throw new ArgumentException($"'{pattern}' stands for more than {MostShards:N0} shards.");
    }

    /// <summary>The shards of a pattern, each of which exists.</summary>
    /// <exception cref="ArgumentException">As <see cref="Expand"/>.</exception>
    /// <exception cref="FileNotFoundException">One does not exist.</exception>
    public static IReadOnlyList<string> Find(string pattern)
    {
        var names = Expand(pattern);
        var missing = names.Where(name => !File.Exists(name)).ToList();
        if (missing.Count > 0)
            throw new FileNotFoundException($"Shard '{missing[0]}' does not exist ({missing.Count:N0} of {names.Count:N0} are missing); check '{pattern}'. Shards are files on this machine.", missing[0]);
        return names;
    }

    private static IEnumerable<string> ExpandBraces(string text, string pattern)
    {
        int open = text.IndexOf('{');
        if (open < 0) return text.Contains('}') ? throw Unbalanced(pattern) : [text];
        int close = Closing(text, open, pattern);
        string before = text[..open], after = text[(close + 1)..];
        if (before.Contains('}')) throw Unbalanced(pattern);
        var choices = Choices(text[(open + 1)..close], pattern);
        return choices.SelectMany(choice => ExpandBraces(after, pattern).Select(rest => before + choice + rest));
    }

    private static int Closing(string text, int open, string pattern)
    {
        int depth = 0;
        for (int at = open; at < text.Length; at++)
        {
            depth += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
            if (depth == 0) return at;
        }
        throw Unbalanced(pattern);
    }

    private static IEnumerable<string> Choices(string inside, string pattern)
    {
        if (inside.Split("..") is [var first, var last] && !inside.Contains('{'))
        {
            if (!int.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out int from) || !int.TryParse(last, NumberStyles.None, CultureInfo.InvariantCulture, out int to) || to < from)
                throw new ArgumentException($"'{{{inside}}}' in '{pattern}' is not a range of whole numbers; write {{0000..0099}}.");
            return Enumerable.Range(0, to - from + 1).Select(i => (from + i).ToString(CultureInfo.InvariantCulture).PadLeft(first.Length, '0'));
        }
        var parts = new List<string>();
        int depth = 0, start = 0;
        for (int at = 0; at <= inside.Length; at++)
        {
            if (at < inside.Length && !(inside[at] == ',' && depth == 0))
            {
                depth += inside[at] == '{' ? 1 : inside[at] == '}' ? -1 : 0;
                continue;
            }
            parts.Add(inside[start..at]);
            start = at + 1;
        }
        return parts.Count > 1
            ? parts.SelectMany(part => ExpandBraces(part, pattern))
            : throw new ArgumentException($"'{{{inside}}}' in '{pattern}' is neither a range nor a list; write {{0000..0099}} or {{a,b}}.");
    }

    private static ArgumentException Unbalanced(string pattern) => new($"'{pattern}' has a brace without its other half; write {{0000..0099}} or {{a,b}}.");
}
