using System.Text.Json;
using ClipCuda.Tests.Training;

namespace ClipCuda.Tests.Cli;

public sealed class TrainConfigTests
{
    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    /// <summary>What a run writes makes it again, and a flag changes one setting of it.</summary>
    [Test]
    public void The_file_of_a_run_makes_it_again()
    {
        string config = Write("""
            {"train_csv": "TRAIN", "img_root": "IMAGES", "batch_size": 8, "epochs": 1, "lr": 2e-4, "image_size": 32, "patch_size": 16, "vision_width": 64, "vision_layers": 1, "vision_heads": 2,
             "text_width": 64, "text_layers": 1, "context_length": 12, "embed_dim": 16, "threads": 2, "device": "cpu", "strict": false, "wd_exclude": "open_clip", "val_csv": null}
            """);
        Assert.That(Train("--config", config, "--name", "one", "--seed", "3"), Is.EqualTo((0, "")));
        string written = _run.Folder.At("one/config.json");
        using (var json = JsonDocument.Parse(File.ReadAllText(written)))
        {
            Assert.That(json.RootElement.EnumerateObject().Select(p => p.Name), Is.SupersetOf(new[] { "train_data", "lr", "beta1", "model_name", "vision_width" }).And.No.Member("logs").And.No.Member("name").And.No.Member("config"));
            Assert.That(json.RootElement.GetProperty("lr").GetRawText(), Is.EqualTo("0.0002"));
            Assert.That(json.RootElement.GetProperty("seed").GetInt32(), Is.EqualTo(3));
        }
        Assert.That(File.ReadAllLines(_run.Folder.At("one/params.txt")), Is.SupersetOf(new[]
        {
            $"lr: 0.0002  # '{config}'", "seed: 3  # command line", "beta2: 0.98  # preset ViT-B/32", "keep: 1  # default", "vision_heads: 2  # '" + config + "'", "text_heads: 1  # preset ViT-B/32",
        }));

        Assert.That(Train("--config", written, "--name", "two"), Is.EqualTo((0, "")));
        const string Weights = "checkpoints/epoch_1/open_clip_model.safetensors";
        Assert.That(File.ReadAllBytes(_run.Folder.At($"two/{Weights}")), Is.EqualTo(File.ReadAllBytes(_run.Folder.At($"one/{Weights}"))));
        Assert.That(File.ReadAllText(_run.Folder.At("two/config.json")), Is.EqualTo(File.ReadAllText(written)));
        Assert.That(Train("--config", written, "--name", "three", "--lr", "0.01"), Is.EqualTo((0, "")));
        Assert.That(File.ReadAllText(_run.Folder.At("three/params.txt")), Does.Contain("lr: 0.01  # command line").And.Contain($"seed: 3  # '{written}'"));
    }

    /// <summary>A flag that takes several values has all of them in the file; a run that is resumed would go on with other pictures else.</summary>
    [Test]
    public void A_flag_of_several_values_keeps_them_all()
    {
        string config = Write("""
            {"train_csv": "TRAIN", "img_root": "IMAGES", "batch_size": 8, "epochs": 1, "image_size": 32, "patch_size": 16, "vision_width": 64, "vision_layers": 1, "vision_heads": 2,
             "text_width": 64, "text_layers": 1, "context_length": 12, "embed_dim": 16, "device": "cpu", "aug_cfg": ["hflip=0.5", "gray_scale_prob=0.25"]}
            """);
        Assert.That(Train("--config", config, "--name", "one"), Is.EqualTo((0, "")));
        Assert.That(Train("--config", _run.Folder.At("one/config.json"), "--name", "two"), Is.EqualTo((0, "")));
        foreach (string name in (string[])["one", "two"])
            Assert.That(File.ReadAllLines(_run.Folder.At($"{name}/params.txt")), Has.One.StartsWith("hflip: 0.5").And.One.StartsWith("gray_scale_prob: 0.25"), name);
        CommandLine.Run("train", "--config", Write("""{"aug_cfg": [0.5]}""")).MustFail(1, "'aug_cfg'", "texts");
    }

    [TestCase("""{"epoch": 1}""", "'epoch'", "did you mean 'epochs'")]
    [TestCase("""{"learning_rate": 1}""", "'learning_rate'", "did you mean")]
    [TestCase("""{"resume": "latest"}""", "'resume'", "did you mean")]
    [TestCase("""{"epochs": 0}""", "--epochs is '0'", "at least 1")]
    [TestCase("""{"epochs": "many"}""", "--epochs is 'many'", "whole number")]
    [TestCase("""{"epochs": [1]}""", "'epochs'", "one text, number or truth")]
    [TestCase("""{"device": "gpu"}""", "There is no device 'gpu'", "cuda")]
    [TestCase("""{"epochs": 1, "epochs": 2}""", "is no JSON", "epochs")]
    [TestCase("[]", "no JSON object", "settings")]
    public void What_is_wrong_is_one_line_that_names_file_and_key(string text, string key, string remedy)
    {
        string config = Write(text);
        CommandLine.Run("train", "--config", config).MustFail(1, config, key, remedy);
    }

    [Test]
    public void A_file_that_is_not_there_is_named() => CommandLine.Run("train", "--config", "nowhere.json").MustFail(1, "nowhere.json");

    private (int, string) Train(params string[] args)
    {
        var run = CommandLine.Run(["train", "--logs", _run.Folder.Path, .. args]);
        return (run.ExitCode, run.Error);
    }

    private string Write(string text) =>
        _run.Folder.Write("given.json", text.Replace("TRAIN", JsonEncodedText.Encode(_run.TrainCsv).ToString(), StringComparison.Ordinal).Replace("IMAGES", JsonEncodedText.Encode(_run.Emoji).ToString(), StringComparison.Ordinal));
}
