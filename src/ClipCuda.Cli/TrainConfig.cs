using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using ClipCuda.Data;
using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary>
/// Settings of <c>train</c> in a JSON file: an object whose keys are flags without the dashes in front and with <c>_</c> for those within. It says the same as
/// the flags would, and flags that are given win. Every run writes one that makes it again.
/// </summary>
internal static class TrainConfig
{
    /// <summary>What is about one start of a run, not about the run.</summary>
    private static readonly string[] OfAStart = ["config", "resume", "overwrite", "verbose", "help", "version"];

    /// <summary>A run that is made again is another run.</summary>
    private static readonly string[] OfAPlace = ["logs", "name"];

    private static readonly string[] Paths = ["train_data", "val_data", "img_root", "pretrained", "zeroshot_data", "zeroshot_classes", "templates"];

    /// <summary>What a preset decides unless told otherwise; written even if it was not given, because presets may change.</summary>
    private static readonly string[] OfThePreset =
        ["model_name", "epochs", "batch_size", "lr", "weight_decay", "wd_exclude", "beta1", "beta2", "eps", "grad_clip_norm", "warmup", "seed"];

    /// <summary>What is the model's, by the preset or by pretrained weights.</summary>
    private static readonly string[] OfTheModel =
    [
        "image_size", "patch_size", "vision_width", "vision_layers", "vision_heads", "vision_ln_pre", "text_width", "text_layers", "text_heads", "context_length", "vocab_size",
        "embed_dim", "quick_gelu", "qkv_bias", "initialization", "crop", "draw_captions",
    ];

    /// <summary>The command line with what a file says besides.</summary>
    /// <exception cref="InvalidDataException">The file is no such JSON, has an unknown key, or a value that its flag does not take; the message names the key.</exception>
    public static ParseResult Merge(ParseResult parsed, string path)
    {
        var options = Options(parsed);
        var tokens = parsed.Tokens.Select(token => token.Value).ToList();
        using var json = JsonFile.Read(path);
        if (json.RootElement.ValueKind != JsonValueKind.Object) throw new InvalidDataException($"'{path}' is no JSON object of settings.");
        foreach (var setting in json.RootElement.EnumerateObject())
        {
            if (!options.TryGetValue(setting.Name, out var option))
                throw new InvalidDataException($"'{path}' has the key '{setting.Name}', which is no setting; did you mean '{EditDistance.Nearest(setting.Name, options.Keys)}'?");
            if (IsGiven(parsed, option) || setting.Value.ValueKind == JsonValueKind.Null) continue;
            tokens.Add(option.Name);
            tokens.AddRange(setting.Value.ValueKind switch
            {
                JsonValueKind.String => [setting.Value.GetString()!],
                JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False => [setting.Value.GetRawText()],
                JsonValueKind.Array when TakesSeveral(option) => setting.Value.EnumerateArray()
                    .Select(value => value.ValueKind == JsonValueKind.String ? value.GetString()! : throw new InvalidDataException($"'{path}': the values of '{setting.Name}' are texts.")),
                _ => throw new InvalidDataException($"'{path}': '{setting.Name}' takes one text, number or truth."),
            });
        }
        var merged = parsed.RootCommandResult.Command.Parse(tokens);
        return merged.Errors.Count == 0 ? merged : throw new InvalidDataException($"'{path}': {merged.Errors[0].Message}");
    }

    /// <summary>Options with what <c>config.json</c> and <c>params.txt</c> say of where they came from.</summary>
    /// <param name="merged">The command line, with the file if there is one.</param>
    /// <param name="parsed">The command line alone.</param>
    /// <param name="file">The file, or null.</param>
    public static TrainingOptions Describe(TrainingOptions options, ParseResult merged, ParseResult parsed, string? file)
    {
        var flags = Options(merged);
        bool modelOfWeights = options.Pretrained is not null && !IsGiven(merged, flags["model_name"]);
        var config = new SortedDictionary<string, object>(StringComparer.Ordinal);
        foreach (var (key, option) in flags.Where(flag => flag.Value.Name == FlagOf(flag.Key)))
        {
            if (!IsGiven(merged, option) || OfAPlace.Contains(key)) continue;
            string[] texts = [.. merged.GetResult(option)!.Tokens.Select(token => token.Value)];
            config[key] = TakesSeveral(option) ? texts : Value(key, texts is [var text, ..] ? text : "true");
        }
        var origins = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (key, value) in options.Settings())
        {
            bool ofThePreset = OfThePreset.Contains(key), ofTheModel = OfTheModel.Contains(key) || key == "model_name";
            var option = flags.GetValueOrDefault(key);
            origins[key] =
                option is not null && IsGiven(parsed, option) ? "command line"
                : option is not null && IsGiven(merged, option) ? $"'{file}'"
                : ofTheModel && modelOfWeights ? $"'{options.Pretrained}'"
                : ofThePreset || ofTheModel ? $"preset {options.ModelName}"
                : "default";
            if (ofThePreset && !config.ContainsKey(key) && !(key == "model_name" && modelOfWeights)) config[key] = Value(key, value);
        }
        return options with { Config = config, Origins = origins };
    }

    /// <summary>The options of the command by the keys that their names and aliases make.</summary>
    private static Dictionary<string, Option> Options(ParseResult parsed)
    {
        var options = new Dictionary<string, Option>(StringComparer.Ordinal);
        foreach (var option in parsed.CommandResult.Command.Options)
        {
            foreach (string name in option.Aliases.Prepend(option.Name).Where(name => name.StartsWith("--", StringComparison.Ordinal)))
            {
                string key = name[2..].Replace('-', '_');
                if (!OfAStart.Contains(key)) options[key] = option;
            }
        }
        return options;
    }

    private static string FlagOf(string key) => $"--{key.Replace('_', '-')}";

    private static bool TakesSeveral(Option option) => option.Arity.MaximumNumberOfValues > 1;

    private static bool IsGiven(ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    /// <summary>A number or a truth where the text is one. Paths are written whole, so that the file serves wherever it is read.</summary>
    private static object Value(string key, string text) =>
        Paths.Contains(key) || (key == "model_name" && text.EndsWith(".json", StringComparison.OrdinalIgnoreCase)) ? string.Join("::", text.Split("::").Select(Path.GetFullPath))
        : bool.TryParse(text, out bool truth) ? truth
        : key is not "device" && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? number
        : text;
}
