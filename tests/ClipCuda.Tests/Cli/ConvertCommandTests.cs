using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.Data;
using ClipCuda.Tests.Model;

namespace ClipCuda.Tests.Cli;

public sealed class ConvertCommandTests : FolderTests
{
    [Test]
    public void To_Hugging_Face_and_back_every_byte_is_the_same([Values] bool qkvBias)
    {
        string source = Checkpointed(new ClipConfig(8, new(16, 8, 12, 2, 3, LnPre: true), new(6, 20, 8, 2, 2), QuickGelu: true, qkvBias));
        Convert(source, "hf", "hf");
        Convert(Folder.At("hf"), "back", "open_clip");
        AssertSameFiles(source, Folder.At("back"), Checkpoint.WeightsFile, Checkpoint.ConfigFile, Checkpoint.OwnFile);
        Convert(Folder.At("back"), "hf2", "hf");
        AssertSameFiles(Folder.At("hf"), Folder.At("hf2"), "model.safetensors", "config.json", "preprocessor_config.json", Checkpoint.OwnFile);
    }

    [Test]
    public void OpenAIs_weights_become_both_layouts_and_compute_the_same()
    {
        var run = CommandLine.Run("convert", GoldenWeights.Path, Folder.At("hf"), "--to", "hf", "--activation", "quick_gelu");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("Tokenizer: not written, because the model's vocabulary of 200 is not the tokenizer's of 49408").And.Contain(" tensors of '"));
        Convert(Folder.At("hf"), "oc", "open_clip");
        using var device = Device.Open("cpu", 1);
        using var model = Checkpoint.Load(device, Folder.At("oc"));
        foreach (var (name, (_, values)) in GoldenWeights.Read(GoldenWeights.Path)) Numbers.AssertSameBits(model.Parameters[name].ToArray(), values, name);
    }

    [Test]
    public void A_file_keeps_its_half_precision()
    {
        string path = Folder.At("half.safetensors");
        SafetensorsFile.Write(path, [.. GoldenWeights.Read(GoldenWeights.Path).Select(tensor => new WeightTensor(tensor.Key, "BF16", tensor.Value.Shape, take =>
        {
            foreach (float value in tensor.Value.Values) take(BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)));
        }))]);
        Assert.That(CommandLine.Run("convert", path, Folder.At("oc"), "--to", "open_clip", "--activation", "quick_gelu").ExitCode, Is.Zero);
        Convert(Folder.At("oc"), "hf", "hf");
        Convert(Folder.At("hf"), "back", "open_clip");
        AssertSameFiles(Folder.At("oc"), Folder.At("back"), Checkpoint.WeightsFile, Checkpoint.ConfigFile, Checkpoint.OwnFile);
        using var file = SafetensorsFile.Open(Folder.At("hf/model.safetensors"));
        Assert.That(file.Entries.Select(entry => entry.Type).Distinct(), Is.EqualTo(new[] { "BF16" }));
    }

    [Test]
    public void The_tokenizer_goes_along_with_its_own_vocabulary()
    {
        Convert(Checkpointed(new ClipConfig(2, new(2, 2, 2, 1, 1, LnPre: true), new(4, 49408, 2, 1, 1))), "hf", "hf");
        Assert.That(Directory.GetFiles(Folder.At("hf")).Select(Path.GetFileName), Is.EquivalentTo(new[]
        {
            "model.safetensors", "config.json", "preprocessor_config.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "clipcuda.json",
        }));
    }

    [Test]
    public void What_cannot_be_converted_is_one_line_and_leaves_nothing()
    {
        string source = Checkpointed(new ClipConfig(8, new(16, 8, 12, 1, 1), new(6, 20, 8, 1, 1)));
        CommandLine.Run("convert", source, Folder.At("out"), "--to", "hf").MustFail(1, "no_ln_pre", "--to open_clip");
        CommandLine.Run("convert", Folder.At("none"), Folder.At("out"), "--to", "hf").MustFail(1, "There are no weights", "none");
        CommandLine.Run("convert", GoldenWeights.Path, Folder.At("out"), "--to", "hf").MustFail(1, "which activation", "--activation");
        CommandLine.Run("convert", source, Folder.At("out"), "--to", "onnx").MustFail(2, "onnx");
        CommandLine.Run("convert", source, Folder.At("out")).MustFail(2, "--to");
        CommandLine.Run("convert", source, source, "--to", "open_clip").MustFail(1, "not an empty folder");
        CommandLine.Run("convert", Folder.Write("x.pt", "PK\u0003\u0004\0\0\b\b\0\0"), Folder.At("out"), "--to", "hf").MustFail(1, "x.pt", "is a PyTorch pickle");
        Assert.That(Directory.GetFileSystemEntries(Folder.Path).Select(Path.GetFileName), Is.EquivalentTo(new[] { "source", "x.pt" }));
    }

    private void Convert(string source, string target, string to)
    {
        var run = CommandLine.Run("convert", source, Folder.At(target), "--to", to);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
    }

    private static void AssertSameFiles(string first, string second, params string[] names)
    {
        foreach (string name in names) Assert.That(File.ReadAllBytes(Path.Combine(second, name)), Is.EqualTo(File.ReadAllBytes(Path.Combine(first, name))), name);
    }

    private string Checkpointed(ClipConfig config)
    {
        using var device = Device.Open("cpu", 1);
        using var model = new ClipModel(device, config);
        Initialization.Apply(model.Parameters, config, InitializationScheme.Reference, seed: 3);
        Checkpoint.Save(Folder.At("source"), model, new Dictionary<string, long> { ["epoch"] = 3 });
        return Folder.At("source");
    }
}
