using System.Globalization;

namespace ClipCuda.Training;

/// <summary>The columns of a <c>metrics.csv</c> (<see cref="MetricsFile"/>), read for curves and reports.</summary>
internal sealed class RunMetrics
{
    private readonly Dictionary<string, int> _columns;
    private readonly List<string[]> _rows;

    private RunMetrics(Dictionary<string, int> columns, List<string[]> rows) => (_columns, _rows) = (columns, rows);

    public static RunMetrics Read(string path)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        string[] headers = (reader.ReadLine() ?? "").Split(',');
        var rows = new List<string[]>();
        while (reader.ReadLine() is { } line)
        {
            string[] fields = line.Split(',');
            if (fields.Length == headers.Length) rows.Add(fields); // the last line of a run that was killed may be cut
        }
        return new RunMetrics(headers.Index().ToDictionary(header => header.Item, header => header.Index, StringComparer.Ordinal), rows);
    }

    /// <summary>Steps and values of the rows that have a finite one in a column.</summary>
    public (double[] Steps, double[] Values) Curve(string column)
    {
        var steps = new List<double>();
        var values = new List<double>();
        foreach (string[] row in _rows)
        {
            if (!double.TryParse(row[_columns[column]], NumberStyles.Float, CultureInfo.InvariantCulture, out double value) || !double.IsFinite(value)) continue;
            steps.Add(double.Parse(row[_columns["step"]], CultureInfo.InvariantCulture));
            values.Add(value);
        }
        return ([.. steps], [.. values]);
    }
}
