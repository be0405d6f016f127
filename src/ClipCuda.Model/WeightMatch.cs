namespace ClipCuda.Model;

/// <summary>
/// Holds the tensors of a file against a configuration: every parameter must be there in its shape, and nothing else. The result is open_clip's
/// layout, in the order of <see cref="ParameterNames"/>: with an in_proj bias, zeros where the model has none, and with batch norms' statistics.
/// </summary>
internal static class WeightMatch
{
    private const int Named = 8;

    /// <summary>Sizes that OpenAI's archives hold beside their weights.</summary>
    private static readonly string[] OpenAiSizes = ["input_resolution", "context_length", "vocab_size"];

    /// <summary>Whether a tensor is one of the sizes by which OpenAI's archives are told from others.</summary>
    public static bool IsOpenAiSize(string name) => OpenAiSizes.Contains(name);

    /// <summary>A configuration's parameters and statistics in open_clip's layout.</summary>
    /// <param name="parameter">Gives either by its name.</param>
    public static IReadOnlyList<WeightTensor> Complete(ClipConfig config, Func<string, WeightTensor> parameter)
    {
        var tensors = new List<WeightTensor>();
        foreach (var spec in ParameterNames.Of(config, WeightDecayScope.All))
        {
            var tensor = parameter(spec.Name);
            tensors.Add(tensor);
            if (AbsentBias(config, spec.Name) is { } bias) tensors.Add(WeightTensor.Zeros(bias, tensor.Type, tensor.Shape[0]));
        }
        tensors.AddRange(Statistics(config).Select(statistic => parameter(statistic.Name)));
        return tensors;
    }

    /// <summary>The tensors of a file with open_clip's (and OpenAI's) names.</summary>
    /// <exception cref="InvalidDataException">Tensors are missing, unknown, of another shape or type; the message names them.</exception>
    public static IReadOnlyList<WeightTensor> OpenClip(SafetensorsFile file, string path, ClipConfig config)
    {
        var specs = ParameterNames.Of(config, WeightDecayScope.All);
        var absent = specs.Select(spec => AbsentBias(config, spec.Name)).OfType<string>().ToHashSet(StringComparer.Ordinal);
        (string Name, int[] Shape)[] needed = [.. specs.Select(spec => (spec.Name, spec.Shape)), .. Statistics(config).Select(statistic => (statistic.Name, new[] { statistic.Width }))];
        RequireAll(path, [.. needed.Select(tensor => tensor.Name).Where(name => !file.Contains(name))]);
        string[] others = [.. file.Entries.Select(entry => entry.Name).Except(needed.Select(tensor => tensor.Name)).Except(absent).Where(name => !IsOpenAiSize(name))];
        RequireNone(path, [.. others.Where(name => !IsCounter(name))]);
        foreach (var (name, shape) in needed) RequireShape(path, name, file.Tensor(name), shape);
        foreach (string bias in absent.Where(file.Contains)) RequireZero(path, bias, file.Tensor(bias));
        return [.. Complete(config, file.Tensor), .. others.Select(file.Tensor)];
    }

    /// <summary>The tensors of a file with the names of Hugging Face's CLIPModel.</summary>
    /// <inheritdoc cref="OpenClip" path="/exception"/>
    public static IReadOnlyList<WeightTensor> HuggingFace(SafetensorsFile file, string path, ClipConfig config)
    {
        var specs = ParameterNames.Of(config, WeightDecayScope.All);
        var stored = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var entry in file.Entries)
        {
            if (!stored.TryAdd(HuggingFaceNames.Flatten(entry.Name), entry.Name)) throw new InvalidDataException($"'{path}' holds '{entry.Name}' twice, with and without the inner name of its tower.");
        }
        string[] absent = [.. specs.Select(spec => AbsentBias(config, spec.Name)).OfType<string>()];
        string[] needed = [.. specs.SelectMany(spec => HuggingFaceNames.Of(spec.Name).Names)];
        string[] zeros = [.. absent.SelectMany(name => HuggingFaceNames.Of(name).Names)];
        RequireAll(path, [.. needed.Where(name => !stored.ContainsKey(name))]);
        RequireNone(path, [.. stored.Keys.Except(needed).Except(zeros).Where(name => !HuggingFaceNames.IsCounter(name)).Select(name => stored[name])]);
        foreach (string bias in zeros.Where(stored.ContainsKey)) RequireZero(path, stored[bias], file.Tensor(stored[bias]));
        var shapes = specs.ToDictionary(spec => spec.Name, spec => spec.Shape, StringComparer.Ordinal);
        return Complete(config, name =>
        {
            var (names, storedAs) = HuggingFaceNames.Of(name);
            WeightTensor[] parts = [.. names.Select(part => file.Tensor(stored[part]))];
            var tensor = storedAs switch
            {
                StoredAs.Transposed => parts[0].Transposed(name),
                StoredAs.Split => WeightTensor.Join(name, parts),
                _ => parts[0].Renamed(name),
            };
            RequireShape(path, string.Join("', '", parts.Select(part => part.Name)), tensor, shapes[name]);
            return tensor;
        });
    }

    private static IEnumerable<(string Name, int Width)> Statistics(ClipConfig config) => BatchNormStatistics.NamesOf(ParameterNames.BatchNorms(config));

    /// <summary>The in_proj bias that open_clip has beside this parameter and the model has not.</summary>
    private static string? AbsentBias(ClipConfig config, string name) =>
        !config.QkvBias && name.EndsWith(".in_proj_weight", StringComparison.Ordinal) ? name[..^"weight".Length] + "bias" : null;

    /// <summary>Batch norm's count of batches, which decides nothing and is kept as it is.</summary>
    private static bool IsCounter(string name) => name.EndsWith(".num_batches_tracked", StringComparison.Ordinal);

    private static void RequireAll(string path, string[] missing)
    {
        if (missing.Length > 0) throw new InvalidDataException($"'{path}' lacks {List(missing)}.");
    }

    private static void RequireNone(string path, string[] unknown)
    {
        if (unknown.Length > 0) throw new InvalidDataException($"'{path}' holds {List(unknown)}, which this model does not have.");
    }

    private static void RequireShape(string path, string stored, WeightTensor tensor, int[] shape)
    {
        if (!tensor.Shape.AsSpan().SequenceEqual(shape))
            throw new InvalidDataException($"'{path}' holds '{stored}' of shape {tensor.ShapeText}, the model's is [{string.Join(", ", shape)}].");
        if (!tensor.IsFloat) throw new InvalidDataException($"'{path}' holds {tensor.Type} in tensor '{stored}'; F32, F16 and BF16 are read as weights, so convert it first.");
    }

    private static void RequireZero(string path, string name, WeightTensor tensor)
    {
        if (!tensor.IsZero()) throw new InvalidDataException($"'{path}' holds '{name}', which is not zero, and this model has no q/k/v bias; set qkv_bias.");
    }

    private static string List(string[] names) =>
        $"{names.Length} tensor{(names.Length == 1 ? "" : "s")}: {string.Join(", ", names.Take(Named))}{(names.Length > Named ? ", …" : "")}";
}
