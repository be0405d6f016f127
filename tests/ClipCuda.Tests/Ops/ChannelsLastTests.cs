using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class ChannelsLastTests
{
    /// <summary>The compiler unrolls eight channels.</summary>
    [Test]
    [OnEveryDevice]
    public void Moves_every_number_to_its_place([Values("cpu:check", "cpu:interpret", "cpu:512", "cpu:256", "cpu:128")] string engine, [Values(1, 3, 8, 19)] int channels)
    {
        using var device = OpDevices.Open(engine, 2);
        using var tape = new Tape(device);
        float[] pixels = [.. Enumerable.Range(0, 2 * channels * 11 * 13).Select(i => (float)i)];
        var y = ChannelsLast.Forward(tape, tape.Input(pixels, 2, channels, 11, 13));
        Assert.That(y.Shape, Is.EqualTo(new[] { 2, 11, 13, channels }));
        float[] expected = [.. Enumerable.Range(0, pixels.Length).Select(i => pixels[(i / channels / 143 * channels + i % channels) * 143 + i / channels % 143])];
        Assert.That(y.ToArray(), Is.EqualTo(expected));
    }

    [Test]
    [OnEveryDevice]
    public void A_wrong_shape_is_named()
    {
        using var device = OpDevices.Open("cpu", 1);
        using var tape = new Tape(device);
        Assert.That(() => ChannelsLast.Forward(tape, tape.Allocate(3, 8, 8)), Throws.ArgumentException.With.Message.Contains("[3, 8, 8], expected [batch"));
    }
}
