using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class ParameterSetTests
{
    private static readonly ParameterSpec[] Specs =
    [
        new("bias", [3], Decays: false),
        new("weight", [5, 13], Decays: true),
        new("scale", [], Decays: false),
        new("projection", [2, 2], Decays: true),
    ];

    private Device _device = null!;

    [SetUp]
    public void Open() => _device = OpDevices.Open("cpu", 1);

    [TearDown]
    public void Close() => _device.Dispose();

    [Test]
    [OnEveryDevice]
    public void Decayed_parameters_come_first_and_each_is_aligned()
    {
        using var set = new ParameterSet(_device, Specs);
        Assert.Multiple(() =>
        {
            Assert.That(set.Names, Is.EqualTo(new[] { "bias", "weight", "scale", "projection" }));
            Assert.That(set.DecayedElements, Is.EqualTo(128 + 64));
            Assert.That(set.Elements, Is.EqualTo(128 + 64 + 64 + 64));
            Assert.That(set.Count, Is.EqualTo(3 + 65 + 1 + 4));
            Assert.That(set["weight"].Data.Offset, Is.Zero);
            Assert.That(set["projection"].Data.Offset, Is.EqualTo(128 * 4));
            Assert.That(set["bias"].Data.Offset, Is.EqualTo(192 * 4));
        });
    }

    [Test]
    [OnEveryDevice]
    public void A_parameter_and_its_gradient_share_a_place_in_their_buffers()
    {
        using var set = new ParameterSet(_device, Specs);
        foreach (string name in set.Names)
        {
            Assert.That(set[name].Gradient!.Data.Offset, Is.EqualTo(set[name].Data.Offset));
            Assert.That(set[name].Gradient!.Shape, Is.EqualTo(set[name].Shape));
        }
        set["scale"].Upload([2.5f]);
        Assert.That(set.Values.ToArray().Count(value => value != 0), Is.EqualTo(1), "gaps and untouched parameters are zero");
    }

    [Test]
    [OnEveryDevice]
    public void Frozen_parameters_come_last_and_have_no_gradient()
    {
        using var set = new ParameterSet(_device, [.. Specs.Select(spec => spec with { Trains = spec.Name is "projection" or "scale" })]);
        Assert.Multiple(() =>
        {
            Assert.That((set.DecayedElements, set.TrainedElements, set.Elements), Is.EqualTo((64, 128, 64 + 64 + 64 + 128)));
            Assert.That(set.Gradients.Elements, Is.EqualTo(128));
            Assert.That(set["projection"].Data.Offset, Is.Zero);
            Assert.That(set["scale"].Data.Offset, Is.EqualTo(64 * 4));
            Assert.That((set["weight"].Gradient, set["weight"].NeedsGradient, set["scale"].NeedsGradient), Is.EqualTo(((Tensor?)null, false, true)));
            Assert.That(set["weight"].Data.Offset, Is.GreaterThanOrEqualTo(128 * 4));
        });
    }

    [Test]
    [OnEveryDevice]
    public void An_unknown_name_is_named_in_the_error()
    {
        using var set = new ParameterSet(_device, Specs);
        Assert.That(() => set["wieght"], Throws.TypeOf<KeyNotFoundException>().With.Message.Contains("wieght"));
    }

    [Test]
    [OnEveryDevice]
    public void Disposing_frees_its_buffers()
    {
        new ParameterSet(_device, Specs).Dispose();
        Assert.That(_device.LiveBuffers, Is.Zero);
    }
}
