using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>
/// Records one node an op and walks them backwards. A node's backward is the closure beside its forward, in the same file:
/// it reads its output's gradient with <see cref="GradientOf"/>, assigns activation gradients into what <see cref="GradientTarget(Tensor)"/>
/// gives (the tape sums those of several consumers, unless the closure adds its own itself) or passes its output's on as it is
/// (<see cref="PassGradient"/>), and adds into <see cref="Tensor.Gradient"/> of parameters.
/// Memory comes from a pool of buffers by size, so that after the first step a training loop allocates nothing. During backward a
/// node's output, its gradient and its scratch go back to the pool as soon as the node is done.
/// </summary>
public sealed class Tape(Device device, bool recording = true) : IDisposable
{
    private readonly Dictionary<long, Stack<DeviceBuffer>> _pool = [];
    private readonly HashSet<DeviceBuffer> _rented = [];
    private readonly List<Node> _nodes = [];
    private readonly Dictionary<Tensor, Tensor> _gradients = new(ReferenceEqualityComparer.Instance);
    private readonly List<(Tensor Tensor, Tensor Partial)> _partials = [];

    /// <summary>Gradients that several tensors have, and how many have them besides the first.</summary>
    private readonly Dictionary<DeviceBuffer, int> _sharers = [];
    private List<DeviceBuffer> _sinceLastNode = [];

    public Device Device { get; } = device;

    /// <summary>Whether ops are to keep what backward needs. A tape for evaluation does not record.</summary>
    public bool Recording { get; private set; } = recording;

    /// <summary>A new activation, its contents undefined; if the tape records, backward can bring it a gradient.</summary>
    public Tensor Allocate(params ReadOnlySpan<int> shape) => Allocate(DataType.Float32, Recording, shape);

    /// <summary>
    /// Saved statistics and workspaces, contents undefined, to which no gradient flows. Asked for in a forward, it lives until that
    /// node has run backward; asked for in a backward closure, until the closure ends.
    /// </summary>
    public Tensor AllocateScratch(DataType type, params ReadOnlySpan<int> shape) => Allocate(type, needsGradient: false, shape);

    /// <summary>A constant input (pixels, token ids) copied from the host; no gradient flows to it.</summary>
    public Tensor Input(ReadOnlySpan<float> values, params ReadOnlySpan<int> shape)
    {
        var tensor = AllocateScratch(DataType.Float32, shape);
        tensor.Upload(values);
        return tensor;
    }

    /// <inheritdoc cref="Input(ReadOnlySpan{float}, ReadOnlySpan{int})"/>
    public Tensor Input(ReadOnlySpan<int> values, params ReadOnlySpan<int> shape)
    {
        var tensor = AllocateScratch(DataType.Int32, shape);
        tensor.Upload(values);
        return tensor;
    }

    /// <inheritdoc cref="Input(ReadOnlySpan{float}, ReadOnlySpan{int})"/>
    public Tensor Input(ReadOnlySpan<byte> values, params ReadOnlySpan<int> shape)
    {
        var tensor = AllocateScratch(DataType.UInt8, shape);
        tensor.Upload(values);
        return tensor;
    }

    /// <summary>
    /// Gives memory of this tape back at once, unless a recorded op owns it: a forward's workspace that its backward does not read, or, on a
    /// tape that does not record, an activation that nothing reads any more.
    /// </summary>
    public void Release(Tensor tensor)
    {
        var buffer = tensor.Data.Buffer!;
        if (_sinceLastNode.Remove(buffer)) Return(buffer);
    }

    /// <summary>
    /// Ends an op: what was allocated since the last op ended belongs to this node. The closure runs at most once, and only if a
    /// gradient reached the output. A tape that does not record forgets the closure.
    /// </summary>
    public void Record(Tensor output, Action backward)
    {
        if (!Recording) return;
        _nodes.Add(new Node(output, backward, _sinceLastNode));
        _sinceLastNode = [];
    }

    /// <summary>
    /// Runs ops on frozen parameters: nothing is recorded, no gradient flows to the result, and all other memory that they allocated goes back to
    /// the pool at once.
    /// </summary>
    public Tensor Constant<T>(T input, Func<T, Tensor> forward)
        where T : allows ref struct
    {
        bool was = Recording;
        int before = _sinceLastNode.Count;
        Recording = false;
        try
        {
            var output = forward(input);
            foreach (var buffer in _sinceLastNode.Skip(before).Where(buffer => buffer != output.Data.Buffer).ToArray())
            {
                _sinceLastNode.Remove(buffer);
                Return(buffer);
            }
            return output;
        }
        finally
        {
            Recording = was;
        }
    }

    /// <summary>The gradient that has arrived at a node's output; read inside that node's closure.</summary>
    public Tensor GradientOf(Tensor output) =>
        _gradients.TryGetValue(output, out var gradient)
            ? gradient
            : throw new InvalidOperationException($"No gradient has reached the tensor of shape {output.ShapeText}.");

    /// <summary>
    /// Where a closure assigns (never adds) the gradient of one of its inputs, or null when nobody needs it. If another consumer has
    /// given one already, the tape adds the two after the closure.
    /// </summary>
    public Tensor? GradientTarget(Tensor input)
    {
        if (!TakesGradient(input)) return null;
        var target = new Tensor(Device, Rent(input.Bytes).Start, DataType.Float32, input.Shape);
        if (!_gradients.TryAdd(input, target)) _partials.Add((input, target));
        return target;
    }

    /// <summary>For a closure that can add as well as assign, which saves the tape a pass over the gradient.</summary>
    /// <param name="adds">The target holds what other consumers have given: the closure adds its own to that. Otherwise it assigns.</param>
    public Tensor? GradientTarget(Tensor input, out bool adds)
    {
        adds = TakesGradient(input) && _gradients.ContainsKey(input);
        return adds ? _gradients[input] = Owned(_gradients[input]) : GradientTarget(input);
    }

    /// <summary>Inside a node's closure: the gradient of an input is that of the node's output, as in a sum. The two share it, so nothing is copied.</summary>
    /// <param name="input">Of the output's shape.</param>
    public void PassGradient(Tensor output, Tensor input)
    {
        if (!TakesGradient(input)) return;
        Shapes.Require(input, nameof(input), output.Shape);
        var gradient = GradientOf(output);
        CollectionsMarshal.GetValueRefOrAddDefault(_sharers, gradient.Data.Buffer!, out _)++;
        if (!_gradients.TryAdd(input, gradient)) _partials.Add((input, gradient));
    }

    /// <summary>
    /// Walks back from <paramref name="output"/>, whose gradient is <paramref name="cotangent"/> (of the same shape), then resets
    /// the tape: activations, the output among them, are gone.
    /// </summary>
    public void Backward(Tensor output, params ReadOnlySpan<float> cotangent)
    {
        RequireRecording();
        var seed = new Tensor(Device, Rent(output.Bytes).Start, DataType.Float32, output.Shape);
        seed.Upload(cotangent);
        Backward(output, seed);
    }

    /// <inheritdoc cref="Backward(Tensor, ReadOnlySpan{float})"/>
    public void Backward(Tensor output, Tensor cotangent)
    {
        RequireRecording();
        Shapes.Require(cotangent, nameof(cotangent), output.Shape);
        _gradients.Add(output, cotangent);
        for (int i = _nodes.Count - 1; i >= 0; i--)
        {
            var node = _nodes[i];
            if (_gradients.TryGetValue(node.Output, out var gradient))
            {
                node.Backward();
                AddPartials();
                ReturnAll(_sinceLastNode);
                _gradients.Remove(node.Output);
                Return(gradient.Data.Buffer!);
            }
            ReturnAll(node.Buffers);
        }
        Reset();
    }

    /// <summary>Forgets every node and returns all memory to the pool; tensors of this tape must not be used any more.</summary>
    public void Reset()
    {
        _sharers.Clear();
        foreach (var buffer in _rented.ToArray()) Return(buffer);
        _nodes.Clear();
        _gradients.Clear();
        _partials.Clear();
        _sinceLastNode.Clear();
    }

    public void Dispose()
    {
        Reset();
        foreach (var buffers in _pool.Values)
        {
            foreach (var buffer in buffers) buffer.Dispose();
        }
        _pool.Clear();
    }

    private void RequireRecording()
    {
        if (!Recording) throw new InvalidOperationException("This tape does not record; it cannot run backward.");
    }

    private Tensor Allocate(DataType type, bool needsGradient, ReadOnlySpan<int> shape)
    {
        long bytes = type.Size();
        foreach (int extent in shape) bytes *= extent;
        var buffer = Rent(bytes);
        _sinceLastNode.Add(buffer);
        return new Tensor(Device, buffer.Start, type, shape) { NeedsGradient = needsGradient };
    }

    private void AddPartials()
    {
        foreach (var (tensor, partial) in _partials)
        {
            var (sum, addend) = (_gradients[tensor], partial);
            // What others have too must not change; which of the two is added to the other makes no difference.
            if (!IsOwn(sum)) (sum, addend) = (addend, sum);
            sum = Owned(sum);
            Residual.AddInto(sum, addend);
            Return(addend.Data.Buffer!);
            _gradients[tensor] = sum;
        }
        _partials.Clear();
    }

    /// <summary>The gradient, or if others have it too, a copy.</summary>
    private Tensor Owned(Tensor gradient)
    {
        if (IsOwn(gradient)) return gradient;
        var copy = new Tensor(Device, Rent(gradient.Bytes).Start, DataType.Float32, gradient.Shape);
        Device.Copy(gradient.Data, copy.Data, gradient.Bytes);
        Return(gradient.Data.Buffer!);
        return copy;
    }

    /// <summary>Memory of this tape that one tensor has alone as its gradient.</summary>
    private bool IsOwn(Tensor gradient) => _rented.Contains(gradient.Data.Buffer!) && !_sharers.ContainsKey(gradient.Data.Buffer!);

    private static bool TakesGradient(Tensor input) =>
        input.Gradient is null ? input.NeedsGradient : throw new InvalidOperationException("A parameter's gradient is added into Tensor.Gradient, not assigned.");

    private DeviceBuffer Rent(long bytes)
    {
        // Equal sizes recur every step; rounding lets neighbours share a pool entry, but would hide an access past the end.
        long size = Device.ChecksBounds ? bytes : Math.Max(256, (bytes + 255) & ~255L);
        var buffer = _pool.TryGetValue(size, out var stack) && stack.TryPop(out var pooled) ? pooled : Device.Allocate(size, "activation");
        _rented.Add(buffer);
        return buffer;
    }

    /// <summary>Back to the pool, or if others have it, one fewer does.</summary>
    private void Return(DeviceBuffer buffer)
    {
        ref int sharers = ref CollectionsMarshal.GetValueRefOrNullRef(_sharers, buffer);
        if (!Unsafe.IsNullRef(ref sharers))
        {
            if (--sharers == 0) _sharers.Remove(buffer);
            return;
        }
        if (!_rented.Remove(buffer)) return;
        if (!_pool.TryGetValue(buffer.Bytes, out var stack)) _pool.Add(buffer.Bytes, stack = new Stack<DeviceBuffer>());
        stack.Push(buffer);
    }

    private void ReturnAll(List<DeviceBuffer> buffers)
    {
        foreach (var buffer in buffers) Return(buffer);
        buffers.Clear();
    }

    private readonly record struct Node(Tensor Output, Action Backward, List<DeviceBuffer> Buffers);
}
