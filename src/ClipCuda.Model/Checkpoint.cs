using ClipCuda.Devices;

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

    /// <summary>Writes a model into a folder, which is made if need be.</summary>
    /// <param name="facts">What else <c>clipcuda.json</c> shall say, such as epoch and step.</param>
    public static void Save(string folder, ClipModel model, IReadOnlyDictionary<string, long>? facts = null) =>
        Save(folder, model.Config, name => WeightTensor.Of(name, model.Statistics.Find(name) ?? model.Parameters[name]), model.Statistics.BatchesTracked, facts);

    /// <summary>Writes a model of which somebody holds a copy.</summary>
    /// <param name="weights">Gives a parameter or a running statistic by its name.</param>
    /// <param name="batchesTracked"><see cref="BatchNormStatistics.BatchesTracked"/>.</param>
    /// <inheritdoc cref="Save(string, ClipModel, IReadOnlyDictionary{string, long}?)"/>
    public static void Save(
        string folder, ClipConfig config, Func<string, WeightTensor> weights, IReadOnlyDictionary<string, long> batchesTracked, IReadOnlyDictionary<string, long>? facts = null)
    {
        WeightsExport.ToOpenClip(folder, config, [.. WeightMatch.Complete(config, weights), .. batchesTracked.Select(count => WeightTensor.Count(count.Key, count.Value))]);
        JsonFile.Write(Path.Combine(folder, OwnFile), writer =>
        {
            writer.WriteBoolean("qkv_bias", config.QkvBias);
            foreach (var (key, value) in facts ?? new Dictionary<string, long>()) writer.WriteNumber(key, value);
        });
    }

    /// <summary>The configuration of a checkpoint folder.</summary>
    /// <exception cref="InvalidDataException">It is no configuration this program can compute; the message names the file and the key.</exception>
    public static ClipConfig ReadConfig(string folder)
    {
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"There is no checkpoint folder '{folder}'.");
        string path = Path.Combine(folder, ConfigFile);
        using var json = JsonFile.Read(path);
        var top = new JsonSection(json.RootElement, "", $"'{path}'");
        if (!top.Has("model_cfg")) throw new InvalidDataException($"'{path}' has no 'model_cfg'.");
        if (top.OptionalSection("preprocess_cfg") is { } preprocess) PreprocessJson.RequireOpenClip(preprocess);
        return ConfigJson.Read(json.RootElement.GetProperty("model_cfg"), path, HasQkvBias(folder));
    }

    /// <summary>Builds the model of a folder or file, as <see cref="PretrainedWeights.Open"/> takes it, for inference: without gradients.</summary>
    public static ClipModel Load(Device device, string path)
    {
        using var weights = PretrainedWeights.Open(path);
        var model = new ClipModel(device, weights.Config, frozen: FrozenParts.All);
        try
        {
            weights.LoadInto(model);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Loads a weights file with open_clip's names, whose tensors must be exactly the model's.</summary>
    /// <exception cref="InvalidDataException">Tensors are missing, unknown or of another shape; the message names them.</exception>
    public static void LoadWeights(ClipModel model, string path)
    {
        using var file = SafetensorsFile.Open(path);
        PretrainedWeights.Copy(WeightMatch.OpenClip(file, path, model.Config), model);
    }

    /// <summary>What <c>clipcuda.json</c> says of the q/k/v bias; without that file there is one, as everywhere else.</summary>
    internal static bool HasQkvBias(string folder)
    {
        string path = Path.Combine(folder, OwnFile);
        if (!File.Exists(path)) return true;
        using var json = JsonFile.Read(path);
        return new JsonSection(json.RootElement, "", $"'{path}'").Bool("qkv_bias", absent: true);
    }
}
