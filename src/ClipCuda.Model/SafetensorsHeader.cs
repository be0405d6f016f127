using System.Text.Json;

namespace ClipCuda.Model;

/// <summary>One tensor of a safetensors file, still in it.</summary>
/// <param name="Type">The format's name: F32, F16, BF16, I32, ….</param>
/// <param name="Offset">Of its first byte, from the first byte after the header.</param>
public sealed record SafetensorsEntry(string Name, string Type, int[] Shape, long Offset, long Bytes)
{
    public string ShapeText => $"[{string.Join(", ", Shape)}]";
}

/// <summary>
/// The JSON header of a safetensors file (github.com/huggingface/safetensors, "Format"): read without trust in a byte of it, and written so that
/// equal tensors give equal bytes.
/// </summary>
internal static class SafetensorsHeader
{
    /// <summary>The limit of the format's own reader.</summary>
    public const long MaxBytes = 100_000_000;

    private const string Metadata = "__metadata__";

    private static readonly Dictionary<string, int> Types = new(StringComparer.Ordinal)
    {
        ["F64"] = 8,
        ["F32"] = 4,
        ["F16"] = 2,
        ["BF16"] = 2,
        ["F8_E4M3"] = 1,
        ["F8_E5M2"] = 1,
        ["I64"] = 8,
        ["I32"] = 4,
        ["I16"] = 2,
        ["I8"] = 1,
        ["U64"] = 8,
        ["U32"] = 4,
        ["U16"] = 2,
        ["U8"] = 1,
        ["BOOL"] = 1,
    };

    public static int ElementBytes(string type) => Types[type];

    /// <summary>The tensors in the order of the header.</summary>
    /// <param name="dataBytes">Bytes of the file after the header, which the tensors must fill without gap or overlap.</param>
    /// <exception cref="InvalidDataException">They do not, or the header is malformed; the message names the file and the tensor.</exception>
    public static List<SafetensorsEntry> Read(string path, byte[] header, long dataBytes)
    {
        var entries = new List<SafetensorsEntry>();
        using (var document = JsonFile.Parse(header, $"The header of '{path}'", "it is damaged or no safetensors file"))
        {
            if (document.RootElement.ValueKind != JsonValueKind.Object) throw Error(path, "has a header that is no object");
            foreach (var property in document.RootElement.EnumerateObject())
            {
                if (property.Name != Metadata) entries.Add(ReadEntry(path, property));
            }
        }
        long end = 0;
        foreach (var entry in entries.OrderBy(entry => entry.Offset).ThenBy(entry => entry.Bytes))
        {
            if (entry.Offset != end) throw Error(path, $"has {(entry.Offset < end ? "overlapping tensors" : "a gap")} at tensor '{entry.Name}'");
            end += entry.Bytes;
        }
        return end == dataBytes ? entries : throw Error(path, $"holds {dataBytes} bytes of tensors where its header describes {end}; it is cut off or damaged");
    }

    /// <summary>The header of tensors that follow each other in the order given.</summary>
    /// <param name="metadata">Texts for other programs, such as transformers' "format".</param>
    public static byte[] Write(IReadOnlyList<WeightTensor> tensors, params ReadOnlySpan<(string Key, string Value)> metadata)
    {
        using var json = new MemoryStream();
        using (var writer = new Utf8JsonWriter(json))
        {
            writer.WriteStartObject();
            if (metadata.Length > 0)
            {
                writer.WriteStartObject(Metadata);
                foreach (var (key, value) in metadata) writer.WriteString(key, value);
                writer.WriteEndObject();
            }
            long offset = 0;
            foreach (var tensor in tensors)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", tensor.Type);
                writer.WriteStartArray("shape");
                foreach (int extent in tensor.Shape) writer.WriteNumberValue(extent);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                writer.WriteNumberValue(offset += tensor.Bytes);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }
            writer.WriteEndObject();
        }
        // Tensors start at a multiple of 8 bytes; the format pads its header with spaces.
        while (json.Length % 8 != 0) json.WriteByte((byte)' ');
        return json.ToArray();
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
        string type = dtype.GetString()!;
        if (!Types.TryGetValue(type, out int elementBytes)) throw Error(path, $"holds {type} in tensor '{name}', which is not supported; convert it to F32, F16 or BF16 first");
        var extents = new int[shape.GetArrayLength()];
        long elements = 1;
        int dimension = 0;
        foreach (var extent in shape.EnumerateArray())
        {
            if (extent.ValueKind != JsonValueKind.Number || !extent.TryGetInt32(out int value) || value < 0) throw Error(path, $"gives tensor '{name}' a shape that is none");
            extents[dimension++] = value;
            elements *= value;
            if (elements > int.MaxValue) throw Error(path, $"gives tensor '{name}' more than {int.MaxValue} elements");
        }
        if (!IsOffset(offsets[0], out long start) || !IsOffset(offsets[1], out long end) || end < start || end - start != elements * elementBytes)
            throw Error(path, $"gives tensor '{name}' of {elements} elements of {elementBytes} bytes the bytes {offsets[0]} to {offsets[1]}");
        return new SafetensorsEntry(name, type, extents, start, end - start);
    }

    private static bool IsOffset(JsonElement json, out long offset)
    {
        offset = 0;
        return json.ValueKind == JsonValueKind.Number && json.TryGetInt64(out offset) && offset >= 0;
    }

    private static InvalidDataException Error(string path, string what) => new($"'{path}' {what}.");
}
