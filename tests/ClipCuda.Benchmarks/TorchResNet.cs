using ClipCuda.Model;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace ClipCuda.Benchmarks;

/// <summary>CLIP's ResNet with attention pooling out of libtorch's modules, parameters called as in a checkpoint.</summary>
internal sealed class TorchResNet : nn.Module<torch.Tensor, torch.Tensor>
{
    private readonly (Conv2d Convolution, BatchNorm2d Norm)[] _stem;
    private readonly TorchBottleneck[] _blocks;
    private readonly TorchAttentionPool _pool;

    public TorchResNet(ClipConfig config)
        : base("visual")
    {
        int width = config.Vision.Width, half = width / 2, inputs = width;
        _stem = [Stem(1, 3, half, stride: 2), Stem(2, half, half), Stem(3, half, width)];
        var blocks = new List<TorchBottleneck>();
        int[] stages = config.Vision.Stages!.ToArray();
        for (int stage = 0; stage < stages.Length; stage++)
        {
            var modules = new List<TorchBottleneck>();
            for (int block = 0; block < stages[stage]; block++)
            {
                modules.Add(new TorchBottleneck(inputs, width << stage, first: block == 0, halves: block == 0 && stage > 0));
                inputs = 4 * (width << stage);
            }
            register_module($"layer{stage + 1}", nn.ModuleList([.. modules]));
            blocks.AddRange(modules);
        }
        _blocks = [.. blocks];
        _pool = new TorchAttentionPool(config);
        register_module("attnpool", _pool);

        (Conv2d, BatchNorm2d) Stem(int index, int from, int to, int stride = 1)
        {
            var convolution = nn.Conv2d(from, to, kernel_size: 3, stride: stride, padding: 1, bias: false);
            var norm = nn.BatchNorm2d(to);
            register_module($"conv{index}", convolution);
            register_module($"bn{index}", norm);
            return (convolution, norm);
        }
    }

    public override torch.Tensor forward(torch.Tensor input)
    {
        var x = input;
        foreach (var (convolution, norm) in _stem) x = norm.forward(convolution.forward(x)).relu_();
        x = F.avg_pool2d(x, 2);
        foreach (var block in _blocks) x = block.forward(x);
        return _pool.forward(x);
    }
}

internal sealed class TorchBottleneck : nn.Module<torch.Tensor, torch.Tensor>
{
    private readonly Conv2d _narrow, _wide, _out;
    private readonly BatchNorm2d _norm1, _norm2, _norm3;
    private readonly (Conv2d Convolution, BatchNorm2d Norm)? _downsample;
    private readonly bool _halves;

    public TorchBottleneck(int inputs, int planes, bool first, bool halves)
        : base("block")
    {
        _halves = halves;
        _narrow = nn.Conv2d(inputs, planes, kernel_size: 1, bias: false);
        _wide = nn.Conv2d(planes, planes, kernel_size: 3, padding: 1, bias: false);
        _out = nn.Conv2d(planes, 4 * planes, kernel_size: 1, bias: false);
        (_norm1, _norm2, _norm3) = (nn.BatchNorm2d(planes), nn.BatchNorm2d(planes), nn.BatchNorm2d(4 * planes));
        register_module("conv1", _narrow);
        register_module("bn1", _norm1);
        register_module("conv2", _wide);
        register_module("bn2", _norm2);
        register_module("conv3", _out);
        register_module("bn3", _norm3);
        if (!first) return;
        var convolution = nn.Conv2d(inputs, 4 * planes, kernel_size: 1, bias: false);
        var norm = nn.BatchNorm2d(4 * planes);
        _downsample = (convolution, norm);
        register_module("downsample", nn.ModuleList<nn.Module<torch.Tensor, torch.Tensor>>(convolution, norm));
    }

    public override torch.Tensor forward(torch.Tensor input)
    {
        var x = _norm1.forward(_narrow.forward(input)).relu_();
        x = _norm2.forward(_wide.forward(x)).relu_();
        x = _norm3.forward(_out.forward(Pool(x)));
        var shortcut = _downsample is var (convolution, norm) ? norm.forward(convolution.forward(Pool(input))) : input;
        return x.add_(shortcut).relu_();
    }

    private torch.Tensor Pool(torch.Tensor x) => _halves ? F.avg_pool2d(x, 2) : x;
}

/// <summary>Attention of the mean over all places and itself; only its own query is worked out.</summary>
internal sealed class TorchAttentionPool : nn.Module<torch.Tensor, torch.Tensor>
{
    private readonly Parameter _positions;
    private readonly Linear _query, _key, _value, _out;
    private readonly int _heads;

    public TorchAttentionPool(ClipConfig config)
        : base("attnpool")
    {
        int width = config.Vision.FeatureWidth;
        _heads = config.Vision.Heads;
        _positions = new Parameter(torch.zeros(config.Vision.SequenceLength, width));
        (_query, _key, _value, _out) = (nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, config.EmbedDim));
        register_parameter("positional_embedding", _positions);
        register_module("q_proj", _query);
        register_module("k_proj", _key);
        register_module("v_proj", _value);
        register_module("c_proj", _out);
    }

    public override torch.Tensor forward(torch.Tensor input)
    {
        var x = input.flatten(2).transpose(1, 2);
        x = torch.cat([x.mean([1], keepdim: true), x], dim: 1) + _positions;
        torch.Tensor Heads(torch.Tensor rows) => rows.view(rows.shape[0], rows.shape[1], _heads, rows.shape[2] / _heads).transpose(1, 2);
        var query = Heads(_query.forward(x[torch.TensorIndex.Colon, torch.TensorIndex.Slice(0, 1)]));
        var attended = F.scaled_dot_product_attention(query, Heads(_key.forward(x)), Heads(_value.forward(x)));
        return _out.forward(attended.transpose(1, 2).flatten(1));
    }
}
