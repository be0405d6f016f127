using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>The whole model, tokenizer and preprocessing against numbers of PyTorch, OpenAI's code and Pillow (golden/README.md).</summary>
public sealed class VerificationTests
{
    private static readonly string Golden = Path.Combine(AppContext.BaseDirectory, "golden");

    [Test]
    public void Every_number_of_the_golden_folders_is_reached(
        [ValueSource(typeof(TestDevices), nameof(TestDevices.Names))] string engine, [Values("clip_demo_vit", "openai_vit", "openai_rn", ".")] string folder)
    {
        int lines = folder switch { "clip_demo_vit" => 121, "openai_vit" => 133, "openai_rn" => 181, _ => 19 };
        using var prepared = TestDevices.Prepare(engine);
        using var device = Device.Open(engine, 2);
        var verified = new Verification(device, Path.Combine(Golden, folder)).Run().ToArray();
        Assert.That(verified.Where(line => !line.Passed).Select(line => $"{line.Name}: {line.Error} > {line.Allowed}"), Is.Empty);
        Assert.That(verified, Has.Length.EqualTo(lines));
    }

    [TestCase(1.001f)]
    [TestCase(float.NaN)]
    public void One_changed_weight_fails(float factor)
    {
        using var copy = new FolderCopy(Path.Combine(Golden, "clip_demo_vit"));
        string path = Path.Combine(copy.Path, "weights.safetensors");
        var file = SafetensorsFile.Open(path);
        var tensors = file.Entries.ToDictionary(entry => entry.Name, entry => file.ReadFloats(entry.Name));
        tensors["visual.proj"][7] *= factor;
        SafetensorsFile.Write(path, [.. file.Entries.Select(entry => (entry.Name, entry.Shape, (Func<float[]>)(() => tensors[entry.Name])))]);
        using var device = Device.Open("cpu", 1);
        var failed = new Verification(device, copy.Path).Run().Where(line => !line.Passed).Select(line => line.Name);
        Assert.That(failed, Does.Contain("image_embeds").And.Not.Contain("text_embeds"));
    }

    /// <summary>Running statistics decide evaluation alone: a training step does not read them.</summary>
    [Test]
    public void One_changed_running_mean_fails_in_evaluation_only()
    {
        using var copy = new FolderCopy(Path.Combine(Golden, "openai_rn"));
        string path = Path.Combine(copy.Path, "weights.safetensors");
        var file = SafetensorsFile.Open(path);
        var tensors = file.Entries.ToDictionary(entry => entry.Name, entry => file.ReadFloats(entry.Name));
        tensors["visual.layer3.0.bn2.running_mean"][3] += 0.1f;
        SafetensorsFile.Write(path, [.. file.Entries.Select(entry => (entry.Name, entry.Shape, (Func<float[]>)(() => tensors[entry.Name])))]);
        using var device = Device.Open("cpu", 1);
        var failed = new Verification(device, copy.Path).Run().Where(line => !line.Passed).Select(line => line.Name);
        Assert.That(failed, Is.EqualTo(new[] { "eval_image_embeds", "eval_logits_per_image", "eval_loss" }));
    }

    [Test]
    public void One_changed_token_and_one_changed_pixel_fail()
    {
        using var copy = new FolderCopy(Golden);
        string tokens = Path.Combine(copy.Path, "tokens.jsonl"), pixels = Path.Combine(copy.Path, "pixels.safetensors");
        File.WriteAllText(tokens, File.ReadAllText(tokens).Replace("[320, 1125, 539", "[320, 1126, 539", StringComparison.Ordinal));
        byte[] bytes = File.ReadAllBytes(pixels);
        // The last number of the last image, moved by about one byte value: 1 / 255 / 0.276.
        BitConverter.TryWriteBytes(bytes.AsSpan()[^4..], BitConverter.ToSingle(bytes.AsSpan()[^4..]) + 0.0142f);
        File.WriteAllBytes(pixels, bytes);
        using var device = Device.Open("cpu", 1);
        var failed = new Verification(device, copy.Path).Run().Where(line => !line.Passed).Select(line => line.Name);
        Assert.That(failed, Is.EqualTo(new[] { "tokens.jsonl: texts whose ids differ", "pixels: exif_rotated.jpg, bytes" }));
    }

    [Test]
    public void A_folder_with_nothing_to_verify_is_refused()
    {
        using var device = Device.Open("cpu", 1);
        Assert.Multiple(() =>
        {
            Assert.That(() => new Verification(device, Path.Combine(Golden, "none")).Run(), Throws.TypeOf<DirectoryNotFoundException>());
            Assert.That(() => new Verification(device, Path.Combine(Golden, "pixels")).Run(), Throws.TypeOf<InvalidDataException>().With.Message.Contains("nothing to verify"));
        });
    }

    private sealed class FolderCopy : IDisposable
    {
        public FolderCopy(string source)
        {
            foreach (string file in Directory.EnumerateFiles(source, "*", SearchOption.AllDirectories))
            {
                string target = System.IO.Path.Combine(Path, System.IO.Path.GetRelativePath(source, file));
                Directory.CreateDirectory(System.IO.Path.GetDirectoryName(target)!);
                File.Copy(file, target);
            }
        }

        public string Path { get; } = Directory.CreateTempSubdirectory("clipcuda-").FullName;

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
