using System.Text.Json;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Model;

/// <summary>The whole model against numbers that PyTorch and OpenAI's code computed in float64 (golden/README.md).</summary>
public sealed class GoldenTests
{
    [Test]
    public void One_step_and_three_match_pytorch([Values("clip_demo_vit", "openai_vit")] string name, [Values("cpu", "cpu:check")] string engine)
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "golden", name);
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "case.json")));
        var config = ConfigJson.Read(json.RootElement.GetProperty("config"), "case.json", qkvBias: false);
        var train = json.RootElement.GetProperty("train");
        using var device = Device.Open(engine, 2);
        using var model = new ClipModel(device, config);
        Checkpoint.LoadWeights(model, Path.Combine(folder, "weights.safetensors"));
        var io = SafetensorsFile.Open(Path.Combine(folder, "io.safetensors"));
        var gradients = SafetensorsFile.Open(Path.Combine(folder, "grads.safetensors"));
        var after = SafetensorsFile.Open(Path.Combine(folder, "after_steps.safetensors"));
        float[] pixels = io.ReadFloats("pixels");
        int[] tokens = io.ReadIntegers("tokens");
        int batch = io["tokens"].Shape[0];
        var betas = train.GetProperty("betas");
        using var norm = new GradientNorm(model.Parameters);
        using var optimizer = new AdamW(
            model.Parameters, betas[0].GetSingle(), betas[1].GetSingle(), train.GetProperty("eps").GetSingle(), train.GetProperty("weight_decay").GetSingle());
        using var tape = new Tape(device);
        foreach (var step in train.GetProperty("steps").EnumerateArray())
        {
            bool first = step.GetProperty("step").GetInt32() == 0;
            var image = model.EncodeImage(tape, tape.Input(pixels, io["pixels"].Shape));
            var text = model.EncodeText(tape, tokens, batch);
            var loss = ClipLoss.Forward(tape, image, text, model.LogitScale);
            if (first)
            {
                AssertClose(image, io, "image_embeds", 1e-5);
                AssertClose(text, io, "text_embeds", 1e-5);
            }
            Numbers.AssertClose(loss.ToArray(), [step.GetProperty("loss").GetDouble()], first ? 1e-5 : 1e-4, 0, $"loss of {step}");
            model.Parameters.Gradients.Clear();
            tape.Backward(loss, 1);
            norm.Compute(train.GetProperty("clip_grad_norm").GetSingle());
            double globalNorm = step.GetProperty("grad_norm").GetDouble();
            Numbers.AssertClose([norm.ReadNorm()], [globalNorm], first ? 1e-5 : 1e-4, 0, $"gradient norm of {step}");
            if (first)
            {
                foreach (string parameter in model.Parameters.Names)
                    Numbers.AssertClose(model.Parameters[parameter].Gradient!.ToArray(), Doubles(gradients, parameter), 3e-5, 1e-7 * globalNorm, parameter);
            }
            optimizer.Step(step.GetProperty("lr").GetSingle(), norm.Result);
            ClipLoss.ClampLogitScale(model.LogitScale);
        }
        foreach (string parameter in model.Parameters.Names)
            Numbers.AssertClose(model.Parameters[parameter].ToArray(), Doubles(after, parameter), 0, 4e-5, $"{parameter} after three steps");
    }

    private static void AssertClose(Tensor actual, SafetensorsFile file, string name, double tolerance)
    {
        Assert.That(actual.Shape, Is.EqualTo(file[name].Shape), name);
        Numbers.AssertClose(actual.ToArray(), Doubles(file, name), tolerance, 0, name);
    }

    private static double[] Doubles(SafetensorsFile file, string name) => Array.ConvertAll(file.ReadFloats(name), x => (double)x);
}
