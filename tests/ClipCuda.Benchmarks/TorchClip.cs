using ClipCuda.Model;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace ClipCuda.Benchmarks;

/// <summary>
/// The same CLIP as <see cref="ClipModel"/>, as a user of PyTorch would write it: modules, eager, with the attention, norms and activations that
/// libtorch brings. Parameters are called as in a checkpoint, but for <c>attn.in_proj.weight</c>.
/// </summary>
internal sealed class TorchClip : nn.Module
{
    private readonly nn.Module<torch.Tensor, torch.Tensor> _visual;
    private readonly nn.Module<torch.Tensor, torch.Tensor> _blocks;
    private readonly Embedding _tokenEmbedding;
    private readonly LayerNorm _lnFinal;
    private readonly Parameter _positions, _projection;

    public TorchClip(ClipConfig config)
        : base("clip")
    {
        if (config.Vision.LnPre) throw new ArgumentException("The baseline is the model without ln_pre.", nameof(config));
        var text = config.Text;
        _visual = config.Vision.Stages is null ? new TorchImageTower(config) : new TorchResNet(config);
        _blocks = new TorchTransformer(text.Width, text.Layers, text.Heads, causal: true, config);
        _tokenEmbedding = nn.Embedding(text.VocabSize, text.Width);
        _lnFinal = nn.LayerNorm(text.Width);
        _positions = new Parameter(torch.zeros(text.ContextLength, text.Width));
        _projection = new Parameter(torch.zeros(text.Width, config.EmbedDim));
        LogitScale = new Parameter(torch.zeros([]));
        register_module("visual", _visual);
        register_module("transformer", _blocks);
        register_module("token_embedding", _tokenEmbedding);
        register_module("ln_final", _lnFinal);
        register_parameter("positional_embedding", _positions);
        register_parameter("text_projection", _projection);
        register_parameter(ParameterNames.LogitScale, LogitScale);
    }

    public Parameter LogitScale { get; }

    /// <param name="pixels">[batch, 3, size, size].</param>
    public torch.Tensor EncodeImage(torch.Tensor pixels) => F.normalize(_visual.forward(pixels), dim: -1);

    /// <param name="tokens">[batch, context], 64-bit.</param>
    public torch.Tensor EncodeText(torch.Tensor tokens)
    {
        var x = _blocks.forward(_tokenEmbedding.forward(tokens) + _positions);
        x = x[torch.TensorIndex.Tensor(torch.arange(tokens.shape[0])), torch.TensorIndex.Tensor(tokens.argmax(-1))];
        return F.normalize(_lnFinal.forward(x).matmul(_projection), dim: -1);
    }

    /// <summary>The mean of the cross-entropies over rows and columns of the logits.</summary>
    public static torch.Tensor Loss(torch.Tensor image, torch.Tensor text, torch.Tensor logitScale)
    {
        var logits = logitScale.exp() * image.matmul(text.t());
        var labels = torch.arange(image.shape[0]);
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2;
    }

    /// <param name="qkv">[batch, sequence, 3·width].</param>
    /// <returns>[batch, sequence, width].</returns>
    public static torch.Tensor Attend(torch.Tensor qkv, int heads, bool causal)
    {
        long batch = qkv.shape[0], sequence = qkv.shape[1], width = qkv.shape[2] / 3;
        var parts = qkv.chunk(3, dim: -1);
        torch.Tensor Heads(int part) => parts[part].view(batch, sequence, heads, width / heads).transpose(1, 2);
        return F.scaled_dot_product_attention(Heads(0), Heads(1), Heads(2), is_casual: causal).transpose(1, 2).reshape(batch, sequence, width);
    }
}

/// <summary>Patches through a convolution, class token, positions, blocks, projection.</summary>
internal sealed class TorchImageTower : nn.Module<torch.Tensor, torch.Tensor>
{
    private readonly Conv2d _convolution;
    private readonly TorchTransformer _blocks;
    private readonly LayerNorm _lnPost;
    private readonly Parameter _classToken, _positions, _projection;

    public TorchImageTower(ClipConfig config)
        : base("visual")
    {
        var vision = config.Vision;
        _convolution = nn.Conv2d(3, vision.Width, kernel_size: vision.PatchSize, stride: vision.PatchSize, bias: false);
        _blocks = new TorchTransformer(vision.Width, vision.Layers, vision.Heads, causal: false, config);
        _lnPost = nn.LayerNorm(vision.Width);
        _classToken = new Parameter(torch.zeros(vision.Width));
        _positions = new Parameter(torch.zeros(vision.SequenceLength, vision.Width));
        _projection = new Parameter(torch.zeros(vision.Width, config.EmbedDim));
        register_module("conv1", _convolution);
        register_module("transformer", _blocks);
        register_module("ln_post", _lnPost);
        register_parameter("class_embedding", _classToken);
        register_parameter("positional_embedding", _positions);
        register_parameter("proj", _projection);
    }

    public override torch.Tensor forward(torch.Tensor input)
    {
        var patches = _convolution.forward(input).flatten(2).transpose(1, 2);
        var x = torch.cat([_classToken.expand(input.shape[0], 1, -1), patches], dim: 1) + _positions;
        x = _blocks.forward(x);
        return _lnPost.forward(x[torch.TensorIndex.Colon, 0]).matmul(_projection);
    }
}

internal sealed class TorchTransformer : nn.Module<torch.Tensor, torch.Tensor>
{
    private readonly Sequential _blocks;

    public TorchTransformer(int width, int layers, int heads, bool causal, ClipConfig config)
        : base("transformer")
    {
        _blocks = nn.Sequential([.. Enumerable.Range(0, layers).Select(_ => new TorchBlock(width, heads, causal, config))]);
        register_module("resblocks", _blocks);
    }

    public override torch.Tensor forward(torch.Tensor input) => _blocks.forward(input);
}

internal sealed class TorchBlock : nn.Module<torch.Tensor, torch.Tensor>
{
    private readonly LayerNorm _ln1, _ln2;
    private readonly TorchAttention _attention;
    private readonly Sequential _mlp;

    public TorchBlock(int width, int heads, bool causal, ClipConfig config)
        : base("block")
    {
        _ln1 = nn.LayerNorm(width);
        _attention = new TorchAttention(width, heads, causal, config.QkvBias);
        nn.Module<torch.Tensor, torch.Tensor> activation = config.QuickGelu ? new TorchQuickGelu() : nn.GELU();
        _ln2 = nn.LayerNorm(width);
        _mlp = nn.Sequential(
            ("c_fc", nn.Linear(width, ClipConfig.MlpRatio * width)), ("gelu", activation), ("c_proj", nn.Linear(ClipConfig.MlpRatio * width, width)));
        register_module("ln_1", _ln1);
        register_module("attn", _attention);
        register_module("ln_2", _ln2);
        register_module("mlp", _mlp);
    }

    public override torch.Tensor forward(torch.Tensor input)
    {
        var x = input + _attention.forward(_ln1.forward(input));
        return x + _mlp.forward(_ln2.forward(x));
    }
}

/// <summary>As OpenAI writes it; libtorch has no kernel for it.</summary>
internal sealed class TorchQuickGelu() : nn.Module<torch.Tensor, torch.Tensor>("quick_gelu")
{
    public override torch.Tensor forward(torch.Tensor input) => input * torch.sigmoid(1.702 * input);
}

internal sealed class TorchAttention : nn.Module<torch.Tensor, torch.Tensor>
{
    private readonly Linear _in, _out;
    private readonly int _heads;
    private readonly bool _causal;

    public TorchAttention(int width, int heads, bool causal, bool qkvBias)
        : base("attn")
    {
        (_heads, _causal) = (heads, causal);
        _in = nn.Linear(width, 3 * width, hasBias: qkvBias);
        _out = nn.Linear(width, width);
        register_module("in_proj", _in);
        register_module("out_proj", _out);
    }

    public override torch.Tensor forward(torch.Tensor input) => _out.forward(TorchClip.Attend(_in.forward(input), _heads, _causal));
}
