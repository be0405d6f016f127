using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>A tiny model with random weights on a device of its own, ready to embed.</summary>
internal sealed class TinyModel : IDisposable
{
    private static readonly ClipTokenizer Tokenizer = new(Path.Combine(DataFolder.Find(), DataFolder.Merges));

    public TinyModel(string device = "cpu", int vocabulary = 49408)
    {
        Device = Device.Open(device, threads: 2);
        var config = new ClipConfig(
            16, new VisionConfig(ImageSize: 32, PatchSize: 16, Width: 32, Layers: 1, Heads: 2), new TextConfig(ContextLength: 8, VocabSize: vocabulary, Width: 16, Layers: 1, Heads: 1));
        Model = new ClipModel(Device, config);
        Initialization.Apply(Model.Parameters, config, InitializationScheme.TransformerScaled, seed: 5);
        try
        {
            Embedder = new Embedder(Model, Tokenizer);
        }
        catch
        {
            Device.Dispose();
            throw;
        }
    }

    public Device Device { get; }

    public ClipModel Model { get; }

    public Embedder Embedder { get; }

    public void Dispose()
    {
        Embedder.Dispose();
        Model.Dispose();
        Device.Dispose();
    }
}
