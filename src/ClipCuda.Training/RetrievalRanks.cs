using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Training;

/// <summary>
/// The ranks of the right answers in retrieval over all images and captions, both ways. A caption belongs to one image; an image may have
/// several, and the best of them counts.
/// <code>
/// image → text:  1 + number of other images' captions that score at least as much as the image's best own caption
/// text → image:  1 + number of other images that score at least as much as the caption's own
/// </code>
/// So ties count against the model: if all embeddings are equal, every rank is the last. Scores are products of embeddings by
/// <see cref="Device.Gemm"/>, in tiles of one size: memory is O(images + captions), and equal embeddings score equal bits.
/// </summary>
public sealed class RetrievalRanks : IDisposable
{
    private const int Tile = 512;

    private readonly Device _device;
    private readonly int _width;
    private readonly int[] _imageOfCaption;
    private readonly int _imageCount;
    private readonly DeviceBuffer _images, _captions, _scores;
    private readonly float[] _tile = new float[Tile * Tile];

    /// <summary>Makes room for the embeddings, to be added by <see cref="AddImages"/> and <see cref="AddCaptions"/>.</summary>
    /// <param name="imageOfCaption">For each caption the index of its image; every image has at least one.</param>
    public RetrievalRanks(Device device, int width, int imageCount, ReadOnlySpan<int> imageOfCaption)
    {
        _device = device;
        _width = width;
        _imageCount = imageCount;
        _imageOfCaption = imageOfCaption.ToArray();
        _images = Rows(imageCount, "image embeddings");
        _captions = Rows(_imageOfCaption.Length, "caption embeddings");
        _scores = device.Allocate(sizeof(float) * Tile * Tile, "scores");
    }

    /// <summary>Adds the embeddings of consecutive images from <paramref name="first"/> on; they have to be finite.</summary>
    public void AddImages(int first, ReadOnlySpan<float> embeddings) => Add(_images, first, embeddings);

    /// <summary>Adds the embeddings of consecutive captions from <paramref name="first"/> on; they have to be finite.</summary>
    public void AddCaptions(int first, ReadOnlySpan<float> embeddings) => Add(_captions, first, embeddings);

    /// <summary>The rank of each image's best own caption, and of each caption's image.</summary>
    public (int[] ImageToText, int[] TextToImage) Compute()
    {
        var (bestOfImage, ownOfCaption) = OwnScores();
        int[] imageRanks = new int[_imageCount], captionRanks = new int[_imageOfCaption.Length];
        Array.Fill(imageRanks, 1);
        Array.Fill(captionRanks, 1);
        ForEachTile(tilesWithOwnPairsOnly: false, (image, caption, score) =>
        {
            if (_imageOfCaption[caption] == image) return;
            if (score >= bestOfImage[image]) imageRanks[image]++;
            if (score >= ownOfCaption[caption]) captionRanks[caption]++;
        });
        return (imageRanks, captionRanks);
    }

    public void Dispose()
    {
        _images.Dispose();
        _captions.Dispose();
        _scores.Dispose();
    }

    private (float[] BestOfImage, float[] OwnOfCaption) OwnScores()
    {
        float[] bestOfImage = new float[_imageCount], ownOfCaption = new float[_imageOfCaption.Length];
        Array.Fill(bestOfImage, float.NegativeInfinity);
        ForEachTile(tilesWithOwnPairsOnly: true, (image, caption, score) =>
        {
            if (_imageOfCaption[caption] != image) return;
            ownOfCaption[caption] = score;
            bestOfImage[image] = Math.Max(bestOfImage[image], score);
        });
        return (bestOfImage, ownOfCaption);
    }

    private void ForEachTile(bool tilesWithOwnPairsOnly, Action<int, int, float> visit)
    {
        for (int image = 0; image < _imageCount; image += Tile)
        {
            int imageEnd = Math.Min(image + Tile, _imageCount);
            for (int caption = 0; caption < _imageOfCaption.Length; caption += Tile)
            {
                int captionEnd = Math.Min(caption + Tile, _imageOfCaption.Length);
                if (tilesWithOwnPairsOnly && _imageOfCaption.AsSpan(caption, captionEnd - caption).IndexOfAnyInRange(image, imageEnd - 1) < 0) continue;
                Score(image, caption);
                for (int i = image; i < imageEnd; i++)
                {
                    for (int j = caption; j < captionEnd; j++) visit(i, j, _tile[(i - image) * Tile + j - caption]);
                }
            }
        }
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
    private DeviceBuffer Rows(int count, string label)
    {
        long bytes = ((long)count + Tile - 1) / Tile * Tile * _width * sizeof(float);
        var rows = _device.Allocate(bytes, label);
        _device.Clear(rows.Start, bytes);
        return rows;
    }
}
