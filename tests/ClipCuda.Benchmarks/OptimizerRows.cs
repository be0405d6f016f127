using ClipCuda.Devices;
using ClipCuda.Ops;
using TorchSharp;
using TorchSharp.Modules;

namespace ClipCuda.Benchmarks;

/// <summary>AdamW over all parameters of a model, alone and after clipping the gradients' norm; theirs is <c>torch.optim.AdamW</c> of TorchSharp.</summary>
internal static class OptimizerRows
{
    private const float LearningRate = 1e-3f, MaxNorm = 1;
    private const int CheckedSteps = 3;

    /// <summary>Values differ by rounding of the update: a few units of 2⁻²⁴ of the value a step.</summary>
    private const double Tolerance = 2e-6;

    public static IEnumerable<Row> All(Device device) =>
    [
        Create(device, BenchmarkModel.EmojiSmall, clip: false),
        Create(device, BenchmarkModel.EmojiSmall, clip: true),
        Create(device, BenchmarkModel.ViTB32, clip: false),
    ];

    private static Row Create(Device device, BenchmarkModel model, bool clip) =>
        new("Optimizer", $"{(clip ? "clip + " : "")}AdamW {model.Name}, {model.Specs.Sum(Elements) / 1e6:0.0} M parameters", () => (Ours(device, model, clip), Theirs(model, clip)));

    private static Side Ours(Device device, BenchmarkModel model, bool clip)
    {
        var parameters = new ParameterSet(device, model.Specs);
        for (int i = 0; i < parameters.Names.Count; i++)
        {
            var tensor = parameters[parameters.Names[i]];
            tensor.Upload(Values(i, tensor.Elements));
            tensor.Gradient!.Upload(Gradients(i, tensor.Elements));
        }
        var options = model.Options;
        var norm = new GradientNorm(parameters);
        var optimizer = new ClipCuda.Ops.AdamW(parameters, options.Beta1, options.Beta2, options.Epsilon, options.WeightDecay);
        norm.Compute(maxNorm: 0);
        return new Side(Run, Results, dispose: Dispose);

        void Run()
        {
            if (clip)
            {
                norm.Compute(MaxNorm);
                norm.ReadNorm();
            }
            optimizer.Step(LearningRate, norm.Result);
        }

        IEnumerable<Result> Results()
        {
            for (int step = 0; step < CheckedSteps; step++) Run();
            foreach (string name in parameters.Names) yield return new Result(name, parameters[name].ToArray(), Tolerance);
        }

        void Dispose()
        {
            optimizer.Dispose();
            norm.Dispose();
            parameters.Dispose();
        }
    }

    private static Side Theirs(BenchmarkModel model, bool clip)
    {
        var parameters = new List<(string Name, bool Decays, Parameter Value)>();
        foreach (var spec in model.Specs)
        {
            int seed = parameters.Count;
            var parameter = new Parameter(TorchTensors.Of(Values(seed, Elements(spec)), spec.Shape));
            parameter.grad = TorchTensors.Of(Gradients(seed, Elements(spec)), spec.Shape);
            parameters.Add((spec.Name, spec.Decays, parameter));
        }
        var optimizer = TorchOptimizer.AdamW(model.Options, LearningRate, parameters.Select(p => (p.Decays, p.Value)));
        return new Side(Run, Results, dispose: Dispose);

        void Run()
        {
            using var scope = torch.NewDisposeScope();
            if (clip) torch.nn.utils.clip_grad_norm_(parameters.Select(p => p.Value), MaxNorm);
            optimizer.step();
        }

        IEnumerable<Result> Results()
        {
            for (int step = 0; step < CheckedSteps; step++) Run();
            foreach (var (name, _, value) in parameters) yield return new Result(name, value.ToFloats(), Tolerance);
        }

        void Dispose()
        {
            optimizer.Dispose();
            foreach (var (_, _, value) in parameters)
            {
                value.grad?.Dispose();
                value.Dispose();
            }
        }
    }

    private static long Elements(ParameterSpec spec) => spec.Shape.Aggregate(1L, (product, extent) => product * extent);

    private static float[] Values(int seed, long count) => Noise.Uniform(seed, count, 0.1f);

    private static float[] Gradients(int seed, long count) => Noise.Uniform(1000 + seed, count, 0.02f);
}
