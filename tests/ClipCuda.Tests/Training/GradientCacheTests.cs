using System.Numerics;
using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;
using ClipCuda.Tests.SoftCuda;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

public sealed class GradientCacheTests
{
    private const int Side = 20;

    private TinyRun _run = null!;

    [SetUp]
    public void SetUp() => _run = new TinyRun();

    [TearDown]
    public void TearDown() => _run.Dispose();

    /// <summary>Every tensor's gradient, the logit scale's among them, is that of one large batch within 2e-5 of the tensor's largest number: all that differs is in which order float32 sums are taken.</summary>
    [TestCase(8, 4, "cpu")]
    [TestCase(1, 7, "cpu")]
    [TestCase(5, 3, "cpu:check")]
    [TestCase(5, 3, "cuda")]
    public void Parts_give_the_gradients_of_the_whole(int part, int parts, string engine)
    {
        using var prepared = TestDevices.Prepare(engine);
        var (whole, loss) = Gradients(_run.Options("") with { BatchSize = part * parts }, engine);
        var (cached, cachedLoss) = Gradients(_run.Options("") with { BatchSize = part, AccumFreq = parts }, engine);
        Assert.That(cachedLoss.Loss, Is.EqualTo(loss.Loss).Within(2e-5 * loss.Loss));
        Assert.That(cachedLoss.LogitScale, Is.EqualTo(loss.LogitScale));
        Assert.That(whole, Contains.Key("logit_scale"));
        foreach (var (name, expected) in whole) Numbers.AssertClose(cached[name], [.. expected.Select(g => (double)g)], 2e-5, 0, name);
    }

    /// <summary>Captions of a batch are few and repeat; so with and without parts they leave each other's denominators.</summary>
    [Test]
    public void Equal_pairs_are_masked_across_parts()
    {
        var options = _run.Options("") with { BatchSize = 12, MaskDuplicates = true };
        var (whole, loss) = Gradients(options, "cpu", distinctCaptions: 5);
        var (cached, cachedLoss) = Gradients(options with { BatchSize = 4, AccumFreq = 3 }, "cpu:check", distinctCaptions: 5);
        var (_, unmasked) = Gradients(options with { MaskDuplicates = false }, "cpu", distinctCaptions: 5);
        Assert.That(loss.Loss, Is.LessThan(unmasked.Loss - 0.1));
        Assert.That(cachedLoss.Loss, Is.EqualTo(loss.Loss).Within(2e-5 * loss.Loss));
        foreach (var (name, expected) in whole) Numbers.AssertClose(cached[name], [.. expected.Select(g => (double)g)], 2e-5, 0, name);
    }

    [Test]
    public void A_locked_tower_has_no_gradients_and_those_of_the_other_are_the_same([Values] bool lockImage)
    {
        var options = _run.Options("") with { BatchSize = 4, AccumFreq = 3 };
        var (free, _) = Gradients(options, "cpu");
        var (locked, _) = Gradients(options with { LockImage = lockImage, LockText = !lockImage }, "cpu:check");
        Assert.That(locked.Keys.Where(name => name != "logit_scale"), Is.Not.Empty.And.All.Matches<string>(name => name!.StartsWith("visual.", StringComparison.Ordinal) != lockImage));
        foreach (var (name, gradient) in locked) Numbers.AssertSameBits(gradient, free[name], name);
    }

    /// <summary>The first part is called; the second is recorded, and run from the record as all others are, in two passes; so are the loss and the update from the second step on.</summary>
    [Test]
    public void Recorded_parts_have_the_bits_of_single_calls()
    {
        const int Steps = 3, Parts = 3;
        var options = _run.Options("") with { BatchSize = 4, AccumFreq = Parts, MaskDuplicates = true };
        using var cpu = Device.Open("cpu", 2);
        using var gpu = (SoftGpu?)TestDevices.Prepare("cuda"); // null: the machine's own
        using var cuda = Device.Open("cuda", 0);
        var recorded = RunSteps(cuda);
        if (gpu is not null) Assert.That((gpu.CallsOf("cuGraphLaunch"), gpu.CallsOf("cuStreamBeginCapture_v2")), Is.EqualTo((2 * (Parts * Steps - 1) + 2 * (Steps - 1), 4)));
        cuda.Profile = new DeviceProfile(); // then every launch is a call of its own
        var single = RunSteps(cuda);
        Assert.That(recorded.Results, Is.EqualTo(single.Results));
        Numbers.AssertSameBits(recorded.Weights, single.Weights, "weights");
        if (gpu is null) return;
        var onCpu = RunSteps(cpu);
        Assert.That(recorded.Results, Is.EqualTo(onCpu.Results));
        Numbers.AssertSameBits(recorded.Weights, onCpu.Weights, "weights");

        (StepResult[] Results, float[] Weights) RunSteps(Device device)
        {
            using var model = NewModel(device, options);
            using var step = new TrainingStep(model, options);
            var results = new StepResult[Steps];
            for (int i = 0; i < Steps; i++)
            {
                var (rgb, images, tokens) = Batch(options, seed: i);
                results[i] = step.Run(rgb, images, tokens, 1e-3f, [.. Enumerable.Range(0, images.Length)]);
            }
            Assert.That(step.RecordingRefusal, Is.Null);
            return (results, model.Parameters.Values.ToArray());
        }
    }

    /// <summary>The same parts in another order of memory: a step leaves nothing behind that the next one reads.</summary>
    [Test]
    public void Steps_allocate_nothing_once_they_have_met_their_sizes_and_free_all_in_the_end()
    {
        var options = _run.Options("") with { BatchSize = 3, AccumFreq = 2 };
        using var device = Device.Open("cpu", 2);
        using (var model = NewModel(device, options))
        using (var step = new TrainingStep(model, options))
        {
            for (int seed = 0; seed < 4; seed++) Run(step, seed);
            long allocations = device.Allocations;
            for (int seed = 4; seed < 8; seed++) Run(step, seed);
            Assert.That(device.Allocations, Is.EqualTo(allocations));
        }
        Assert.That(device.LiveBuffers, Is.Zero);

        void Run(TrainingStep step, int seed)
        {
            var (rgb, images, tokens) = Batch(options, seed);
            step.Run(rgb, images, tokens, 1e-3f);
        }
    }

    [Test]
    public void Memory_falls_with_the_parts()
    {
        var options = _run.Options("");
        Assert.That(Activations(options with { BatchSize = 16, AccumFreq = 8 }), Is.LessThan(Activations(options with { BatchSize = 128 }) / 3));

        // Of the step alone: without parameters, gradients and moments.
        static long Activations(TrainingOptions options) =>
            new MemoryEstimate(options, (Side, Side)).DeviceBytes(options.BatchSize) - 4 * sizeof(float) * new MemoryEstimate(options, (Side, Side)).Parameters;
    }

    [Test]
    public void Batch_norm_is_refused_with_the_reason()
    {
        var options = _run.Options("") with { AccumFreq = 2 };
        options = options with { Model = options.Model with { Vision = VisionConfig.ResNet(64, 8, new(1, 1, 1, 1), heads: 4) } };
        Assert.That(options.Validate, Throws.ArgumentException.With.Message.Contains("--accum-freq").And.Message.Contains("batch norm"));
        Assert.That((options with { LockImage = true }).Validate, Throws.Nothing);
        Assert.That((options with { AccumFreq = 1 }).Validate, Throws.Nothing);
    }

    /// <summary>
    /// The method itself, in float64 on two towers e = tanh(W·x) / ‖tanh(W·x)‖: parts against the derivative of the loss of the whole batch by the
    /// complex step Im f(w + i·h) / h, which for h = 1e-30 has no error but rounding (Squire, Trapp 1998).
    /// </summary>
    [TestCase(6, 1)]
    [TestCase(6, 2)]
    [TestCase(7, 7)]
    public void The_method_is_exact(int batch, int parts)
    {
        const int Inputs = 4, Width = 3;
        var random = new Random(batch + parts);
        double[][] inputs = [Draw(batch * Inputs), Draw(batch * Inputs)], weights = [Draw(Width * Inputs), Draw(Width * Inputs)];
        double logScale = 0.7;

        double[][] embeddings = [Embed(0), Embed(1)];
        var (embeddingGradients, scaleGradient) = LossGradients(embeddings[0], embeddings[1], logScale, batch);
        double[][] gradients = [new double[Width * Inputs], new double[Width * Inputs]];
        for (int tower = 0; tower < 2; tower++)
        {
            for (int part = 0; part < parts; part++)
            {
                for (int row = part * batch / parts; row < (part + 1) * batch / parts; row++) AddRowGradient(tower, row);
            }
        }

        double largest = gradients.SelectMany(g => g).Max(Math.Abs);
        for (int tower = 0; tower < 2; tower++)
        {
            for (int i = 0; i < gradients[tower].Length; i++) Assert.That(gradients[tower][i], Is.EqualTo(Derivative(tower, i)).Within(1e-9 * largest), $"tower {tower}, weight {i}");
        }
        Assert.That(scaleGradient, Is.EqualTo(Derivative(tower: 2, 0)).Within(1e-9 * Math.Abs(scaleGradient)));

        double[] Draw(int count) => [.. Enumerable.Range(0, count).Select(_ => (double)Numbers.Normal(random))];

        double[] Embed(int tower) => [.. EmbedComplex([.. weights[tower].Select(w => (Complex)w)], inputs[tower]).Select(e => e.Real)];

        // y = tanh(W·x), e = y/‖y‖: dy = (g − e·⟨e, g⟩) / ‖y‖, dW += (dy ∘ (1 − y²)) xᵀ
        void AddRowGradient(int tower, int row)
        {
            double[] x = inputs[tower][(row * Inputs)..((row + 1) * Inputs)], g = embeddingGradients[tower][(row * Width)..((row + 1) * Width)], e = embeddings[tower][(row * Width)..((row + 1) * Width)];
            double[] y = [.. Enumerable.Range(0, Width).Select(o => Math.Tanh(Enumerable.Range(0, Inputs).Sum(i => weights[tower][o * Inputs + i] * x[i])))];
            double length = Math.Sqrt(y.Sum(v => v * v)), along = e.Zip(g).Sum(pair => pair.First * pair.Second);
            for (int o = 0; o < Width; o++)
            {
                double dy = (g[o] - e[o] * along) / length * (1 - y[o] * y[o]);
                for (int i = 0; i < Inputs; i++) gradients[tower][o * Inputs + i] += dy * x[i];
            }
        }

        double Derivative(int tower, int weight)
        {
            const double Step = 1e-30;
            Complex[][] moved = [[.. weights[0].Select(w => (Complex)w)], [.. weights[1].Select(w => (Complex)w)]];
            Complex scale = logScale;
            if (tower == 2) scale += new Complex(0, Step);
            else moved[tower][weight] += new Complex(0, Step);
            return Loss(EmbedComplex(moved[0], inputs[0]), EmbedComplex(moved[1], inputs[1]), scale, batch).Imaginary / Step;
        }

        Complex[] EmbedComplex(Complex[] w, double[] x)
        {
            var e = new Complex[batch * Width];
            for (int row = 0; row < batch; row++)
            {
                Complex squares = 0;
                for (int o = 0; o < Width; o++)
                {
                    Complex sum = 0;
                    for (int i = 0; i < Inputs; i++) sum += w[o * Inputs + i] * x[row * Inputs + i];
                    e[row * Width + o] = Complex.Tanh(sum);
                    squares += e[row * Width + o] * e[row * Width + o];
                }
                for (int o = 0; o < Width; o++) e[row * Width + o] /= Complex.Sqrt(squares);
            }
            return e;
        }
    }

    private static Complex Loss(Complex[] image, Complex[] text, Complex logScale, int batch)
    {
        int width = image.Length / batch;
        Complex loss = 0;
        for (int i = 0; i < batch; i++)
        {
            Complex row = 0, column = 0;
            for (int j = 0; j < batch; j++)
            {
                row += Complex.Exp(Logit(i, j));
                column += Complex.Exp(Logit(j, i));
            }
            loss += (Complex.Log(row) + Complex.Log(column) - 2 * Logit(i, i)) / (2 * batch);
        }
        return loss;

        Complex Logit(int i, int j)
        {
            Complex sum = 0;
            for (int d = 0; d < width; d++) sum += image[i * width + d] * text[j * width + d];
            return Complex.Exp(logScale) * sum;
        }
    }

    /// <summary>D = (softmax over rows + softmax over columns − 2·1) / 2B; dimage = s·D·text, dtext = s·Dᵀ·image, dlog s = Σ D ∘ logits.</summary>
    private static (double[][] Embeddings, double LogScale) LossGradients(double[] image, double[] text, double logScale, int batch)
    {
        int width = image.Length / batch;
        double scale = Math.Exp(logScale), dscale = 0;
        var logits = new double[batch, batch];
        double[] rows = new double[batch], columns = new double[batch];
        for (int i = 0; i < batch; i++)
        {
            for (int j = 0; j < batch; j++)
            {
                for (int d = 0; d < width; d++) logits[i, j] += scale * image[i * width + d] * text[j * width + d];
                rows[i] += Math.Exp(logits[i, j]);
                columns[j] += Math.Exp(logits[i, j]);
            }
        }
        double[] dimage = new double[image.Length], dtext = new double[text.Length];
        for (int i = 0; i < batch; i++)
        {
            for (int j = 0; j < batch; j++)
            {
                double dlogit = (Math.Exp(logits[i, j]) * (1 / rows[i] + 1 / columns[j]) - (i == j ? 2 : 0)) / (2 * batch);
                dscale += dlogit * logits[i, j];
                for (int d = 0; d < width; d++)
                {
                    dimage[i * width + d] += scale * dlogit * text[j * width + d];
                    dtext[j * width + d] += scale * dlogit * image[i * width + d];
                }
            }
        }
        return ([dimage, dtext], dscale);
    }

    /// <summary>The gradients of every trained parameter for one batch of <see cref="TrainingOptions.SamplesPerStep"/> pairs.</summary>
    private static (Dictionary<string, float[]> Gradients, (float Loss, float LogitScale) Result) Gradients(TrainingOptions options, string engine, int distinctCaptions = int.MaxValue)
    {
        using var device = Device.Open(engine, 2);
        using var model = NewModel(device, options);
        using var tape = new Tape(device);
        using var preprocess = new Preprocess(device, options.Model.Vision.ImageSize, Preprocess.ClipMean, Preprocess.ClipDeviation);
        var (rgb, images, tokens) = Batch(options, seed: 1);
        int context = options.Model.Text.ContextLength;
        for (int i = distinctCaptions; i < images.Length; i++) tokens.AsSpan((i - distinctCaptions) * context, context).CopyTo(tokens.AsSpan(i * context));
        (float, float) result;
        if (options.AccumFreq > 1)
        {
            using var report = new LossReport(model, tape);
            using var cache = new GradientCache(model, options, tape, preprocess, report);
            using var norm = new GradientNorm(model.Parameters);
            cache.ForwardAndBackward(rgb, images, tokens);
            norm.Compute(options.GradClipNorm);
            report.Keep(norm);
            var (loss, scale, _) = report.Read();
            result = (loss, scale);
        }
        else
        {
            int[]? keys = options.MaskDuplicates ? PairKeys.Of([], tokens, images.Length) : null;
            var image = model.EncodeImage(tape, PixelInput.Run(tape, preprocess, rgb, images, options.Model.Vision.ImageSize, options.Fit), training: true);
            var loss = ClipLoss.Forward(tape, image, model.EncodeText(tape, tokens, images.Length), model.LogitScale, keys is null ? null : tape.Input(keys, 2, images.Length));
            result = (loss.ToArray()[0], model.LogitScale.ToArray()[0]);
            tape.Backward(loss, 1f);
        }
        return (model.Parameters.Names.Where(name => model.Parameters[name].Gradient is not null).ToDictionary(name => name, name => model.Parameters[name].Gradient!.ToArray()), result);
    }

    private static ClipModel NewModel(Device device, TrainingOptions options)
    {
        var model = new ClipModel(device, options.Model, options.WeightDecayScope, options.Frozen);
        Initialization.Apply(model.Parameters, options.Model, options.Initialization, seed: 5);
        return model;
    }

    /// <summary>Noise for pixels, one image behind the other, and captions of random words and lengths.</summary>
    private static (byte[] Rgb, ImageSlot[] Images, int[] Tokens) Batch(TrainingOptions options, int seed)
    {
        int batch = options.SamplesPerStep, context = options.Model.Text.ContextLength;
        var random = new Random(seed);
        byte[] rgb = new byte[batch * Side * Side * 3];
        random.NextBytes(rgb);
        ImageSlot[] images = [.. Enumerable.Range(0, batch).Select(i => new ImageSlot(i * Side * Side * 3, Side, Side, 1, 2, Side - 2, Side - 3))];
        int[] tokens = new int[batch * context];
        for (int caption = 0; caption < batch; caption++)
        {
            var ids = tokens.AsSpan(caption * context, context);
            int words = 1 + random.Next(context - 2);
            ids[0] = 49406;
            for (int i = 1; i <= words; i++) ids[i] = random.Next(1000);
            ids[words + 1] = 49407;
        }
        return (rgb, images, tokens);
    }
}
