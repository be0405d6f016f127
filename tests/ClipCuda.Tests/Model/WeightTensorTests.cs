using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Model;

public sealed class WeightTensorTests
{
    private static readonly float[] Numbers6 = [1, float.NaN, -0f, float.Epsilon, float.NegativeInfinity, 6];

    [Test]
    public void A_transposed_matrix_has_rows_for_columns_and_twice_is_the_same_bits()
    {
        var tensor = WeightTensor.Of("a", [2, 3], () => Numbers6).Transposed("b");
        Assert.That((tensor.Name, tensor.ShapeText), Is.EqualTo(("b", "[3, 2]")));
        Numbers.AssertSameBits(tensor.ToFloats(), [1, float.Epsilon, float.NaN, float.NegativeInfinity, -0f, 6], "transposed");
        Numbers.AssertSameBits(tensor.Transposed("a").ToFloats(), Numbers6, "back");
        Assert.That(() => WeightTensor.Of("v", [6], () => Numbers6).Transposed("b"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("'v' has shape [6], expected a matrix"));
    }

    /// <summary>Parts are cut right wherever the pieces of the source end.</summary>
    [Test]
    public void Parts_joined_again_are_the_same_bits([Values(1, 2, 4, 5, 6)] int elementsAPiece)
    {
        var whole = new WeightTensor("w", "F32", [3, 2], take =>
        {
            for (int at = 0; at < 6; at += elementsAPiece) take(MemoryMarshal.AsBytes(Numbers6.AsSpan(at, Math.Min(elementsAPiece, 6 - at))));
        });
        WeightTensor[] parts = [whole.Part("q", 0, 3), whole.Part("k", 1, 3), whole.Part("v", 2, 3)];
        Assert.That(parts.Select(part => $"{part.Name}{part.ShapeText}"), Is.EqualTo(new[] { "q[1, 2]", "k[1, 2]", "v[1, 2]" }));
        Numbers.AssertSameBits(parts[1].ToFloats(), [-0f, float.Epsilon], "k");
        var joined = WeightTensor.Join("w", parts);
        Assert.That(joined.ShapeText, Is.EqualTo("[3, 2]"));
        Numbers.AssertSameBits(joined.ToFloats(), Numbers6, "joined");
    }

    [Test]
    public void Parts_of_different_types_or_shapes_are_not_joined()
    {
        var a = WeightTensor.Zeros("a", "F32", 2, 2);
        Assert.That(() => WeightTensor.Join("x", a, WeightTensor.Zeros("b", "F16", 2, 2)), Throws.TypeOf<InvalidDataException>().With.Message.Contains("'b' holds F16 and 'a' F32"));
        Assert.That(() => WeightTensor.Join("x", a, WeightTensor.Zeros("b", "F32", 3, 2)), Throws.TypeOf<InvalidDataException>().With.Message.Contains("'b' of shape [3, 2]"));
    }

    /// <summary>Values from the definitions: IEEE 754-2019 binary16, and bfloat16 as the upper half of binary32.</summary>
    [Test]
    public void Half_precision_widens_exactly()
    {
        ushort[] half = [0x3C00, 0x8000, 0x0001, 0x7BFF, 0xFC00, 0x3555], brain = [0x3F80, 0x8000, 0x0001, 0x7F7F, 0xFF80, 0x3EAB];
        float[] halves = [1, -0f, 5.9604645e-8f, 65504, float.NegativeInfinity, 0.33325195f];
        float[] brains = [1, -0f, 9.1835e-41f, 3.3895314e38f, float.NegativeInfinity, 0.333984375f];
        Numbers.AssertSameBits(Tensor("F16", half).ToFloats(), halves, "F16");
        Numbers.AssertSameBits(Tensor("BF16", brain).ToFloats(), brains, "BF16");
        Assert.That(Tensor("F16", [0x7E00]).ToFloats()[0], Is.NaN);

        static WeightTensor Tensor(string type, ushort[] bits) => new("t", type, [bits.Length], take => take(MemoryMarshal.AsBytes(bits.AsSpan())));
    }

    [Test]
    public void Uploads_more_than_a_piece_of_any_type()
    {
        using var device = Device.Open("cpu:check", 1);
        const int Count = (1 << 16) + 3;
        using var buffer = device.Allocate(Count * sizeof(float), "target");
        var target = new Tensor(device, buffer.Start, DataType.Float32, Count);
        ushort[] bits = [.. Enumerable.Range(0, Count).Select(i => (ushort)(i % 0x7C00))];
        new WeightTensor("t", "F16", [Count], take => take(MemoryMarshal.AsBytes(bits.AsSpan()))).Upload(target);
        Numbers.AssertSameBits(target.ToArray(), [.. bits.Select(b => (float)BitConverter.UInt16BitsToHalf(b))], "uploaded");
        Assert.That(() => WeightTensor.Zeros("z", "F32", 2).Upload(target), Throws.ArgumentException.With.Message.Contains("'z' of shape [2]"));
    }

    [Test]
    public void Other_types_are_no_weights()
    {
        var tensor = WeightTensor.Zeros("ids", "I64", 3);
        Assert.That((tensor.IsFloat, tensor.Bytes), Is.EqualTo((false, 24L)));
        Assert.That(tensor.ToFloats, Throws.TypeOf<InvalidDataException>().With.Message.Contains("'ids' holds I64"));
    }

    [Test]
    public void Zeros_are_zero_and_anything_else_is_not()
    {
        Assert.That(WeightTensor.Zeros("z", "BF16", 70_000, 1).IsZero(), Is.True);
        Assert.That(WeightTensor.Zeros("z", "BF16", 70_000, 1).ToFloats(), Is.EqualTo(new float[70_000]));
        Assert.That(WeightTensor.Of("z", [3], () => [0, -0f, 0]).IsZero(), Is.True);
        Assert.That(WeightTensor.Of("z", [3], () => [0, 0, float.Epsilon]).IsZero(), Is.False);
        Assert.That(WeightTensor.Of("z", [1], () => [float.NaN]).IsZero(), Is.False);
    }
}
