using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class TokenEmbeddingTests
{
    /// <summary>One id everywhere crosses the chunks of 64 rows; few and many distinct ids.</summary>
    [Test]
    public void Matches_the_reference_and_its_gradients([Values(1, 4, 7, 13)] int batch, [Values(1, 11)] int sequence, [Values(1, 4, 50)] int distinct, [Values(1, 128, 129)] int width) =>
        Check(batch, sequence, distinct, width);

    /// <summary>Of one id, 8 rows of a chunk and 8 chunks are added at a time: so many, around that, and 19 chunks with columns for several rounds of a block.</summary>
    [TestCase(8, 1, 3)]
    [TestCase(56, 8, 2)]
    [TestCase(64, 8, 2)]
    [TestCase(52, 11, 2)]
    [TestCase(110, 11, 160)]
    public void An_id_of_many_chunks_gets_the_sum_of_all(int batch, int sequence, int width) => Check(batch, sequence, distinct: 1, width, vocabulary: 1);

    private static void Check(int batch, int sequence, int distinct, int width, int vocabulary = 50)
    {
        var random = new Random(3);
        int[] tokens = [.. Enumerable.Range(0, batch * sequence).Select(_ => vocabulary - 1 - random.Next(distinct))];
        new OpTest
        {
            Inputs = [OpInput.Parameter("table", [vocabulary, width]), OpInput.Parameter("positions", [sequence, width])],
            Op = (tape, t) => TokenEmbedding.Forward(tape, Place(tape, tokens, batch, sequence, vocabulary), t[0], t[1]),
            Reference = x => [.. tokens.SelectMany((id, i) => Enumerable.Range(0, width).Select(c => x[0][id * width + c] + x[1][i % sequence * width + c]))],
            OutputShape = [batch, sequence, width],
            ForwardTolerance = 6e-8, // one rounding
            GradientTolerance = 1e-5, // up to 1,210 rows of one id, in chunks of 64: sums of normal numbers stay below twice the largest result, (64 + 19)·2^-24 of that
        }.Run();
    }

    [Test]
    [OnEveryDevice]
    public void Tokens_for_forward_alone_have_no_backward()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        var tokens = new TokenBatch(1, 2, 9, owners: false, integers => tape.AllocateScratch(DataType.Int32, integers));
        tokens.Upload([1, 2]);
        var y = TokenEmbedding.Forward(tape, tokens, tape.Input(new float[9], 9, 1), tape.Input(new float[2], 2, 1));
        Assert.That(() => tape.Backward(y, 1, 1), Throws.InvalidOperationException.With.Message.Contains("for forward alone"));
    }

    private static TokenBatch Place(Tape tape, int[] tokens, int batch, int sequence, int vocabulary)
    {
        var place = new TokenBatch(batch, sequence, vocabulary, owners: true, integers => tape.AllocateScratch(DataType.Int32, integers));
        place.Upload(tokens);
        return place;
    }
}
