using System.Buffers.Binary;
using System.Text;
using ClipCuda.Model;
using ClipCuda.Tests.Data;

namespace ClipCuda.Tests.Model;

/// <summary>Damaged weights and configurations are read or refused with an error for the user, and take no more memory than their size warrants.</summary>
public sealed class WeightsFuzzTests : FolderTests
{
    /// <summary>Of a reader's memory: what .NET itself needs for a small file and the text of an error.</summary>
    private const long Overhead = 2 << 20;

    [Test]
    public void Damaged_safetensors_files()
    {
        string path = Folder.At("w.safetensors");
        SafetensorsFile.Write(path, [WeightTensor.Of("a", [2, 3], () => [1, 2, 3, 4, 5, 6]), WeightTensor.Zeros("b.weight", "BF16", 5), WeightTensor.Zeros("scale", "F32"), WeightTensor.Zeros("ids", "I64", 2)], ("format", "pt"));
        byte[] whole = File.ReadAllBytes(path);
        int header = (int)BinaryPrimitives.ReadUInt64LittleEndian(whole);
        Mutation.Run(
            random =>
            {
                byte[] changed;
                if (random.Next(2) == 0)
                {
                    changed = Mutation.Change(random, whole);
                }
                else
                {
                    // A header that is changed but of the right length reaches what lies behind the first check.
                    byte[] text = Mutation.Change(random, whole[8..(8 + header)]), prefix = new byte[8];
                    BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)text.Length);
                    changed = [.. prefix, .. text, .. whole[(8 + header)..]];
                }
                File.WriteAllBytes(path, changed);
                return (changed.Length, () => Convert.ToBase64String(changed), Read);
            },
            bytes => Overhead + 64 * bytes, typeof(InvalidDataException));

        void Read()
        {
            using var file = SafetensorsFile.Open(path);
            foreach (var entry in file.Entries)
            {
                if (file.Tensor(entry.Name).IsFloat) file.ReadFloats(entry.Name);
            }
        }
    }

    [Test]
    public void Damaged_weights_of_a_model()
    {
        string path = Folder.At("w.safetensors");
        byte[] whole = File.ReadAllBytes(GoldenWeights.Path);
        int header = (int)BinaryPrimitives.ReadUInt64LittleEndian(whole);
        Mutation.Run(
            random =>
            {
                byte[] text = Mutation.Change(random, whole[8..(8 + header)]), prefix = new byte[8];
                BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)text.Length);
                byte[] changed = [.. prefix, .. text, .. whole[(8 + header)..]];
                File.WriteAllBytes(path, changed);
                return (changed.Length, () => Encoding.Latin1.GetString(text), () => PretrainedWeights.Open(path, quickGelu: true).Dispose());
            },
            bytes => Overhead + 64 * bytes, typeof(InvalidDataException));
    }

    [TestCase("open_clip_config.json")]
    [TestCase("config.json")]
    [TestCase("preprocessor_config.json")]
    [TestCase("clipcuda.json")]
    public void Damaged_configurations(string name)
    {
        bool openClip = name is "open_clip_config.json" or "clipcuda.json";
        Folder.Write(openClip ? "open_clip_config.json" : "config.json", openClip ? GoldenWeights.OpenClipConfig : GoldenWeights.HuggingFaceConfig);
        if (openClip) File.Copy(GoldenWeights.Path, Folder.At("open_clip_model.safetensors"));
        else GoldenWeights.Write(Folder.At("model.safetensors"), GoldenWeights.AsHuggingFace());
        Folder.Write("clipcuda.json", """{"qkv_bias": true, "epoch": 3}""");
        Folder.Write("preprocessor_config.json", """{"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "do_resize": true, "size": {"shortest_edge": 48}}""");
        byte[] whole = File.ReadAllBytes(Folder.At(name));
        Mutation.Run(
            random =>
            {
                byte[] changed = Mutation.Change(random, whole);
                File.WriteAllBytes(Folder.At(name), changed);
                // Sizes that are allowed may have many parameters, whose names are listed before they are looked for.
                return (changed.Length, () => Encoding.Latin1.GetString(changed), () => PretrainedWeights.Open(Folder.Path).Dispose());
            },
            bytes => 256L << 20, typeof(InvalidDataException));
    }
}
