using System.Text.Json;
using ClipCuda.Model;

namespace ClipCuda.Tests.Cli;

public sealed class EmbedCommandTests
{
    private TrainedCheckpoint _trained = null!;

    [OneTimeSetUp]
    public void SetUp() => _trained = new TrainedCheckpoint();

    [OneTimeTearDown]
    public void TearDown() => _trained.Dispose();

    [Test]
    public void Embeds_images_and_captions_so_that_retrieval_with_them_is_what_evaluate_measures()
    {
        string images = _trained.Run.Folder.At("images.safetensors"), captions = _trained.Run.Folder.At("captions.safetensors");
        string[] source = ["--csv", _trained.Run.ValCsv, "--img-root", _trained.Run.Emoji];
        var ofImages = Embed([.. source, "-o", images]);
        Assert.That((ofImages.ExitCode, ofImages.Error), Is.EqualTo((0, "")));
        Assert.That(ofImages.Output, Does.Contain($"10 images embedded, 0 skipped: {images} [10, 16]"));
        Assert.That(Embed([.. source, "--captions", "-o", captions]).Output, Does.Contain("10 captions embedded"));
        float[] imageRows = SafetensorsFile.Open(images).ReadFloats("image_embeds"), captionRows = SafetensorsFile.Open(captions).ReadFloats("text_embeds");
        double Score(int image, int caption) => Enumerable.Range(0, 16).Sum(k => (double)imageRows[image * 16 + k] * captionRows[caption * 16 + k]);
        int first = Enumerable.Range(0, 10).Count(image => Enumerable.Range(0, 10).Count(caption => Score(image, caption) >= Score(image, image)) == 1);
        Assert.That(first / 10.0, Is.EqualTo(_trained.Evaluation.ImageToText.At1));
        string[] names = [.. File.ReadLines(images + ".jsonl").Select(line => JsonDocument.Parse(line).RootElement.GetProperty("image_path").GetString()!)];
        Assert.That(names.Select(Path.GetFileName), Is.EqualTo(File.ReadLines(_trained.Run.ValCsv).Skip(1).Select(line => Path.GetFileName(line.Split(',')[0]))));
        Assert.That(File.ReadLines(captions + ".jsonl").First(), Is.EqualTo("{\"caption\":\"1st place medal\"}"));
    }

    [Test]
    public void Goes_on_where_it_was_stopped_to_the_same_bytes()
    {
        for (int i = 0; i < 9; i++) _trained.Run.Folder.WriteImage($"many/{i}.png", 20 + i, 30, red: (byte)(25 * i));
        _trained.Run.Folder.Write("many/3.png", "no image");
        string[] source = ["--image-dir", _trained.Run.Folder.At("many"), "--batch-size", "2"];
        string whole = _trained.Run.Folder.At("whole.npy"), cut = _trained.Run.Folder.At("cut.npy");
        var first = Embed([.. source, "-o", whole]);
        Assert.That(first.Output, Does.Contain("Skipped: ").And.Contain("3.png").And.Contain("8 images embedded, 1 skipped"));
        Assert.That(Embed([.. source, "-o", cut]).ExitCode, Is.Zero);

        // As a run leaves it that was killed after its third batch: that batch's rows are there, its line is not.
        byte[] rows = File.ReadAllBytes(cut)[128..];
        File.Delete(cut);
        string header = _trained.Run.Folder.At("header.npy");
        Embed([.. source, "-o", header, "--strict"]).MustFail(1, "3.png");
        string books = File.ReadAllLines(header + ".partial.jsonl")[0];
        File.WriteAllBytes(cut + ".partial", rows[..(5 * 16 * 4)]);
        File.WriteAllText(cut + ".partial.jsonl", $"{books}\n{{\"Done\":2,\"Rows\":2,\"Skipped\":[]}}\n{{\"Done\":4,\"Rows\":3,\"Skipped\":[3]}}\n{{\"Done\":6,");
        var again = Embed([.. source, "-o", cut]);
        Assert.That((again.ExitCode, again.Error), Is.EqualTo((0, "")));
        Assert.That(again.Output, Does.Contain("Going on after 4 of 9").And.Contain("8 images embedded, 1 skipped"));
        Assert.That(File.ReadAllBytes(cut), Is.EqualTo(File.ReadAllBytes(whole)));
        Assert.That(File.ReadAllText(cut + ".jsonl"), Is.EqualTo(File.ReadAllText(whole + ".jsonl")));
    }

    [Test]
    public void Embeds_lines_of_a_file()
    {
        string output = _trained.Run.Folder.At("lines.npy");
        var run = Embed("--captions-file", _trained.Run.Folder.Write("lines.txt", "a cat\n\na dog, which is much longer than the context of this little model\n"), "-o", output);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Does.Contain("2 captions embedded").And.Contain("1 captions are too long"));
        Assert.That(new FileInfo(output).Length, Is.EqualTo(128 + 2 * 16 * 4));
    }

    [TestCase("-o a.npy", "--image-dir")]
    [TestCase("--csv a --captions-file b -o a.npy", "one of")]
    [TestCase("--image-dir a --captions -o a.npy", "--csv")]
    [TestCase("--image-dir a", "--output")]
    public void What_does_not_go_together_exits_with_2(string line, string says) => CommandLine.Run(["embed", .. line.Split(' ')]).MustFail(2, says);

    [Test]
    public void Bad_input_exits_with_1()
    {
        Embed("--image-dir", "nowhere", "-o", _trained.Run.Folder.At("a.npy")).MustFail(1, "nowhere");
        Embed("--image-dir", "nowhere", "-o", "a.txt").MustFail(1, ".safetensors");
        _trained.Run.Folder.Write("broken/a.png", "x");
        Embed("--image-dir", _trained.Run.Folder.At("broken"), "-o", _trained.Run.Folder.At("a.npy")).MustFail(1, "None of the 1 images");
    }

    private CommandLine Embed(params string[] args) => CommandLine.Run(["embed", "--checkpoint", _trained.Path, "--threads", "2", .. args]);
}
