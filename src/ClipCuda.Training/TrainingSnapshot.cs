using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// A copy in host memory of what a checkpoint holds: weights, statistics of batch norms, the optimizer's moments and <see cref="TrainingState"/>.
/// It is taken between two steps and written while the next ones run. The memory is used again for the next copy.
/// </summary>
internal sealed class TrainingSnapshot(ClipModel model, AdamW optimizer)
{
    /// <summary>The moments of AdamW, under PyTorch's names: <c>exp_avg.NAME</c> and <c>exp_avg_sq.NAME</c> of every trained parameter.</summary>
    public const string OptimizerFile = "optimizer.safetensors";

    private const string FirstMoment = "exp_avg.", SecondMoment = "exp_avg_sq.";

    private readonly Dictionary<string, float[]> _copies = new(StringComparer.Ordinal);
    private Dictionary<string, long> _batchesTracked = [];
    private TrainingState? _state;

    /// <summary>Copies from the device; waits for it.</summary>
    public void Take(TrainingState state)
    {
        _state = state;
        foreach (string name in model.Parameters.Names) Copy(name, model.Parameters[name]);
        foreach (string name in model.Statistics.Names) Copy(name, model.Statistics[name]);
        foreach (var (name, tensor) in Moments(model, optimizer)) Copy(name, tensor);
        _batchesTracked = new Dictionary<string, long>(model.Statistics.BatchesTracked, StringComparer.Ordinal);
    }

    /// <summary>Writes the copy into a folder.</summary>
    /// <exception cref="NotFiniteNumberException">A weight is not finite; a checkpoint of use must not give way to this one.</exception>
    public void Write(string folder)
    {
        var state = _state ?? throw new InvalidOperationException("Nothing has been copied.");
        foreach (string name in model.Parameters.Names)
        {
            if (NotFiniteSteps.FirstIn(_copies[name]) is { } value)
                throw new NotFiniteNumberException($"After step {state.Step}, '{name}' holds {value}, not a finite number, so no checkpoint is written; use a lower learning rate (--lr) and resume from an earlier one.");
        }
        var facts = new Dictionary<string, long>(StringComparer.Ordinal) { ["epoch"] = state.Epoch, ["step"] = state.Step };
        Checkpoint.Save(folder, model.Config, name => Copied(name, (model.Statistics.Find(name) ?? model.Parameters[name]).Shape), _batchesTracked, facts);
        SafetensorsFile.Write(Path.Combine(folder, OptimizerFile), [.. Moments(model, optimizer).Select(moment => Copied(moment.Name, moment.Tensor.Shape))]);
        state.Write(folder); // last, so that a folder with a state is whole
    }

    /// <summary>Brings a model and its optimizer to where a checkpoint was taken.</summary>
    /// <exception cref="InvalidDataException">The checkpoint is damaged, or that of another model; the message names file and tensor.</exception>
    public static void Restore(string checkpoint, TrainingState state, ClipModel model, AdamW optimizer)
    {
        using (var weights = PretrainedWeights.Open(checkpoint)) weights.LoadInto(model);
        string path = Path.Combine(checkpoint, OptimizerFile);
        using var moments = SafetensorsFile.Open(path);
        foreach (var (name, tensor) in Moments(model, optimizer))
        {
            var stored = moments.Tensor(name);
            if (stored.Type != "F32" || !stored.Shape.AsSpan().SequenceEqual(tensor.Shape))
                throw new InvalidDataException($"'{path}' holds '{name}' as {stored.Type} of shape {stored.ShapeText}, expected F32 of shape {tensor.ShapeText}.");
            stored.Upload(tensor);
        }
        optimizer.StepCount = state.OptimizerSteps;
    }

    private static IEnumerable<(string Name, Tensor Tensor)> Moments(ClipModel model, AdamW optimizer)
    {
        foreach (string name in model.Parameters.Names)
        {
            if (!model.Parameters[name].NeedsGradient) continue;
            var (first, second) = optimizer.Moments(name);
            yield return (FirstMoment + name, first);
            yield return (SecondMoment + name, second);
        }
    }

    private void Copy(string name, Tensor tensor)
    {
        if (!_copies.TryGetValue(name, out float[]? copy)) _copies.Add(name, copy = new float[tensor.Elements]);
        tensor.CopyTo(copy);
    }

    private WeightTensor Copied(string name, int[] shape) => WeightTensor.Of(name, shape, _copies[name].AsMemory());
}
