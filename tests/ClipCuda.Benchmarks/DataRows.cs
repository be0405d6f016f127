using System.Globalization;
using System.Text;
using ClipCuda.Data;
using CsvHelper;

namespace ClipCuda.Benchmarks;

/// <summary>
/// Opening a CSV file as a data set, against the CSV library reading the same two columns as strings and doing nothing with them. It also says how
/// much memory the rows keep.
/// </summary>
internal static class DataRows
{
    private const int Rows = 1_000_000;

    public static IEnumerable<Row> All() => [new Row("Data", "open a CSV file of 1,000,000 rows", Create) { Theirs = "bare CsvHelper" }];

    private static (Side Ours, Side Theirs) Create()
    {
        string folder = Directory.CreateTempSubdirectory("clipcuda-bench-").FullName, path = Path.Combine(folder, "train.csv");
        Directory.CreateDirectory(Path.Combine(folder, "images"));
        for (int i = 0; i < CsvDataset.LookedAtFirst; i++) File.WriteAllBytes(Path.Combine(folder, Image(i)), []);
        using (var writer = new StreamWriter(path, append: false, new UTF8Encoding(false)))
        {
            writer.WriteLine("image_path,caption");
            for (int i = 0; i < Rows; i++) writer.WriteLine($"{Image(i)},\"a photograph of thing {i}, seen from a distance of {i % 97} metres\"");
        }
        long before = GC.GetTotalMemory(forceFullCollection: true);
        var held = CsvDataset.Load(path);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"1,000,000 rows keep {(GC.GetTotalMemory(forceFullCollection: true) - before) / 1e6:0} MB of {new FileInfo(path).Length / 1e6:0} MB in the file."));
        GC.KeepAlive(held);
        held = null;
        CsvDataset? data = null;
        long characters = 0;
        return (
            new Side(() => data = CsvDataset.Load(path), () => [new Result("characters", [Count(CsvDataset.Load(path))], 0)], prepare: () => data = null, dispose: () => Directory.Delete(folder, recursive: true)),
            new Side(() => characters = Bare(path), () => [new Result("characters", [Bare(path)], 0)]));
    }

    private static string Image(int i) => $"images/{i:D7}.jpg";

    private static float Count(CsvDataset data) => data.Rows.Sum(row => (long)row.Caption.Length) + Rows * (long)Image(0).Length;

    private static long Bare(string path)
    {
        long characters = 0;
        using var csv = CsvReader.FromFile(path, new CsvReaderOptions { Separator = ',' });
        csv.ReadHeader();
        while (csv.Read()) characters += csv.GetString(0).Length + csv.GetString(1).Length;
        return characters;
    }
}
