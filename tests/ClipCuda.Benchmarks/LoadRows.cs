using System.Runtime.InteropServices;
using ClipCuda.Devices;
using ClipCuda.Model;

namespace ClipCuda.Benchmarks;

/// <summary>Loading a checkpoint into a model for inference, against reading its weights file into memory and doing nothing with it.</summary>
internal static class LoadRows
{
    private const string Probe = "visual.proj";

    private static readonly ClipConfig ViTB32 = new(512, new(224, 32, 768, 12, 12, LnPre: true), new(77, 49408, 512, 12, 8), QuickGelu: true, QkvBias: true);

    public static IEnumerable<Row> All(Device device) => [new Row("Weights", "load ViT-B/32, random weights, 605 MB", () => Create(device)) { Theirs = "plain read" }];

    private static (Side Ours, Side Theirs) Create(Device device)
    {
        string folder = Directory.CreateTempSubdirectory("clipcuda-bench-").FullName, path = Path.Combine(folder, Checkpoint.WeightsFile);
        using (var model = new ClipModel(device, ViTB32))
        {
            Initialization.Apply(model.Parameters, ViTB32, InitializationScheme.TransformerScaled, seed: 5);
            Checkpoint.Save(folder, model);
        }
        ClipModel? loaded = null;
        byte[] bytes = [];
        return (
            new Side(() => loaded = Checkpoint.Load(device, folder), () => [new Result(Probe, Ours(), 0)], prepare: Free, dispose: Free),
            new Side(() => bytes = File.ReadAllBytes(path), () => [new Result(Probe, Theirs(), 0)], prepare: Forget, dispose: () => Directory.Delete(folder, recursive: true)));

        float[] Ours()
        {
            using var model = Checkpoint.Load(device, folder);
            return model.Parameters[Probe].ToArray();
        }

        float[] Theirs()
        {
            using var file = SafetensorsFile.Open(path);
            var entry = file[Probe];
            byte[] whole = File.ReadAllBytes(path);
            // The tensors end the file.
            long data = whole.Length - file.Entries.Sum(e => e.Bytes);
            return MemoryMarshal.Cast<byte, float>(whole.AsSpan((int)(data + entry.Offset), (int)entry.Bytes)).ToArray();
        }

        void Free()
        {
            loaded?.Dispose();
            loaded = null;
        }

        void Forget()
        {
            bytes = [];
            GC.Collect();
        }
    }
}
