using System.Buffers.Binary;
using System.Text;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Model;

public sealed class SafetensorsFileTests
{
    private string _path = "";

    [SetUp]
    public void MakeFolder() => _path = Path.Combine(Directory.CreateTempSubdirectory("clipcuda-").FullName, "w.safetensors");

    [TearDown]
    public void DeleteFolder() => Directory.Delete(Path.GetDirectoryName(_path)!, recursive: true);

    [Test]
    public void What_is_written_reads_back_bit_for_bit()
    {
        float[] a = [1, float.NaN, -0f, float.Epsilon, float.NegativeInfinity, 3], b = [42];
        SafetensorsFile.Write(_path, [("a", [2, 3], () => a), ("scalar", [], () => b), ("empty", [0, 4], () => [])]);
        using var file = SafetensorsFile.Open(_path);
        Assert.That(file.Entries.Select(e => $"{e.Name}:{string.Join("x", e.Shape)}"), Is.EqualTo(new[] { "a:2x3", "scalar:", "empty:0x4" }));
        Numbers.AssertSameBits(file.ReadFloats("a"), a, "a");
        Numbers.AssertSameBits(file.ReadFloats("scalar"), b, "scalar");
        Assert.That(file.ReadFloats("empty"), Is.Empty);
    }

    [Test]
    public void Tensors_start_at_a_multiple_of_eight_and_equal_tensors_give_equal_bytes()
    {
        SafetensorsFile.Write(_path, [("name", [1], () => [1f])]);
        byte[] first = File.ReadAllBytes(_path);
        Assert.That(BinaryPrimitives.ReadUInt64LittleEndian(first) % 8, Is.Zero);
        SafetensorsFile.Write(_path, [("name", [1], () => [1f])]);
        Assert.That(File.ReadAllBytes(_path), Is.EqualTo(first));
    }

    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "gives tensor 'a' of 2 elements of 4 bytes the bytes 0 to 4")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "has a gap at tensor 'a'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "has overlapping tensors at tensor 'b'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "Duplicate property 'a'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", 8, "holds 8 bytes of tensors where its header describes 12")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 8, "holds 8 bytes of tensors where its header describes 4")]
    [TestCase("""{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}""", 1, "holds F4 in tensor 'a'")]
    [TestCase("""{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,4]}}""", 4, "gives tensor 'a' of 1 elements of 2 bytes the bytes 0 to 4")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "gives tensor 'a' a shape that is none")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2147483647,2147483647],"data_offsets":[0,4]}}""", 4, "gives tensor 'a' more than")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999]}}""", 4, "gives tensor 'a' of 1 elements of 4 bytes the bytes 0 to 99999999999999999999")]
    [TestCase("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4, "describes tensor 'a' without dtype")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", 4, "describes tensor 'a' without dtype")]
    [TestCase("""{"a":7}""", 4, "describes tensor 'a' without dtype")]
    [TestCase("""{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "is no JSON")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":["0","4"]}}""", 4, "gives tensor 'a' of 1 elements")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}""", 4, "gives tensor 'a' of 1 elements")]
    [TestCase("""{"a\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "is no JSON")]
    [TestCase("[]", 4, "has a header that is no object")]
    [TestCase("{", 4, "is no JSON")]
    public void A_damaged_header_is_refused_with_its_tensor(string header, int dataBytes, string message)
    {
        byte[] json = Encoding.UTF8.GetBytes(header), prefix = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)json.Length);
        File.WriteAllBytes(_path, [.. prefix, .. json, .. new byte[dataBytes]]);
        Assert.That(() => SafetensorsFile.Open(_path), Throws.TypeOf<InvalidDataException>().With.Message.Contains(message).And.Message.Contains(_path));
    }

    [Test]
    public void A_header_of_invalid_text_or_too_deep_nesting_is_refused()
    {
        byte[] invalid = GoldenWeights.File("{\"a?\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
        invalid[invalid.AsSpan().IndexOf((byte)'?')] = 0xC3;
        byte[] nested = GoldenWeights.File($"{{\"a\":{new string('[', 100_000)}{new string(']', 100_000)}}}", 0);
        foreach (byte[] bytes in new[] { invalid, nested })
        {
            File.WriteAllBytes(_path, bytes);
            Assert.That(() => SafetensorsFile.Open(_path), Throws.TypeOf<InvalidDataException>().With.Message.Contains("is no JSON").And.Message.Contains(_path));
        }
    }

    [Test]
    public void Metadata_is_written_and_passed_over()
    {
        SafetensorsFile.Write(_path, [WeightTensor.Zeros("a", "F16", 3)], ("format", "pt"));
        Assert.That(File.ReadAllText(_path), Does.Contain("""{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}}"""));
        using var file = SafetensorsFile.Open(_path);
        Assert.That(file.Entries.Single().Name, Is.EqualTo("a"));
        Assert.That(file.ReadFloats("a"), Is.EqualTo(new float[3]));
    }

    [TestCase(new byte[] { (byte)'P', (byte)'K', 3, 4, 0, 0, 8, 8, 0, 0 }, TestName = "A zip is refused as a pickle")]
    [TestCase(new byte[] { 0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9 }, TestName = "A bare pickle is refused")]
    [TestCase(new byte[] { 0x80, 4, 0x95, 0, 0, 0, 0, 0, 0, 0 }, TestName = "A pickle of protocol 4 is refused")]
    public void A_pickle_is_refused_with_the_reason_and_what_to_do(byte[] bytes)
    {
        File.WriteAllBytes(_path, bytes);
        Assert.That(
            () => SafetensorsFile.Open(_path),
            Throws.TypeOf<InvalidDataException>().With.Message.Contains("is a PyTorch pickle, which can run any program when it is loaded").And.Message.Contains("safetensors.torch.save_file"));
    }

    [Test]
    public void A_header_whose_length_looks_like_a_pickle_is_none()
    {
        // 0x0280 bytes of header begin as a pickle of protocol 2 does.
        string header = """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""".PadRight(0x0280);
        File.WriteAllBytes(_path, GoldenWeights.File(header, 4));
        using var file = SafetensorsFile.Open(_path);
        Assert.That(file.ReadFloats("a"), Is.EqualTo(new float[1]));
    }

    /// <summary>Tensors around the size from which they are read through a buffer, which they fill once, twice, and not at all.</summary>
    [TestCase(1 << 18)]
    [TestCase((1 << 18) + 4)]
    [TestCase((2 << 18) - 4)]
    [TestCase((3 << 18) + 12)]
    public void Long_tensors_read_back_bit_for_bit(int bytes)
    {
        float[] first = [1, 2], values = [.. Enumerable.Range(0, bytes / 4).Select(i => BitConverter.UInt32BitsToSingle((uint)i * 2654435761))];
        SafetensorsFile.Write(_path, [("first", [2], () => first), ("long", [values.Length], () => values)]);
        using var file = SafetensorsFile.Open(_path);
        Numbers.AssertSameBits(file.ReadFloats("long"), values, "long");
        Numbers.AssertSameBits(file.ReadFloats("first"), first, "first");
        using var device = Device.Open("cpu:check", 1);
        using var buffer = device.Allocate(bytes, "target");
        var target = new Tensor(device, buffer.Start, DataType.Float32, values.Length);
        file.Tensor("long").Upload(target);
        Numbers.AssertSameBits(target.ToArray(), values, "uploaded");
    }

    [Test]
    public void A_file_that_is_cut_off_while_it_is_open_is_an_error()
    {
        SafetensorsFile.Write(_path, [WeightTensor.Zeros("a", "F32", 1 << 20)]);
        using var file = SafetensorsFile.Open(_path);
        using (var other = new FileStream(_path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) other.SetLength(1 << 20);
        Assert.That(() => file.ReadFloats("a"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("was cut off while tensor 'a' was read"));
    }

    [Test]
    public void Nothing_is_read_from_a_closed_file()
    {
        SafetensorsFile.Write(_path, [("a", [1], () => [1f])]);
        var file = SafetensorsFile.Open(_path);
        var tensor = file.Tensor("a");
        file.Dispose();
        Assert.That(tensor.ToFloats, Throws.TypeOf<ObjectDisposedException>());
    }

    [TestCase(new byte[] { 1, 2, 3 }, "is 3 bytes long")]
    [TestCase(new byte[] { 255, 0, 0, 0, 0, 0, 0, 0, 1 }, "claims a header of 255 bytes, the file has 9")]
    [TestCase(new byte[] { 255, 255, 255, 255, 255, 255, 255, 255, 1 }, "claims a header of 18446744073709551615 bytes")]
    public void A_file_cut_off_is_refused(byte[] bytes, string message)
    {
        File.WriteAllBytes(_path, bytes);
        Assert.That(() => SafetensorsFile.Open(_path), Throws.TypeOf<InvalidDataException>().With.Message.Contains(message));
    }

    [Test]
    public void A_file_cut_off_anywhere_is_refused()
    {
        SafetensorsFile.Write(_path, [("a", [3], () => [1, 2, 3]), ("b", [2], () => [4, 5])]);
        byte[] whole = File.ReadAllBytes(_path);
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(_path, whole[..length]);
            Assert.That(() => SafetensorsFile.Open(_path), Throws.TypeOf<InvalidDataException>(), $"{length} bytes");
        }
    }

    [Test]
    public void A_missing_file_and_a_missing_tensor_are_named()
    {
        Assert.That(() => SafetensorsFile.Open(_path), Throws.TypeOf<FileNotFoundException>().With.Message.Contains(_path));
        SafetensorsFile.Write(_path, [("a", [1], () => [1f])]);
        Assert.That(() => SafetensorsFile.Open(_path).ReadFloats("b"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("holds no tensor 'b'"));
        Assert.That(() => SafetensorsFile.Open(_path).ReadIntegers("a"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("holds F32 in tensor 'a', expected I32"));
    }
}
