using System.Globalization;
using System.Text;

namespace ClipCuda.Tests.SoftCuda;

/// <summary>What came of failing calls: a row a function, a column a result.</summary>
internal sealed class FaultTable
{
    private const string Title = """
        # Fault injection

        A training run of two steps (the second recorded as a CUDA graph and launched) with a checkpoint after each, on the soft driver; in each of as many runs as it makes
        calls, one call fails with the result at the head of the column: by itself, or (launch failure, lost device) with every call after it. `./build.sh faults` writes this file.

        *Error*: one line that names the call, its result and what to do; nothing leaked, no rule of the driver broken on the way out, checkpoints whole or absent.
        *Asked again*: the arena gave back what it kept, and the second time there was memory. *Step not recorded*: the run went on call by call, to the same bits, and said why.


        """;

    private readonly SortedDictionary<string, Dictionary<string, SortedDictionary<string, int>>> _rows = new(StringComparer.Ordinal);
    private readonly List<string> _columns = [];

    public void Add(string call, string column, string outcome)
    {
        if (!_columns.Contains(column)) _columns.Add(column);
        if (!_rows.TryGetValue(call, out var row)) _rows.Add(call, row = new(StringComparer.Ordinal));
        if (!row.TryGetValue(column, out var outcomes)) row.Add(column, outcomes = new(StringComparer.Ordinal));
        outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
    }

    public string Text()
    {
        var text = new StringBuilder(Title);
        text.Append(CultureInfo.InvariantCulture, $"| call | {string.Join(" | ", _columns)} |\n|---|{string.Concat(_columns.Select(_ => "---|"))}\n");
        foreach (var (call, row) in _rows)
            text.Append(CultureInfo.InvariantCulture, $"| {call} | {string.Join(" | ", _columns.Select(column => row.TryGetValue(column, out var outcomes) ? Cell(outcomes) : ""))} |\n");
        text.Append(CultureInfo.InvariantCulture, $"| **runs** | {string.Join(" | ", _columns.Select(column => _rows.Values.Sum(row => row.GetValueOrDefault(column)?.Values.Sum() ?? 0)))} |\n");
        return text.ToString();
    }

    private static string Cell(SortedDictionary<string, int> outcomes) => string.Join(", ", outcomes.Select(o => string.Create(CultureInfo.InvariantCulture, $"{o.Value} × {o.Key}")));
}
