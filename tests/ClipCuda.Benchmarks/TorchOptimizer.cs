using ClipCuda.Training;
using TorchSharp.Modules;

namespace ClipCuda.Benchmarks;

/// <summary>TorchSharp's AdamW with our options: two groups, of which one decays.</summary>
internal static class TorchOptimizer
{
    public static AdamW AdamW(TrainingOptions options, float learningRate, IEnumerable<(bool Decays, Parameter Value)> parameters)
    {
        var groups = parameters.GroupBy(p => p.Decays, p => p.Value)
            .Select(group => new AdamW.ParamGroup(group.ToList(), learningRate, options.Beta1, options.Beta2, options.Epsilon, group.Key ? options.WeightDecay : 0));
        return new AdamW([.. groups], learningRate, options.Beta1, options.Beta2, options.Epsilon, options.WeightDecay);
    }
}
