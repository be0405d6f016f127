using System.Collections.Concurrent;

namespace ClipCuda.Data;

/// <summary>An image file that could not be used.</summary>
/// <param name="Index">Where it stands in the list of files.</param>
/// <param name="Reason">One sentence that names the file.</param>
public sealed record UnreadableImage(int Index, string Path, string Reason);

/// <summary>
/// Decodes a list of image files ahead of their use, whole, in order. A batch covers so many files of the list; files that cannot be decoded are
/// missing from it and listed in <see cref="Unreadable"/>. Used from one thread.
/// </summary>
/// <param name="workers">Threads that decode; the batches do not depend on it.</param>
/// <param name="strict">Makes a file that cannot be decoded an error.</param>
public sealed class ImageLoader(IReadOnlyList<ImagePlace> images, int batchSize, int workers = 2, bool strict = false)
{
    private readonly ConcurrentBag<HostBatch> _batches = [];
    private readonly ConcurrentBag<DecoderBuffers> _buffers = [];
    private readonly ConcurrentDictionary<int, UnreadableImage> _unreadable = new();

    /// <summary>Decodes files by their paths.</summary>
    /// <inheritdoc cref="ImageLoader(IReadOnlyList{ImagePlace}, int, int, bool)" path="/param"/>
    public ImageLoader(IReadOnlyList<string> paths, int batchSize, int workers = 2, bool strict = false)
        : this([.. paths.Select(ImagePlace.OfFile)], batchSize, workers, strict) { }

    /// <summary>What an error calls the image at a place in the list.</summary>
    public string NameOf(int index) => $"image '{images[index].Name}'";

    /// <summary>Files found to be no images so far, in the order of the list.</summary>
    public IReadOnlyList<UnreadableImage> Unreadable => [.. _unreadable.Values.OrderBy(image => image.Index)];

    /// <summary>
    /// The batches from one on, without captions; their sample indices are places in the list. A batch of which no file can be decoded is empty.
    /// </summary>
    /// <exception cref="InvalidDataException">Strict, and a file cannot be decoded.</exception>
    public IEnumerable<HostBatch> Batches(int first = 0)
    {
        using var reading = new OrderedPrefetch<HostBatch>(first, (images.Count + batchSize - 1) / batchSize, workers, Make);
        while (reading.Take() is { } batch) yield return batch;
    }

    private HostBatch Make(int number, CancellationToken stop)
    {
        if (!_batches.TryTake(out var batch)) batch = new HostBatch(batchSize, contextLength: 0, _batches.Add);
        if (!_buffers.TryTake(out var buffers)) buffers = new DecoderBuffers();
        batch.Begin();
        for (int index = number * batchSize; index < Math.Min((number + 1) * batchSize, images.Count); index++)
        {
            stop.ThrowIfCancellationRequested();
            try
            {
                var (width, height) = ImageDecoder.Decode(images[index], buffers, batch.Reserve);
                batch.Add(width, height, (0, 0, width, height), [], index, index);
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
            {
                if (strict) throw new InvalidDataException(e.Message, e);
                _unreadable.TryAdd(index, new UnreadableImage(index, images[index].Name, e.Message));
            }
        }
        _buffers.Add(buffers);
        return batch;
    }
}
