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
    private const int AlignmentElements = 64;

    private readonly Dictionary<string, Tensor> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _counts = new(StringComparer.Ordinal);
    private readonly DeviceBuffer? _values;

    /// <summary>Fresh statistics as PyTorch's: means 0, variances 1, no batch seen.</summary>
    public BatchNormStatistics(Device device, IEnumerable<(string Name, int Width)> batchNorms)
    {
        var specs = NamesOf(batchNorms).ToArray();
        Names = [.. specs.Select(spec => spec.Name)];
        if (specs.Length == 0) return;
        _values = device.Allocate(specs.Sum(spec => Padded(spec.Width)) * sizeof(float), "batch norm statistics");
        long offset = 0;
        foreach (var (name, width) in specs)
        {
            var tensor = new Tensor(device, _values.At(offset * sizeof(float)), DataType.Float32, width);
            float[] fresh = new float[width];
            if (name.EndsWith(Variance, StringComparison.Ordinal)) Array.Fill(fresh, 1);
            else _counts.Add(name[..^Mean.Length] + Count, 0);
            tensor.Upload(fresh);
            _byName.Add(name, tensor);
            offset += Padded(width);
        }
    }

    /// <summary>The running means and variances, in the order of the batch norms.</summary>
    public IReadOnlyList<string> Names { get; }

    public Tensor this[string name] =>
        _byName.TryGetValue(name, out var tensor) ? tensor : throw new KeyNotFoundException($"The model has no statistics '{name}'.");

    /// <summary>The batches that each batch norm has been trained on.</summary>
    public IReadOnlyDictionary<string, long> BatchesTracked => _counts;

    /// <summary>What a batch norm needs besides its weight and bias.</summary>
    public (Tensor Mean, Tensor Variance) Of(string batchNorm) => (this[batchNorm + Mean], this[batchNorm + Variance]);

    /// <summary>Sets a count that a checkpoint holds.</summary>
    public void SetBatchesTracked(string name, long count) => _counts[name] = _counts.ContainsKey(name) ? count : throw new KeyNotFoundException($"The model counts no '{name}'.");

    /// <summary>Takes over a tensor of a checkpoint, if it is one of the statistics.</summary>
    internal void Take(WeightTensor tensor)
    {
        if (_byName.TryGetValue(tensor.Name, out var statistic)) tensor.Upload(statistic);
        else if (_counts.ContainsKey(tensor.Name)) _counts[tensor.Name] = tensor.ToCount();
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

    private static long Padded(int width) => (width + AlignmentElements - 1L) / AlignmentElements * AlignmentElements;
}
