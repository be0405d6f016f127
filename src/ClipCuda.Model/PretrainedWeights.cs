namespace ClipCuda.Model;

/// <summary>
/// Weights that somebody trained, with the configuration they belong to: an open_clip folder (a checkpoint of this program is one), a folder of
/// Hugging Face's CLIPModel, or a safetensors file with OpenAI's names. Whatever it was, <see cref="Tensors"/> is open_clip's layout. The file stays
/// open and is read when a tensor is.
/// </summary>
public sealed class PretrainedWeights : IDisposable
{
    internal const string HuggingFaceWeights = "model.safetensors", HuggingFaceConfigFile = "config.json", HuggingFacePreprocessor = "preprocessor_config.json";

    private static readonly string[] PickleExtensions = [".pt", ".pth", ".bin", ".ckpt"];

    private readonly SafetensorsFile _file;

    private PretrainedWeights(string path, string? folder, SafetensorsFile file, ClipConfig config, IReadOnlyList<WeightTensor> tensors) =>
        (Path, Folder, _file, Config, Tensors) = (path, folder, file, config, tensors);

    /// <summary>The weights file.</summary>
    public string Path { get; }

    /// <summary>The folder that the weights and their configuration make up; null for a file without configuration.</summary>
    public string? Folder { get; }

    public ClipConfig Config { get; }

    /// <summary>open_clip's layout in the order of <see cref="ParameterNames"/>, with an in_proj bias of zeros where the model has none.</summary>
    public IReadOnlyList<WeightTensor> Tensors { get; }

    /// <param name="path">A folder, or a file: one in such a folder, or a plain one.</param>
    /// <param name="quickGelu">The activation of a plain file, which cannot be seen in it unless it is one of OpenAI's archives.</param>
    /// <exception cref="FileNotFoundException">There is nothing there.</exception>
    /// <exception cref="InvalidDataException">The weights are damaged, not those of their configuration, pickles, or nothing this program can compute; the message says what and where.</exception>
    public static PretrainedWeights Open(string path, bool? quickGelu = null)
    {
        if (Directory.Exists(path)) return OpenFolder(path);
        if (!File.Exists(path)) throw new FileNotFoundException($"There are no weights '{path}'; give a folder of open_clip or Hugging Face, or a safetensors file.", path);
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!, name = System.IO.Path.GetFileName(path);
        if (name == Checkpoint.WeightsFile && Has(folder, Checkpoint.ConfigFile)) return OpenFolder(folder);
        if (name == HuggingFaceWeights && Has(folder, HuggingFaceConfigFile)) return OpenHuggingFace(folder);
        return OpenFile(path, folder: null, file =>
        {
            var config = PlainWeights.InferConfig(file, path, quickGelu);
            return (config, WeightMatch.OpenClip(file, path, config));
        });
    }

    /// <summary>Copies the weights into a model of the same configuration.</summary>
    public void LoadInto(ClipModel model) => LoadInto(model, fit: false);

    /// <summary>
    /// Copies the weights into an initialised model whose image size and context length may be others: the grid of image positions is resized,
    /// text positions are cut off or those that are new keep their fresh values. Returns a line for each of these.
    /// </summary>
    public IReadOnlyList<string> FitInto(ClipModel model) => LoadInto(model, fit: true);

    /// <summary>Demands a configuration that <see cref="FitInto"/> can serve.</summary>
    /// <exception cref="InvalidDataException">It differs in more than image size and context length; the message names the keys.</exception>
    public void RequireFit(ClipConfig model) => RequireSame(model, fit: true);

    public void Dispose() => _file.Dispose();

    /// <summary>Copies tensors in open_clip's layout into a model; positions of another number are fitted, with a line for each.</summary>
    internal static IReadOnlyList<string> Copy(IReadOnlyList<WeightTensor> tensors, ClipModel model)
    {
        var notes = new List<string>();
        foreach (var source in tensors)
        {
            // What is no parameter is one of the statistics, or a bias of zeros that the model does without.
            if (model.Parameters.Find(source.Name) is not { } target) model.Statistics.Take(source);
            else if (source.Shape.AsSpan().SequenceEqual(target.Shape)) source.Upload(target);
            else notes.Add(PositionalEmbedding.Fit(source, target));
        }
        return notes;
    }

    private IReadOnlyList<string> LoadInto(ClipModel model, bool fit)
    {
        RequireSame(model.Config, fit);
        return Copy(Tensors, model);
    }

    private void RequireSame(ClipConfig model, bool fit)
    {
        string[] differences = [.. ConfigJson.Differences(Config, model).Where(d => !fit || d.Key is not ("vision_cfg.image_size" or "text_cfg.context_length")).Select(d => $"{d.Key} {d.First} (the model: {d.Second})")];
        if (differences.Length > 0)
            throw new InvalidDataException($"'{Path}' has {string.Join(", ", differences)}; leave out --model-name and what changes its numbers, and the model is that of the weights.");
    }

    private static PretrainedWeights OpenFolder(string folder)
    {
        if (Has(folder, Checkpoint.ConfigFile) && Has(folder, Checkpoint.WeightsFile))
        {
            string path = System.IO.Path.Combine(folder, Checkpoint.WeightsFile);
            return OpenFile(path, folder, file =>
            {
                var config = Checkpoint.ReadConfig(folder);
                return (config, WeightMatch.OpenClip(file, path, config));
            });
        }
        if (Has(folder, HuggingFaceConfigFile) && Has(folder, HuggingFaceWeights)) return OpenHuggingFace(folder);
        string pickle = Directory.EnumerateFiles(folder).Where(file => PickleExtensions.Contains(System.IO.Path.GetExtension(file), StringComparer.OrdinalIgnoreCase)).Order(StringComparer.Ordinal).FirstOrDefault() is { } found
            ? $" '{System.IO.Path.GetFileName(found)}' is a PyTorch pickle, which can run any program when it is loaded, so it is not read; get the weights as safetensors."
            : "";
        throw new InvalidDataException(
            $"'{folder}' holds neither {Checkpoint.ConfigFile} and {Checkpoint.WeightsFile} (open_clip) nor {HuggingFaceConfigFile} and {HuggingFaceWeights} (Hugging Face).{pickle}");
    }

    private static PretrainedWeights OpenHuggingFace(string folder)
    {
        string path = System.IO.Path.Combine(folder, HuggingFaceWeights);
        return OpenFile(path, folder, file =>
        {
            string configPath = System.IO.Path.Combine(folder, HuggingFaceConfigFile), preprocessor = System.IO.Path.Combine(folder, HuggingFacePreprocessor);
            using var json = JsonFile.Read(configPath);
            var config = HuggingFaceConfig.Read(json.RootElement, $"'{configPath}'", Checkpoint.HasQkvBias(folder));
            if (File.Exists(preprocessor))
            {
                using var preprocess = JsonFile.Read(preprocessor);
                PreprocessJson.RequireHuggingFace(new JsonSection(preprocess.RootElement, "", $"'{preprocessor}'"));
            }
            return (config, WeightMatch.HuggingFace(file, path, config));
        });
    }

    private static PretrainedWeights OpenFile(string path, string? folder, Func<SafetensorsFile, (ClipConfig Config, IReadOnlyList<WeightTensor> Tensors)> match)
    {
        var file = SafetensorsFile.Open(path);
        try
        {
            var (config, tensors) = match(file);
            return new PretrainedWeights(path, folder, file, config, tensors);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static bool Has(string folder, string name) => File.Exists(System.IO.Path.Combine(folder, name));
}
