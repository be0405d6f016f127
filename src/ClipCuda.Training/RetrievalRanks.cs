using System.Numerics;
using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Training;

/// <summary>An image and a caption that belong together, by their places among the embeddings.</summary>
public readonly record struct RetrievalPair(int Image, int Caption);

/// <summary>
/// The ranks of the right answers in retrieval over all images and captions, both ways. An image may have several captions and a caption several
/// images; the best of them counts, and the others are no rivals.
/// <code>
/// image → text:  1 + number of captions not the image's that score at least as much as the best of its own
/// text → image:  1 + number of images not the caption's that score at least as much as the best of its own
/// </code>
/// So ties count against the model: if all embeddings are equal, every rank is the last. Scores are products of embeddings by
/// <see cref="Device.Gemm"/>, nearly all of the work; they come to the host a tile at a time, where they are only counted. Tiles have one size,
/// so equal embeddings score equal bits, and memory is O(images + captions).
/// </summary>
public sealed class RetrievalRanks : IDisposable
{
    private const int Tile = 512;

    private readonly Device _device;
    private readonly int _width;
    private readonly DeviceBuffer _images, _captions, _scores;
    private readonly float[] _tile = new float[Tile * Tile];

    /// <summary>Makes room for the embeddings, to be added by <see cref="AddImages"/> and <see cref="AddCaptions"/>.</summary>
    /// <param name="mostImages">As many as will be added, or more; so for captions.</param>
    public RetrievalRanks(Device device, int width, int mostImages, int mostCaptions)
    {
        _device = device;
        _width = width;
        _images = Rows(mostImages, "image embeddings");
        _captions = Rows(mostCaptions, "caption embeddings");
        _scores = device.Allocate(sizeof(float) * Tile * Tile, "scores");
    }

    /// <summary>Images added so far.</summary>
    public int Images { get; private set; }

    /// <summary>Captions added so far.</summary>
    public int Captions { get; private set; }

    /// <summary>Adds the embeddings of images, row after row; they have to be finite.</summary>
    public void AddImages(ReadOnlySpan<float> embeddings)
    {
        Add(_images, Images, embeddings);
        Images += embeddings.Length / _width;
    }

    /// <summary>Adds the embeddings of captions, row after row; they have to be finite.</summary>
    public void AddCaptions(ReadOnlySpan<float> embeddings)
    {
        Add(_captions, Captions, embeddings);
        Captions += embeddings.Length / _width;
    }

    /// <summary>The rank of each image's best own caption, and of each caption's best own image.</summary>
    /// <param name="pairs">Each once; every image and every caption is in at least one.</param>
    public (int[] ImageToText, int[] TextToImage) Compute(IEnumerable<RetrievalPair> pairs)
    {
        // In the order in which tiles are walked: a tile's pairs lie together.
        RetrievalPair[] ordered = [.. pairs.OrderBy(TileOf)];
        var (bestOfImage, bestOfCaption) = OwnScores(ordered);
        int[] imageRanks = new int[Images], captionRanks = new int[Captions];
        Array.Fill(imageRanks, 1);
        Array.Fill(captionRanks, 1);
        int own = 0;
        for (int image = 0; image < Images; image += Tile)
        {
            for (int caption = 0; caption < Captions; caption += Tile)
            {
                Score(image, caption);
                int captions = Math.Min(Tile, Captions - caption);
                for (int row = 0; row < Math.Min(Tile, Images - image); row++)
                {
                    imageRanks[image + row] += CountRow(
                        _tile.AsSpan(row * Tile, captions), bestOfImage[image + row], bestOfCaption.AsSpan(caption, captions), captionRanks.AsSpan(caption, captions));
                }
                // The count took this tile's own pairs for rivals.
                for (; own < ordered.Length && TileOf(ordered[own]) == (image / Tile, caption / Tile); own++)
                {
                    var pair = ordered[own];
                    if (At(pair) >= bestOfImage[pair.Image]) imageRanks[pair.Image]--;
                    if (At(pair) >= bestOfCaption[pair.Caption]) captionRanks[pair.Caption]--;
                }
            }
        }
        return (imageRanks, captionRanks);
    }

    /// <summary>An image's scores with all captions.</summary>
    public float[] ScoresOf(int image)
    {
        float[] scores = new float[Captions];
        for (int caption = 0; caption < Captions; caption += Tile)
        {
            Score(image / Tile * Tile, caption);
            _tile.AsSpan(image % Tile * Tile, Math.Min(Tile, Captions - caption)).CopyTo(scores.AsSpan(caption));
        }
        return scores;
    }

    public void Dispose()
    {
        _images.Dispose();
        _captions.Dispose();
        _scores.Dispose();
    }

    /// <summary>The best score of each image with a caption of its own, and of each caption with an image of its own.</summary>
    private (float[] BestOfImage, float[] BestOfCaption) OwnScores(RetrievalPair[] ordered)
    {
        float[] bestOfImage = new float[Images], bestOfCaption = new float[Captions];
        Array.Fill(bestOfImage, float.NegativeInfinity);
        Array.Fill(bestOfCaption, float.NegativeInfinity);
        (int Image, int Caption) tile = (-1, -1);
        foreach (var pair in ordered)
        {
            if (tile != TileOf(pair))
            {
                tile = TileOf(pair);
                Score(tile.Image * Tile, tile.Caption * Tile);
            }
            bestOfImage[pair.Image] = Math.Max(bestOfImage[pair.Image], At(pair));
            bestOfCaption[pair.Caption] = Math.Max(bestOfCaption[pair.Caption], At(pair));
        }
        return (bestOfImage, bestOfCaption);
    }

    private static (int Image, int Caption) TileOf(RetrievalPair pair) => (pair.Image / Tile, pair.Caption / Tile);

    /// <summary>A pair's score, while its tile is here.</summary>
    private float At(RetrievalPair pair) => _tile[pair.Image % Tile * Tile + pair.Caption % Tile];

    /// <summary>Counts an image's scores that reach its best, and adds 1 to each caption whose best is reached.</summary>
    private static int CountRow(ReadOnlySpan<float> scores, float best, ReadOnlySpan<float> bestOfCaption, Span<int> captionRanks)
    {
        int lanes = Vector<float>.Count, column = 0;
        var reached = Vector<int>.Zero;
        for (; column <= scores.Length - lanes; column += lanes)
        {
            var score = new Vector<float>(scores[column..]);
            // A comparison gives −1 where it holds.
            reached -= Vector.GreaterThanOrEqual(score, new Vector<float>(best));
            (new Vector<int>(captionRanks[column..]) - Vector.GreaterThanOrEqual(score, new Vector<float>(bestOfCaption[column..]))).CopyTo(captionRanks[column..]);
        }
        int count = Vector.Sum(reached);
        for (; column < scores.Length; column++)
        {
            if (scores[column] >= best) count++;
            if (scores[column] >= bestOfCaption[column]) captionRanks[column]++;
        }
        return count;
    }

    /// <summary>scores[Tile, Tile] = images[image …] · captions[caption …]ᵀ</summary>
    private void Score(int image, int caption)
    {
        _device.Gemm(new GemmCall(
            Tile, Tile, _width,
            new GemmOperand(Row(_images, image), _width),
            new GemmOperand(Row(_captions, caption), _width, Transposed: true),
            new GemmOperand(_scores.Start, Tile)));
        _device.CopyToHost(_scores.Start, MemoryMarshal.AsBytes(_tile.AsSpan()));
    }

    private void Add(DeviceBuffer rows, int first, ReadOnlySpan<float> embeddings) => _device.CopyToDevice(MemoryMarshal.AsBytes(embeddings), Row(rows, first));

    private DevicePointer Row(DeviceBuffer rows, int index) => rows.At((long)index * _width * sizeof(float));

    /// <summary>Room for rows, up to a multiple of the tile; the rows beyond are zero.</summary>
    private DeviceBuffer Rows(int most, string label)
    {
        long bytes = ((long)most + Tile - 1) / Tile * Tile * _width * sizeof(float);
        var rows = _device.Allocate(bytes, label);
        _device.Clear(rows.Start, bytes);
        return rows;
    }
}
