using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Model;

public sealed class PretrainedWeightsTests : FolderTests
{
    [Test]
    public void An_open_clip_folder_a_file_in_it_and_a_file_alone_give_the_same_weights()
    {
        string folder = OpenClipFolder();
        foreach (string path in new[] { folder, Path.Combine(folder, "open_clip_model.safetensors") })
        {
            using var weights = PretrainedWeights.Open(path);
            Assert.That((weights.Config, weights.Folder), Is.EqualTo((GoldenWeights.Config, folder)));
            AssertGolden(weights);
        }
        using var alone = PretrainedWeights.Open(GoldenWeights.Path, quickGelu: true);
        Assert.That((alone.Config, alone.Folder), Is.EqualTo((GoldenWeights.Config, (string?)null)));
        AssertGolden(alone);
    }

    [Test]
    public void A_Hugging_Face_folder_gives_the_same_weights([Values] bool nested, [Values] bool counters)
    {
        string folder = HuggingFaceFolder(tensors =>
        {
            if (counters) tensors["text_model.embeddings.position_ids"] = ([1, 12], new float[12]);
            if (!nested) return;
            foreach (string name in tensors.Keys.ToArray())
            {
                string tower = name[..(name.IndexOf('.') + 1)];
                if (tower is not ("text_model." or "vision_model.")) continue;
                tensors.Add(tower + name, tensors[name]);
                tensors.Remove(name);
            }
        });
        using var weights = PretrainedWeights.Open(folder);
        Assert.That(weights.Config, Is.EqualTo(GoldenWeights.Config));
        AssertGolden(weights);
    }

    [Test]
    public void A_Hugging_Face_model_computes_what_OpenAIs_code_does()
    {
        using var device = Device.Open("cpu", 1);
        using var model = Checkpoint.Load(device, HuggingFaceFolder(_ => { }));
        using var tape = new ClipCuda.Ops.Tape(device, recording: false);
        using var io = SafetensorsFile.Open(Path.Combine(Path.GetDirectoryName(GoldenWeights.Path)!, "io.safetensors"));
        var pixels = tape.Input(io.ReadFloats("pixels"), io["pixels"].Shape);
        // The tolerance of `verify` for embeddings: 1e-5 of the largest magnitude.
        double[] expected = [.. io.ReadFloats("image_embeds").Select(value => (double)value)];
        Numbers.AssertClose(model.EncodeImage(tape, pixels).ToArray(), expected, 1e-5, 0, "image_embeds");
    }

    [Test]
    public void Half_precision_files_load_widened()
    {
        string path = Folder.At("half.safetensors");
        var golden = GoldenWeights.Read(GoldenWeights.Path);
        SafetensorsFile.Write(path, [.. golden.Select(tensor => new WeightTensor(tensor.Key, "F16", tensor.Value.Shape, take =>
            take(System.Runtime.InteropServices.MemoryMarshal.AsBytes(tensor.Value.Values.Select(value => (Half)value).ToArray().AsSpan()))))]);
        using var device = Device.Open("cpu", 1);
        using var model = new ClipModel(device, GoldenWeights.Config);
        using var weights = PretrainedWeights.Open(path, quickGelu: true);
        weights.LoadInto(model);
        foreach (string name in model.Parameters.Names) Numbers.AssertSameBits(model.Parameters[name].ToArray(), [.. golden[name].Values.Select(value => (float)(Half)value)], name);
    }

    [Test]
    public void A_missing_and_an_extra_tensor_are_named_as_the_file_names_them()
    {
        Refuse(HuggingFaceFolder(tensors => tensors.Remove("text_model.encoder.layers.1.self_attn.k_proj.bias")), "model.safetensors", "lacks 1 tensor: text_model.encoder.layers.1.self_attn.k_proj.bias.");
        Refuse(HuggingFaceFolder(tensors => tensors.Add("classifier.weight", ([1], [1]))), "holds 1 tensor: classifier.weight, which this model does not have");
        Refuse(HuggingFaceFolder(tensors => tensors["visual_projection.weight"] = ([64, 32], new float[64 * 32])), "holds 'visual_projection.weight' of shape [32, 64], the model's is [64, 32]");
        Refuse(HuggingFaceFolder(tensors => tensors.Add("text_model.text_model.final_layer_norm.bias", ([64], new float[64]))), "twice, with and without the inner name");
    }

    [Test]
    public void Another_activation_is_named()
    {
        string folder = HuggingFaceFolder(_ => { });
        File.WriteAllText(Path.Combine(folder, "config.json"), GoldenWeights.HuggingFaceConfig.Replace("quick_gelu", "gelu", StringComparison.Ordinal));
        using var weights = PretrainedWeights.Open(folder);
        Assert.That(() => weights.RequireFit(GoldenWeights.Config), Throws.TypeOf<InvalidDataException>().With.Message.Contains("quick_gelu false (the model: true)").And.Message.Contains(folder));
    }

    [Test]
    public void What_differs_from_the_model_is_named()
    {
        using var weights = PretrainedWeights.Open(GoldenWeights.Path, quickGelu: true);
        var (config, vision) = (GoldenWeights.Config, GoldenWeights.Config.Vision);
        Differs(config with { Vision = vision with { LnPre = false } }, "vision_cfg.no_ln_pre false (the model: true)");
        Differs(config with { Vision = vision with { Layers = 3 }, EmbedDim = 16 }, "embed_dim 32 (the model: 16), vision_cfg.layers 2 (the model: 3)");
        Differs(config with { Vision = vision with { Heads = 2 } }, "vision_cfg.head_width 64 (the model: 32)");
        Differs(config with { QkvBias = false }, "qkv_bias true (the model: false)");
        Differs(config with { Text = config.Text with { VocabSize = 201 } }, "text_cfg.vocab_size 200 (the model: 201)");
        Assert.That(() => weights.RequireFit(config with { Vision = vision with { ImageSize = 64 }, Text = config.Text with { ContextLength = 20 } }), Throws.Nothing);

        using var device = Device.Open("cpu", 1);
        using var larger = new ClipModel(device, config with { Vision = vision with { ImageSize = 64 } });
        Assert.That(() => weights.LoadInto(larger), Throws.TypeOf<InvalidDataException>().With.Message.Contains("vision_cfg.image_size 48 (the model: 64)"));

        void Differs(ClipConfig model, string says) => Assert.That(() => weights.RequireFit(model), Throws.TypeOf<InvalidDataException>().With.Message.Contains($"has {says};"));
    }

    [Test]
    public void Other_sizes_are_fitted_and_a_line_says_how()
    {
        using var device = Device.Open("cpu", 1);
        using var weights = PretrainedWeights.Open(GoldenWeights.Path, quickGelu: true);
        var config = GoldenWeights.Config with { Vision = GoldenWeights.Config.Vision with { ImageSize = 80 }, Text = GoldenWeights.Config.Text with { ContextLength = 15 } };
        using var model = new ClipModel(device, config);
        Initialization.Apply(model.Parameters, config, InitializationScheme.TransformerScaled, seed: 5);
        float[] fresh = model.Parameters["positional_embedding"].ToArray();
        Assert.That(weights.FitInto(model), Is.EqualTo(new[] { "Positions of captions: 12 are kept, 3 more start afresh", "Positions of images: resized from 3×3 to 5×5 patches (bicubic)" }));
        var golden = GoldenWeights.Read(GoldenWeights.Path);
        Numbers.AssertSameBits(model.Parameters["positional_embedding"].ToArray(), [.. golden["positional_embedding"].Values, .. fresh.AsSpan(12 * 64)], "text positions");
        float[] old = golden["visual.positional_embedding"].Values;
        Numbers.AssertSameBits(model.Parameters["visual.positional_embedding"].ToArray(), [.. old.AsSpan(0, 64), .. PositionalEmbedding.ResizeGrid(old.AsSpan(64), 3, 5, 64)], "image positions");
        Numbers.AssertSameBits(model.Parameters["visual.proj"].ToArray(), golden["visual.proj"].Values, "the rest");

        using var shorter = new ClipModel(device, config with { Text = config.Text with { ContextLength = 7 } });
        Assert.That(weights.FitInto(shorter)[0], Is.EqualTo("Positions of captions: the first 7 of 12 are kept"));
        Numbers.AssertSameBits(shorter.Parameters["positional_embedding"].ToArray(), golden["positional_embedding"].Values.AsSpan(0, 7 * 64), "text positions");
    }

    [Test]
    public void A_preparation_of_images_that_is_not_CLIPs_is_refused()
    {
        string folder = OpenClipFolder();
        Rewrite(Path.Combine(folder, "open_clip_config.json"), "0.48145466", "0.5", () => Refuse(folder, "open_clip_config.json", "'preprocess_cfg.mean' is [0.5,", "CLIP's"));
        Rewrite(Path.Combine(folder, "open_clip_config.json"), "\"std\"", "\"resize_mode\": \"squash\", \"std\"", () => Refuse(folder, "'preprocess_cfg.resize_mode' is 'squash'"));
        string hugging = HuggingFaceFolder(_ => { });
        foreach (var (text, says) in new[]
        {
            ("""{"image_std": [0.5, 0.5, 0.5]}""", "'image_std' is [0.5, 0.5, 0.5]"), ("""{"do_center_crop": false}""", "'do_center_crop' is false"), ("""{"resample": 2}""", "'resample' must be 3"), ("[]", "holds no object"),
        })
        {
            File.WriteAllText(Path.Combine(hugging, "preprocessor_config.json"), text);
            Refuse(hugging, "preprocessor_config.json", says);
        }
    }

    [Test]
    public void A_folder_without_weights_says_what_it_lacks_and_that_pickles_are_not_read()
    {
        Refuse(Folder.Path, "holds neither open_clip_config.json and open_clip_model.safetensors (open_clip) nor config.json and model.safetensors (Hugging Face)");
        Folder.Write("pytorch_model.bin", "x");
        Folder.Write("config.json", GoldenWeights.HuggingFaceConfig);
        Refuse(Folder.Path, "'pytorch_model.bin' is a PyTorch pickle", "get the weights as safetensors");
        Assert.That(() => PretrainedWeights.Open(Folder.At("none")), Throws.TypeOf<FileNotFoundException>().With.Message.Contains("none"));
    }

    private static void Refuse(string path, params string[] says)
    {
        var error = Assert.Throws<InvalidDataException>(() => PretrainedWeights.Open(path).Dispose());
        foreach (string part in says) Assert.That(error!.Message, Does.Contain(part));
    }

    private static void Rewrite(string path, string from, string to, Action then)
    {
        string text = File.ReadAllText(path);
        Assert.That(text, Does.Contain(from));
        File.WriteAllText(path, text.Replace(from, to, StringComparison.Ordinal));
        then();
        File.WriteAllText(path, text);
    }

    private static void AssertGolden(PretrainedWeights weights)
    {
        var golden = GoldenWeights.Read(GoldenWeights.Path);
        Assert.That(weights.Tensors.Select(tensor => tensor.Name), Is.EqualTo(ParameterNames.Of(GoldenWeights.Config, WeightDecayScope.All).Select(spec => spec.Name)));
        foreach (var tensor in weights.Tensors)
        {
            Assert.That(tensor.Shape, Is.EqualTo(golden[tensor.Name].Shape), tensor.Name);
            Numbers.AssertSameBits(tensor.ToFloats(), golden[tensor.Name].Values, tensor.Name);
        }
    }

    private string OpenClipFolder()
    {
        Folder.Write("open_clip/open_clip_config.json", GoldenWeights.OpenClipConfig);
        File.Copy(GoldenWeights.Path, Folder.At("open_clip/open_clip_model.safetensors"), overwrite: true);
        return Folder.At("open_clip");
    }

    private string HuggingFaceFolder(Action<Dictionary<string, (int[] Shape, float[] Values)>> change)
    {
        Folder.Write("hf/config.json", GoldenWeights.HuggingFaceConfig);
        var tensors = GoldenWeights.AsHuggingFace();
        change(tensors);
        GoldenWeights.Write(Folder.At("hf/model.safetensors"), tensors);
        return Folder.At("hf");
    }
}
