using ClipCuda.Data;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// Weights from one layout to another, a tensor at a time and without a device. The folder for Hugging Face has the tokenizer's files as well;
/// <c>clipcuda.json</c> goes along, so that a model of this program comes back as it was.
/// </summary>
public static class WeightsConversion
{
    /// <summary>Converts, and returns what is to be told, line by line.</summary>
    /// <param name="target">A folder that is not there, or empty.</param>
    /// <param name="quickGelu">As for <see cref="PretrainedWeights.Open"/>.</param>
    /// <exception cref="IOException">The target exists, or cannot be written.</exception>
    /// <exception cref="InvalidDataException">The weights cannot be read, or the layout cannot hold them.</exception>
    public static IReadOnlyList<string> Run(string source, string target, bool toHuggingFace, bool? quickGelu)
    {
        if (File.Exists(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()))
            throw new IOException($"'{target}' exists and is not an empty folder; name a new one.");
        using var weights = PretrainedWeights.Open(source, quickGelu);
        string unfinished = Path.TrimEndingDirectorySeparator(Path.GetFullPath(target)) + ".unfinished";
        var lines = new List<string>();
        try
        {
            if (toHuggingFace)
            {
                WeightsExport.ToHuggingFace(unfinished, weights.Config, weights.Tensors);
                lines.Add(WriteTokenizer(unfinished, weights.Config));
            }
            else
            {
                WeightsExport.ToOpenClip(unfinished, weights.Config, weights.Tensors);
            }
            WriteOwn(weights.Folder, unfinished, weights.Config);
            if (Directory.Exists(target)) Directory.Delete(target);
            AtomicFile.MoveFolder(unfinished, target);
        }
        catch
        {
            if (Directory.Exists(unfinished)) Directory.Delete(unfinished, recursive: true);
            throw;
        }
        lines.Add($"Wrote {weights.Tensors.Sum(tensor => tensor.Elements):N0} numbers in {weights.Tensors.Count} tensors of '{weights.Path}' to '{target}'.");
        return lines;
    }

    private static string WriteTokenizer(string target, ClipConfig config)
    {
        string merges = Path.Combine(DataFolder.Find(), DataFolder.Merges);
        var tokenizer = new ClipTokenizer(merges);
        if (tokenizer.VocabularySize != config.Text.VocabSize)
            return $"Tokenizer: not written, because the model's vocabulary of {config.Text.VocabSize} is not the tokenizer's of {tokenizer.VocabularySize}";
        foreach (var (name, text) in HuggingFaceTokenizer.Files(tokenizer, config.Text.ContextLength)) AtomicFile.Write(Path.Combine(target, name), stream => stream.Write(text));
        return "Tokenizer: vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json";
    }

    private static void WriteOwn(string? source, string target, ClipConfig config)
    {
        string? own = source is null ? null : Path.Combine(source, Checkpoint.OwnFile);
        byte[] text = own is not null && File.Exists(own) ? File.ReadAllBytes(own) : System.Text.Encoding.UTF8.GetBytes($"{{\n  \"qkv_bias\": {(config.QkvBias ? "true" : "false")}\n}}");
        AtomicFile.Write(Path.Combine(target, Checkpoint.OwnFile), stream => stream.Write(text));
    }
}
