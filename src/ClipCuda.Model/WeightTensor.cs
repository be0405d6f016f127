using System.Runtime.InteropServices;
using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>
/// A tensor of weights on its way between files and models: a name, a safetensors type and a shape; its bytes (row-major, little-endian) come
/// in pieces when they are asked for, and are nowhere before. Renaming, cutting and joining move no bytes, and none of these changes a bit.
/// </summary>
public sealed class WeightTensor
{
    private const int PieceElements = 1 << 16;

    private readonly Action<Action<ReadOnlySpan<byte>>> _read;
    private readonly Action<long, Span<byte>>? _readAt;

    /// <param name="type">F32, F16, BF16, or another name of the format.</param>
    /// <param name="read">Hands over all bytes, in order, in pieces of whole elements that live until the next one.</param>
    /// <param name="readAt">If the source can: fills a span with the bytes from an offset on.</param>
    public WeightTensor(string name, string type, int[] shape, Action<Action<ReadOnlySpan<byte>>> read, Action<long, Span<byte>>? readAt = null) =>
        (Name, Type, Shape, _read, _readAt) = (name, type, shape, read, readAt);

    public string Name { get; }

    public string Type { get; }

    public int[] Shape { get; }

    public string ShapeText => $"[{string.Join(", ", Shape)}]";

    public long Elements => Shape.Aggregate(1L, (product, extent) => product * extent);

    public long Bytes => Elements * SafetensorsHeader.ElementBytes(Type);

    /// <summary>Whether <see cref="ToFloats"/> and <see cref="Upload"/> can be had: F32, F16 or BF16.</summary>
    public bool IsFloat => Type is "F32" or "F16" or "BF16";

    /// <summary>A tensor of a model; it is copied from the device at each reading.</summary>
    public static WeightTensor Of(string name, Tensor tensor) => Of(name, tensor.Shape, tensor.ToArray);

    public static WeightTensor Of(string name, int[] shape, Func<float[]> values) => new(name, "F32", shape, take => take(MemoryMarshal.AsBytes(values().AsSpan())));

    /// <summary>Numbers that are on the host already.</summary>
    public static WeightTensor Of(string name, int[] shape, ReadOnlyMemory<float> values) => new(name, "F32", shape, take => take(MemoryMarshal.AsBytes(values.Span)));

    /// <summary>An I64 of shape [], in which PyTorch counts batches.</summary>
    public static WeightTensor Count(string name, long count) => new(name, "I64", [], take => take(BitConverter.GetBytes(count)));

    public static WeightTensor Zeros(string name, string type, params int[] shape)
    {
        long bytes = shape.Aggregate((long)SafetensorsHeader.ElementBytes(type), (product, extent) => product * extent);
        return new WeightTensor(name, type, shape, take =>
        {
            var zeros = new byte[Math.Min(bytes, PieceElements)];
            for (long at = 0; at < bytes; at += zeros.Length) take(zeros.AsSpan(0, (int)Math.Min(zeros.Length, bytes - at)));
        });
    }

    /// <summary>Tensors of one type and width below each other.</summary>
    /// <exception cref="InvalidDataException">They differ in type or width.</exception>
    public static WeightTensor Join(string name, params WeightTensor[] parts)
    {
        foreach (var part in parts)
        {
            if (part.Type != parts[0].Type) throw new InvalidDataException($"'{part.Name}' holds {part.Type} and '{parts[0].Name}' {parts[0].Type}, and together they make '{name}'; give them one type.");
            if (!part.Shape.AsSpan().SequenceEqual(parts[0].Shape)) throw new InvalidDataException($"'{part.Name}' of shape {part.ShapeText} and '{parts[0].Name}' of shape {parts[0].ShapeText} do not make '{name}'.");
        }
        return new WeightTensor(name, parts[0].Type, [parts.Sum(part => part.Shape[0]), .. parts[0].Shape[1..]], take =>
        {
            foreach (var part in parts) part.Read(take);
        });
    }

    public void Read(Action<ReadOnlySpan<byte>> take) => _read(take);

    public WeightTensor Renamed(string name) => new(name, Type, Shape, _read, _readAt);

    /// <summary>One of <paramref name="count"/> equal parts, cut along the first dimension.</summary>
    public WeightTensor Part(string name, int index, int count)
    {
        long bytes = Bytes / count, first = index * bytes, end = first + bytes;
        return new WeightTensor(name, Type, [Shape[0] / count, .. Shape[1..]], take =>
        {
            long at = 0;
            _read(piece =>
            {
                long from = Math.Clamp(first - at, 0, piece.Length), to = Math.Clamp(end - at, 0, piece.Length);
                if (to > from) take(piece[(int)from..(int)to]);
                at += piece.Length;
            });
        });
    }

    /// <summary>A matrix with rows and columns exchanged; it is held in memory while it is read.</summary>
    public WeightTensor Transposed(string name)
    {
        if (Shape is not [var rows, var columns]) throw new InvalidDataException($"'{Name}' has shape {ShapeText}, expected a matrix.");
        return new WeightTensor(name, Type, [columns, rows], take =>
        {
            byte[] source = ToBytes(), result = new byte[source.Length];
            int size = SafetensorsHeader.ElementBytes(Type);
            for (int row = 0; row < rows; row++)
            {
                for (int column = 0; column < columns; column++)
                    source.AsSpan((row * columns + column) * size, size).CopyTo(result.AsSpan((column * rows + row) * size));
            }
            take(result);
        });
    }

    /// <summary>The number of an I64 of shape [].</summary>
    /// <exception cref="InvalidDataException">The tensor is another.</exception>
    public long ToCount()
    {
        if (Type != "I64" || Shape.Length != 0) throw new InvalidDataException($"'{Name}' is {Type} of shape {ShapeText}, expected I64 of shape [].");
        return BitConverter.ToInt64(ToBytes());
    }

    /// <summary>The numbers, widened to float32, which every F16 and BF16 is exactly.</summary>
    public float[] ToFloats()
    {
        var values = new float[Elements];
        int at = 0;
        ReadFloats(piece =>
        {
            piece.CopyTo(values.AsSpan(at));
            at += piece.Length;
        });
        return values;
    }

    /// <summary>Copies the numbers into a tensor of the same number of elements, without a copy of the whole on the host.</summary>
    public void Upload(Tensor destination)
    {
        if (destination.Elements != Elements) throw new ArgumentException($"'{Name}' of shape {ShapeText} does not fit shape {destination.ShapeText}.", nameof(destination));
        if (Type == "F32" && _readAt is not null)
        {
            destination.Device.Fill(destination.Data, Bytes, _readAt);
            return;
        }
        long at = 0;
        ReadFloats(piece =>
        {
            destination.Device.CopyToDevice(MemoryMarshal.AsBytes(piece), destination.Data + at * sizeof(float));
            at += piece.Length;
        });
    }

    /// <summary>Whether every number is 0 or −0.</summary>
    public bool IsZero()
    {
        bool zero = true;
        ReadFloats(piece => zero &= !piece.ContainsAnyExcept(0f));
        return zero;
    }

    private byte[] ToBytes()
    {
        var bytes = new byte[Bytes];
        int at = 0;
        _read(piece =>
        {
            piece.CopyTo(bytes.AsSpan(at));
            at += piece.Length;
        });
        return bytes;
    }

    private void ReadFloats(Action<ReadOnlySpan<float>> take)
    {
        if (!IsFloat) throw new InvalidDataException($"'{Name}' holds {Type}; F32, F16 and BF16 are read as weights, so convert it first.");
        if (Type == "F32")
        {
            _read(piece => take(MemoryMarshal.Cast<byte, float>(piece)));
            return;
        }
        var widened = new float[PieceElements];
        _read(piece =>
        {
            var narrow = MemoryMarshal.Cast<byte, ushort>(piece);
            for (int start = 0; start < narrow.Length; start += PieceElements)
            {
                var part = narrow[start..Math.Min(narrow.Length, start + PieceElements)];
                // A bfloat16 is the upper half of a float32.
                if (Type == "BF16") for (int i = 0; i < part.Length; i++) widened[i] = BitConverter.UInt32BitsToSingle((uint)part[i] << 16);
                else for (int i = 0; i < part.Length; i++) widened[i] = (float)BitConverter.UInt16BitsToHalf(part[i]);
                take(widened.AsSpan(0, part.Length));
            }
        });
    }
}
