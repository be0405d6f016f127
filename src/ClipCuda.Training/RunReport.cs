using System.Globalization;
using System.Net;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// What there is to look at of a run, made from the files of its folder: <c>curves.png</c>, <c>retrieval.png</c>, and <c>report.html</c>, one file
/// with both pictures, the last evaluation, notes, settings and machine inside, that needs no network.
/// </summary>
public sealed class RunReport
{
    public const string CurvesFile = "curves.png", RetrievalFile = "retrieval.png", ReportFile = "report.html";

    private const string Style = """
        :root { color-scheme: light dark; --ink: #1f242b; --faint: #6b7480; --page: #f4f5f7; --card: #fff; --line: #e2e5ea; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --faint: #9aa3ae; --page: #16191d; --card: #20252b; --line: #343b44; } }
        body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Noto Sans", "DejaVu Sans", sans-serif; }
        main { max-width: 1200px; margin: 0 auto; padding: 24px; }
        h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 17px; margin: 0 0 12px; } .sub { color: var(--faint); margin: 4px 0 20px; }
        section { background: var(--card); border-radius: 8px; padding: 20px; margin: 0 0 16px; overflow-x: auto; }
        .numbers { display: flex; flex-wrap: wrap; gap: 16px; } .numbers div { flex: 1 1 130px; } .numbers b { display: block; font-size: 24px; font-weight: 600; }
        .numbers span { color: var(--faint); font-size: 13px; }
        table { border-collapse: collapse; width: 100%; font-size: 14px; } th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
        td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } img { max-width: 100%; height: auto; border-radius: 4px; display: block; }
        pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font-size: 13px; } summary { cursor: pointer; font-weight: 600; }
        """;

    private readonly string _folder;

    /// <param name="folder">The run's.</param>
    public RunReport(string folder) => _folder = folder;

    /// <summary>The last evaluation, if there was one.</summary>
    public RetrievalReport? Evaluation { get; init; }

    /// <summary>Held-out images with the captions that fit them best.</summary>
    public IReadOnlyList<SheetImage> Examples { get; init; } = [];

    /// <summary>Every setting; see <see cref="TrainingOptions.Settings"/>.</summary>
    public required IEnumerable<KeyValuePair<string, string>> Settings { get; init; }

    /// <summary>What the run said of its data, device and epochs.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>What the work was done on.</summary>
    public required string Device { get; init; }

    /// <summary>Writes the three files; <c>retrieval.png</c> only if there are examples.</summary>
    /// <exception cref="IOException">A file cannot be written.</exception>
    public void Write()
    {
        var metrics = RunMetrics.Read(Path.Combine(_folder, RunFolder.MetricsFileName));
        Curves.Write(Path.Combine(_folder, CurvesFile), metrics);
        if (Examples.Count > 0)
        {
            int right = Examples.Count(image => image.Lines[0].Right == true);
            ContactSheet.Write(
                Path.Combine(_folder, RetrievalFile), $"{Examples.Count:N0} held-out images, {right:N0} of their best captions right",
                "The captions that fit best of all; green are the image's own, the bar is the share of a softmax over all captions", Examples);
        }
        byte[] html = Encoding.UTF8.GetBytes(Html(metrics));
        AtomicFile.Write(Path.Combine(_folder, ReportFile), stream => stream.Write(html));
    }

    private string Html(RunMetrics metrics)
    {
        var (steps, losses) = metrics.Curve("loss");
        double[] speeds = metrics.Curve("samples_per_second").Values, waits = metrics.Curve("data_wait").Values;
        double batch = double.Parse(Settings.First(setting => setting.Key == "batch_size").Value, CultureInfo.InvariantCulture), seconds = speeds.Sum(speed => batch / speed);
        var numbers = new List<(string Name, string Value)> { ("steps", steps.Length > 0 ? $"{steps[^1]:N0}" : "0") };
        if (losses.Length > 0)
        {
            numbers.Add(("last loss", $"{losses[^1]:F3}"));
            numbers.Add(("samples a second", $"{batch * speeds.Length / seconds:N0}"));
            numbers.Add(("of the time waiting for data", $"{waits.Sum() / seconds:P1}"));
        }
        if (Evaluation is { } evaluation)
        {
            numbers.Add(("R@1 image → text", $"{evaluation.ImageToText.At1:P1}"));
            numbers.Add(("R@1 text → image", $"{evaluation.TextToImage.At1:P1}"));
        }
        var page = new StringBuilder();
        string name = Text(Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(_folder))));
        page.Append($"<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title>\n<style>\n{Style}\n</style></head>\n<body><main>\n");
        page.Append($"<h1>{name}</h1><p class=\"sub\">ClipCuda {Text(Version)} · {DateTime.Now:yyyy-MM-dd HH:mm}</p>\n");
        Section(page, "", $"<div class=\"numbers\">{string.Concat(numbers.Select(number => $"<div><b>{Text(number.Value)}</b><span>{Text(number.Name)}</span></div>"))}</div>");
        Section(page, "Curves", Picture(CurvesFile, "Loss, recall, learning rate and logit scale over the steps"));
        if (Evaluation is not null) Section(page, $"Retrieval over {Evaluation.Images:N0} images and {Evaluation.Captions:N0} captions", EvaluationTable(Evaluation));
        if (Examples.Count > 0) Section(page, "Held-out images and the captions that fit them best", Picture(RetrievalFile, "Images with captions"));
        if (Notes.Count > 0) Section(page, "Notes", $"<pre>{Text(string.Join('\n', Notes))}</pre>");
        Section(page, "Machine and versions", Table(
        [
            new("device", Device), new("processors", $"{Environment.ProcessorCount}"), new("memory", $"{GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (double)(1 << 30):F1} GiB"),
            new("system", RuntimeInformation.OSDescription), new("architecture", $"{RuntimeInformation.ProcessArchitecture}"), new("runtime", RuntimeInformation.FrameworkDescription), new("ClipCuda", Version),
        ]));
        Section(page, "", $"<details><summary>Configuration</summary>{Table(Settings.OrderBy(setting => setting.Key, StringComparer.Ordinal))}</details>");
        return page.Append("</main></body>\n</html>\n").ToString();
    }

    private static string Version => typeof(RunReport).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;

    private static void Section(StringBuilder page, string title, string content) =>
        page.Append($"<section>{(title.Length > 0 ? $"<h2>{Text(title)}</h2>" : "")}{content}</section>\n");

    private string Picture(string file, string description) =>
        $"<img alt=\"{Text(description)}\" src=\"data:image/png;base64,{Convert.ToBase64String(File.ReadAllBytes(Path.Combine(_folder, file)))}\">";

    private static string Table(IEnumerable<KeyValuePair<string, string>> rows) =>
        $"<table>{string.Concat(rows.Select(row => $"<tr><td>{Text(row.Key)}</td><td>{Text(row.Value)}</td></tr>"))}</table>";

    private static string EvaluationTable(RetrievalReport report)
    {
        static string Row(string name, Recall recall) =>
            $"<tr><td>{name}</td><td class=\"n\">{recall.At1:P1}</td><td class=\"n\">{recall.At5:P1}</td><td class=\"n\">{recall.At10:P1}</td><td class=\"n\">{recall.MedianRank:N0}</td><td class=\"n\">{recall.MeanRank:N1}</td></tr>";
        return "<table><tr><th></th><th class=\"n\">R@1</th><th class=\"n\">R@5</th><th class=\"n\">R@10</th><th class=\"n\">median rank</th><th class=\"n\">mean rank</th></tr>"
            + Row("image → text", report.ImageToText) + Row("text → image", report.TextToImage) + $"</table><p class=\"sub\">loss {report.Loss:F4}</p>";
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
