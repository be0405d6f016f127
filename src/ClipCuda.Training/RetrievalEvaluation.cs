using System.Runtime.InteropServices;
using ClipCuda.Data;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// Retrieval over a whole data set: every image against every caption. Rows with the same caption are one caption with several images, all of
/// them right. Images that cannot be decoded are left out, and the captions that only they have. The loss is that of each batch of images, every
/// one with its first caption, averaged by batch size, as open_clip reports it; so it depends on the batch size, the recalls do not.
/// </summary>
/// <param name="loader">Reads the images in their order, whole, one sample an image.</param>
/// <param name="batchSize">The loader's.</param>
public sealed class RetrievalEvaluation(ClipModel model, Preprocess preprocess, PairDataset data, BatchLoader loader, int batchSize)
{
    private const int ExampleCaptions = 4;

    /// <summary>How many images <see cref="Examples"/> shows, evenly over the data set.</summary>
    public int ExampleImages { get; init; }

    /// <summary>Images of the last evaluation with the captions that fit them best, and which of these are theirs.</summary>
    public IReadOnlyList<SheetImage> Examples { get; private set; } = [];

    /// <summary>Told after each batch how many images and captions are encoded.</summary>
    public Action<int>? Encoded { get; init; }

    /// <summary>Encodes and ranks everything.</summary>
    /// <param name="tape">Gives the memory of activations and is reset after each batch.</param>
    /// <exception cref="NotFiniteNumberException">An embedding is not finite; the message names the image or the caption's line.</exception>
    /// <exception cref="OperationCanceledException">Asked to stop, between two batches.</exception>
    public RetrievalReport Run(Tape tape, CancellationToken stop = default)
    {
        int[] captionOfRow = DistinctCaptions(out int distinct);
        using var ranks = new RetrievalRanks(tape.Device, model.Config.EmbedDim, data.Samples.Count, distinct);
        var seen = new Captions(captionOfRow, distinct);
        var samples = new List<int>(); // of images: the data set's index
        double loss = 0;
        foreach (var batch in loader.Epoch(0))
        {
            using (batch)
            {
                loss += EncodePairs(tape, batch, ranks, seen);
                samples.AddRange(batch.SampleIndices);
            }
            Encoded?.Invoke(ranks.Images + ranks.Captions);
            stop.ThrowIfCancellationRequested();
        }
        EncodeFurtherCaptions(tape, samples, ranks, seen, stop);

        var pairs = samples.SelectMany((sample, image) => data.Samples[sample].Rows.Select(row => new RetrievalPair(image, seen.PlaceOf(row))).Distinct());
        var (imageToText, textToImage) = ranks.Compute(pairs);
        Examples = ShowExamples(samples, ranks, seen);
        return new RetrievalReport(ranks.Images, ranks.Captions, loss / ranks.Images, Recall.Of(imageToText), Recall.Of(textToImage));
    }

    /// <summary>The best captions of some images, each with its share of a softmax over all captions.</summary>
    private List<SheetImage> ShowExamples(List<int> samples, RetrievalRanks ranks, Captions seen)
    {
        int shown = Math.Min(ExampleImages, samples.Count);
        if (shown == 0) return [];
        int[] rowOfCaption = new int[ranks.Captions];
        foreach (int sample in samples)
        {
            foreach (int row in data.Samples[sample].Rows) rowOfCaption[seen.PlaceOf(row)] = row;
        }
        double scale = Math.Exp(model.LogitScale.ToArray()[0]);
        var examples = new List<SheetImage>();
        for (int i = 0; i < shown; i++)
        {
            int image = (int)((long)i * samples.Count / shown);
            var sample = data.Samples[samples[image]];
            var own = sample.Rows.Select(seen.PlaceOf).ToHashSet();
            float[] scores = ranks.ScoresOf(image);
            double largest = scores.Max(), total = scores.Sum(score => Math.Exp(scale * (score - largest)));
            int[] best = [.. Enumerable.Range(0, scores.Length).OrderByDescending(caption => scores[caption]).ThenBy(caption => caption).Take(ExampleCaptions)];
            examples.Add(new SheetImage(sample.Image, [.. best.Select(caption => new SheetLine(
                data.Rows[rowOfCaption[caption]].Caption, Math.Exp(scale * (scores[caption] - largest)) / total, own.Contains(caption) ? true : caption == best[0] ? false : null))]));
        }
        return examples;
    }

    /// <summary>Numbers the different captions; returns each row's.</summary>
    private int[] DistinctCaptions(out int distinct)
    {
        var numbers = new Dictionary<string, int>(StringComparer.Ordinal);
        int[] captionOfRow = new int[data.Rows.Count];
        for (int row = 0; row < captionOfRow.Length; row++)
        {
            ref int number = ref CollectionsMarshal.GetValueRefOrAddDefault(numbers, data.Rows[row].Caption, out bool known);
            if (!known) number = numbers.Count - 1;
            captionOfRow[row] = number;
        }
        distinct = numbers.Count;
        return captionOfRow;
    }

    /// <summary>Returns the batch's loss times its size.</summary>
    private double EncodePairs(Tape tape, HostBatch batch, RetrievalRanks ranks, Captions seen)
    {
        var pixels = PixelInput.Run(tape, preprocess, batch.Rgb, batch.Images, model.Config.Vision.ImageSize, ImageFit.Centre);
        var image = model.EncodeImage(tape, pixels);
        var text = model.EncodeText(tape, batch.Tokens, batch.Count);
        double loss = ClipLoss.Forward(tape, image, text, model.LogitScale).ToArray()[0];
        int[] samples = batch.SampleIndices.ToArray(), rows = batch.RowIndices.ToArray();
        ranks.AddImages(Embedder.Read(image, i => $"image '{data.Samples[samples[i]].Path}'"));
        float[] captions = Embedder.Read(text, i => CaptionName(rows[i]));
        for (int i = 0; i < rows.Length; i++)
        {
            if (seen.TryAdd(rows[i])) ranks.AddCaptions(captions.AsSpan(i * text.Width, text.Width));
        }
        tape.Reset();
        return loss * batch.Count;
    }

    /// <summary>The captions that are the first of no image.</summary>
    private void EncodeFurtherCaptions(Tape tape, List<int> samples, RetrievalRanks ranks, Captions seen, CancellationToken stop)
    {
        int context = model.Config.Text.ContextLength;
        var further = samples.SelectMany(sample => data.Samples[sample].Rows).Where(seen.TryAdd);
        foreach (int[] rows in further.Chunk(batchSize))
        {
            int[] tokens = new int[rows.Length * context];
            for (int i = 0; i < rows.Length; i++) loader.CopyTokens(rows[i], tokens.AsSpan(i * context, context));
            ranks.AddCaptions(Embedder.Read(model.EncodeText(tape, tokens, rows.Length), i => CaptionName(rows[i])));
            tape.Reset();
            Encoded?.Invoke(ranks.Images + ranks.Captions);
            stop.ThrowIfCancellationRequested();
        }
    }

    private string CaptionName(int row) => $"the caption of {data.PlaceOf(row)}";

    /// <summary>Where the captions of rows stand among those encoded so far.</summary>
    private sealed class Captions
    {
        private const int Missing = -1;

        private readonly int[] _captionOfRow, _places;
        private int _count;

        public Captions(int[] captionOfRow, int distinct)
        {
            (_captionOfRow, _places) = (captionOfRow, new int[distinct]);
            Array.Fill(_places, Missing);
        }

        public int PlaceOf(int row) => _places[_captionOfRow[row]];

        /// <summary>Gives a row's caption the next place, unless it has one.</summary>
        public bool TryAdd(int row)
        {
            ref int place = ref _places[_captionOfRow[row]];
            if (place != Missing) return false;
            place = _count++;
            return true;
        }
    }
}
