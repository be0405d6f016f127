using System.Globalization;

namespace ClipCuda.Model;

/// <summary>
/// The configuration of a weights file without one, from the shapes of its tensors, as OpenAI's own loader infers it (clip/model.py, build_model).
/// The activation leaves no trace in the shapes: OpenAI's archives, told by the sizes in them, use QuickGELU; of others it must be said.
/// </summary>
internal static class PlainWeights
{
    /// <summary>Of every vision transformer of OpenAI's, and of every text transformer.</summary>
    private const int HeadWidth = 64;

    /// <param name="quickGelu">The activation, if somebody knows it.</param>
    /// <exception cref="InvalidDataException">The names are not OpenAI's, or shapes are missing that have to be known.</exception>
    public static ClipConfig InferConfig(SafetensorsFile file, string path, bool? quickGelu)
    {
        if (file.Entries.Any(entry => HuggingFaceNames.Flatten(entry.Name).StartsWith("text_model.", StringComparison.Ordinal)))
            throw Error(path, $"has the names of Hugging Face's CLIPModel; put its {PretrainedWeights.HuggingFaceConfigFile} beside it, call it {PretrainedWeights.HuggingFaceWeights}, and give the folder");
        if (file.Contains("visual.layer1.0.conv1.weight"))
            throw Error(path, $"holds a ResNet, which is loaded with its configuration; put its {Checkpoint.ConfigFile} beside it, call it {Checkpoint.WeightsFile}, and give the folder");
        int[] convolution = Shape("visual.conv1.weight", 4), imagePositions = Shape("visual.positional_embedding", 2), textPositions = Shape("positional_embedding", 2);
        int[] table = Shape("token_embedding.weight", 2), projection = Shape("text_projection", 2);
        int side = (int)Math.Round(Math.Sqrt(imagePositions[0] - 1));
        if (side * side != imagePositions[0] - 1) throw Error(path, $"holds 'visual.positional_embedding' of {imagePositions[0]} rows, which are not a square of patches and the class token");
        bool isOpenAis = file.Entries.Any(entry => WeightMatch.IsOpenAiSize(entry.Name));
        if (isOpenAis && quickGelu == false) throw Error(path, "is one of OpenAI's archives, whose models have quick_gelu true, not false");
        if (!isOpenAis && quickGelu is null)
        {
            throw Error(
                path, $"does not say which activation its model uses; 'convert {path} FOLDER --to open_clip --activation quick_gelu' (for OpenAI's weights; gelu for most others) makes a folder that does");
        }
        var config = new ClipConfig(
            projection[1],
            new VisionConfig(
                checked(side * convolution[3]), convolution[3], convolution[0], Layers("visual.transformer."), Heads("vision", convolution[0]), file.Contains("visual.ln_pre.weight")),
            new TextConfig(textPositions[0], table[0], table[1], Layers("transformer."), Heads("text", table[1])),
            quickGelu ?? isOpenAis,
            file.Contains("visual.transformer.resblocks.0.attn.in_proj_bias"));
        return ConfigJson.Validated(config, $"'{path}'");

        int[] Shape(string name, int dimensions)
        {
            if (!file.Contains(name)) throw Error(path, $"lacks '{name}'; it is no CLIP with OpenAI's names, or it needs the folder of its configuration");
            int[] shape = file[name].Shape;
            return shape.Length == dimensions && shape.All(extent => extent > 0) ? shape : throw Error(path, $"holds '{name}' of shape {file[name].ShapeText}, expected {dimensions} dimensions");
        }

        int Layers(string tower)
        {
            string prefix = tower + "resblocks.";
            return 1 + file.Entries.Where(entry => entry.Name.StartsWith(prefix, StringComparison.Ordinal))
                .Select(entry => int.TryParse(entry.Name.AsSpan(prefix.Length, Math.Max(0, entry.Name.IndexOf('.', prefix.Length) - prefix.Length)), NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : -1)
                .DefaultIfEmpty(-1).Max();
        }

        int Heads(string tower, int width) => width % HeadWidth == 0
            ? width / HeadWidth
            : throw Error(path, $"holds a {tower} transformer of width {width}, whose number of heads is not known; put its {Checkpoint.ConfigFile} beside it, call it {Checkpoint.WeightsFile}, and give the folder");
    }

    private static InvalidDataException Error(string path, string what) => new($"'{path}' {what}.");
}
