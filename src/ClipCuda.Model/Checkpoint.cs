using System.Text.Json;
using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>
/// A checkpoint is an open_clip folder: <c>open_clip_model.safetensors</c> and <c>open_clip_config.json</c> with that library's keys only, so
/// that it loads there; beside them <c>clipcuda.json</c> with what that library has no key for. open_clip's attention always has an in_proj
/// bias: where the model has none, zeros are written, and on loading only zeros are accepted. Weights files hold neither name nor
/// time nor path: equal training means equal bytes.
/// </summary>
public static class Checkpoint
{
    public const string WeightsFile = "open_clip_model.safetensors", ConfigFile = "open_clip_config.json", OwnFile = "clipcuda.json";

    private static readonly JsonWriterOptions Indented = new() { Indented = true };

    /// <summary>Writes a model into a folder, which is made if need be.</summary>
    /// <param name="facts">What else <c>clipcuda.json</c> shall say, such as epoch and step.</param>
    public static void Save(string folder, ClipModel model, IReadOnlyDictionary<string, long>? facts = null)
    {
        Directory.CreateDirectory(folder);
        var tensors = new List<(string, int[], Func<float[]>)>();
        foreach (string name in model.Parameters.Names)
        {
            var tensor = model.Parameters[name];
            tensors.Add((name, tensor.Shape, tensor.ToArray));
            if (AbsentBias(model.Config, name) is { } bias) tensors.Add((bias, [tensor.Shape[0]], () => new float[tensor.Shape[0]]));
        }
        foreach (string name in model.Statistics.Names) tensors.Add((name, model.Statistics[name].Shape, model.Statistics[name].ToArray));
        SafetensorsFile.Write(Path.Combine(folder, WeightsFile), tensors, model.Statistics.BatchesTracked);
        WriteJson(Path.Combine(folder, ConfigFile), writer =>
        {
            writer.WritePropertyName("model_cfg");
            ConfigJson.WriteModelCfg(writer, model.Config);
            writer.WriteStartObject("preprocess_cfg");
            writer.WriteNumber("size", model.Config.Vision.ImageSize);
            writer.WriteString("mode", "RGB");
            WriteNumbers(writer, "mean", Preprocess.ClipMean);
            WriteNumbers(writer, "std", Preprocess.ClipDeviation);
            writer.WriteString("interpolation", "bicubic");
            writer.WriteString("resize_mode", "shortest");
            writer.WriteEndObject();
        });
        WriteJson(Path.Combine(folder, OwnFile), writer =>
        {
            writer.WriteBoolean("qkv_bias", model.Config.QkvBias);
            foreach (var (key, value) in facts ?? new Dictionary<string, long>()) writer.WriteNumber(key, value);
        });
    }

    /// <summary>The configuration of a checkpoint folder.</summary>
    public static ClipConfig ReadConfig(string folder)
    {
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"There is no checkpoint folder '{folder}'.");
        bool qkvBias = true;
        string own = Path.Combine(folder, OwnFile), path = Path.Combine(folder, ConfigFile);
        if (File.Exists(own))
        {
            using var ours = ReadJson(own);
            qkvBias = !ours.RootElement.TryGetProperty("qkv_bias", out var value) || value.ValueKind != JsonValueKind.False;
        }
        using var json = ReadJson(path);
        if (json.RootElement.ValueKind != JsonValueKind.Object || !json.RootElement.TryGetProperty("model_cfg", out var model))
            throw new InvalidDataException($"'{path}' has no 'model_cfg'.");
        return ConfigJson.Read(model, path, qkvBias);
    }

    /// <summary>Builds the model of a checkpoint folder and loads its weights.</summary>
    public static ClipModel Load(Device device, string folder, WeightDecayScope decay = WeightDecayScope.All)
    {
        var model = new ClipModel(device, ReadConfig(folder), decay);
        try
        {
            LoadWeights(model, Path.Combine(folder, WeightsFile));
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Loads a weights file, whose tensors must be exactly the model's.</summary>
    /// <exception cref="InvalidDataException">Tensors are missing, unknown or of another shape; the message names them.</exception>
    public static void LoadWeights(ClipModel model, string path)
    {
        var file = SafetensorsFile.Open(path);
        var (parameters, statistics) = (model.Parameters, model.Statistics);
        // PyTorch did not always count batches, and nothing depends on how many there were.
        string[] counts = [.. statistics.BatchesTracked.Keys.Where(file.Contains)];
        string[] needed = [.. parameters.Names, .. statistics.Names];
        var absent = parameters.Names.Select(name => AbsentBias(model.Config, name)).OfType<string>().ToHashSet(StringComparer.Ordinal);
        string[] missing = [.. needed.Where(name => !file.Contains(name))];
        if (missing.Length > 0) throw new InvalidDataException($"'{path}' lacks {List(missing)}.");
        string[] unknown = [.. file.Entries.Select(entry => entry.Name).Except(needed).Except(absent).Except(counts)];
        if (unknown.Length > 0) throw new InvalidDataException($"'{path}' holds {List(unknown)}, which this model does not have.");
        var tensors = needed.ToDictionary(name => name, name => statistics.Names.Contains(name) ? statistics[name] : parameters[name], StringComparer.Ordinal);
        foreach (var (name, tensor) in tensors)
        {
            if (!file[name].Shape.AsSpan().SequenceEqual(tensor.Shape))
                throw new InvalidDataException($"'{path}' holds '{name}' of shape [{string.Join(", ", file[name].Shape)}], the model's is {tensor.ShapeText}.");
        }
        foreach (string bias in absent.Where(file.Contains))
        {
            if (file.ReadFloats(bias).AsSpan().ContainsAnyExcept(0f))
                throw new InvalidDataException($"'{path}' holds '{bias}', which is not zero, and this model has no q/k/v bias; set qkv_bias.");
        }
        foreach (var (name, tensor) in tensors) tensor.Upload(file.ReadFloats(name));
        foreach (string name in counts) statistics.SetBatchesTracked(name, file.ReadCount(name));
    }

    /// <summary>The in_proj bias that open_clip has beside this parameter and the model has not.</summary>
    private static string? AbsentBias(ClipConfig config, string name) =>
        !config.QkvBias && name.EndsWith(".in_proj_weight", StringComparison.Ordinal) ? name[..^"weight".Length] + "bias" : null;

    private static string List(string[] names) =>
        $"{names.Length} tensor{(names.Length == 1 ? "" : "s")}: {string.Join(", ", names.Take(5))}{(names.Length > 5 ? ", …" : "")}";

    private static void WriteNumbers(Utf8JsonWriter writer, string key, ReadOnlySpan<float> numbers)
    {
        writer.WriteStartArray(key);
        foreach (float number in numbers) writer.WriteNumberValue(number);
        writer.WriteEndArray();
    }

    private static void WriteJson(string path, Action<Utf8JsonWriter> write) => AtomicFile.Write(path, stream =>
    {
        using var writer = new Utf8JsonWriter(stream, Indented);
        writer.WriteStartObject();
        write(writer);
        writer.WriteEndObject();
    });

    private static JsonDocument ReadJson(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"There is no '{path}'.", path);
        try
        {
            return JsonDocument.Parse(File.ReadAllBytes(path));
        }
        catch (JsonException error)
        {
            throw new InvalidDataException($"'{path}' is no JSON: {error.Message}", error);
        }
    }
}
