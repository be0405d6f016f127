using System.Globalization;
using System.Text;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>The committed result: a row a kernel module, and below it a section for each with its survivors. A run replaces the rows and sections of its modules.</summary>
internal static class MutationReport
{
    private const string Title = """
        # Mutation test

        One instruction of a shipped kernel's PTX is altered at a time, and the op's own tests run on it under `cpu:check`: the cases that execute the
        instruction, the quickest first, until one fails. `./build.sh mutate [kernel]` writes this file; `Mutations.cs` says what is altered, `Equivalents.cs` holds the arguments.

        Killed by comparison: a result was wrong. By a check: an access out of bounds or misaligned, a race, an uninitialised read, a divergent barrier. By the
        watchdog: the kernel would not end. Of the survivors, *argued* ones cannot be told from the kernel by any test, for the reason given.

        """;

    private const string Header = "| kernel | mutants | killed | share | by comparison | by a check | by the watchdog | survivors | argued |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";

    /// <summary>The file with one module's results in place of its former ones.</summary>
    public static string Update(string file, string module, IReadOnlyList<MutationResult> results, int outOf, Func<string, string> textOf)
    {
        var rows = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (string line in file.Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal)).TakeWhile(line => !line.StartsWith("| CUDA line", StringComparison.Ordinal)))
        {
            string name = line[2..].Split(' ')[0];
            if (name is not ("kernel" or "**all**")) rows[name] = line + "\n";
        }
        var sections = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (string part in file.Split("\n## ")[1..]) sections[part[..part.IndexOf('\n', StringComparison.Ordinal)]] = "\n## " + part.TrimEnd('\n') + "\n";
        rows[module] = Row(module, results, textOf);
        sections[module] = "\n" + Section(module, results, outOf, textOf);
        return Title + "\n" + Header + string.Concat(rows.Values) + Total(rows.Values) + string.Concat(sections.Values);
    }

    private static string Row(string module, IReadOnlyList<MutationResult> results, Func<string, string> textOf)
    {
        int killed = results.Count(r => r.IsKilled), argued = results.Count(r => !r.IsKilled && Argument(r, textOf) is not null);
        int[] cells = [results.Count, killed, Count(Fate.Compared), Count(Fate.Checked), Count(Fate.Stopped), results.Count - killed, argued];
        return Row(module, cells);

        int Count(Fate fate) => results.Count(r => r.Fate == fate);
    }

    private static string Row(string name, int[] cells) => string.Create(CultureInfo.InvariantCulture,
        $"| {name} | {cells[0]} | {cells[1]} | {100.0 * cells[1] / cells[0]:0.0} % | {cells[2]} | {cells[3]} | {cells[4]} | {cells[5]} | {cells[6]} |\n");

    private static string Total(IEnumerable<string> rows)
    {
        var cells = new int[7];
        foreach (string row in rows)
        {
            string[] parts = [.. row.Split('|', StringSplitOptions.TrimEntries).Where((_, i) => i is not (0 or 1 or 4))];
            for (int i = 0; i < cells.Length; i++) cells[i] += int.Parse(parts[i], CultureInfo.InvariantCulture);
        }
        return Row("**all**", cells);
    }

    private static string Section(string module, IReadOnlyList<MutationResult> results, int outOf, Func<string, string> textOf)
    {
        var text = new StringBuilder($"## {module}\n");
        if (results.Count < outOf) text.Append(CultureInfo.InvariantCulture, $"\nA seeded sample of {results.Count} of its {outOf} mutants.\n");
        var survivors = results.Where(r => !r.IsKilled).GroupBy(r => (r.Mutant.Entry, r.Mutant.Source, r.Mutant.Change, r.Fate)).OrderBy(g => g.Key.Source, StringComparer.Ordinal).ThenBy(g => g.Key.Change, StringComparer.Ordinal).ToArray();
        if (survivors.Length == 0) return text.Append("\nNo survivors.\n").ToString();
        text.Append("\n| CUDA line | change | kernel | survivors | why |\n|---|---|---|---:|---|\n");
        foreach (var group in survivors)
        {
            var first = group.First();
            string entry = first.Mutant.Entry[(module.Length + 1)..];
            string why = Argument(first, textOf) ?? (first.Fate == Fate.Unreached ? "**no test reaches it**" : "**not argued**");
            text.Append(CultureInfo.InvariantCulture, $"| {first.Mutant.Source} `{textOf(first.Mutant.Source).Replace("|", "\\|", StringComparison.Ordinal)}` | {first.Mutant.Change} | {entry} | {group.Count()} | {why} |\n");
        }
        return text.ToString();
    }

    private static string? Argument(MutationResult result, Func<string, string> textOf) => Equivalents.ArgumentFor(result.Mutant.Entry, result.Mutant.Source, textOf(result.Mutant.Source), result.Mutant.Change);
}
