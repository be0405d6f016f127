using System.CommandLine;
using ClipCuda.Model;

namespace ClipCuda.Cli;

/// <summary>The flags that change single numbers of a preset's model.</summary>
internal sealed class ModelFlags
{
    private readonly Option<int?> _imageSize = Size("--image-size", "pixels a side of what the model sees");
    private readonly Option<int?> _patchSize = Size("--patch-size", "pixels a side of a patch");
    private readonly Option<int?> _visionWidth = Size("--vision-width", "width of the vision transformer");
    private readonly Option<int?> _visionLayers = Size("--vision-layers", "blocks of the vision transformer");
    private readonly Option<int?> _visionHeads = Size("--vision-heads", "attention heads of the vision transformer (default: heads keep the preset's width)");
    private readonly Option<int?> _textWidth = Size("--text-width", "width of the text transformer");
    private readonly Option<int?> _textLayers = Size("--text-layers", "blocks of the text transformer");
    private readonly Option<int?> _textHeads = Size("--text-heads", "attention heads of the text transformer (default: heads keep the preset's width)");
    private readonly Option<int?> _contextLength = Size("--context-length", "tokens of a caption, start and end included");
    private readonly Option<int?> _vocabSize = Size("--vocab-size", "ids of the token embedding, at least the tokenizer's 49408");
    private readonly Option<int?> _embedDim = Size("--embed-dim", "width of the common embedding of images and captions");

    public void AddTo(Command command)
    {
        foreach (var option in All) command.Add(option);
    }

    /// <summary>The first of these flags that was given.</summary>
    public string? FirstGiven(ParseResult parsed) => All.FirstOrDefault(option => parsed.GetResult(option) is not null)?.Name;

    private Option<int?>[] All => [_imageSize, _patchSize, _visionWidth, _visionLayers, _visionHeads, _textWidth, _textLayers, _textHeads, _contextLength, _vocabSize, _embedDim];

    /// <summary>The preset's model with the numbers that were given.</summary>
    /// <exception cref="ArgumentException">The result makes no sense.</exception>
    public ClipConfig Apply(ClipConfig preset, ParseResult parsed)
    {
        var (vision, text) = (preset.Vision, preset.Text);
        int visionWidth = parsed.GetValue(_visionWidth) ?? vision.Width, textWidth = parsed.GetValue(_textWidth) ?? text.Width;
        return new ClipConfig(
            parsed.GetValue(_embedDim) ?? preset.EmbedDim,
            vision with
            {
                ImageSize = parsed.GetValue(_imageSize) ?? vision.ImageSize,
                PatchSize = parsed.GetValue(_patchSize) ?? vision.PatchSize,
                Width = visionWidth,
                Layers = parsed.GetValue(_visionLayers) ?? vision.Layers,
                Heads = parsed.GetValue(_visionHeads) ?? Heads("vision", visionWidth * (vision.FeatureWidth / vision.Width), vision.FeatureWidth / vision.Heads),
            },
            new TextConfig(
                parsed.GetValue(_contextLength) ?? text.ContextLength,
                parsed.GetValue(_vocabSize) ?? text.VocabSize,
                textWidth,
                parsed.GetValue(_textLayers) ?? text.Layers,
                parsed.GetValue(_textHeads) ?? Heads("text", textWidth, text.Width / text.Heads)),
            preset.QuickGelu,
            preset.QkvBias).Validate();
    }

    /// <summary>So many heads that each keeps the preset's width.</summary>
    private static int Heads(string tower, int width, int headWidth) =>
        width % headWidth == 0
            ? width / headWidth
            : throw new ArgumentException($"--{tower}-width {width} is no multiple of the model's head width {headWidth}; choose one that is, or give --{tower}-heads as well.");

    private static Option<int?> Size(string name, string description) => NumberOption.Whole(name, description, least: 1);
}
