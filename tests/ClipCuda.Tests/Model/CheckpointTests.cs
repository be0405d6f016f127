using System.Text.Json;
using ClipCuda.Devices;
using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class CheckpointTests
{
    private static readonly ClipConfig Small = new(8, new(16, 8, 12, 1, 1), new(6, 20, 8, 2, 2));

    private static readonly ClipConfig ResNet = Small with { Vision = VisionConfig.ResNet(32, 4, new(1, 1, 1, 1), heads: 2), QkvBias = true };

    private Device _device = null!;
    private string _folder = "";

    [SetUp]
    public void Open()
    {
        _device = Device.Open("cpu", 1);
        _folder = Directory.CreateTempSubdirectory("clipcuda-").FullName;
    }

    [TearDown]
    public void Close()
    {
        _device.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void A_model_comes_back_bit_for_bit([Values] bool qkvBias, [Values] bool quickGelu, [Values] bool lnPre)
    {
        using var model = NewModel(Small with { QkvBias = qkvBias, QuickGelu = quickGelu, Vision = Small.Vision with { LnPre = lnPre } });
        Checkpoint.Save(_folder, model);
        using var loaded = Checkpoint.Load(_device, _folder);
        Assert.That(loaded.Config, Is.EqualTo(model.Config));
        foreach (string name in model.Parameters.Names) Numbers.AssertSameBits(loaded.Parameters[name].ToArray(), model.Parameters[name].ToArray(), name);
    }

    /// <summary>What a model takes when it is loaded: its weights once, 20 % for all else.</summary>
    [Test]
    public void Loading_takes_the_memory_of_the_weights_once()
    {
        var config = new ClipConfig(128, new(64, 16, 256, 3, 4, LnPre: true), new(77, 30_000, 128, 2, 2), QkvBias: true);
        using (var model = NewModel(config)) Checkpoint.Save(_folder, model);
        Checkpoint.Load(_device, _folder).Dispose(); // what is compiled and cached once
        long file = new FileInfo(Path.Combine(_folder, Checkpoint.WeightsFile)).Length, device = _device.LiveBytes, host = GC.GetAllocatedBytesForCurrentThread();
        using var loaded = Checkpoint.Load(_device, _folder);
        Assert.That(_device.LiveBytes - device + GC.GetAllocatedBytesForCurrentThread() - host, Is.InRange(file, (long)(1.2 * file)));
    }

    [Test]
    public void A_resnets_statistics_come_back_with_it()
    {
        using var model = NewModel(ResNet);
        foreach (string name in model.Statistics.Names) model.Statistics[name].Upload([.. Enumerable.Range(0, model.Statistics[name].Width).Select(i => i + 0.5f)]);
        model.Statistics.SetBatchesTracked("visual.bn1.num_batches_tracked", 12_345_678_901);
        Checkpoint.Save(_folder, model);
        using var loaded = Checkpoint.Load(_device, _folder);
        Assert.That(loaded.Config, Is.EqualTo(model.Config));
        foreach (string name in model.Parameters.Names) Numbers.AssertSameBits(loaded.Parameters[name].ToArray(), model.Parameters[name].ToArray(), name);
        foreach (string name in model.Statistics.Names) Numbers.AssertSameBits(loaded.Statistics[name].ToArray(), model.Statistics[name].ToArray(), name);
        Assert.That(loaded.Statistics.BatchesTracked, Is.EquivalentTo(model.Statistics.BatchesTracked));
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, Checkpoint.ConfigFile)));
        var vision = json.RootElement.GetProperty("model_cfg").GetProperty("vision_cfg");
        Assert.That(vision.EnumerateObject().Select(p => p.Name), Is.EquivalentTo(new[] { "image_size", "layers", "width", "head_width", "patch_size" }));
        Assert.That(vision.GetProperty("head_width").GetInt32(), Is.EqualTo(64));
    }

    [Test]
    public void Missing_statistics_are_named_and_missing_counts_are_not_missed()
    {
        using var model = NewModel(ResNet);
        string path = Path.Combine(_folder, "w.safetensors");
        Write(model.Statistics.Names.Skip(1));
        Assert.That(() => Checkpoint.LoadWeights(model, path), Throws.TypeOf<InvalidDataException>().With.Message.Contains("lacks 1 tensor: visual.bn1.running_mean"));
        Write(model.Statistics.Names);
        Checkpoint.LoadWeights(model, path);
        Assert.That(model.Statistics.BatchesTracked.Values, Is.All.Zero);

        void Write(IEnumerable<string> statistics) => SafetensorsFile.Write(path, [
            .. model.Parameters.Names.Select(name => (name, model.Parameters[name].Shape, (Func<float[]>)model.Parameters[name].ToArray)),
            .. statistics.Select(name => (name, model.Statistics[name].Shape, (Func<float[]>)model.Statistics[name].ToArray)),
        ]);
    }

    [Test]
    public void Equal_models_give_equal_bytes_wherever_they_are_written()
    {
        using var model = NewModel(Small);
        string first = Path.Combine(_folder, "a"), second = Path.Combine(_folder, "b");
        Checkpoint.Save(first, model, new Dictionary<string, long> { ["epoch"] = 1 });
        Checkpoint.Save(second, model, new Dictionary<string, long> { ["epoch"] = 2 });
        Assert.That(File.ReadAllBytes(Path.Combine(second, Checkpoint.WeightsFile)), Is.EqualTo(File.ReadAllBytes(Path.Combine(first, Checkpoint.WeightsFile))));
    }

    [Test]
    public void The_folder_holds_open_clips_keys_and_zeros_for_the_absent_bias()
    {
        using var model = NewModel(Small);
        Checkpoint.Save(_folder, model);
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, Checkpoint.ConfigFile)));
        var cfg = json.RootElement.GetProperty("model_cfg");
        Assert.That(cfg.GetProperty("vision_cfg").EnumerateObject().Select(p => p.Name), Is.EquivalentTo(new[] { "image_size", "layers", "width", "head_width", "patch_size", "no_ln_pre" }));
        Assert.That(cfg.GetProperty("vision_cfg").GetProperty("no_ln_pre").GetBoolean(), Is.True);
        Assert.That(json.RootElement.GetProperty("preprocess_cfg").GetProperty("interpolation").GetString(), Is.EqualTo("bicubic"));
        var file = SafetensorsFile.Open(Path.Combine(_folder, Checkpoint.WeightsFile));
        Assert.That(file.ReadFloats("visual.transformer.resblocks.0.attn.in_proj_bias"), Is.EqualTo(new float[36]));
    }

    [Test]
    public void A_bias_that_the_model_would_drop_is_refused()
    {
        using var model = NewModel(Small with { QkvBias = true });
        Checkpoint.Save(_folder, model);
        using var without = new ClipModel(_device, Small);
        Assert.That(
            () => Checkpoint.LoadWeights(without, Path.Combine(_folder, Checkpoint.WeightsFile)),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains("'visual.transformer.resblocks.0.attn.in_proj_bias', which is not zero"));
    }

    [Test]
    public void Missing_unknown_and_misshapen_tensors_are_named()
    {
        using var model = NewModel(Small);
        string path = Path.Combine(_folder, "w.safetensors");
        Write(names => names.Remove("visual.proj"));
        Assert.That(Load, Throws.TypeOf<InvalidDataException>().With.Message.Contains("lacks 1 tensor: visual.proj"));
        Write(names => names.Add("visual.extra"));
        Assert.That(Load, Throws.TypeOf<InvalidDataException>().With.Message.Contains("holds 1 tensor: visual.extra, which this model does not have"));
        Write(_ => { }, wrongShape: "text_projection");
        Assert.That(Load, Throws.TypeOf<InvalidDataException>().With.Message.Contains("holds 'text_projection' of shape [64], the model's is [8, 8]"));

        void Load() => Checkpoint.LoadWeights(model, path);

        void Write(Action<List<string>> change, string? wrongShape = null)
        {
            var names = model.Parameters.Names.ToList();
            change(names);
            SafetensorsFile.Write(path, [.. names.Select(name =>
            {
                int[] shape = model.Parameters.Names.Contains(name) ? model.Parameters[name].Shape : [1];
                int count = shape.Aggregate(1, (product, extent) => product * extent);
                return (name, name == wrongShape ? [count] : shape, (Func<float[]>)(() => new float[count]));
            })]);
        }
    }

    [Test]
    public void A_missing_folder_file_or_section_is_named()
    {
        Assert.That(() => Checkpoint.ReadConfig(Path.Combine(_folder, "none")), Throws.TypeOf<DirectoryNotFoundException>().With.Message.Contains("none"));
        Assert.That(() => Checkpoint.ReadConfig(_folder), Throws.TypeOf<FileNotFoundException>().With.Message.Contains(Checkpoint.ConfigFile));
        File.WriteAllText(Path.Combine(_folder, Checkpoint.ConfigFile), "{}");
        Assert.That(() => Checkpoint.ReadConfig(_folder), Throws.TypeOf<InvalidDataException>().With.Message.Contains("has no 'model_cfg'"));
        File.WriteAllText(Path.Combine(_folder, Checkpoint.ConfigFile), "{");
        Assert.That(() => Checkpoint.ReadConfig(_folder), Throws.TypeOf<InvalidDataException>().With.Message.Contains("is no JSON"));
    }

    private ClipModel NewModel(ClipConfig config)
    {
        var model = new ClipModel(_device, config);
        Initialization.Apply(model.Parameters, config, InitializationScheme.Reference, seed: 3);
        return model;
    }
}
