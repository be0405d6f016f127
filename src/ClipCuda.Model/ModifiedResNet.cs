using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>
/// CLIP's ResNet (Radford et al. 2021, section 2.4; OpenAI's clip/model.py, ModifiedResNet): a stem of three convolutions, bottleneck blocks whose
/// strides are average pools, and attention pooling in place of the last average. Activations lie channels last, [batch, height, width,
/// channels]. On a tape that does not record, each activation is given back when the last reader is done.
/// </summary>
internal sealed class ModifiedResNet(ParameterSet parameters, BatchNormStatistics statistics, VisionConfig config)
{
    /// <summary>A block's output is so many times as wide as its inside.</summary>
    public const int Expansion = 4;

    private const string Tower = "visual";

    /// <param name="pixels">[batch, 3, image size, image size].</param>
    /// <returns>[batch, embed dim].</returns>
    public Tensor Forward(Tape tape, Tensor pixels, bool training)
    {
        var x = Stem(tape, ChannelsLast.Forward(tape, pixels), training);
        int[] stages = config.Stages!.ToArray();
        for (int stage = 0; stage < stages.Length; stage++)
        {
            for (int block = 0; block < stages[stage]; block++)
                x = Block(tape, x, $"{Tower}.layer{stage + 1}.{block}", first: block == 0, halves: block == 0 && stage > 0, training);
        }
        return Pool(tape, x);
    }

    private Tensor Stem(Tape tape, Tensor x, bool training)
    {
        for (int i = 1; i <= 3; i++) x = Replace(x, Unit(tape, x, $"{Tower}.conv{i}", $"{Tower}.bn{i}", training, stride: i == 1 ? 2 : 1));
        return Replace(x, AveragePool.Forward(tape, x));

        Tensor Replace(Tensor read, Tensor made)
        {
            tape.Release(read);
            return made;
        }
    }

    private Tensor Block(Tape tape, Tensor x, string block, bool first, bool halves, bool training)
    {
        var narrow = Unit(tape, x, $"{block}.conv1", $"{block}.bn1", training);
        var wide = Unit(tape, narrow, $"{block}.conv2", $"{block}.bn2", training);
        tape.Release(narrow);
        var inside = halves ? AveragePool.Forward(tape, wide) : wide;
        var shortcut = halves ? AveragePool.Forward(tape, x) : x;
        var residual = first ? Unit(tape, shortcut, $"{block}.downsample.0", $"{block}.downsample.1", training, relu: false) : x;
        var y = Unit(tape, inside, $"{block}.conv3", $"{block}.bn3", training, residual);
        foreach (var read in new HashSet<Tensor> { x, wide, inside, shortcut, residual }) tape.Release(read);
        return y;
    }

    /// <summary>Convolution, batch norm, and what may follow: an addition and ReLU.</summary>
    private Tensor Unit(Tape tape, Tensor x, string convolution, string norm, bool training, Tensor? residual = null, bool relu = true, int stride = 1)
    {
        var (mean, variance) = statistics.Of(norm);
        var convolved = Convolution.Forward(tape, x, parameters[$"{convolution}.weight"], stride);
        var batchNorm = new BatchNormParameters(parameters[$"{norm}.weight"], parameters[$"{norm}.bias"], mean, variance);
        var y = BatchNorm.Forward(tape, convolved, batchNorm, training, residual, relu);
        tape.Release(convolved);
        return y;
    }

    /// <summary>The mean of all places asks all of them, and itself.</summary>
    private Tensor Pool(Tape tape, Tensor x)
    {
        Tensor Project(string part, Tensor of) =>
            Linear.Forward(tape, of, parameters[$"{Tower}.attnpool.{part}_proj.weight"], parameters[$"{Tower}.attnpool.{part}_proj.bias"]);

        var tokens = MeanToken.Forward(tape, x, parameters[$"{Tower}.attnpool.positional_embedding"]);
        var query = Project("q", GatherRows.First(tape, tokens));
        return Project("c", QueryAttention.Forward(tape, query, Project("k", tokens), Project("v", tokens), config.Heads));
    }
}
