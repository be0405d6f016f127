using ClipCuda.Training;
using Spectre.Console;

namespace ClipCuda.Cli;

/// <summary>Retrieval both ways as a table of two rows.</summary>
internal static class RetrievalTable
{
    /// <param name="meanRank">Whether there is a column for it.</param>
    public static Table Of(RetrievalReport report, bool meanRank = false)
    {
        var table = new Table { Border = TableBorder.Simple };
        string[] columns = [$"{report.Images:N0} images, {report.Captions:N0} captions", "R@1", "R@5", "R@10", .. meanRank ? (string[])["mean rank"] : [], "median rank"];
        foreach (string column in columns) table.AddColumn(column, c => c.RightAligned());
        table.Columns[0].LeftAligned();
        AddRow("image → text", report.ImageToText);
        AddRow("text → image", report.TextToImage);
        return table;

        void AddRow(string name, Recall recall) =>
            table.AddRow([name, $"{100 * recall.At1:F1} %", $"{100 * recall.At5:F1} %", $"{100 * recall.At10:F1} %", .. meanRank ? (string[])[$"{recall.MeanRank:F1}"] : [], $"{recall.MedianRank}"]);
    }
}
