using ClipCuda.Ops;

namespace ClipCuda.Model;

/// <summary>A stack of pre-norm residual blocks: x + attention(ln_1(x)), then x + mlp(ln_2(x)).</summary>
internal sealed class Transformer(ParameterSet parameters, string name, int layers, int heads, bool causal, ClipConfig config)
{
    /// <param name="x">[batch, sequence, width].</param>
    public Tensor Forward(Tape tape, Tensor x)
    {
        for (int layer = 0; layer < layers; layer++) x = Block(tape, x, $"{name}.resblocks.{layer}");
        return x;
    }

    private Tensor Block(Tape tape, Tensor x, string block)
    {
        Tensor P(string suffix) => parameters[$"{block}.{suffix}"];

        var normalised = LayerNorm.Forward(tape, x, P("ln_1.weight"), P("ln_1.bias"));
        var qkv = Linear.Forward(tape, normalised, P("attn.in_proj_weight"), config.QkvBias ? P("attn.in_proj_bias") : null);
        var attended = Attention.Forward(tape, qkv, heads, causal);
        // The bias of a layer is added where its output is read next anyway.
        x = Residual.Forward(tape, x, Linear.Forward(tape, attended, P("attn.out_proj.weight"), bias: null), P("attn.out_proj.bias"));

        normalised = LayerNorm.Forward(tape, x, P("ln_2.weight"), P("ln_2.bias"));
        var hidden = Linear.Forward(tape, normalised, P("mlp.c_fc.weight"), bias: null);
        hidden = config.QuickGelu ? QuickGelu.Forward(tape, hidden, P("mlp.c_fc.bias")) : Gelu.Forward(tape, hidden, P("mlp.c_fc.bias"));
        return Residual.Forward(tape, x, Linear.Forward(tape, hidden, P("mlp.c_proj.weight"), bias: null), P("mlp.c_proj.bias"));
    }
}
