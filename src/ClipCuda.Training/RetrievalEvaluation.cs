using System.Runtime.InteropServices;
using ClipCuda.Data;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// Retrieval over a whole data set: every image against every caption. Images that cannot be decoded are left out, their captions with them.
/// The loss is that of each batch of images, every one with its first caption, averaged by batch size, as open_clip reports it; so it depends on
/// the batch size, the recalls do not.
/// </summary>
/// <param name="loader">Reads the images in the order of the file, whole, one sample an image.</param>
/// <param name="batchSize">The loader's.</param>
public sealed class RetrievalEvaluation(ClipModel model, Preprocess preprocess, CsvDataset data, BatchLoader loader, int batchSize)
{
    /// <summary>Encodes and ranks everything.</summary>
    /// <param name="tape">Gives the memory of activations and is reset after each batch.</param>
    /// <exception cref="NotFiniteNumberException">An embedding is not finite; the message names the image or the caption's line.</exception>
    /// <exception cref="OperationCanceledException">Asked to stop, between two batches.</exception>
    public RetrievalReport Run(Tape tape, CancellationToken stop = default)
    {
        var images = new List<float>();
        var captions = new List<float>();
        var samples = new List<int>(); // of images: the data set's index
        var imageOfCaption = new List<int>();
        double loss = 0;
        foreach (var batch in loader.Epoch(0))
        {
            using (batch)
            {
                loss += EncodePairs(tape, batch, images, captions);
                foreach (int sample in batch.SampleIndices)
                {
                    imageOfCaption.Add(samples.Count);
                    samples.Add(sample);
                }
            }
            stop.ThrowIfCancellationRequested();
        }
        EncodeFurtherCaptions(tape, samples, captions, imageOfCaption, stop);

        using var ranks = new RetrievalRanks(tape.Device, model.Config.EmbedDim, samples.Count, CollectionsMarshal.AsSpan(imageOfCaption));
        ranks.AddImages(0, CollectionsMarshal.AsSpan(images));
        ranks.AddCaptions(0, CollectionsMarshal.AsSpan(captions));
        var (imageToText, textToImage) = ranks.Compute();
        return new RetrievalReport(samples.Count, imageOfCaption.Count, loss / samples.Count, Recall.Of(imageToText), Recall.Of(textToImage));
    }

    /// <summary>Returns the batch's loss times its size.</summary>
    private double EncodePairs(Tape tape, HostBatch batch, List<float> images, List<float> captions)
    {
        var pixels = PixelInput.Run(tape, preprocess, batch.Rgb, batch.Images, model.Config.Vision.ImageSize, ImageFit.Centre);
        var image = model.EncodeImage(tape, pixels);
        var text = model.EncodeText(tape, batch.Tokens, batch.Count);
        double loss = ClipLoss.Forward(tape, image, text, model.LogitScale).ToArray()[0];
        var samples = batch.SampleIndices.ToArray();
        var rows = batch.RowIndices.ToArray();
        Keep(image, images, i => $"image '{data.Samples[samples[i]].Path}'");
        Keep(text, captions, i => CaptionName(rows[i]));
        tape.Reset();
        return loss * batch.Count;
    }

    /// <summary>The captions beyond the first of each image.</summary>
    private void EncodeFurtherCaptions(Tape tape, List<int> samples, List<float> captions, List<int> imageOfCaption, CancellationToken stop)
    {
        int context = model.Config.Text.ContextLength;
        var further = samples.SelectMany((sample, image) => data.Samples[sample].Rows.Skip(1).Select(row => (Row: row, Image: image)));
        foreach (var chunk in further.Chunk(batchSize))
        {
            int[] tokens = new int[chunk.Length * context];
            for (int i = 0; i < chunk.Length; i++) loader.CopyTokens(chunk[i].Row, tokens.AsSpan(i * context, context));
            Keep(model.EncodeText(tape, tokens, chunk.Length), captions, i => CaptionName(chunk[i].Row));
            tape.Reset();
            imageOfCaption.AddRange(chunk.Select(caption => caption.Image));
            stop.ThrowIfCancellationRequested();
        }
    }

    private string CaptionName(int row) => $"the caption in line {data.Rows[row].Line} of '{data.Path}'";

    private static void Keep(Tensor embeddings, List<float> kept, Func<int, string> name)
    {
        float[] values = embeddings.ToArray();
        int bad = Array.FindIndex(values, value => !float.IsFinite(value));
        if (bad >= 0) throw new NotFiniteNumberException($"Evaluation: the embedding of {name(bad / embeddings.Width)} is not finite; the weights are of no use.");
        kept.AddRange(values);
    }
}
