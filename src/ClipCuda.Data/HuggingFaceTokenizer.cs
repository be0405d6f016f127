using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ClipCuda.Data;

/// <summary>The tokenizer as the files from which transformers' CLIPTokenizer is made (models/clip/tokenization_clip.py).</summary>
public static class HuggingFaceTokenizer
{
    private static readonly JsonWriterOptions Readable = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Names and contents: <c>vocab.json</c>, <c>merges.txt</c>, <c>tokenizer_config.json</c>, <c>special_tokens_map.json</c>.</summary>
    /// <param name="contextLength">Tokens of a caption, start and end included.</param>
    public static IReadOnlyList<(string Name, byte[] Content)> Files(ClipTokenizer tokenizer, int contextLength) =>
    [
        ("vocab.json", Json(writer =>
        {
            foreach (var (token, id) in tokenizer.Vocabulary.OrderBy(pair => pair.Value)) writer.WriteNumber(token, id);
        })),
        ("merges.txt", Encoding.UTF8.GetBytes($"#version: 0.2\n{string.Concat(tokenizer.Merges.Select(merge => merge + "\n"))}")),
        ("tokenizer_config.json", Json(writer =>
        {
            writer.WriteString("tokenizer_class", "CLIPTokenizer");
            writer.WriteBoolean("do_lower_case", true);
            writer.WriteNumber("model_max_length", contextLength);
            WriteSpecial(writer);
        })),
        ("special_tokens_map.json", Json(WriteSpecial)),
    ];

    /// <summary>Captions are filled up with the end token there; the text is pooled at the first.</summary>
    private static void WriteSpecial(Utf8JsonWriter writer)
    {
        writer.WriteString("bos_token", ClipWords.StartOfText);
        foreach (string key in new[] { "eos_token", "pad_token", "unk_token" }) writer.WriteString(key, ClipWords.EndOfText);
    }

    private static byte[] Json(Action<Utf8JsonWriter> write)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream, Readable))
        {
            writer.WriteStartObject();
            write(writer);
            writer.WriteEndObject();
        }
        return stream.ToArray();
    }
}
