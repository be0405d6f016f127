using ClipCuda.Devices;
using ClipCuda.Ops;

namespace ClipCuda.Tests.Ops;

public sealed class TapeTests
{
    private Device _device = null!;

    [SetUp]
    public void Open() => _device = OpDevices.Open("cpu:check", 1);

    [TearDown]
    public void Close() => _device.Dispose();

    [Test]
    [OnEveryDevice]
    public void Gradients_of_several_consumers_are_summed()
    {
        using var tape = new Tape(_device);
        float[] arrived = [];
        var x = Leaf(tape, [1, 2, 3], gradient => arrived = gradient);
        var sum = Residual.Forward(tape, Pass(tape, x), Residual.Forward(tape, Pass(tape, x), Pass(tape, x), bias: null), bias: null);
        Assert.That(sum.ToArray(), Is.EqualTo(new float[] { 3, 6, 9 }));
        tape.Backward(sum, 1, 10, 100);
        Assert.That(arrived, Is.EqualTo(new float[] { 3, 30, 300 }));
    }

    [Test]
    [OnEveryDevice]
    public void A_sum_passes_its_gradient_on_without_a_copy()
    {
        using var tape = new Tape(_device);
        using var buffer = _device.Allocate(3 * sizeof(float), "cotangent");
        List<DeviceBuffer> places = [];
        var (x, y) = (WatchedLeaf(tape, [1, 2, 3], Place), WatchedLeaf(tape, [1, 2, 3], Place));
        tape.Backward(Residual.Forward(tape, x, y, bias: null), Cotangent(buffer));
        Assert.That(places, Is.EqualTo(new[] { buffer, buffer }));

        void Place(Tensor gradient) => places.Add(gradient.Data.Buffer!);
    }

    /// <summary>A gradient that others have too is not what theirs is added to: neither the caller's cotangent nor that of another input.</summary>
    [Test]
    [OnEveryDevice]
    public void What_is_added_to_a_shared_gradient_reaches_one_tensor_alone()
    {
        using var tape = new Tape(_device);
        using var buffer = _device.Allocate(3 * sizeof(float), "cotangent");
        var cotangent = Cotangent(buffer);
        float[] ofX = [], ofY = [], ofZ = [];
        for (int step = 0; step < 2; step++)
        {
            var x = Leaf(tape, [1, 2, 3], gradient => ofX = gradient);
            var y = Leaf(tape, [1, 2, 3], gradient => ofY = gradient);
            var z = Leaf(tape, [1, 2, 3], gradient => ofZ = gradient);
            // x + x is z's other half; y meets the whole once shared and once by a copy.
            var inner = Residual.Forward(tape, Residual.Forward(tape, x, x, bias: null), z, bias: null);
            var sum = Residual.Forward(tape, Residual.Forward(tape, y, Pass(tape, y), bias: null), Residual.Forward(tape, inner, Pass(tape, inner), bias: null), bias: null);
            Assert.That(sum.ToArray(), Is.EqualTo(new float[] { 8, 16, 24 }));
            tape.Backward(sum, cotangent);
            Assert.That(ofX, Is.EqualTo(new float[] { 4, 40, 400 }));
            Assert.That(ofY, Is.EqualTo(new float[] { 2, 20, 200 }));
            Assert.That(ofZ, Is.EqualTo(new float[] { 2, 20, 200 }));
            Assert.That(cotangent.ToArray(), Is.EqualTo(new float[] { 1, 10, 100 }));
        }
    }

    [Test]
    [OnEveryDevice]
    public void A_closure_can_add_to_what_others_have_given([Values(1, 2, 3)] int consumers)
    {
        using var tape = new Tape(_device);
        List<bool> added = [];
        DeviceBuffer? place = null;
        float[] arrived = [];
        var x = WatchedLeaf(tape, [1, 2, 3], gradient =>
        {
            Assert.That(gradient.Data.Buffer, Is.SameAs(place), "nothing is copied afterwards");
            arrived = gradient.ToArray();
        });
        var sum = Adding();
        for (int i = 1; i < consumers; i++) sum = Residual.Forward(tape, sum, Adding(), bias: null);
        tape.Backward(sum, 1, 10, 100);
        Assert.That(arrived, Is.EqualTo(new float[] { consumers, 10 * consumers, 100 * consumers }));
        Assert.That(added, Is.EqualTo(Enumerable.Range(0, consumers).Select(i => i > 0)));

        Tensor Adding()
        {
            var y = tape.Allocate(x.Shape);
            _device.Copy(x.Data, y.Data, x.Bytes);
            tape.Record(y, () =>
            {
                var target = tape.GradientTarget(x, out bool adds)!;
                (place, added) = (target.Data.Buffer, [.. added, adds]);
                if (adds) Residual.AddInto(target, tape.GradientOf(y));
                else _device.Copy(tape.GradientOf(y).Data, target.Data, x.Bytes);
            });
            return y;
        }
    }

    /// <summary>x's gradient is the caller's cotangent, and the other half's, until the closure adds to it.</summary>
    [Test]
    [OnEveryDevice]
    public void What_a_closure_adds_to_is_its_tensors_alone()
    {
        using var tape = new Tape(_device);
        using var buffer = _device.Allocate(3 * sizeof(float), "cotangent");
        var cotangent = Cotangent(buffer);
        float[] ofX = [], ofY = [];
        var (x, y) = (Leaf(tape, [1, 2, 3], gradient => ofX = gradient), Leaf(tape, [1, 2, 3], gradient => ofY = gradient));
        var outer = tape.Allocate(3);
        var sum = Residual.Forward(tape, x, y, bias: null);
        _device.Copy(sum.Data, outer.Data, sum.Bytes);
        tape.Record(outer, () =>
        {
            tape.PassGradient(outer, sum);
            tape.PassGradient(outer, x);
            Residual.AddInto(tape.GradientTarget(x, out bool adds)!, cotangent);
            Assert.That(adds, Is.True);
        });
        tape.Backward(outer, cotangent);
        Assert.That(ofX, Is.EqualTo(new float[] { 3, 30, 300 }));
        Assert.That(ofY, Is.EqualTo(new float[] { 1, 10, 100 }));
        Assert.That(cotangent.ToArray(), Is.EqualTo(new float[] { 1, 10, 100 }));
    }

    [Test]
    [OnEveryDevice]
    public void What_is_constant_is_not_recorded_and_gives_its_memory_back()
    {
        using var tape = new Tape(_device);
        int ran = 0;
        float[] arrived = [];
        var x = Leaf(tape, [1, 2, 3], gradient => arrived = gradient);
        long before = _device.LiveBytes;
        var constant = tape.Constant(x, input =>
        {
            Assert.That(tape.Recording, Is.False);
            for (int i = 0; i < 10; i++)
            {
                var next = tape.Allocate(3);
                next.Upload(new float[] { i, i, i });
                tape.Record(next, () => ran++);
                input = next;
            }
            return input;
        });
        Assert.That((tape.Recording, constant.NeedsGradient), Is.EqualTo((true, false)));
        // The other nine buffers are in the pool: more are not needed.
        long allocated = _device.LiveBytes;
        for (int i = 0; i < 9; i++) tape.AllocateScratch(DataType.Float32, 3);
        Assert.That(_device.LiveBytes, Is.EqualTo(allocated).And.GreaterThan(before));
        var sum = Residual.Forward(tape, Pass(tape, x), constant, bias: null);
        Assert.That(sum.ToArray(), Is.EqualTo(new float[] { 10, 11, 12 }));
        tape.Backward(sum, 1, 10, 100);
        Assert.That((arrived, ran), Is.EqualTo((new float[] { 1, 10, 100 }, 0)));
    }

    [Test]
    [OnEveryDevice]
    public void A_step_allocates_nothing_after_the_first()
    {
        using var tape = new Tape(_device);
        Step();
        (long allocations, int live) = (_device.Allocations, _device.LiveBuffers);
        for (int i = 0; i < 5; i++) Step();
        Assert.Multiple(() =>
        {
            Assert.That(_device.Allocations, Is.EqualTo(allocations));
            Assert.That(_device.LiveBuffers, Is.EqualTo(live));
        });

        void Step()
        {
            var x = Leaf(tape, [1, 2], _ => { });
            tape.Backward(Residual.Forward(tape, Pass(tape, x), x, bias: null), 1, 1);
        }
    }

    [Test]
    [OnEveryDevice]
    public void Disposing_frees_every_buffer()
    {
        var tape = new Tape(_device);
        Pass(tape, Leaf(tape, [1, 2], _ => { }));
        Assert.That(_device.LiveBuffers, Is.Positive);
        tape.Dispose();
        Assert.That(_device.LiveBuffers, Is.Zero);
    }

    [Test]
    [OnEveryDevice]
    public void A_node_that_no_gradient_reached_does_not_run()
    {
        using var tape = new Tape(_device);
        bool ran = false;
        var x = Leaf(tape, [1], _ => { });
        var unused = tape.Allocate(1);
        tape.Record(unused, () => ran = true);
        tape.Backward(Pass(tape, x), 1);
        Assert.That(ran, Is.False);
    }

    [Test]
    [OnEveryDevice]
    public void Inputs_take_no_gradient()
    {
        using var tape = new Tape(_device);
        var input = tape.Input([1f, 2f], 2);
        Assert.That(tape.GradientTarget(input), Is.Null);
        Assert.That((tape.GradientTarget(input, out bool adds), adds), Is.EqualTo(((Tensor?)null, false)));
    }

    [Test]
    [OnEveryDevice]
    public void A_tape_that_does_not_record_refuses_backward()
    {
        using var tape = new Tape(_device, recording: false);
        var x = tape.Allocate(1);
        Assert.Multiple(() =>
        {
            Assert.That(x.NeedsGradient, Is.False);
            Assert.That(() => tape.Backward(x, 1), Throws.InvalidOperationException);
        });
    }

    /// <summary>1, 10, 100 in memory that is not the tape's.</summary>
    private Tensor Cotangent(DeviceBuffer buffer)
    {
        var cotangent = new Tensor(_device, buffer.Start, DataType.Float32, 3);
        cotangent.Upload(new float[] { 1, 10, 100 });
        return cotangent;
    }

    private static Tensor Leaf(Tape tape, float[] values, Action<float[]> arrived) => WatchedLeaf(tape, values, gradient => arrived(gradient.ToArray()));

    private static Tensor WatchedLeaf(Tape tape, float[] values, Action<Tensor> arrived)
    {
        var x = tape.Allocate(values.Length);
        x.Upload(values);
        tape.Record(x, () => arrived(tape.GradientOf(x)));
        return x;
    }

    /// <summary>y = x, as an op of its own.</summary>
    private static Tensor Pass(Tape tape, Tensor x)
    {
        var y = tape.Allocate(x.Shape);
        tape.Device.Copy(x.Data, y.Data, x.Bytes);
        tape.Record(y, () => tape.Device.Copy(tape.GradientOf(y).Data, tape.GradientTarget(x)!.Data, x.Bytes));
        return y;
    }
}
