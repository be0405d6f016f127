namespace ClipCuda.Ops;

/// <summary>Exact GELU, u · Φ(u) (Hendrycks, Gimpel 2016).</summary>
public static class Gelu
{
    /// <summary>GELU of x + bias.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="bias">[width], or null.</param>
    public static Tensor Forward(Tape tape, Tensor x, Tensor? bias) => Activation.Forward(tape, "gelu", x, bias);
}
