namespace ClipCuda.Data;

/// <summary>How a <see cref="BatchSource"/> makes its batches.</summary>
public sealed record LoaderOptions
{
    public required int BatchSize { get; init; }

    /// <summary>Tokens a caption, start and end included; at least 2.</summary>
    public required int ContextLength { get; init; }

    /// <summary>True: random order, captions and crops, full batches only. False: file order, whole images, every sample once.</summary>
    public bool Training { get; init; }

    /// <summary>False: training takes the samples in the order of the file or the shards.</summary>
    public bool Shuffle { get; init; } = true;

    public ulong Seed { get; init; }

    /// <summary>Threads that decode ahead; 0 decodes where the batches are used. The batches do not depend on it.</summary>
    public int Workers { get; init; } = 2;

    /// <summary>True: a sample is an image, with one of its captions (drawn anew each epoch in training, the first in evaluation). False: a sample is a pair.</summary>
    public bool DrawCaptions { get; init; } = true;

    /// <summary>Which rectangles training draws.</summary>
    public RandomCrop Crop { get; init; } = new();

    /// <summary>How else training changes the pixels.</summary>
    public PixelAugmentation Augmentation { get; init; } = new();

    /// <summary>Makes whatever would be skipped, and a caption that has to be cut, an error.</summary>
    public bool Strict { get; init; }

    internal bool Shuffled => Training && Shuffle;

    /// <exception cref="ArgumentException">A number is out of range.</exception>
    internal void Validate()
    {
        if (BatchSize < 1) throw new ArgumentException($"The batch size is {BatchSize}; it must be at least 1.");
        if (ContextLength < 2) throw new ArgumentException($"The context length is {ContextLength}; it must be at least 2, for start and end.");
        if (Workers < 0) throw new ArgumentException($"The number of workers is {Workers}; it must be 0 or more.");
        Crop.Validate();
        Augmentation.Validate();
    }
}
