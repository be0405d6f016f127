using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>
/// The committed result: a row a kernel module, and below it a section for each with its survivors. A run replaces the rows and sections of its modules;
/// the arguments are those of today in all.
/// </summary>
internal static partial class MutationReport
{
    private const string Title = """
        # Mutation test

        One instruction of a shipped kernel's PTX is altered at a time, and the op's own tests run on it under `cpu:check`: the cases that execute the
        instruction, the likeliest to fail and the quickest first, until one fails; if none does, on the compiler, which runs warps one after another.
        `./build.sh mutate [kernel] [most]` writes this file; `Mutations.cs` says what is altered, `Equivalents.cs` holds the arguments.

        Killed by comparison: a result was wrong. By a check: an access out of bounds or misaligned, a race, an uninitialised read, a divergent barrier. By the
        watchdog: the kernel would not end. Of the survivors, *argued* ones are the same kernel, or differ by less than any tolerance, for the reason given; the last
        column is the share of killed among all other mutants.


        """;

    private const string Header = "| kernel | mutants | killed | share | by comparison | by a check | by the watchdog | survivors | argued | killed of the rest |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";

    private const string NotArgued = "**not argued**", NotReached = "**no test reaches it**";

    /// <summary>The file with one module's results in place of its former ones.</summary>
    /// <param name="outOf">Of how many mutants the results are.</param>
    /// <param name="textOf">The text of a CUDA line.</param>
    public static string Update(string file, string module, IReadOnlyList<MutationResult> results, int outOf, Func<string, string> textOf)
    {
        var sections = new SortedDictionary<string, Section>(StringComparer.Ordinal);
        foreach (string part in file.Split("\n## ")[1..])
        {
            string name = part[..part.IndexOf('\n', StringComparison.Ordinal)];
            sections[name] = Parse(name, part, file);
        }
        sections[module] = Of(module, results, outOf, textOf);
        var text = new StringBuilder(Title).Append(Header);
        foreach (var (name, section) in sections) text.Append(Row(name, section.Counts));
        text.Append(Row("**all**", [.. Enumerable.Range(0, 7).Select(i => sections.Values.Sum(s => s.Counts[i]))]));
        foreach (var (name, section) in sections) Write(text, name, section);
        return text.ToString();
    }

    private static Section Of(string module, IReadOnlyList<MutationResult> results, int outOf, Func<string, string> textOf)
    {
        string note = results.Count < outOf ? string.Create(CultureInfo.InvariantCulture, $"A sample of {results.Count} of its {outOf} mutants, by a fixed seed.") : "";
        Survivor[] survivors =
        [
            .. results.Where(r => !r.IsKilled)
                .GroupBy(r => (r.Mutant.Source, r.Mutant.Change, r.Mutant.Entry, r.Fate))
                .OrderBy(g => g.Key.Source, StringComparer.Ordinal).ThenBy(g => g.Key.Change, StringComparer.Ordinal).ThenBy(g => g.Key.Entry, StringComparer.Ordinal)
                .Select(g => new Survivor(g.Key.Source, textOf(g.Key.Source), g.Key.Change, g.Key.Entry[(module.Length + 1)..], g.Count(), g.Key.Fate == Fate.Survived).Argue(module)),
        ];
        int killed = results.Count(r => r.IsKilled);
        return new Section(note, survivors, [results.Count, killed, Count(Fate.Compared), Count(Fate.Checked), Count(Fate.Stopped), results.Count - killed, Argued(survivors)]);

        int Count(Fate fate) => results.Count(r => r.Fate == fate);
    }

    /// <summary>Reads what <see cref="Write"/> wrote, and argues its survivors again.</summary>
    private static Section Parse(string module, string part, string file)
    {
        Survivor[] survivors =
        [
            .. part.Split('\n').Where(line => line.StartsWith("| kernels/", StringComparison.Ordinal)).Select(line =>
            {
                string[] cells = [.. CellEnd().Split(line.Trim('|')).Select(cell => cell.Trim())];
                int quote = cells[0].IndexOf('`', StringComparison.Ordinal);
                string text = cells[0][(quote + 1)..^1].Replace("\\|", "|", StringComparison.Ordinal);
                return new Survivor(cells[0][..quote].Trim(), text, cells[1], cells[2], int.Parse(cells[3], CultureInfo.InvariantCulture), cells[4] != NotReached).Argue(module);
            }),
        ];
        string note = part.Split('\n').FirstOrDefault(line => line.StartsWith("A sample", StringComparison.Ordinal)) ?? "";
        string row = file.Split('\n').First(line => line.StartsWith($"| {module} |", StringComparison.Ordinal));
        int[] counts = [.. row.Split('|', StringSplitOptions.TrimEntries).Where((_, i) => i is 2 or 3 or (>= 5 and <= 8)).Select(cell => int.Parse(cell, CultureInfo.InvariantCulture)), Argued(survivors)];
        return new Section(note, survivors, counts);
    }

    private static int Argued(Survivor[] survivors) => survivors.Where(s => s.Why is not (NotArgued or NotReached)).Sum(s => s.Count);

    private static string Row(string name, int[] counts) => string.Create(CultureInfo.InvariantCulture,
        $"| {name} | {counts[0]} | {counts[1]} | {100.0 * counts[1] / counts[0]:0.0} % | {counts[2]} | {counts[3]} | {counts[4]} | {counts[5]} | {counts[6]} | {100.0 * counts[1] / (counts[0] - counts[6]):0.0} % |\n");

    private static void Write(StringBuilder text, string module, Section section)
    {
        text.Append(CultureInfo.InvariantCulture, $"\n## {module}\n");
        if (section.Note.Length > 0) text.Append('\n').Append(section.Note).Append('\n');
        text.Append(section.Survivors.Length == 0 ? "\nNo survivors.\n" : "\n| CUDA line | change | kernel | survivors | why |\n|---|---|---|---:|---|\n");
        foreach (var survivor in section.Survivors)
            text.Append(CultureInfo.InvariantCulture, $"| {survivor.Source} `{survivor.Text.Replace("|", "\\|", StringComparison.Ordinal)}` | {survivor.Change} | {survivor.Entry} | {survivor.Count} | {survivor.Why} |\n");
    }

    [GeneratedRegex(@"(?<!\\)\|")]
    private static partial Regex CellEnd();

    /// <param name="Counts">Mutants, killed, by comparison, by a check, by the watchdog, survivors, argued.</param>
    private sealed record Section(string Note, Survivor[] Survivors, int[] Counts);

    /// <summary>Survivors of one entry that came of equal changes to one line.</summary>
    private sealed record Survivor(string Source, string Text, string Change, string Entry, int Count, bool Reached, string Why = "")
    {
        public Survivor Argue(string module) =>
            this with { Why = Equivalents.ArgumentFor($"{module}_{Entry}", Source, Text, Change) ?? (Reached ? NotArgued : NotReached) };
    }
}
