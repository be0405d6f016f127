using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>What goes from lane to lane: warp reductions, which are recognised as such, and other shuffles.</summary>
internal sealed partial class Emitter
{
    /// <summary>
    /// A step of a warp reduction: the value with its butterfly. Both orders of the operands give the same bits, so lanes a period apart are
    /// equal from here on and only one period is kept; of the last step one lane.
    /// </summary>
    private void WriteReduction(Operation operation, int shuffled, int period)
    {
        var native = operation.Native;
        int web = operation.Destinations[0], value = operation.Sources[1 - shuffled].Web;
        var type = _webs.Types[web];
        int parts = Math.Max(1, period / _isa.Lanes);
        var results = new LocalBuilder[parts];
        for (int p = 0; p < parts; p++)
        {
            int part = p;
            void Push(int s, ValueType want)
            {
                if (s == 1 - shuffled)
                {
                    PushVector(new Source(value), want, part);
                    return;
                }
                if (period >= _isa.Lanes)
                {
                    PushVector(new Source(value), want, part + parts);
                    return;
                }
                PushVector(new Source(value), ValueType.Bits32, part);
                PushButterfly(period);
                CastVector(ValueType.Bits32, want);
            }
            if (native.In == Number.F32) PushFloats(operation, _isa, Push);
            else PushReducedIntegers(native, Push);
            CastVector(TypeOf(native.Out), type);
            results[p] = Temporary(_isa.Vector(ElementOf(type)), 10 + p);
            _il.Emit(OpCodes.Stloc, results[p]);
        }
        if (_analysis.Classes[web].IsUniform)
        {
            _il.Emit(OpCodes.Ldloc, results[0]);
            if (type == ValueType.Float) ToSmall();
            else Call(_isa, "ToScalar", typeof(int), 1);
            StoreScalar(web);
            return;
        }
        for (int p = 0; p < Allocation.Parts(web, _webs, _analysis, _isa); p++)
        {
            var local = results[p % parts];
            StorePart(web, p, blend: false, () => _il.Emit(OpCodes.Ldloc, local));
        }
    }

    /// <summary>Lane 0 of a vector of floats as a small vector.</summary>
    private void ToSmall()
    {
        for (var isa = _isa; isa.Bits > 128; isa = VectorIsa.Of(isa.Bits / 2)) Call(isa, "GetLower", typeof(float), 1);
    }

    private void PushReducedIntegers(NativeOperation native, Action<int, ValueType> push)
    {
        var type = native.In is Number.U32 && native.Kind is Native.Minimum or Native.Maximum ? typeof(uint) : typeof(int);
        for (int s = 0; s < 2; s++)
        {
            push(s, ValueType.Bits32);
            Cast(_isa, typeof(int), type);
        }
        Call(_isa, IntegerMethod(native), type, 2);
        Cast(_isa, type, typeof(int));
    }

    /// <summary>The vector of 32-bit lanes on the stack with lanes exchanged at a distance below its width.</summary>
    private void PushButterfly(int distance)
    {
        for (int lane = 0; lane < _isa.Lanes; lane++) Constant(lane ^ distance);
        _il.Emit(OpCodes.Call, _isa.CreateOfElements(typeof(int)));
        Call(_isa, "Shuffle", typeof(int), 2);
    }

    private void WriteShuffle(Operation operation)
    {
        int web = operation.Destinations[0], distance = (int)operation.Offset;
        var type = _webs.Types[web];
        var source = operation.Sources[0];
        if (_analysis.Classes[web].IsScalar)
        {
            PushScalar(source, type);
            StoreScalar(web);
            return;
        }
        // All parts before any is stored: source and destination may be one web.
        int parts = PartsOf(ValueType.Bits32);
        for (int p = 0; p < parts; p++)
        {
            PushVector(source, ValueType.Bits32, p ^ (distance / _isa.Lanes));
            if (distance % _isa.Lanes != 0) PushButterfly(distance % _isa.Lanes);
            CastVector(ValueType.Bits32, type);
            _il.Emit(OpCodes.Stloc, Temporary(_isa.Vector(ElementOf(type)), 10 + p));
        }
        bool blend = NeedsBlend(operation, web);
        for (int p = 0; p < parts; p++)
        {
            var local = Temporary(_isa.Vector(ElementOf(type)), 10 + p);
            StorePart(web, p, blend, () => _il.Emit(OpCodes.Ldloc, local));
        }
    }
}
