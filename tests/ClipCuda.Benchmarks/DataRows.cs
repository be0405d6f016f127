using System.Globalization;
using System.Text;
using ClipCuda.Data;
using CsvHelper;
using SkiaSharp;

namespace ClipCuda.Benchmarks;

/// <summary>
/// Opening a CSV file as a data set, against the CSV library reading the same two columns as strings and doing nothing with them; it also says how
/// much memory the rows keep. Decoding image files as the loader does, against the codec's library doing no more than that; one thread each.
/// </summary>
internal static class DataRows
{
    private const int Rows = 1_000_000, CaptionsAnImage = 5, BatchSize = 120;

    public static IEnumerable<Row> All() =>
    [
        new Row("Data", "open a CSV file of 1,000,000 rows", () => OpenCsv(Enumerable.Range(0, Rows))) { Theirs = "bare CsvHelper" },
        new Row("Data", "open a CSV file of 1,000,000 rows in random order, 5 an image", () => OpenCsv(Shuffled().Select(row => row / CaptionsAnImage))) { Theirs = "bare CsvHelper" },
        new Row("Data", "decode 480 drawings, PNG of 72×72", () => Decode(Drawings(480), () => { })) { Theirs = "bare SkiaSharp" },
        new Row("Data", "decode 24 enlarged drawings, JPEG of 640×480", EnlargedDrawings) { Theirs = "bare SkiaSharp" },
    ];

    private static int[] Shuffled()
    {
        int[] rows = [.. Enumerable.Range(0, Rows)];
        new Random(1).Shuffle(rows);
        return rows;
    }

    /// <param name="images">The image of each row.</param>
    private static (Side Ours, Side Theirs) OpenCsv(IEnumerable<int> images)
    {
        string folder = Directory.CreateTempSubdirectory("clipcuda-bench-").FullName, path = Path.Combine(folder, "train.csv");
        Directory.CreateDirectory(Path.Combine(folder, "images"));
        foreach (int image in images.Distinct().Take(PairDataset.LookedAtFirst)) File.WriteAllBytes(Path.Combine(folder, Image(image)), []);
        using (var writer = new StreamWriter(path, append: false, new UTF8Encoding(false)))
        {
            writer.WriteLine("image_path,caption");
            foreach (var (i, image) in images.Index()) writer.WriteLine($"{Image(image)},\"a photograph of thing {i}, seen from a distance of {i % 97} metres\"");
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

    private static (Side Ours, Side Theirs) Decode(string[] paths, Action dispose)
    {
        var loader = new ImageLoader(paths, Math.Min(paths.Length, BatchSize), workers: 0);
        byte[] pixels = [];
        return (
            new Side(() => Read(loader), () => [new Result("pixels", [Read(loader)], 0)], dispose: dispose),
            new Side(() => BareDecode(paths, ref pixels), () => [new Result("pixels", [BareDecode(paths, ref pixels)], 0)]));

        static long Read(ImageLoader loader)
        {
            long count = 0;
            foreach (var batch in loader.Batches())
            {
                using (batch) count += batch.Rgb.Length / 3;
            }
            return count;
        }
    }

    /// <summary>Into memory that is kept from image to image.</summary>
    private static unsafe long BareDecode(string[] paths, ref byte[] pixels)
    {
        long count = 0;
        foreach (string path in paths)
        {
            using var file = SKData.Create(path);
            using var codec = SKCodec.Create(file);
            var info = new SKImageInfo(codec.Info.Width, codec.Info.Height, SKColorType.Rgba8888, SKAlphaType.Unpremul);
            if (pixels.Length < info.BytesSize) pixels = new byte[info.BytesSize];
            fixed (byte* start = pixels)
            {
                if (codec.GetPixels(info, (nint)start) != SKCodecResult.Success) throw new InvalidDataException($"'{path}' cannot be decoded.");
            }
            count += (long)info.Width * info.Height;
        }
        return count;
    }

    private static string[] Drawings(int count) => [.. CsvDataset.Load(Path.Combine(DataFolder.Find(), DataFolder.SampleTraining)).Samples.Take(count).Select(sample => sample.Path)];

    /// <summary>Drawings of the sample made as large as photographs often are.</summary>
    private static (Side Ours, Side Theirs) EnlargedDrawings()
    {
        string folder = Directory.CreateTempSubdirectory("clipcuda-bench-").FullName;
        string[] paths = [.. Drawings(24).Select((path, i) =>
        {
            using var small = SKBitmap.Decode(path);
            using var large = small.Resize(new SKImageInfo(640, 480), new SKSamplingOptions(SKCubicResampler.Mitchell));
            using var jpeg = large.Encode(SKEncodedImageFormat.Jpeg, quality: 85);
            string file = Path.Combine(folder, $"{i}.jpg");
            using var stream = File.Create(file);
            jpeg.SaveTo(stream);
            return file;
        })];
        return Decode(paths, () => Directory.Delete(folder, recursive: true));
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
