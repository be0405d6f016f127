using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>A model with what it takes to embed image files and captions: preprocessing, tokenizer, and the memory of activations.</summary>
public sealed class Embedder : IDisposable
{
    private readonly ClipModel _model;
    private readonly ClipTokenizer _tokenizer;
    private readonly bool _owns;

    /// <param name="model">Stays the caller's.</param>
    /// <exception cref="ArgumentException">The model's vocabulary is smaller than the tokenizer's.</exception>
    public Embedder(ClipModel model, ClipTokenizer tokenizer)
        : this(
            model, tokenizer, new Tape(model.Parameters.Device, recording: false),
            new Preprocess(model.Parameters.Device, model.Config.Vision.ImageSize, Preprocess.ClipMean, Preprocess.ClipDeviation)) => _owns = true;

    /// <param name="tape">Stays the caller's, and so does the preprocessing; nothing else may be on it.</param>
    /// <inheritdoc cref="Embedder(ClipModel, ClipTokenizer)"/>
    internal Embedder(ClipModel model, ClipTokenizer tokenizer, Tape tape, Preprocess preprocess)
    {
        if (model.Config.Text.VocabSize < tokenizer.VocabularySize)
            throw new ArgumentException($"The model's vocabulary of {model.Config.Text.VocabSize} is smaller than the tokenizer's {tokenizer.VocabularySize}; it was not trained on CLIP's tokens.");
        (_model, _tokenizer, Tape, Preprocess) = (model, tokenizer, tape, preprocess);
        LogitScale = MathF.Exp(model.LogitScale.ToArray()[0]);
    }

    public Tape Tape { get; }

    public Preprocess Preprocess { get; }

    /// <summary>Numbers of an embedding.</summary>
    public int Width => _model.Config.EmbedDim;

    /// <summary>What similarities are multiplied with before a softmax.</summary>
    public float LogitScale { get; }

    /// <summary>Captions that were longer than the context and lost their tail, so far.</summary>
    public int TruncatedCaptions { get; private set; }

    /// <summary>Embeds a batch of decoded images, whole: [count, <see cref="Width"/>], rows of unit length.</summary>
    /// <param name="name">Names image i of the batch in an error.</param>
    /// <exception cref="NotFiniteNumberException">An embedding is not finite.</exception>
    public float[] Images(HostBatch batch, Func<int, string> name)
    {
        if (batch.Count == 0) return [];
        var pixels = PixelInput.Run(Tape, Preprocess, batch.Rgb, batch.Images, _model.Config.Vision.ImageSize, ImageFit.Centre);
        return Take(_model.EncodeImage(Tape, pixels), name);
    }

    /// <summary>Embeds captions as one batch: [count, <see cref="Width"/>], rows of unit length.</summary>
    /// <exception cref="NotFiniteNumberException">An embedding is not finite; the message names the caption.</exception>
    public float[] Captions(IReadOnlyList<string> captions)
    {
        int context = _model.Config.Text.ContextLength;
        int[] tokens = new int[captions.Count * context];
        TruncatedCaptions += _tokenizer.EncodeCaptions(captions, context, tokens);
        return Take(_model.EncodeText(Tape, tokens, captions.Count), i => $"'{captions[i]}'");
    }

    /// <summary>Similarities [images, classes] of embeddings: products of their rows.</summary>
    public float[] Similarities(ReadOnlySpan<float> images, ReadOnlySpan<float> classes)
    {
        int rows = images.Length / Width, columns = classes.Length / Width;
        if (rows == 0) return [];
        var (left, right) = (Tape.Input(images, rows, Width), Tape.Input(classes, columns, Width));
        var scores = Tape.AllocateScratch(DataType.Float32, rows, columns);
        Tape.Device.Gemm(new GemmCall(rows, columns, Width, new(left.Data, Width), new(right.Data, Width, Transposed: true), new(scores.Data, columns)));
        float[] values = scores.ToArray();
        Tape.Reset();
        return values;
    }

    public void Dispose()
    {
        if (!_owns) return;
        Preprocess.Dispose();
        Tape.Dispose();
    }

    /// <summary>Copies embeddings to the host.</summary>
    /// <param name="name">Names row i in the error.</param>
    /// <exception cref="NotFiniteNumberException">One is not finite.</exception>
    internal static float[] Read(Tensor embeddings, Func<int, string> name)
    {
        float[] values = embeddings.ToArray();
        int bad = Array.FindIndex(values, value => !float.IsFinite(value));
        return bad < 0 ? values : throw new NotFiniteNumberException($"The embedding of {name(bad / embeddings.Width)} is not finite; the weights are of no use.");
    }

    private float[] Take(Tensor embeddings, Func<int, string> name)
    {
        float[] values = Read(embeddings, name);
        Tape.Reset();
        return values;
    }
}
