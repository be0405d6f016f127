using System.Diagnostics;
using ClipCuda.Training;
using SkiaSharp;

namespace ClipCuda.Tests.Training;

public sealed class RunReportTests
{
    private static readonly string[] Browsers = ["chromium", "chromium-browser", "google-chrome"];

    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    [Test]
    public void A_run_leaves_pictures_events_and_a_page_that_needs_nothing_else()
    {
        var (summary, progress) = TinyRun.Train(_run.Options("a<b") with { Epochs = 3 });
        string html = File.ReadAllText(Path.Combine(summary.Folder, RunReport.ReportFile));
        Assert.That(html, Does.Contain("<title>a&lt;b</title>").And.Contain("color_jitter_prob").And.Contain("R@10").And.Contain(".NET 10").And.Contain("waiting for data"));
        Assert.That(html, Does.Not.Contain("http:").And.Not.Contain("https:").And.Not.Contain("<script").And.Not.Contain("<link"));
        Assert.That(html.Split("data:image/png;base64,"), Has.Length.EqualTo(3), "both pictures are inside");
        using var retrieval = SKBitmap.Decode(Path.Combine(summary.Folder, RunReport.RetrievalFile));
        Assert.That(retrieval.Pixels.Count(pixel => pixel == new SKColor(0xC4, 0xEB, 0xCD)), Is.GreaterThan(50), "captions that are right are marked");

        string events = Directory.GetFiles(Path.Combine(summary.Folder, "tensorboard")).Single();
        var losses = EventFileTests.Read(events).Select(EventFileTests.Fields).Where(record => record.Any(field => field.Field == 5))
            .SelectMany(record => EventFileTests.Fields((byte[])EventFileTests.One(record, 5)).Select(value => EventFileTests.Fields((byte[])value.Value)))
            .Where(value => EventFileTests.Text(EventFileTests.One(value, 1)) == "train/loss").Select(value => (float)EventFileTests.One(value, 2));
        Assert.That(losses, Is.EqualTo(progress.Steps.Select(step => step.Loss)));
    }

    /// <summary>The picture has its lines, and ink where titles stand: without a font there would be none.</summary>
    [Test]
    public void Curves_are_drawn_with_text()
    {
        var (summary, _) = TinyRun.Train(_run.Options("run") with { Epochs = 2 });
        using var curves = SKBitmap.Decode(Path.Combine(summary.Folder, RunReport.CurvesFile));
        Assert.That((curves.Width, curves.Height), Is.EqualTo((1200, 800)));
        Assert.That(curves.Pixels.Count(pixel => pixel == new SKColor(0x2F, 0x6F, 0xD0)), Is.GreaterThan(200));
        foreach (var (left, top) in new[] { (200, 0), (800, 0), (200, 400), (800, 400) })
        {
            int ink = 0;
            for (int y = top; y < top + 30; y++)
            {
                for (int x = left; x < left + 250; x++)
                {
                    if (curves.GetPixel(x, y).Red < 0x60) ink++;
                }
            }
            Assert.That(ink, Is.GreaterThan(60), $"the title at {left}, {top}");
        }
    }

    [Test]
    public void A_browser_shows_the_page()
    {
        string? browser = Environment.GetEnvironmentVariable("PATH")!.Split(Path.PathSeparator).SelectMany(folder => Browsers.Select(name => Path.Combine(folder, name))).FirstOrDefault(File.Exists);
        if (browser is null) Assert.Ignore($"No browser to show the page with: none of {string.Join(", ", Browsers)} is installed (Debian: apt-get install chromium).");
        var (summary, _) = TinyRun.Train(_run.Options("run") with { Epochs = 2 });
        string picture = _run.Folder.At("page.png");
        string[] arguments =
        [
            "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", $"--user-data-dir={_run.Folder.At("browser")}", "--window-size=1240,2600", $"--screenshot={picture}",
            new Uri(Path.GetFullPath(Path.Combine(summary.Folder, RunReport.ReportFile))).AbsoluteUri,
        ];
        using var process = Process.Start(new ProcessStartInfo(browser, arguments) { UseShellExecute = false, RedirectStandardError = true, RedirectStandardOutput = true })!;
        var error = process.StandardError.ReadToEndAsync();
        Assert.That(process.WaitForExit(TimeSpan.FromMinutes(2)), error.IsCompleted ? error.Result : "the browser does not end");
        using var page = SKBitmap.Decode(picture);
        Assert.That(page, Is.Not.Null, error.Result);
        var pixels = page.Pixels;
        // The browser makes the picture smaller, which blends thin lines with the ground; they stay blue.
        Assert.That(pixels.Count(pixel => pixel.Blue > pixel.Red + 60 && pixel.Blue > pixel.Green + 30), Is.GreaterThan(200), "lines of the curves");
        Assert.That(pixels.Count(pixel => Near(pixel, 0xC4, 0xEB, 0xCD)), Is.GreaterThan(50), "captions that are right");
        Assert.That(pixels.Count(pixel => Near(pixel, 0xF4, 0xF5, 0xF7)), Is.GreaterThan(10_000), "the page's ground: its style was applied");

        static bool Near(SKColor pixel, int red, int green, int blue) => Math.Abs(pixel.Red - red) + Math.Abs(pixel.Green - green) + Math.Abs(pixel.Blue - blue) < 12;
    }
}
