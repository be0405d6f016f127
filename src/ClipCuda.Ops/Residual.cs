namespace ClipCuda.Ops;

/// <summary>Residual addition.</summary>
public static class Residual
{
    /// <summary>target += addend, element by element; equal shapes.</summary>
    public static void AddInto(Tensor target, Tensor addend) =>
        target.Device.Kernel("residual_add_into").Launch(checked((int)((target.Elements + 255) / 256)), 256, target.Data, addend.Data, target.Elements);
}
