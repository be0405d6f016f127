using System.Reflection;
using System.Reflection.Emit;

namespace ClipCuda.Ptx.Compiler;

/// <summary>Loads and stores of lanes at a constant distance, where every lane runs: at constant offsets from one base, or several lanes at once.</summary>
internal sealed partial class Emitter
{
    /// <summary>Neighbouring numbers of 8 or 16 bits, in registers of up to 32.</summary>
    private bool IsNarrow(Operation operation) =>
        operation.Destinations is [int web] && !IsWide(_webs.Types[web])
        && MemoryForm.ElementBytes(operation.Type) is 1 or 2 && _analysis.ClassOf(operation.Sources[0]).Step == MemoryForm.ElementBytes(operation.Type);

    private void WriteNarrowLoad(Operation operation, MethodInfo extend)
    {
        int web = operation.Destinations[0];
        bool blend = NeedsBlend(operation, web);
        foreach (int part in PartsNow(PartsOf(ValueType.Bits32)))
        {
            StorePart(web, part, blend, () =>
            {
                PushAddress(operation, (long)part * _isa.Lanes * MemoryForm.ElementBytes(operation.Type));
                if (extend.GetParameters()[0].ParameterType is { IsPointer: false } vector)
                {
                    _il.Emit(OpCodes.Unaligned, (byte)1);
                    _il.Emit(OpCodes.Ldobj, vector);
                }
                _il.Emit(OpCodes.Call, extend);
                CastVector(ValueType.Bits32, _webs.Types[web]);
            });
        }
    }

    /// <summary>Every lane runs and the distance is constant: loads at constant offsets from one base.</summary>
    private void WriteStridedLoad(Operation operation)
    {
        long stride = _analysis.ClassOf(operation.Sources[0]).Step;
        var address = Temporary(typeof(nint), 0);
        PushAddress(operation, 0);
        _il.Emit(OpCodes.Stloc, address);
        int bytes = MemoryForm.ElementBytes(operation.Type);
        for (int e = 0; e < operation.Destinations.Length; e++)
        {
            int web = operation.Destinations[e], element = e;
            if (_webs.Uses[web] == 0) continue;
            var type = _webs.Types[web];
            bool blend = NeedsBlend(operation, web);
            int lanes = _isa.Bytes / (IsWide(type) ? 8 : 4);
            foreach (int part in PartsNow(PartsOf(type)))
            {
                StorePart(web, part, blend, () =>
                {
                    for (int lane = 0; lane < lanes; lane++)
                    {
                        PushOffset(address, (part * lanes + lane) * stride + element * bytes);
                        if (type == ValueType.Float) _il.Emit(OpCodes.Ldind_R4);
                        else LoadElement(operation.Type, IsWide(type));
                    }
                    _il.Emit(OpCodes.Call, _isa.CreateOfElements(ElementOf(type)));
                });
            }
        }
    }

    /// <summary>Every lane runs and the distance is constant: from the scratch memory to constant offsets from one base, lane after lane.</summary>
    private void WriteStridedStore(Operation operation)
    {
        long stride = _analysis.ClassOf(operation.Sources[0]).Step;
        int bytes = MemoryForm.ElementBytes(operation.Type);
        for (int s = 1; s < operation.Sources.Length; s++) ToScratch(operation, s);
        var (address, scratch) = (Temporary(typeof(nint), 0), Temporary(typeof(nint), 2));
        PushAddress(operation, 0);
        _il.Emit(OpCodes.Stloc, address);
        State(nameof(WarpState.Scratch), OpCodes.Ldind_I);
        _il.Emit(OpCodes.Stloc, scratch);
        for (int lane = 0; lane < 32; lane++)
        {
            for (int s = 1; s < operation.Sources.Length; s++)
            {
                bool wide = IsWide(TypeOfStored(operation, s));
                PushOffset(address, lane * stride + (s - 1) * bytes);
                PushOffset(scratch, ScratchValues * s + lane * (wide ? 8 : 4));
                _il.Emit(wide ? OpCodes.Ldind_I8 : OpCodes.Ldind_I4);
                StoreElement(operation.Type, wide);
            }
        }
    }

    /// <summary>Four numbers a lane, no two lanes' in one place.</summary>
    private bool IsQuad(Operation operation) =>
        _isa.CanInterleave && operation.Sources.Length == 5 && MemoryForm.ElementBytes(operation.Type) == 4
        && Math.Abs(_analysis.ClassOf(operation.Sources[0]).Step) >= 16 && Enumerable.Range(1, 4).All(s => !IsWide(TypeOfStored(operation, s)));

    /// <summary>
    /// As the strided store, by 128 bits a lane: four vectors of a lane's first, second, third and fourth numbers are interleaved to four whose
    /// k-th quarter holds all four numbers of one lane.
    /// </summary>
    private void WriteQuadStore(Operation operation)
    {
        long stride = _analysis.ClassOf(operation.Sources[0]).Step;
        var vector = _isa.Vector(typeof(float));
        int parts = PartsOf(ValueType.Float);
        // All before the first is stored: what they are computed from may be what is overwritten.
        for (int s = 1; s <= 4; s++)
        {
            for (int p = 0; p < parts; p++)
            {
                PushStoredVector(operation, s, p);
                CastVector(TypeOfStored(operation, s), ValueType.Float);
                _il.Emit(OpCodes.Stloc, Value(s, p));
            }
        }
        var address = Temporary(typeof(nint), 0);
        PushAddress(operation, 0);
        _il.Emit(OpCodes.Stloc, address);
        LocalBuilder[] pairs = [.. Enumerable.Range(0, 4).Select(i => Temporary(vector, 340 + i))];
        var quads = Temporary(vector, 344);
        for (int p = 0; p < parts; p++)
        {
            for (int i = 0; i < 4; i++) Interleave(typeof(float), Value(1 + i / 2 * 2, p), Value(2 + i / 2 * 2, p), high: i % 2 == 1, pairs[i]);
            for (int lane = 0; lane < 4; lane++)
            {
                Interleave(typeof(double), pairs[lane / 2], pairs[2 + lane / 2], high: lane % 2 == 1, quads);
                for (int quarter = 0; quarter < _isa.Lanes / 4; quarter++)
                {
                    PushOffset(address, (p * _isa.Lanes + 4 * quarter + lane) * stride);
                    _il.Emit(OpCodes.Ldloc, quads);
                    _isa.EmitQuarter(_il, quarter);
                    _il.Emit(OpCodes.Unaligned, (byte)1);
                    _il.Emit(OpCodes.Stobj, Small.Vector(typeof(float)));
                }
            }
        }

        LocalBuilder Value(int source, int part) => Temporary(vector, 300 + 8 * source + part);

        // Of each 128 bits, the lower or the upper half of both, by turns.
        void Interleave(Type element, LocalBuilder a, LocalBuilder b, bool high, LocalBuilder to)
        {
            _il.Emit(OpCodes.Ldloc, a);
            Cast(_isa, typeof(float), element);
            _il.Emit(OpCodes.Ldloc, b);
            Cast(_isa, typeof(float), element);
            _il.Emit(OpCodes.Call, _isa.Interleave(element, high));
            Cast(_isa, element, typeof(float));
            _il.Emit(OpCodes.Stloc, to);
        }
    }

    private void PushOffset(LocalBuilder pointer, long offset)
    {
        _il.Emit(OpCodes.Ldloc, pointer);
        AddOffset(offset);
    }
}
