using ClipCuda.Data;
using ClipCuda.Model;
using ScottPlot;

namespace ClipCuda.Training;

/// <summary><c>curves.png</c>: loss, recall, learning rate and temperature over the steps of a run, drawn from its metrics.</summary>
internal static class Curves
{
    private const int Width = 1200, Height = 800, MostPoints = 2000, MostSmoothed = 50, SmoothedShare = 20;
    private const string FontName = "Noto Sans";

    private static readonly Color Faint = Color.FromHex("#A9C4EE"), Blue = Color.FromHex("#2F6FD0"), Orange = Color.FromHex("#E07B28"), Green = Color.FromHex("#3A9D5D");
    private static readonly Lock FontGate = new();
    private static bool HasFont;

    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(string path, RunMetrics metrics)
    {
        UseFont();
        var grid = new Multiplot();
        grid.AddPlots(4);
        grid.Layout = new ScottPlot.MultiplotLayouts.Grid(2, 2);
        var (loss, recall, rate, temperature) = (grid.GetPlot(0), grid.GetPlot(1), grid.GetPlot(2), grid.GetPlot(3));

        var (steps, losses) = metrics.Curve("loss");
        Line(loss, steps, losses, Faint, "each step");
        int smoothed = Math.Clamp(steps.Length / SmoothedShare, 1, MostSmoothed);
        Line(loss, steps, Smoothed(losses, smoothed), Blue, $"mean of {smoothed}");
        Points(loss, metrics.Curve("val_loss"), Orange, "evaluation");
        Points(recall, metrics.Curve("val_image_to_text_R@1"), Blue, "R@1 image to text");
        Points(recall, metrics.Curve("val_text_to_image_R@1"), Orange, "R@1 text to image");
        Points(recall, metrics.Curve("val_image_to_text_R@10"), Green, "R@10 image to text");
        Line(rate, metrics.Curve("lr").Steps, metrics.Curve("lr").Values, Blue, "");
        Line(temperature, metrics.Curve("logit_scale").Steps, metrics.Curve("logit_scale").Values, Blue, "");
        foreach (var (plot, title) in new[] { (loss, "Contrastive loss"), (recall, "Recall, share of queries"), (rate, "Learning rate"), (temperature, "Logit scale (1 / temperature)") })
        {
            plot.Title(title);
            plot.XLabel("step");
            plot.Font.Set(FontName);
            plot.Axes.Margins(bottom: 0.05);
            if (!plot.GetPlottables().Any()) ShowNothing(plot);
            if (plot.GetPlottables().Any(item => item.LegendItems.Any(entry => entry.LabelText?.Length > 0))) plot.ShowLegend(plot == recall ? Alignment.UpperLeft : Alignment.UpperRight);
        }
        byte[] png = grid.Render(Width, Height).GetImageBytes(ImageFormat.Png);
        AtomicFile.Write(path, stream => stream.Write(png));
    }

    /// <summary>Without a curve the axes would be a plot's own, from −10 to 10.</summary>
    private static void ShowNothing(Plot plot)
    {
        plot.Axes.SetLimits(0, 1, 0, 1);
        plot.Axes.Left.TickGenerator = plot.Axes.Bottom.TickGenerator = new ScottPlot.TickGenerators.EmptyTickGenerator();
        var text = plot.Add.Text("nothing yet", 0.5, 0.5);
        text.LabelAlignment = Alignment.MiddleCenter;
        text.LabelFontName = FontName;
        text.LabelFontSize = 16;
    }

    private static void UseFont()
    {
        lock (FontGate)
        {
            if (HasFont) return;
            string file = Path.Combine(DataFolder.Find(), DataFolder.Font);
            foreach (bool bold in new[] { false, true }) Fonts.AddFontFile(FontName, file, bold, italic: false);
            Fonts.Default = FontName;
            HasFont = true;
        }
    }

    private static void Line(Plot plot, double[] steps, double[] values, Color color, string legend)
    {
        if (steps.Length == 0) return;
        // A picture shows no more points than it has columns.
        int stride = Math.Max(1, steps.Length / MostPoints);
        var line = plot.Add.ScatterLine(Every(steps, stride), Every(values, stride), color);
        line.LineWidth = 1.5f;
        line.LegendText = legend;
    }

    private static void Points(Plot plot, (double[] Steps, double[] Values) curve, Color color, string legend)
    {
        if (curve.Steps.Length == 0) return;
        var points = plot.Add.Scatter(curve.Steps, curve.Values, color);
        points.MarkerSize = 5;
        points.LegendText = legend;
    }

    private static double[] Every(double[] values, int stride) => [.. values.Where((_, i) => i % stride == 0 || i == values.Length - 1)];

    private static double[] Smoothed(double[] values, int over)
    {
        double[] means = new double[values.Length];
        double sum = 0;
        for (int i = 0; i < values.Length; i++)
        {
            sum += values[i] - (i >= over ? values[i - over] : 0);
            means[i] = sum / Math.Min(i + 1, over);
        }
        return means;
    }
}
