using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Model;

/// <summary>How the ResNet tower behaves; its numbers and gradients are held against OpenAI's code by <see cref="Training.VerificationTests"/>.</summary>
public sealed class ModifiedResNetTests
{
    private const int Batch = 3, Size = 64;

    private static readonly ClipConfig Config = new(12, VisionConfig.ResNet(Size, 6, new(2, 1, 1, 2), heads: 3), new(9, 23, 10, 1, 2), QkvBias: true);

    [Test]
    public void Training_counts_batches_and_moves_statistics_and_evaluation_does_neither()
    {
        using var device = Device.Open("cpu", 2);
        using var model = NewModel(device);
        using var tape = new Tape(device);
        var pixels = tape.Input(Pixels(), Batch, 3, Size, Size);
        model.EncodeImage(tape, pixels);
        Assert.That(model.Statistics.BatchesTracked.Values, Is.All.Zero);
        foreach (string name in model.Statistics.Names) Assert.That(model.Statistics[name].ToArray(), Is.All.EqualTo(Fresh(name)), name);
        model.EncodeImage(tape, pixels, training: true);
        model.CountBatch();
        Assert.That(model.Statistics.BatchesTracked.Values, Is.All.EqualTo(1));
        foreach (string name in model.Statistics.Names) Assert.That(model.Statistics[name].ToArray(), Has.None.EqualTo(Fresh(name)), name);

        static float Fresh(string name) => name.EndsWith("mean", StringComparison.Ordinal) ? 0 : 1;
    }

    /// <summary>What open_clip's --lock-image does: a frozen tower's batch norms are constants.</summary>
    [Test]
    public void A_locked_tower_trains_by_its_running_statistics_and_leaves_them()
    {
        using var device = Device.Open("cpu", 2);
        using var model = new ClipModel(device, Config, frozen: FrozenParts.Image);
        Initialization.Apply(model.Parameters, Config, InitializationScheme.TransformerScaled, seed: 1);
        foreach (string name in model.Statistics.Names) model.Statistics[name].Upload([.. Enumerable.Range(0, (int)model.Statistics[name].Elements).Select(i => 1 + 0.01f * i)]);
        var before = model.Statistics.Names.ToDictionary(name => name, name => model.Statistics[name].ToArray());
        using var tape = new Tape(device);
        var pixels = tape.Input(Pixels(), Batch, 3, Size, Size);
        float[] evaluated = model.EncodeImage(tape, pixels).ToArray(), trained = model.EncodeImage(tape, pixels, training: true).ToArray();
        model.CountBatch();
        Numbers.AssertSameBits(trained, evaluated, "embeddings");
        foreach (var (name, values) in before) Numbers.AssertSameBits(model.Statistics[name].ToArray(), values, name);
        Assert.That(model.Statistics.BatchesTracked.Values, Is.All.Zero);
    }

    [Test]
    public void In_evaluation_an_image_does_not_depend_on_its_batch()
    {
        using var device = Device.Open("cpu", 2);
        using var model = NewModel(device);
        using var tape = new Tape(device, recording: false);
        float[] pixels = Pixels();
        float[] all = model.EncodeImage(tape, tape.Input(pixels, Batch, 3, Size, Size)).ToArray();
        float[] first = model.EncodeImage(tape, tape.Input(pixels.AsSpan(0, 3 * Size * Size), 1, 3, Size, Size)).ToArray();
        // Not to the bit: a matrix product of other sizes may split its sums elsewhere.
        Numbers.AssertClose(first, Array.ConvertAll(all[..Config.EmbedDim], v => (double)v), 1e-5, 0, "embedding");
    }

    [Test]
    public void A_tape_that_does_not_record_gives_the_same_bits_in_less_memory()
    {
        using var device = Device.Open("cpu", 2);
        using var model = NewModel(device);
        long empty = device.LiveBytes;
        (float[] Embeddings, long Bytes) Run(bool recording)
        {
            using var tape = new Tape(device, recording);
            float[] embeddings = model.EncodeImage(tape, tape.Input(Pixels(), Batch, 3, Size, Size)).ToArray();
            return (embeddings, device.LiveBytes - empty);
        }

        var (recorded, most) = Run(recording: true);
        var (plain, least) = Run(recording: false);
        Numbers.AssertSameBits(plain, recorded, "embeddings");
        Assert.That(least, Is.LessThan(most / 1.5));
    }

    [Test]
    public void Every_parameter_gets_the_same_gradient_whatever_the_engine()
    {
        Dictionary<string, float[]>? first = null;
        foreach (string engine in (string[])["cpu", "cpu:check", "cpu:128"])
        {
            using var device = Device.Open(engine, 2);
            using var model = NewModel(device);
            using (var tape = new Tape(device))
            {
                var image = model.EncodeImage(tape, tape.Input(Pixels(), Batch, 3, Size, Size), training: true);
                tape.Backward(image, [.. Enumerable.Range(0, (int)image.Elements).Select(i => MathF.Sin(i))]);
            }
            var gradients = model.Parameters.Names.Where(name => name.StartsWith("visual.", StringComparison.Ordinal)).ToDictionary(name => name, name => model.Parameters[name].Gradient!.ToArray());
            first ??= gradients;
            foreach (var (name, gradient) in gradients)
            {
                Assert.That(gradient, Has.Some.Not.EqualTo(0f), name);
                Numbers.AssertSameBits(gradient, first[name], $"{name} on {engine}");
            }
        }
    }

    private static ClipModel NewModel(Device device)
    {
        var model = new ClipModel(device, Config);
        Initialization.Apply(model.Parameters, Config, InitializationScheme.TransformerScaled, seed: 4);
        // Blocks begin as their shortcuts, through which nothing reaches what is beside them.
        foreach (string name in model.Parameters.Names.Where(name => name.EndsWith("bn3.weight", StringComparison.Ordinal)))
            model.Parameters[name].Upload([.. Enumerable.Repeat(0.5f, model.Parameters[name].Width)]);
        return model;
    }

    private static float[] Pixels()
    {
        var random = new Random(11);
        return [.. Enumerable.Range(0, Batch * 3 * Size * Size).Select(_ => Numbers.Normal(random))];
    }
}
