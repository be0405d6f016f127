using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>What a parameter is called in a checkpoint, its shape, whether AdamW decays it, and whether it is trained at all.</summary>
public readonly record struct ParameterSpec(string Name, int[] Shape, bool Decays, bool Trains = true);

/// <summary>
/// All parameters of a model in one device buffer and the gradients of those that are trained in a second of the same layout, so that the
/// optimizer, the gradient norm and clearing are one launch each. Decayed parameters come first: [0, <see cref="DecayedElements"/>) of the
/// flat buffers decays, the rest does not. Frozen ones come last, behind <see cref="TrainedElements"/>, where there are no gradients.
/// Each parameter starts at a multiple of 256 bytes; the gaps are zero and stay zero. Trained parameters are zero at first, frozen ones undefined
/// until they are loaded: clearing them would take as long as that.
/// </summary>
public sealed class ParameterSet : IDisposable
{
    private const int AlignmentElements = 64;

    private readonly Dictionary<string, Tensor> _byName = new(StringComparer.Ordinal);
    private readonly DeviceBuffer _values;
    private readonly DeviceBuffer _gradients;

    /// <exception cref="ArgumentException">There are 2³¹ parameters or more.</exception>
    public ParameterSet(Device device, IReadOnlyList<ParameterSpec> specs)
    {
        Device = device;
        long total = specs.Sum(spec => Padded(spec.Shape));
        if (total > int.MaxValue) throw new ArgumentException($"The model has {total:N0} parameters, more than {int.MaxValue:N0}; make it narrower or shallower.");
        _values = device.Allocate(Math.Max(1, total) * sizeof(float), "parameters");
        TrainedElements = specs.Where(spec => spec.Trains).Sum(spec => Padded(spec.Shape));
        _gradients = device.Allocate(Math.Max(1, TrainedElements) * sizeof(float), "gradients");
        long offset = 0;
        foreach (var spec in specs.OrderBy(spec => !spec.Trains ? 2 : spec.Decays ? 0 : 1)) // a stable sort
        {
            var gradient = spec.Trains ? new Tensor(device, _gradients.At(offset * sizeof(float)), DataType.Float32, spec.Shape) : null;
            var value = new Tensor(device, _values.At(offset * sizeof(float)), DataType.Float32, spec.Shape) { Gradient = gradient, NeedsGradient = spec.Trains };
            _byName.Add(spec.Name, value);
            offset += Padded(spec.Shape);
            if (spec.Decays && spec.Trains) DecayedElements = offset;
        }
        Names = [.. specs.Select(spec => spec.Name)];
        Elements = offset;
        Values = new Tensor(device, _values.Start, DataType.Float32, (int)offset);
        Gradients = new Tensor(device, _gradients.Start, DataType.Float32, (int)TrainedElements);
        device.Clear(_values.Start, TrainedElements * sizeof(float));
        foreach (var tensor in _byName.Values.Where(tensor => !tensor.NeedsGradient))
            device.Clear(tensor.Data + tensor.Bytes, Padded(tensor.Shape) * sizeof(float) - tensor.Bytes);
        Gradients.Clear();
    }

    public Device Device { get; }

    /// <summary>The names in the order given, which is the order of checkpoints.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Elements of the flat buffer of values, gaps included.</summary>
    public long Elements { get; }

    /// <summary>How many elements at the start of the flat buffers are trained, gaps included.</summary>
    public long TrainedElements { get; }

    /// <summary>How many elements at the start of the flat buffers weight decay applies to.</summary>
    public long DecayedElements { get; }

    /// <summary>The flat buffer of all values, shape [Elements].</summary>
    public Tensor Values { get; }

    /// <summary>The flat buffer of all gradients, shape [TrainedElements].</summary>
    public Tensor Gradients { get; }

    /// <summary>Parameters without the gaps.</summary>
    public long Count => _byName.Values.Sum(tensor => tensor.Elements);

    public Tensor this[string name] => Find(name) ?? throw new KeyNotFoundException($"The model has no parameter '{name}'.");

    /// <summary>The parameter of that name, or null.</summary>
    public Tensor? Find(string name) => _byName.GetValueOrDefault(name);

    public void Dispose()
    {
        _values.Dispose();
        _gradients.Dispose();
    }

    private static long Padded(int[] shape)
    {
        long elements = 1;
        foreach (int extent in shape) elements *= extent;
        return (elements + AlignmentElements - 1) / AlignmentElements * AlignmentElements;
    }
}
