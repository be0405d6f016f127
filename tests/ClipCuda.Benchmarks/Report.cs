using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ClipCuda.Benchmarks;

/// <summary>The measurements as JSON for programs and as Markdown for people.</summary>
internal sealed record Report(Machine Machine, bool Quick, IReadOnlyList<Measurement> Rows)
{
    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Up to this share of the machine may go to others before the report warns.</summary>
    private const double Quiet = 0.05;

    /// <summary>The mean over the rows of what other processes took; null if unknown.</summary>
    public double? OthersShare => Rows.Average(row => row.OthersShare);

    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "results.json"), JsonSerializer.Serialize(this, Json).ReplaceLineEndings("\n") + "\n");
        File.WriteAllText(Path.Combine(folder, "RESULTS.md"), Markdown());
    }

    private string Markdown()
    {
        var text = new StringBuilder();
        Line("# ClipCuda against libtorch on a CPU");
        Line("");
        Line($"{Machine.Processor}, {Machine.Cores} cores, {Machine.Vectors} vectors, {Machine.System}, .NET {Machine.DotNet}, libtorch {Machine.LibTorch} through TorchSharp {Machine.TorchSharp}; {Machine.Date}{(Quick ? ", a quick run" : "")}.");
        Line($"Ours: {Machine.Device}. Both sides have {Machine.Threads} threads and float32, run in one process in turns, and were found to compute the same before they were timed.");
        Line("A ratio is their time over ours: **more than 1 means that ClipCuda is faster**. It is the median of the rounds' ratios, between their 10th and 90th percentiles; `best` is the ratio of the best times.");
        if (OthersShare is { } others)
            Line($"Other processes took {others:0 %} of the machine meanwhile{(others > Quiet ? ": **not a quiet machine**, which costs libtorch's spinning barriers more than it costs ours; the ratio of the best times is disturbed least" : "")}.");
        Line("`./build.sh bench` writes this file.");
        Line("");
        Line("| what | rows | ratio, geometric mean | lowest | highest | of the best times, geometric mean |");
        Line("|---|---:|---:|---:|---:|---:|");
        foreach (var group in Rows.GroupBy(row => row.Group))
            Line($"| {group.Key} | {group.Count()} | {GeometricMean(group.Select(row => row.Ratio)):0.00} | {group.Min(row => row.Ratio):0.00} | {group.Max(row => row.Ratio):0.00} | {GeometricMean(group.Select(row => row.BestRatio)):0.00} |");
        foreach (var group in Rows.GroupBy(row => row.Group)) Table(group.Key, [.. group]);
        Line("");
        Line("GEMM: forward is x·Wᵀ (NT), input gradient dy·W (NN), weight gradient dyᵀ·x (TN), sizes M×N×K; libtorch writes into a matrix that is there (`addmm_`).");
        if (Machine.Processor.Contains("AMD", StringComparison.Ordinal))
            Line("GEMM: libtorch's is Intel MKL. Where its log (`MKL_VERBOSE=1`) names no AVX-512 path, as on this AMD processor, it runs general code: these ratios say nothing about an Intel processor.");
        Line("Kernels and attention: libtorch's with autograd recording, as in training; a backward is timed without the forward before it; attention takes packed queries, keys and values.");
        Line("AdamW: TorchSharp's `torch.optim.AdamW`, which issues libtorch's tensor operations parameter by parameter, as PyTorch's own does on a CPU by default.");
        Line("Training step: from image bytes to updated weights, eager `torch.nn` modules with `scaled_dot_product_attention`, equal parameters and batch.");
        return text.ToString();

        void Table(string group, Measurement[] rows)
        {
            bool rates = rows.Any(row => row.OursGflops > 0);
            string theirs = rows[0].Theirs;
            Line("");
            Line($"## {group}");
            Line("");
            Line($"| {group.ToLowerInvariant()} | ratio | 10th–90th | best | ours best / median ms | {theirs} best / median ms |{(rates ? $" ours GF/s | {theirs} GF/s |" : "")} rounds |");
            Line($"|---|---:|---:|---:|---:|---:|{(rates ? "---:|---:|" : "")}---:|");
            foreach (var row in rows)
            {
                Line($"| {row.Name} | **{row.Ratio:0.00}** | {row.RatioP10:0.00}–{row.RatioP90:0.00} | {row.BestRatio:0.00} | {Time(row.OursBest)} / {Time(row.OursMedian)} | {Time(row.TheirsBest)} / {Time(row.TheirsMedian)} |"
                    + $"{(rates ? $" {row.OursGflops:0} | {row.TheirsGflops:0} |" : "")} {row.Rounds} |");
            }
        }

        void Line(string line) => text.Append(line).Append('\n');
    }

    private static double GeometricMean(IEnumerable<double> values) => Math.Exp(values.Average(Math.Log));

    /// <summary>Three significant digits.</summary>
    internal static string Time(double milliseconds) => milliseconds switch
    {
        >= 100 => $"{milliseconds:0}",
        >= 10 => $"{milliseconds:0.0}",
        >= 1 => $"{milliseconds:0.00}",
        >= 0.1 => $"{milliseconds:0.000}",
        _ => $"{milliseconds:0.0000}",
    };
}
