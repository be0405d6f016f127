namespace ClipCuda.Ops;

/// <summary>Pixels as convolutions take them.</summary>
public static class ChannelsLast
{
    /// <summary>The same numbers, channels last.</summary>
    /// <param name="pixels">[batch, channels, height, width]; no gradient flows to it.</param>
    /// <returns>[batch, height, width, channels].</returns>
    public static Tensor Forward(Tape tape, Tensor pixels)
    {
        if (pixels.Shape is not [var batch, var channels, var height, var width])
            throw new ArgumentException($"pixels have shape {pixels.ShapeText}, expected [batch, channels, height, width].", nameof(pixels));
        var y = tape.AllocateScratch(DataType.Float32, batch, height, width, channels);
        int area = checked(height * width);
        tape.Device.Kernel("channelslast_forward").Launch(new(Shapes.Ceiling(area, 128), batch), 128, y, pixels, channels, area);
        return y;
    }
}
