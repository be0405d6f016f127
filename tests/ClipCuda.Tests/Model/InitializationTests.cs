using ClipCuda.Devices;
using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class InitializationTests
{
    private static readonly ClipConfig Config = new(64, new(32, 8, 96, 3, 3), new(20, 500, 64, 5, 2), QkvBias: true);
    private static readonly ClipConfig ResNet = Config with { Vision = VisionConfig.ResNet(64, 8, new(1, 1, 1, 1), heads: 4) };

    // Standard deviations; a uniform ±b has b/√3.
    [TestCase(InitializationScheme.Reference, "token_embedding.weight", 0.02)]
    [TestCase(InitializationScheme.Reference, "positional_embedding", 0.01)]
    [TestCase(InitializationScheme.Reference, "visual.positional_embedding", 0.01)]
    [TestCase(InitializationScheme.Reference, "visual.proj", 0.02)]
    [TestCase(InitializationScheme.Reference, "visual.conv1.weight", 0.07216878 / 1.7320508)]
    [TestCase(InitializationScheme.Reference, "visual.transformer.resblocks.1.attn.in_proj_weight", 0.10206207 / 1.7320508)]
    [TestCase(InitializationScheme.Reference, "transformer.resblocks.1.mlp.c_proj.weight", 0.0625 / 1.7320508)]
    [TestCase(InitializationScheme.Reference, "transformer.resblocks.1.mlp.c_fc.bias", 0.125 / 1.7320508)]
    [TestCase(InitializationScheme.TransformerScaled, "token_embedding.weight", 0.02)]
    [TestCase(InitializationScheme.TransformerScaled, "positional_embedding", 0.01)]
    [TestCase(InitializationScheme.TransformerScaled, "visual.positional_embedding", 0.10206207)]
    [TestCase(InitializationScheme.TransformerScaled, "text_projection", 0.125)]
    [TestCase(InitializationScheme.TransformerScaled, "visual.conv1.weight", 0.10206207)]
    [TestCase(InitializationScheme.TransformerScaled, "visual.transformer.resblocks.2.attn.in_proj_weight", 0.10206207)]
    [TestCase(InitializationScheme.TransformerScaled, "visual.transformer.resblocks.2.attn.out_proj.weight", 0.10206207 / 2.4494897)]
    [TestCase(InitializationScheme.TransformerScaled, "transformer.resblocks.4.mlp.c_proj.weight", 0.125 / 3.1622777)]
    [TestCase(InitializationScheme.TransformerScaled, "transformer.resblocks.4.mlp.c_fc.weight", 0.088388348)]
    public void The_spread_is_that_of_the_formula(InitializationScheme scheme, string name, double deviation)
    {
        float[] values = Draw(scheme, seed: 1, name);
        double mean = values.Average(), actual = Math.Sqrt(values.Average(v => (double)v * v));
        // Five standard errors of a normal sample's deviation and mean.
        Assert.That(actual, Is.EqualTo(deviation).Within(5 * deviation / Math.Sqrt(2 * values.Length)));
        Assert.That(mean, Is.Zero.Within(5 * deviation / Math.Sqrt(values.Length)));
    }

    [TestCase(InitializationScheme.Reference)]
    [TestCase(InitializationScheme.TransformerScaled)]
    public void A_parameter_that_is_drawn_in_pieces_is_one_stream(InitializationScheme scheme)
    {
        // 320,000 numbers, of the stream that has the first one.
        var config = Config with { Text = Config.Text with { VocabSize = 5000 } };
        float[] values = Draw(scheme, seed: 9, "token_embedding.weight", config);
        var streams = Enumerable.Range(0, 200).Select(index => new Philox(9, RandomPurpose.Initialization, index: (uint)index));
        var stream = streams.First(s => (float)(0.02 * s.Normal()) == values[0]);
        Assert.That(values.Skip(1), Is.EqualTo(Enumerable.Range(1, values.Length - 1).Select(_ => (float)(0.02 * stream.Normal()))));
    }

    [TestCase(InitializationScheme.Reference, "visual.ln_post.weight", 1f)]
    [TestCase(InitializationScheme.Reference, "ln_final.bias", 0f)]
    [TestCase(InitializationScheme.Reference, "logit_scale", 2.6592600f)]
    [TestCase(InitializationScheme.TransformerScaled, "logit_scale", 2.6592600f)]
    [TestCase(InitializationScheme.TransformerScaled, "transformer.resblocks.0.attn.in_proj_bias", 0f)]
    [TestCase(InitializationScheme.TransformerScaled, "transformer.resblocks.0.mlp.c_fc.bias", 0f)]
    public void Constants_are_constant(InitializationScheme scheme, string name, float value) => Assert.That(Draw(scheme, seed: 1, name), Is.All.EqualTo(value));

    // PyTorch's default of a convolution is uniform, ±1/√(in·kernel²); attention pooling is drawn with (32·width)^−½.
    [TestCase("visual.conv1.weight", 0.19245009 / 1.7320508)]
    [TestCase("visual.layer2.0.conv2.weight", 0.083333333 / 1.7320508)]
    [TestCase("visual.layer3.0.downsample.0.weight", 0.125 / 1.7320508)]
    [TestCase("visual.attnpool.k_proj.weight", 0.0625)]
    [TestCase("visual.attnpool.positional_embedding", 0.0625)]
    [TestCase("visual.attnpool.c_proj.bias", 0.0625 / 1.7320508)]
    public void A_resnet_is_drawn_as_openais(string name, double deviation)
    {
        float[] values = Draw(InitializationScheme.TransformerScaled, seed: 1, name, ResNet);
        Assert.That(Math.Sqrt(values.Average(v => (double)v * v)), Is.EqualTo(deviation).Within(5 * deviation / Math.Sqrt(2 * values.Length)));
        Assert.That(Draw(InitializationScheme.Reference, seed: 1, name, ResNet), Is.EqualTo(values));
    }

    [TestCase("visual.bn3.weight", 1f)]
    [TestCase("visual.layer1.0.bn2.weight", 1f)]
    [TestCase("visual.layer1.0.bn3.weight", 0f)]
    [TestCase("visual.layer4.0.downsample.1.weight", 1f)]
    [TestCase("visual.layer4.0.downsample.1.bias", 0f)]
    public void A_residual_block_begins_as_its_shortcut(string name, float value) =>
        Assert.That(Draw(InitializationScheme.TransformerScaled, seed: 1, name, ResNet), Is.All.EqualTo(value));

    [Test]
    public void A_seed_gives_the_same_numbers_and_another_seed_others()
    {
        const string Name = "visual.proj";
        float[] once = Draw(InitializationScheme.Reference, 7, Name);
        Assert.That(Draw(InitializationScheme.Reference, 7, Name), Is.EqualTo(once));
        Assert.That(Draw(InitializationScheme.Reference, 8, Name).Zip(once).Count(pair => pair.First == pair.Second), Is.LessThan(once.Length / 100));
        Assert.That(Draw(InitializationScheme.Reference, 7, "text_projection").Zip(once).Count(pair => pair.First == pair.Second), Is.LessThan(once.Length / 100));
    }

    private static float[] Draw(InitializationScheme scheme, int seed, string name, ClipConfig? config = null)
    {
        config ??= Config;
        using var device = Device.Open("cpu", 1);
        using var model = new ClipModel(device, config);
        Initialization.Apply(model.Parameters, config, scheme, seed);
        return model.Parameters[name].ToArray();
    }
}
