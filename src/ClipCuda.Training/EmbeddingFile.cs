using System.Runtime.InteropServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// Embeddings that are written as they are computed, so that a run that was cut goes on where it was. Until they are complete, rows are in
/// <c>OUTPUT.partial</c> and the books in <c>OUTPUT.partial.jsonl</c>: a line that says which run it is, then one a batch, written after its rows. Then
/// the whole becomes OUTPUT (safetensors, or npy by its name) and <c>OUTPUT.jsonl</c>, a line a row that says what it is the embedding of.
/// </summary>
public sealed class EmbeddingFile : IDisposable
{
    // Paths are read by people: letters of all scripts stay as they are.
    private static readonly JsonSerializerOptions Json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly string _output, _tensor;
    private readonly int _width;
    private readonly FileStream _rows, _books;
    private readonly List<int> _skipped = [];

    /// <summary>Opens a new file, or one of the same run that was not completed.</summary>
    /// <param name="output">Ends in .safetensors or .npy.</param>
    /// <param name="tensor">The tensor's name in a safetensors file.</param>
    /// <param name="run">What decides the embeddings: equal for equal weights and items.</param>
    /// <exception cref="ArgumentException">The name has another ending.</exception>
    /// <exception cref="IOException">The output exists, or what is there was begun by another run.</exception>
    public EmbeddingFile(string output, string tensor, int width, string run)
    {
        (_output, _tensor, _width) = (output, tensor, width);
        CheckName(output);
        string rows = output + ".partial", books = rows + ".jsonl";
        // A line that was cut is as if it had not been written.
        byte[] text = File.Exists(books) ? File.ReadAllBytes(books) : [];
        int whole = Array.LastIndexOf(text, (byte)'\n') + 1;
        foreach (var batch in ReadBooks(books, text.AsSpan(0, whole), run))
        {
            (Done, Rows) = (batch.Done, batch.Rows);
            _skipped.AddRange(batch.Skipped);
        }
        try
        {
            _rows = new FileStream(rows, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
            if (_rows.Length < Rows * RowBytes) throw new IOException($"'{rows}' is shorter than '{books}' says; remove both to begin again.");
            _rows.SetLength(Rows * RowBytes);
            _rows.Position = _rows.Length;
            _books = new FileStream(books, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
            _books.SetLength(whole);
            _books.Position = whole;
            if (whole == 0) WriteLine(new Header(run));
        }
        catch
        {
            _rows?.Dispose();
            _books?.Dispose();
            throw;
        }
    }

    /// <summary>Items whose embeddings are there, or that were skipped.</summary>
    public int Done { get; private set; }

    public long Rows { get; private set; }

    /// <summary>Items that have no embedding, by their place in the list.</summary>
    public IReadOnlyList<int> Skipped => _skipped;

    private long RowBytes => (long)_width * sizeof(float);

    /// <exception cref="ArgumentException">The name ends in neither .safetensors nor .npy.</exception>
    /// <exception cref="IOException">The file exists, or its folder does not.</exception>
    public static void CheckName(string output)
    {
        if (!IsNpy(output) && !output.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase))
            throw new ArgumentException($"'{output}' ends in neither .safetensors nor .npy; name the output so that it does.");
        if (File.Exists(output)) throw new IOException($"'{output}' exists already; remove it or choose another name.");
        string folder = Path.GetDirectoryName(Path.GetFullPath(output))!;
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"The folder '{folder}' for the output does not exist; make it first.");
    }

    /// <summary>Adds a batch's rows.</summary>
    /// <param name="done">Items done, this batch's included.</param>
    /// <param name="skipped">Items of this batch that have no row.</param>
    public void Add(ReadOnlySpan<float> rows, int done, int[] skipped)
    {
        _rows.Write(MemoryMarshal.AsBytes(rows));
        _rows.Flush(flushToDisk: true);
        (Done, Rows) = (done, Rows + rows.Length / _width);
        _skipped.AddRange(skipped);
        WriteLine(new Batch(Done, Rows, skipped));
    }

    /// <summary>Makes the output of what was added.</summary>
    /// <param name="key">What an item is: <c>image_path</c>, <c>caption</c>.</param>
    public void Complete(IReadOnlyList<string> items, string key)
    {
        var skipped = _skipped.ToHashSet();
        AtomicFile.Write(_output + ".jsonl", stream =>
        {
            using var writer = new StreamWriter(stream, leaveOpen: true) { NewLine = "\n" };
            for (int item = 0; item < items.Count; item++)
            {
                if (!skipped.Contains(item)) writer.WriteLine(JsonSerializer.Serialize(new Dictionary<string, string>(StringComparer.Ordinal) { [key] = items[item] }, Json));
            }
        });
        _rows.Position = 0;
        if (IsNpy(_output))
        {
            AtomicFile.Write(_output, stream =>
            {
                NpyFile.WriteHeader(stream, Rows, _width);
                _rows.CopyTo(stream);
            });
        }
        else
        {
            SafetensorsFile.Write(_output, [(_tensor, [checked((int)Rows), _width], ReadAll)]);
        }
        Dispose();
        File.Delete(_rows.Name);
        File.Delete(_books.Name);
    }

    public void Dispose()
    {
        _rows.Dispose();
        _books.Dispose();
    }

    private static bool IsNpy(string output) => output.EndsWith(".npy", StringComparison.OrdinalIgnoreCase);

    private float[] ReadAll()
    {
        var values = new float[Rows * _width];
        _rows.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    private void WriteLine<T>(T line)
    {
        _books.Write([.. JsonSerializer.SerializeToUtf8Bytes(line, Json), (byte)'\n']);
        _books.Flush(flushToDisk: true);
    }

    private static List<Batch> ReadBooks(string path, ReadOnlySpan<byte> text, string run)
    {
        string[] lines = Encoding.UTF8.GetString(text).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        try
        {
            if (lines.Length == 0) return [];
            if (JsonSerializer.Deserialize<Header>(lines[0])?.Run != run)
                throw new IOException($"'{path}' is of a run with another model or other items; remove it to begin again, or choose another output.");
            return [.. lines.Skip(1).Select(line => JsonSerializer.Deserialize<Batch>(line)!)];
        }
        catch (JsonException error)
        {
            throw new InvalidDataException($"'{path}' is damaged; remove it to begin again.", error);
        }
    }

    private sealed record Header(string Run);

    private sealed record Batch(int Done, long Rows, int[] Skipped);
}
