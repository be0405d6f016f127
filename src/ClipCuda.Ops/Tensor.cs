using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Ops;

/// <summary>
/// A dense row-major array on a device. A parameter carries a <see cref="Gradient"/> of its own, which backward adds into;
/// an activation's gradient lives on the <see cref="Tape"/>. A tensor does not own its memory: buffers are owned by the tape,
/// by a parameter store, or by who allocated them.
/// </summary>
public sealed class Tensor
{
    public Tensor(Device device, DevicePointer data, DataType type, params ReadOnlySpan<int> shape)
    {
        Device = device;
        Data = data;
        Type = type;
        Shape = shape.ToArray();
        Elements = 1;
        foreach (int extent in Shape)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(extent, nameof(shape));
            Elements *= extent;
        }
        if (Bytes > data.Remaining)
            throw new ArgumentException($"A tensor of shape {ShapeText} needs {Bytes} bytes, its memory has {data.Remaining}.", nameof(data));
    }

    public Device Device { get; }

    public DevicePointer Data { get; }

    public DataType Type { get; }

    public int[] Shape { get; }

    public long Elements { get; }

    public long Bytes => Elements * Type.Size();

    /// <summary>As an argument of a kernel that reads it and writes it again.</summary>
    public KernelArgument Updated => Data.Moving(2 * Bytes);

    /// <summary>As an argument of a kernel that reads or writes all of it once.</summary>
    public static implicit operator KernelArgument(Tensor tensor) => tensor.Data.Moving(tensor.Bytes);

    /// <summary>The last extent: what a row holds.</summary>
    public int Width => Shape.Length == 0 ? 1 : Shape[^1];

    /// <summary>All extents but the last, multiplied.</summary>
    public int Rows => Elements == 0 ? 0 : checked((int)(Elements / Width));

    /// <summary>Where a parameter's gradient accumulates; null for activations and inputs.</summary>
    public Tensor? Gradient { get; init; }

    /// <summary>Whether backward has to compute a gradient for this tensor.</summary>
    public bool NeedsGradient { get; init; }

    public string ShapeText => $"[{string.Join(", ", Shape)}]";

    /// <summary>Copies a tensor to the host; waits for the device.</summary>
    public float[] ToArray() => ToArray<float>(DataType.Float32);

    /// <summary>Copies a tensor into memory of the caller's, of as many elements; waits for the device.</summary>
    public void CopyTo(Span<float> values)
    {
        CheckType(DataType.Float32);
        if (values.Length != Elements) throw new ArgumentException($"{values.Length} values do not hold shape {ShapeText}.", nameof(values));
        if (Elements > 0) Device.CopyToHost(Data, MemoryMarshal.AsBytes(values));
    }

    /// <inheritdoc cref="ToArray()"/>
    public int[] ToInt32Array() => ToArray<int>(DataType.Int32);

    public void Upload(ReadOnlySpan<float> values) => Upload(values, DataType.Float32);

    public void Upload(ReadOnlySpan<int> values) => Upload(values, DataType.Int32);

    public void Upload(ReadOnlySpan<byte> values) => Upload(values, DataType.UInt8);

    /// <summary>Sets every element to zero.</summary>
    public void Clear() => Device.Clear(Data, Bytes);

    private T[] ToArray<T>(DataType type)
        where T : unmanaged
    {
        CheckType(type);
        var result = new T[Elements];
        if (Elements > 0) Device.CopyToHost(Data, MemoryMarshal.AsBytes(result.AsSpan()));
        return result;
    }

    private void Upload<T>(ReadOnlySpan<T> values, DataType type)
        where T : unmanaged
    {
        CheckType(type);
        if (values.Length != Elements) throw new ArgumentException($"{values.Length} values do not fill shape {ShapeText}.", nameof(values));
        if (Elements > 0) Device.CopyToDevice(MemoryMarshal.AsBytes(values), Data);
    }

    private void CheckType(DataType type)
    {
        if (type != Type) throw new InvalidOperationException($"The tensor holds {Type}, not {type}.");
    }
}
