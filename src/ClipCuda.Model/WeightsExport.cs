namespace ClipCuda.Model;

/// <summary>Writes weights as folders that open_clip and Hugging Face's transformers load strictly. Values keep their type and every bit.</summary>
public static class WeightsExport
{
    /// <param name="tensors">In open_clip's layout, as <see cref="PretrainedWeights.Tensors"/>.</param>
    public static void ToOpenClip(string folder, ClipConfig config, IReadOnlyList<WeightTensor> tensors)
    {
        Directory.CreateDirectory(folder);
        SafetensorsFile.Write(Path.Combine(folder, Checkpoint.WeightsFile), tensors);
        JsonFile.Write(Path.Combine(folder, Checkpoint.ConfigFile), writer =>
        {
            writer.WritePropertyName("model_cfg");
            ConfigJson.WriteModelCfg(writer, config);
            PreprocessJson.WriteOpenClip(writer, config.Vision.ImageSize);
        });
    }

    /// <inheritdoc cref="ToOpenClip" path="/param"/>
    /// <exception cref="InvalidDataException">A CLIPModel cannot be this model.</exception>
    public static void ToHuggingFace(string folder, ClipConfig config, IReadOnlyList<WeightTensor> tensors)
    {
        // First of all, so that nothing is written for a model that cannot be.
        WeightTensor[] split = [.. tensors.SelectMany(Split)];
        if (!config.Vision.LnPre)
            throw new InvalidDataException("Hugging Face's CLIPModel always has a layer norm before the first block (pre_layrnorm), this model has none (no_ln_pre), so it cannot be written as one; use --to open_clip.");
        Directory.CreateDirectory(folder);
        // transformers refuses a file that does not say that its tensors are PyTorch's.
        SafetensorsFile.Write(Path.Combine(folder, PretrainedWeights.HuggingFaceWeights), split, ("format", "pt"));
        JsonFile.Write(Path.Combine(folder, PretrainedWeights.HuggingFaceConfigFile), writer => HuggingFaceConfig.Write(writer, config));
        JsonFile.Write(Path.Combine(folder, PretrainedWeights.HuggingFacePreprocessor), writer => PreprocessJson.WriteHuggingFace(writer, config.Vision.ImageSize));
    }

    private static IEnumerable<WeightTensor> Split(WeightTensor tensor)
    {
        var (names, stored) = HuggingFaceNames.Of(tensor.Name);
        return stored switch
        {
            StoredAs.Transposed => [tensor.Transposed(names[0])],
            StoredAs.Split => names.Select((name, i) => tensor.Part(name, i, names.Length)),
            _ => [tensor.Renamed(names[0])],
        };
    }
}
