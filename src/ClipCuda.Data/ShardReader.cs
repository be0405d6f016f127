using System.Formats.Tar;
using System.Text;
using System.Text.Json;

namespace ClipCuda.Data;

/// <summary>One sample of a shard: an image and its captions.</summary>
internal sealed class ShardSample
{
    /// <summary>The shard's path.</summary>
    public required string Shard { get; init; }

    /// <summary>The samples before it in its shard.</summary>
    public required int Number { get; init; }

    /// <summary>The image's entry: its name, its number from 1, and where its bytes lie in the shard.</summary>
    public required (string Name, int Number, long Offset, int Length) Image { get; init; }

    /// <summary>At least one.</summary>
    public required IReadOnlyList<string> Captions { get; init; }

    /// <summary>The image file's bytes; null if they were passed over.</summary>
    public byte[]? Bytes { get; init; }

    /// <summary>Where they can be read.</summary>
    public ImagePlace ImagePlace => new($"{Shard}/{Image.Name}", Shard, Image.Offset, Image.Length);

    /// <summary>Where it stands, for people.</summary>
    public string Place => PlaceOf(Image.Number, Shard);

    public SkippedImage Skip(string reason) => new(Image.Number, ImagePlace.Name, reason) { Place = Place };

    public static string PlaceOf(int entry, string shard) => $"entry {entry} of '{Path.GetFileName(shard)}'";
}

/// <summary>
/// The samples of one tar shard in WebDataset's layout, in order: consecutive files with the same name up to the first dot are one sample. The
/// image is its first <c>.jpg</c>, <c>.png</c>, <c>.webp</c>, … . Captions are the strings of <c>captions</c> in <c>.json</c>, else the text of
/// <c>.txt</c>, else <c>caption</c> in <c>.json</c>. Nothing is written to disk, so no name leads anywhere; names that would lead out of a folder,
/// links and devices are passed over and reported all the same, as is every sample that is not whole. Of a shard that is cut short or damaged,
/// the samples before that are used.
/// </summary>
/// <param name="report">Told what is skipped.</param>
/// <param name="label">
/// Null: captions. Else a sample's class takes their place: the text of the file with that ending (<c>cls</c>), or the text or number under that key
/// in <c>.json</c>.
/// </param>
internal sealed class ShardReader(string path, Action<SkippedImage> report, string? label = null)
{
    private const int MostTextBytes = 1 << 20, BlockBytes = 512, BufferBytes = 1 << 20;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly string _textExtension = label is null ? ".txt" : $".{label.ToLowerInvariant()}";

    /// <summary>Reads the samples; after the first call of <paramref name="withImages"/> that says so, with their images' bytes.</summary>
    public IEnumerable<ShardSample> Read(Func<bool> withImages)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, BufferBytes, FileOptions.SequentialScan);
        using var tar = new TarReader(file);
        Parts? parts = null;
        int number = 0, samples = 0;
        long end = 0;
        while (true)
        {
            var (entry, damage) = Next(tar, file, number, end);
            if (damage is not null) Skip(number, path, damage);
            if (entry is null) break;
            number++;
            end = entry.DataOffset + entry.Length;
            string name = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
            if (entry.EntryType is TarEntryType.Directory or TarEntryType.GlobalExtendedAttributes) continue;
            if (Refusal(entry, name) is { } refusal)
            {
                Skip(number, entry.Name, refusal);
                continue;
            }
            var (key, extension) = Split(name);
            if (parts is null || parts.Key != key)
            {
                if (Finish(parts, samples) is { } sample)
                {
                    samples++;
                    yield return sample;
                }
                parts = new Parts(key, number);
            }
            Take(parts, entry, name, extension, number, withImages());
        }
        if (Finish(parts, samples) is { } last) yield return last;
    }

    /// <summary>The next entry, null after the last whole one; and what is wrong with the shard from there on.</summary>
    private static (TarEntry? Entry, string? Damage) Next(TarReader tar, FileStream file, int number, long end)
    {
        try
        {
            var entry = tar.GetNextEntry();
            if (entry is null) return (null, file.Length < end + BlockBytes ? $"The shard is cut short after entry {number}: its end mark is missing; write it again." : null);
            return entry.DataOffset + entry.Length <= file.Length ? (entry, null) : (null, $"The shard is cut short within entry {number + 1}, '{entry.Name}'; the rest is skipped, write it again.");
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException or FormatException)
        {
            return (null, $"The shard is cut short or damaged after entry {number} ({e.Message.TrimEnd('.')}); the rest is skipped, write it again.");
        }
    }

    private static string? Refusal(TarEntry entry, string name)
    {
        if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile or TarEntryType.ContiguousFile)) return $"Entry '{Shown(name)}' is no file but a {entry.EntryType}; shards hold files.";
        if (name.Length == 0 || name.Any(char.IsControl)) return $"Entry '{Shown(name)}' has a name that is empty or holds control characters; rename it.";
        if (name[0] is '/' or '\\' || name.Length > 1 && name[1] == ':' || name.Split('/', '\\').Contains("..")) return $"Entry '{Shown(name)}' has a name that leads out of its folder; rename it.";
        return entry.Length > Array.MaxLength ? $"Entry '{Shown(name)}' has {entry.Length:N0} bytes, too many for an image." : null;
    }

    private static string Shown(string name) => string.Concat(name.Select(c => char.IsControl(c) ? '?' : c));

    /// <summary>The folder and the name up to its first dot, and what follows it.</summary>
    private static (string Key, string Extension) Split(string name)
    {
        int dot = name.IndexOf('.', name.LastIndexOf('/') + 1);
        return dot < 0 ? (name, "") : (name[..dot], name[dot..].ToLowerInvariant());
    }

    private void Take(Parts parts, TarEntry entry, string name, string extension, int number, bool withImage)
    {
        if (extension == ".json" || extension == _textExtension)
        {
            if (entry.Length > MostTextBytes) parts.Problem ??= $"Entry '{name}' has {entry.Length:N0} bytes of text; shorten it to {MostTextBytes:N0}.";
            else if (extension == _textExtension) parts.Text = Bytes(entry);
            else parts.Json = Bytes(entry);
        }
        else if (parts.Image is null && ImageFiles.Extensions.Contains(extension))
        {
            parts.Image = (name, number, entry.DataOffset, (int)entry.Length);
            parts.ImageBytes = withImage ? Bytes(entry) : null;
        }
    }

    private static byte[] Bytes(TarEntry entry)
    {
        byte[] bytes = new byte[entry.Length];
        entry.DataStream?.ReadExactly(bytes);
        return bytes;
    }

    private ShardSample? Finish(Parts? parts, int samples)
    {
        if (parts is null) return null;
        var captions = parts.Problem is null ? Captions(parts) : [];
        if (parts.Image is { } image && parts.Problem is null)
            return new ShardSample { Shard = path, Number = samples, Image = image, Captions = captions, Bytes = parts.ImageBytes };
        string reason = parts.Problem ?? $"Sample '{parts.Key}' has no image ({string.Join(", ", ImageFiles.Extensions)}).";
        Skip(parts.Entry, parts.Image?.Name ?? parts.Key, reason);
        return null;
    }

    /// <summary>The captions, or the label; none if there is a problem with them, which is kept.</summary>
    private List<string> Captions(Parts parts)
    {
        List<string> captions = [];
        try
        {
            using var json = parts.Json is null ? null : JsonDocument.Parse(parts.Json);
            JsonElement? Value(string key) => json is not null && json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty(key, out var value) ? value : null;
            if (label is null && Value("captions") is { } several)
                captions.AddRange(several.EnumerateArray().Select(caption => caption.GetString() ?? throw new InvalidOperationException("a caption is null")));
            else if (parts.Text is not null)
                captions.Add(label is null ? Utf8.GetString(parts.Text).TrimEnd('\r', '\n') : Utf8.GetString(parts.Text).Trim());
            else if (Value(label ?? "caption") is { } one)
                captions.Add((label is not null && one.ValueKind == JsonValueKind.Number ? one.GetRawText() : one.GetString()) ?? throw new InvalidOperationException($"the {What} is null"));
            if (captions.Count == 0) parts.Problem = label is null ? $"Sample '{parts.Key}' has no caption (.txt, or .json with caption or captions)." : $"Sample '{parts.Key}' has no label ({_textExtension}, or .json with {label}).";
            else if (captions.Any(caption => caption.Contains('\0'))) parts.Problem = $"A {What} of sample '{parts.Key}' holds a NUL; remove it.";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or DecoderFallbackException)
        {
            string text = e is DecoderFallbackException ? "text is not UTF-8" : $"JSON cannot be read ({e.Message.TrimEnd('.')})";
            parts.Problem = $"Sample '{parts.Key}': its {text}.";
        }
        return captions;
    }

    private string What => label is null ? "caption" : "label";

    private void Skip(int number, string name, string reason) =>
        report(new SkippedImage(number, $"{path}/{name}", reason) { Place = ShardSample.PlaceOf(number, path) });

    /// <summary>The files of a sample read so far.</summary>
    private sealed class Parts(string key, int entry)
    {
        public string Key => key;

        /// <summary>The first entry's number.</summary>
        public int Entry => entry;

        public (string Name, int Number, long Offset, int Length)? Image { get; set; }

        public byte[]? ImageBytes { get; set; }

        public byte[]? Text { get; set; }

        public byte[]? Json { get; set; }

        public string? Problem { get; set; }
    }
}
