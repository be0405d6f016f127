namespace ClipCuda.Ops;

/// <summary>QuickGELU, u · sigmoid(1.702 u): the activation of OpenAI's CLIP.</summary>
public static class QuickGelu
{
    /// <summary>QuickGELU of x + bias.</summary>
    /// <param name="x">[..., width].</param>
    /// <param name="bias">[width], or null.</param>
    public static Tensor Forward(Tape tape, Tensor x, Tensor? bias) => Activation.Forward(tape, "quickgelu", x, bias);
}
