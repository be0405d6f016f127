using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class ParameterNamesTests
{
    [Test]
    public void Names_and_shapes_are_those_of_the_reference_weights([Values("clip_demo_vit", "openai_vit", "openai_rn")] string folder)
    {
        string path = Path.Combine(AppContext.BaseDirectory, "golden", folder);
        using var json = System.Text.Json.JsonDocument.Parse(File.ReadAllText(Path.Combine(path, "case.json")));
        var config = ConfigJson.Read(json.RootElement.GetProperty("config"), folder, qkvBias: false);
        var expected = SafetensorsFile.Open(Path.Combine(path, "weights.safetensors")).Entries.Select(e => $"{e.Name} [{string.Join(", ", e.Shape)}]");
        var actual = ParameterNames.Of(config, WeightDecayScope.All).Select(s => $"{s.Name} [{string.Join(", ", s.Shape)}]");
        var statistics = ParameterNames.BatchNorms(config).SelectMany(norm => new[] { $"{norm.Name}.running_mean [{norm.Width}]", $"{norm.Name}.running_var [{norm.Width}]" });
        Assert.That(actual.Concat(statistics), Is.EquivalentTo(expected));
    }

    [Test]
    public void Matrices_decay_and_vectors_do_not()
    {
        var specs = ParameterNames.Of(Presets.Find(Presets.Sample).Config, WeightDecayScope.Matrices);
        Assert.That(
            specs.Where(s => !s.Decays).Select(s => s.Name.Split('.')[^1]).Distinct(),
            Is.EquivalentTo(new[] { "logit_scale", "class_embedding", "weight", "bias" }));
        Assert.That(specs.Where(s => !s.Decays && s.Name.EndsWith(".weight", StringComparison.Ordinal)).Select(s => s.Name), Is.All.Contains("ln_"));
        Assert.That(ParameterNames.Of(Presets.Find(Presets.Sample).Config, WeightDecayScope.All).All(s => s.Decays), Is.True);
    }
}
