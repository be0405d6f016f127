using System.Text.Json;

namespace ClipCuda.Model;

/// <summary>JSON files that nobody vouches for: what cannot be read is an <see cref="InvalidDataException"/> that names the file.</summary>
public static class JsonFile
{
    /// <summary>No configuration is as long as this; a file that is would only take memory.</summary>
    private const long MaxBytes = 16 << 20;

    private static readonly JsonWriterOptions Indented = new() { Indented = true };

    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">It is no JSON, or has a key twice.</exception>
    public static JsonDocument Read(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"There is no '{path}'.", path);
        if (new FileInfo(path).Length is var bytes && bytes > MaxBytes) throw new InvalidDataException($"'{path}' is {bytes} bytes long, which no configuration is.");
        return Parse(File.ReadAllBytes(path), $"'{path}'", "restore the file");
    }

    /// <summary>Parses a text of which every string can be had: no invalid UTF-8, half characters, double keys, or nesting deeper than 64.</summary>
    /// <param name="what">What the message calls the text.</param>
    /// <param name="remedy">What to do if it is malformed.</param>
    public static JsonDocument Parse(byte[] text, string what, string remedy)
    {
        try
        {
            // Strings are decoded when they are asked for, which is late for an error.
            var reader = new Utf8JsonReader(text);
            while (reader.Read())
            {
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName) _ = reader.GetString();
            }
            return JsonDocument.Parse(text, new JsonDocumentOptions { AllowDuplicateProperties = false });
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            throw new InvalidDataException($"{what} is no JSON ({error.Message.TrimEnd('.')}); {remedy}.", error);
        }
    }

    /// <summary>Writes an object, of which <paramref name="write"/> writes the properties.</summary>
    public static void Write(string path, Action<Utf8JsonWriter> write) => AtomicFile.Write(path, stream =>
    {
        using var writer = new Utf8JsonWriter(stream, Indented);
        writer.WriteStartObject();
        write(writer);
        writer.WriteEndObject();
    });
}
