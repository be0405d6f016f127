using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>One tensor of a safetensors file, still in it.</summary>
public sealed record SafetensorsEntry(string Name, DataType Type, int[] Shape, long Offset, long Bytes);

/// <summary>
/// Reads and writes safetensors: 8 bytes of header length (little-endian), a JSON header, then the tensors (github.com/huggingface/safetensors,
/// "Format"). Nothing in a file is trusted: the header's length, names, types, shapes, sizes, gaps and overlaps are checked before
/// anything is read. F32 and I32, and single numbers of I64.
/// </summary>
public sealed class SafetensorsFile
{
    /// <summary>The limit of the format's own reader.</summary>
    private const long MaxHeaderBytes = 100_000_000;

    private readonly string _path;
    private readonly long _dataStart;
    private readonly Dictionary<string, SafetensorsEntry> _entries;

    private SafetensorsFile(string path, long dataStart, Dictionary<string, SafetensorsEntry> entries) => (_path, _dataStart, _entries) = (path, dataStart, entries);

    public IReadOnlyCollection<SafetensorsEntry> Entries => _entries.Values;

    /// <summary>Reads and checks the header.</summary>
    /// <exception cref="InvalidDataException">The file is not what it claims to be; the message names the file and the tensor.</exception>
    public static SafetensorsFile Open(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"There is no weights file '{path}'.", path);
        using var stream = File.OpenRead(path);
        Span<byte> prefix = stackalloc byte[8];
        if (stream.Length < 8) throw Error(path, $"is {stream.Length} bytes long, too short for a safetensors file");
        stream.ReadExactly(prefix);
        ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (headerBytes > MaxHeaderBytes || (long)headerBytes > stream.Length - 8)
            throw Error(path, $"claims a header of {headerBytes} bytes, the file has {stream.Length}; it is cut off or no safetensors file");
        var header = new byte[headerBytes];
        stream.ReadExactly(header);
        long dataStart = 8 + (long)headerBytes;
        return new SafetensorsFile(path, dataStart, ReadHeader(path, header, stream.Length - dataStart));
    }

    public bool Contains(string name) => _entries.ContainsKey(name);

    public SafetensorsEntry this[string name] =>
        _entries.TryGetValue(name, out var entry) ? entry : throw Error(_path, $"holds no tensor '{name}'");

    /// <summary>The numbers of an F32 tensor.</summary>
    public float[] ReadFloats(string name) => Read<float>(name, DataType.Float32);

    /// <summary>The numbers of an I32 tensor.</summary>
    public int[] ReadIntegers(string name) => Read<int>(name, DataType.Int32);

    /// <summary>The number of an I64 tensor of shape [].</summary>
    public long ReadCount(string name) =>
        this[name].Shape.Length == 0 ? Read<long>(name, DataType.Int64)[0] : throw Error(_path, $"holds tensor '{name}' of shape [{string.Join(", ", this[name].Shape)}], expected []");

    /// <summary>Writes float32 tensors in the order given, and before them counts as I64 tensors of shape []; equal tensors give equal bytes.</summary>
    public static void Write(string path, IReadOnlyList<(string Name, int[] Shape, Func<float[]> Read)> tensors, IReadOnlyDictionary<string, long>? counts = null)
    {
        counts ??= new Dictionary<string, long>();
        using var json = new MemoryStream();
        using (var writer = new Utf8JsonWriter(json))
        {
            long offset = 0;
            writer.WriteStartObject();
            foreach (string name in counts.Keys) Describe(name, "I64", [], sizeof(long));
            foreach (var (name, shape, _) in tensors) Describe(name, "F32", shape, sizeof(float));
            writer.WriteEndObject();

            void Describe(string name, string type, int[] shape, int size)
            {
                long end = offset + size * shape.Aggregate(1L, (product, extent) => product * extent);
                writer.WriteStartObject(name);
                writer.WriteString("dtype", type);
                writer.WriteStartArray("shape");
                foreach (int extent in shape) writer.WriteNumberValue(extent);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                writer.WriteNumberValue(end);
                writer.WriteEndArray();
                writer.WriteEndObject();
                offset = end;
            }
        }
        // Tensors start at a multiple of 8 bytes; the format pads its header with spaces.
        while (json.Length % 8 != 0) json.WriteByte((byte)' ');
        AtomicFile.Write(path, stream =>
        {
            Span<byte> prefix = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)json.Length);
            stream.Write(prefix);
            json.WriteTo(stream);
            foreach (long count in counts.Values)
            {
                BinaryPrimitives.WriteInt64LittleEndian(prefix, count);
                stream.Write(prefix);
            }
            foreach (var tensor in tensors) stream.Write(MemoryMarshal.AsBytes(tensor.Read().AsSpan()));
        });
    }

    private T[] Read<T>(string name, DataType type)
        where T : unmanaged
    {
        var entry = this[name];
        if (entry.Type != type) throw Error(_path, $"holds {entry.Type} in tensor '{name}', expected {type}");
        var values = new T[entry.Bytes / type.Size()];
        using var stream = File.OpenRead(_path);
        stream.Position = _dataStart + entry.Offset;
        stream.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    private static Dictionary<string, SafetensorsEntry> ReadHeader(string path, byte[] header, long dataBytes)
    {
        var entries = new Dictionary<string, SafetensorsEntry>(StringComparer.Ordinal);
        try
        {
            using var document = JsonDocument.Parse(header);
            if (document.RootElement.ValueKind != JsonValueKind.Object) throw Error(path, "has a header that is no object");
            foreach (var property in document.RootElement.EnumerateObject())
            {
                if (property.Name == "__metadata__") continue;
                if (!entries.TryAdd(property.Name, ReadEntry(path, property))) throw Error(path, $"names tensor '{property.Name}' twice");
            }
        }
        catch (JsonException error)
        {
            throw new InvalidDataException($"'{path}' has a header that is no JSON ({error.Message.Split('.')[0]}); it is damaged or no safetensors file.", error);
        }
        long end = 0;
        foreach (var entry in entries.Values.OrderBy(entry => entry.Offset).ThenBy(entry => entry.Bytes))
        {
            if (entry.Offset != end) throw Error(path, $"has {(entry.Offset < end ? "overlapping tensors" : "a gap")} at tensor '{entry.Name}'");
            end += entry.Bytes;
        }
        if (end != dataBytes) throw Error(path, $"holds {dataBytes} bytes of tensors where its header describes {end}; it is cut off or damaged");
        return entries;
    }

    private static SafetensorsEntry ReadEntry(string path, JsonProperty property)
    {
        string name = property.Name;
        if (property.Value.ValueKind != JsonValueKind.Object
            || !property.Value.TryGetProperty("dtype", out var dtype) || dtype.ValueKind != JsonValueKind.String
            || !property.Value.TryGetProperty("shape", out var shape) || shape.ValueKind != JsonValueKind.Array
            || !property.Value.TryGetProperty("data_offsets", out var offsets) || offsets.ValueKind != JsonValueKind.Array || offsets.GetArrayLength() != 2)
        {
            throw Error(path, $"describes tensor '{name}' without dtype, shape and data_offsets");
        }
        var type = dtype.GetString() switch
        {
            "F32" => DataType.Float32,
            "I32" => DataType.Int32,
            "I64" => DataType.Int64,
            var other => throw Error(path, $"holds {other} in tensor '{name}'; F32, I32 and I64 are supported, convert it first"),
        };
        var extents = new List<int>();
        long elements = 1;
        foreach (var extent in shape.EnumerateArray())
        {
            if (extent.ValueKind != JsonValueKind.Number || !extent.TryGetInt32(out int value) || value < 0) throw Error(path, $"gives tensor '{name}' a shape that is none");
            extents.Add(value);
            elements *= value;
            if (elements > int.MaxValue) throw Error(path, $"gives tensor '{name}' more than {int.MaxValue} elements");
        }
        if (!offsets[0].TryGetInt64(out long start) || !offsets[1].TryGetInt64(out long end) || start < 0 || end < start || end - start != elements * type.Size())
            throw Error(path, $"gives tensor '{name}' of {elements} elements the bytes {offsets[0]} to {offsets[1]}");
        return new SafetensorsEntry(name, type, [.. extents], start, end - start);
    }

    private static InvalidDataException Error(string path, string what) => new($"'{path}' {what}.");
}
