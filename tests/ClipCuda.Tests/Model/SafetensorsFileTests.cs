using System.Buffers.Binary;
using System.Text;
using ClipCuda.Model;

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
        var file = SafetensorsFile.Open(_path);
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

    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "gives tensor 'a' of 2 elements the bytes 0 to 4")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "has a gap at tensor 'a'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "has overlapping tensors at tensor 'b'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "names tensor 'a' twice")]
    [TestCase("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", 8, "holds 8 bytes of tensors where its header describes 12")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 8, "holds 8 bytes of tensors where its header describes 4")]
    [TestCase("""{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}""", 2, "holds BF16 in tensor 'a'")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "gives tensor 'a' a shape that is none")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2147483647,2147483647],"data_offsets":[0,4]}}""", 4, "gives tensor 'a' more than")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,99999999999999999999]}}""", 4, "gives tensor 'a' of 1 elements the bytes 0 to 99999999999999999999")]
    [TestCase("""{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4, "describes tensor 'a' without dtype")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", 4, "describes tensor 'a' without dtype")]
    [TestCase("""{"a":7}""", 4, "describes tensor 'a' without dtype")]
    [TestCase("[]", 4, "has a header that is no object")]
    [TestCase("{", 4, "has a header that is no JSON")]
    public void A_damaged_header_is_refused_with_its_tensor(string header, int dataBytes, string message)
    {
        byte[] json = Encoding.UTF8.GetBytes(header), prefix = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)json.Length);
        File.WriteAllBytes(_path, [.. prefix, .. json, .. new byte[dataBytes]]);
        Assert.That(() => SafetensorsFile.Open(_path), Throws.TypeOf<InvalidDataException>().With.Message.Contains(message).And.Message.Contains(_path));
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
        Assert.That(() => SafetensorsFile.Open(_path).ReadIntegers("a"), Throws.TypeOf<InvalidDataException>().With.Message.Contains("holds Float32 in tensor 'a', expected Int32"));
    }
}
