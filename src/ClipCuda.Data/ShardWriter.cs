using System.Formats.Tar;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ClipCuda.Data;

/// <summary>
/// Writes samples into a tar shard in WebDataset's layout: the image's file as it is, the first caption as <c>.txt</c>, and of an image with
/// several captions all of them as <c>.json</c>. No time and no owner, so that equal samples give equal bytes.
/// </summary>
public sealed class ShardWriter(Stream stream) : IDisposable
{
    private static readonly JsonWriterOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly TarWriter _tar = new(stream, TarEntryFormat.Ustar, leaveOpen: true);

    /// <summary>Bytes of files written so far.</summary>
    public long Bytes { get; private set; }

    /// <param name="key">The sample's name, without dots.</param>
    /// <param name="imagePath">Its ending says the format.</param>
    public void Add(string key, string imagePath, IReadOnlyList<string> captions)
    {
        using (var image = File.OpenRead(imagePath)) Write(key + Path.GetExtension(imagePath).ToLowerInvariant(), image);
        using (var text = new MemoryStream(Encoding.UTF8.GetBytes(captions[0]))) Write(key + ".txt", text);
        if (captions.Count == 1) return;
        using var json = new MemoryStream();
        using (var writer = new Utf8JsonWriter(json, Plain))
        {
            writer.WriteStartObject();
            writer.WriteStartArray("captions");
            foreach (string caption in captions) writer.WriteStringValue(caption);
            writer.WriteEndArray();
            writer.WriteEndObject();
        }
        json.Position = 0;
        Write(key + ".json", json);
    }

    /// <summary>Writes the end mark.</summary>
    public void Dispose() => _tar.Dispose();

    private void Write(string name, Stream data)
    {
        _tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name) { DataStream = data, ModificationTime = DateTimeOffset.UnixEpoch });
        Bytes += data.Length;
    }
}
