using System.Text;
using System.Text.Json;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class HuggingFaceTokenizerTests
{
    private static readonly string Merges = Path.Combine(DataFolder.Find(), DataFolder.Merges);

    [Test]
    public void The_vocabulary_is_CLIPs_and_the_merges_are_the_files()
    {
        var files = HuggingFaceTokenizer.Files(new ClipTokenizer(Merges), 77).ToDictionary(file => file.Name, file => file.Content);
        using var vocabulary = JsonDocument.Parse(files["vocab.json"]);
        var ids = vocabulary.RootElement;
        Assert.That(ids.EnumerateObject().Select(token => token.Value.GetInt32()), Is.EqualTo(Enumerable.Range(0, 49408)));
        // As in openai/clip-vit-base-patch32.
        foreach (var (token, id) in new[] { ("!", 0), ("!</w>", 256), ("in", 512), ("a</w>", 320), ("cat</w>", 2368), ("dog</w>", 1929), ("<|startoftext|>", 49406), ("<|endoftext|>", 49407) })
            Assert.That(ids.GetProperty(token).GetInt32(), Is.EqualTo(id), token);
        string[] merges = Encoding.UTF8.GetString(files["merges.txt"]).Split('\n');
        Assert.That((merges[0], merges[1], merges[^1]), Is.EqualTo(("#version: 0.2", "i n", "")));
        Assert.That(merges[1..^1], Is.EqualTo(File.ReadLines(Merges).Skip(1)));
        using var config = JsonDocument.Parse(files["tokenizer_config.json"]);
        Assert.That(config.RootElement.GetProperty("tokenizer_class").GetString(), Is.EqualTo("CLIPTokenizer"));
        Assert.That(config.RootElement.GetProperty("model_max_length").GetInt32(), Is.EqualTo(77));
        using var special = JsonDocument.Parse(files["special_tokens_map.json"]);
        Assert.That(special.RootElement.GetProperty("pad_token").GetString(), Is.EqualTo("<|endoftext|>"));
    }
}
