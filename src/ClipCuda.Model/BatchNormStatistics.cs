using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>
/// What the batch norms of a model keep for evaluation, under the names of checkpoints: running means and variances on the device, and on the
/// host how many batches they have seen. They have no gradients, and no optimizer knows of them.
/// </summary>
public sealed class BatchNormStatistics : IDisposable
{
    private const string Mean = ".running_mean", Variance = ".running_var", Count = ".num_batches_tracked";

    private readonly Dictionary<string, long> _counts = new(StringComparer.Ordinal);
    private readonly ParameterSet? _values;

    /// <summary>Fresh statistics as PyTorch's: means 0, variances 1, no batch seen.</summary>
    public BatchNormStatistics(Device device, IEnumerable<(string Name, int Width)> batchNorms)
    {
        ParameterSpec[] specs = [.. NamesOf(batchNorms).Select(statistic => new ParameterSpec(statistic.Name, [statistic.Width], Decays: false, Trains: false))];
        Names = [.. specs.Select(spec => spec.Name)];
        if (specs.Length == 0) return;
        _values = new ParameterSet(device, specs);
        foreach (var (name, shape, _, _) in specs)
        {
            float[] fresh = new float[shape[0]];
            if (name.EndsWith(Variance, StringComparison.Ordinal)) Array.Fill(fresh, 1);
            else _counts.Add(name[..^Mean.Length] + Count, 0);
            _values[name].Upload(fresh);
        }
    }

    /// <summary>The running means and variances, in the order of the batch norms.</summary>
    public IReadOnlyList<string> Names { get; }

    public Tensor this[string name] => Find(name) ?? throw new KeyNotFoundException($"The model has no statistics '{name}'.");

    /// <summary>The batches that each batch norm has been trained on.</summary>
    public IReadOnlyDictionary<string, long> BatchesTracked => _counts;

    /// <summary>What a batch norm needs besides its weight and bias.</summary>
    public (Tensor Mean, Tensor Variance) Of(string batchNorm) => (this[batchNorm + Mean], this[batchNorm + Variance]);

    /// <summary>Sets a count that a checkpoint holds.</summary>
    public void SetBatchesTracked(string name, long count) => _counts[name] = _counts.ContainsKey(name) ? count : throw new KeyNotFoundException($"The model counts no '{name}'.");

    /// <summary>The running mean or variance of that name, or null.</summary>
    public Tensor? Find(string name) => _values?.Find(name);

    /// <summary>Takes over a tensor of a checkpoint, if it is one of the statistics.</summary>
    internal void Take(WeightTensor tensor)
    {
        if (Find(tensor.Name) is { } statistic) tensor.Upload(statistic);
        else if (_counts.ContainsKey(tensor.Name)) SetBatchesTracked(tensor.Name, tensor.ToCount());
    }

    /// <summary>The names of the running means and variances of some batch norms, and their widths.</summary>
    internal static IEnumerable<(string Name, int Width)> NamesOf(IEnumerable<(string Name, int Width)> batchNorms) =>
        batchNorms.SelectMany(norm => new[] { (norm.Name + Mean, norm.Width), (norm.Name + Variance, norm.Width) });

    /// <summary>One more batch for every batch norm.</summary>
    internal void CountBatch()
    {
        foreach (string name in _counts.Keys) _counts[name]++;
    }

    public void Dispose() => _values?.Dispose();
}
