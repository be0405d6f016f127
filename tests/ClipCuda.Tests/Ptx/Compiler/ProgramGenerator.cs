using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>
/// Draws random programs whose behaviour PTX defines. Every statement keeps its own rules (addresses in bounds, own elements only, loops
/// counted), and the generator keeps the rules of convergence: a barrier only where the whole block is together, a shuffle only where the
/// warp is, neither after some lanes have returned.
/// </summary>
internal sealed class ProgramGenerator
{
    private static readonly string[] Opcodes = [.. InstructionTableTests.AllRows.Keys.Order(StringComparer.Ordinal).Where(o => o != "cvta.to.global.u32")];

    private static readonly Dim3[] Blocks = [new(32), new(64), new(128), new(96), new(20), new(50), new(8, 4), new(16, 3), new(5, 7, 2), new(32, 4), new(1), new(64)];

    private static readonly long[] Integers =
        [0, 1, 2, 3, 7, 31, 32, 33, 64, 255, 256, 65535, 65536, int.MaxValue, int.MinValue, int.MinValue + 1, -1, -2, -32, 0x7FFFFFF0, -16, 0x55555555];

    private static readonly long[] Longs = [.. Integers, long.MaxValue, long.MinValue, uint.MaxValue, 1L << 32, -(1L << 32), 0x7FFFFFFFL << 32];

    private static readonly uint[] Floats =
    [
        0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345, 0x7F812345, 1, 0x80000001, 0x007FFFFF, 0x00800000,
        0x7F7FFFFF, 0xFF7FFFFF, 0x3F000000, 0x3EFFFFFF, 0x40200000, 0x4B000001, 0x4F000000, 0xCF000001, 0xC3160000, 0x42F00000, 0x3FB504F3,
    ];

    private readonly Random _random;
    private readonly LaunchShape _shape;
    private readonly bool _wholeWarps;
    private int _budget;
    private bool _someReturned;

    private ProgramGenerator(int seed, int size)
    {
        _random = new Random(seed);
        _budget = 3 + size;
        _shape = new LaunchShape(_random.Next(1, 5), Blocks[_random.Next(Blocks.Length)]);
        _wholeWarps = _shape.Block.Count % 32 == 0;
    }

    /// <summary>The words of the input: numbers at the edges of their types, small ones, and random bits.</summary>
    public static uint[] InputWords(int count)
    {
        var random = new Random(20);
        var words = new uint[count];
        for (int i = 0; i < count; i++)
        {
            words[i] = random.Next(5) switch
            {
                0 => Floats[random.Next(Floats.Length)],
                1 => (uint)Integers[random.Next(Integers.Length)],
                2 => BitConverter.SingleToUInt32Bits(random.NextSingle() * 16 - 8),
                3 => (uint)random.Next(64),
                _ => (uint)random.NextInt64(),
            };
        }
        return words;
    }

    /// <param name="size">About how many statements.</param>
    public static FuzzProgram Generate(int seed, int size)
    {
        var generator = new ProgramGenerator(seed, size);
        var context = new Context(Uniformity.Block, Uniformity.Block, Uniformity.Lane, 0);
        var body = new List<Statement>();
        while (generator._budget > 0) body.AddRange(generator.Statements(context, 4));
        return new FuzzProgram(seed, generator._shape, [.. body]);
    }

    /// <param name="Together">Who runs this code together.</param>
    /// <param name="Breaks">Who has to leave the innermost loop, or go on with it, together, so that what is promised of its body holds.</param>
    /// <param name="Returns">The same of returns, for all loops around: what the outermost one asks.</param>
    private sealed record Context(Uniformity Together, Uniformity Breaks, Uniformity Returns, int Depth, int Loops = 0, bool Stride = false);

    private Statement[] Statements(Context context, int most)
    {
        var list = new List<Statement>();
        for (int count = _random.Next(1, most + 1); count > 0; count--)
        {
            _budget--;
            list.AddRange(Next(context));
        }
        return [.. list];
    }

    private Statement[] Next(Context context)
    {
        int kind = _random.Next(100);
        return kind switch
        {
            < 38 => [NextAssign(context)],
            < 42 => [NextWiden(context)],
            < 54 => [NextLoad(context)],
            < 62 => [NextStore(context)],
            < 74 when context.Depth < 4 => NextIf(context),
            < 83 when context.Loops < 3 && context.Depth < 4 => [NextLoop(context)],
            < 86 => NextLeave(context),
            < 95 when context.Together >= Uniformity.Warp && !_someReturned => NextTogether(context),
            _ => [NextAssign(context)],
        };
    }

    private Assign NextAssign(Context context)
    {
        while (true)
        {
            string opcode = Opcodes[_random.Next(Opcodes.Length)];
            // There are a hundred comparisons: most draws go to the others.
            if (opcode.StartsWith("setp", StringComparison.Ordinal) && _random.Next(5) > 0) continue;
            string form = InstructionTableTests.AllRows[opcode].Form; // see TableRow for the letters
            var (destination, sources) = (form[0], form[2..]);
            bool anyType = opcode.EndsWith(".b32", StringComparison.Ordinal) || opcode is "mov.f32" or "selp.f32";
            bool anyLong = opcode is "mov.b64" or "selp.b64" or "mov.f64" or "selp.f64";
            var target = NextTarget(Widened(destination, anyType && opcode[0] is not ('p' or 'c'), anyLong), context);
            char immediate = opcode.EndsWith(".f32", StringComparison.Ordinal) ? 'f' : opcode.EndsWith(".f64", StringComparison.Ordinal) ? 'd' : ' ';
            var operands = sources.Select(s => NextOperand(Widened(s, anyType, anyLong), target.Level, s == 's' || immediate == ' ' ? s : immediate)).ToArray();
            return new Assign(opcode, target, operands, NextGuard(target.Level, 5));
        }
    }

    /// <summary>A b32 operand may be a float's register, a float one an untyped register.</summary>
    private char Widened(char type, bool anyType, bool anyLong) => type switch
    {
        'f' when _random.Next(4) == 0 => 'r',
        'r' when anyType && _random.Next(3) == 0 => 'f',
        'R' when anyLong && _random.Next(3) == 0 => 'd',
        _ => type,
    };

    private Widen NextWiden(Context context)
    {
        var target = NextTarget('R', context);
        int offset = _random.Next(4) switch { 0 => int.MaxValue - _random.Next(100), 1 => int.MinValue + _random.Next(100), 2 => -_random.Next(100), _ => _random.Next(100) };
        int scale = _random.Next(3) == 0 ? (int)Integers[_random.Next(Integers.Length)] : _random.Next(-4, 9);
        return new Widen(target, NextIndex(target.Level), scale, offset, _random.Next(6));
    }

    private Load NextLoad(Context context)
    {
        Place[] places = [Place.Grid, Place.Grid, Place.Block, Place.Scattered, Place.Scattered, Place.Clamped, Place.Reversed, Place.Wrapped, Place.Plane, Place.Own, Place.SharedPlane, Place.SharedOwn];
        var place = context.Stride && _random.Next(3) == 0 ? Place.Induction : places[_random.Next(places.Length)];
        // Only a scattered address can be the same for many threads.
        var target = place == Place.Scattered ? NextTarget(NextOf("rfRhd"), context) : NextOne(NextOf("rrffRRhd"), Uniformity.Lane);
        var access = NextAccess(place, target, context);
        var targets = new Variable[access.Elements];
        targets[0] = target;
        for (int i = 1; i < targets.Length; i++)
        {
            do targets[i] = NextOne(target.Class, target.Level);
            while (targets.AsSpan(0, i).Contains(targets[i]));
        }
        return new Load(targets, access, place == Place.Wrapped ? null : NextGuard(target.Level, 6));
    }

    private Store NextStore(Context context)
    {
        Place[] places = [Place.Plane, Place.Plane, Place.Own, Place.SharedPlane, Place.SharedOwn];
        var first = NextOne(NextOf("rrffRRhd"), NextLevel(Uniformity.Lane));
        var access = NextAccess(places[_random.Next(places.Length)], first with { Level = Uniformity.Lane, Index = 0 }, context);
        var values = Enumerable.Range(0, access.Elements).Select(i => i == 0 ? Operand.Of(first) : Operand.Of(NextOne(first.Class, NextLevel(Uniformity.Lane)))).ToArray();
        return new Store(values, access, NextGuard(Uniformity.Lane, 5));
    }

    /// <summary>How to load into or store from a register: type, vector, index.</summary>
    private Access NextAccess(Place place, Variable register, Context context)
    {
        string type = register.Class switch
        {
            'f' => NextText("f32", "f32", "b32"),
            'R' => NextText("u64", "b64", "s64", "u32", "s32", "u8", "s16"),
            'd' => NextText("f64", "b64"),
            'h' => NextText("u16", "b16", "u8", "b8"),
            _ => NextText("u32", "b32", "s32", "u8", "s8", "u16", "s16"),
        };
        int bytes = int.Parse(type.AsSpan(1)) / 8;
        int available = Variable.All.Count(v => v.Class == register.Class && v.Level == register.Level);
        int elements = _random.Next(3) != 0 ? 1 : _random.Next(2) == 0 ? 2 : 4;
        while (elements * bytes > 16 || elements > available) elements /= 2;
        int offset = place switch
        {
            Place.Own => _random.Next(ProgramWriter.OwnBytes / (bytes * elements)),
            Place.SharedOwn => _random.Next(16 / (bytes * elements)),
            Place.Clamped or Place.Wrapped => _random.Next(2),
            _ => _random.Next(64),
        };
        var index = place switch
        {
            Place.Scattered => NextIndex(register.Level),
            Place.Induction => new Operand($"%index{context.Loops - 1}", Uniformity.Lane),
            Place.Block => NextIndex(Uniformity.Block),
            _ => new Operand("%flat", Uniformity.Lane),
        };
        return new Access(place, type, elements, index, _random.Next(1, 5), offset, _random.Next(6));
    }

    private Statement[] NextIf(Context context)
    {
        var level = NextLevel(Uniformity.Lane);
        var guard = new Guard(NextOne('p', level), _random.Next(2) == 0);
        var inner = context with { Together = Least(context.Together, level), Depth = context.Depth + 1 };
        var then = Statements(inner, 5);
        var other = _random.Next(2) == 0 ? Statements(inner, 5) : [];
        var statement = new If(guard, then, other);
        // A fresh condition before it, half of the time, from what threads differ by.
        if (level > context.Together || _random.Next(2) == 0) return [statement];
        Operand[] sources = [NextIndex(level), Operand.Of(_random.Next(40))];
        return [new Assign($"setp.{NextText("lt", "ge", "eq", "ne")}.{NextText("u32", "s32")}", guard.Predicate, sources, null), statement];
    }

    private Loop NextLoop(Context context)
    {
        var form = (LoopForm)_random.Next(3);
        var level = form == LoopForm.Stride ? Uniformity.Lane : NextLevel(Uniformity.Lane);
        var together = Least(context.Together, level);
        // Whoever leaves early must not be missed by those who stay.
        if (_random.Next(3) == 0) together = Uniformity.Lane;
        var inner = context with
        {
            Together = together,
            Breaks = together,
            Returns = context.Loops == 0 ? together : context.Returns,
            Depth = context.Depth + 1,
            Loops = context.Loops + 1,
            Stride = form == LoopForm.Stride,
        };
        bool constant = form != LoopForm.Stride && _random.Next(4) == 0;
        var trips = constant ? Operand.Of(_random.Next(8)) : NextIndex(level);
        return new Loop(form, trips, context.Loops == 0 ? 7 : 3, Statements(inner, 6), context.Loops);
    }

    private Statement[] NextLeave(Context context)
    {
        bool loop = context.Loops > 0 && _random.Next(5) > 0;
        var allowed = loop ? context.Breaks : context.Returns;
        if (context.Together < allowed) return [NextAssign(context)];
        var level = NextLevel(allowed);
        if (!loop)
        {
            if (_random.Next(2) == 0) return [NextAssign(context)];
            if (Least(level, context.Together) < Uniformity.Block) _someReturned = true;
        }
        var kind = loop ? NextEnum(Departure.Break, Departure.Continue) : NextEnum(Departure.Return, Departure.Exit);
        return [new Leave(kind, new Guard(NextOne('p', level), _random.Next(2) == 0))];
    }

    private Statement[] NextTogether(Context context)
    {
        bool block = context.Together == Uniformity.Block;
        switch (_random.Next(6))
        {
            case 0 when block:
                return [new Barrier()];
            case 1 or 2 when block:
                var type = NextOf("rfR");
                var second = _random.Next(2) == 0 ? null : NextOperand(type, Uniformity.Lane);
                var index = NextIndex(Uniformity.Lane);
                return [new Exchange(NextOne(type, Uniformity.Lane), NextOperand(type, Uniformity.Lane), second, second is null ? null : NextGuard(Uniformity.Lane, 1), index, _random.Next(4))];
            case 3 or 4 when _wholeWarps:
                // The sum of a warp is the same for all of it, if all of it takes part.
                bool whole = _random.Next(3) > 0, real = _random.Next(2) == 0;
                var target = NextOne(real ? 'f' : 'r', whole && _random.Next(2) == 0 ? Uniformity.Warp : Uniformity.Lane);
                string opcode = real ? NextText("add.rn.f32", "max.f32", "min.f32", "mul.rn.f32") : NextText("add.s32", "max.s32", "min.u32", "or.b32", "xor.b32");
                return [new Reduce(target, NextOperand(target.Class, Uniformity.Lane), opcode, whole ? 1 : 1 << _random.Next(1, 4))];
            default:
                return [NextShuffle()];
        }
    }

    private Shuffle NextShuffle()
    {
        char type = NextOf("rf");
        string mode = _wholeWarps ? NextText("bfly", "bfly", "up", "down", "idx") : "bfly";
        var amount = !_wholeWarps || _random.Next(3) > 0 ? Operand.Of(_wholeWarps && _random.Next(4) == 0 ? _random.Next(32) : 1 << _random.Next(5)) : NextOperand('r', Uniformity.Lane);
        int clamp = mode == "up" ? 0 : 31;
        if (_random.Next(4) == 0) clamp |= (32 - (1 << _random.Next(1, 5))) << 8;
        var inRange = _random.Next(3) == 0 ? NextOne('p', Uniformity.Lane) : null;
        return new Shuffle(NextOne(type, Uniformity.Lane), inRange, mode, Operand.Of(NextOne(type, NextLevel(Uniformity.Lane))), amount, clamp);
    }

    /// <summary>A variable that code run together so may write.</summary>
    private Variable NextTarget(char type, Context context)
    {
        var level = _random.Next(2) == 0 ? Uniformity.Lane : (Uniformity)_random.Next((int)context.Together + 1);
        return NextOne(type, level);
    }

    /// <summary>A variable of a class and of this uniformity, or of less if there is none.</summary>
    private Variable NextOne(char type, Uniformity level)
    {
        var some = Variable.All.Where(v => v.Class == type && v.Level == level).ToArray();
        if (some.Length == 0) some = [.. Variable.All.Where(v => v.Class == type && v.Level == Uniformity.Lane)];
        return some[_random.Next(some.Length)];
    }

    /// <summary>Something to read that is as uniform as its reader must be.</summary>
    /// <param name="immediate">The class of an immediate, where it is not that of the register.</param>
    private Operand NextOperand(char type, Uniformity least, char immediate = ' ')
    {
        if (immediate == ' ') immediate = type;
        if (type == 's' && _random.Next(2) == 0) return Operand.Of(NextShift());
        if (type is 'r' or 's' && _random.Next(5) == 0) return NextIndex(least);
        if (type != 'p' && _random.Next(5) == 0) return NextImmediate(immediate);
        char held = type == 's' ? 'r' : type;
        var some = Variable.All.Where(v => v.Class == held && v.Level >= least).ToArray();
        if (some.Length == 0) return NextImmediate(immediate);
        var one = NextOne(held, NextLevel(least));
        return Operand.Of(one.Level >= least ? one : some[_random.Next(some.Length)]);
    }

    private Operand NextImmediate(char type) => type switch
    {
        'f' => new Operand($"0f{Floats[_random.Next(Floats.Length)]:X8}", Uniformity.Block),
        'd' => new Operand("0d7FF8000000000001", Uniformity.Block),
        'R' => Operand.Of(Longs[_random.Next(Longs.Length)]),
        'h' => Operand.Of((ushort)Integers[_random.Next(Integers.Length)]),
        _ => Operand.Of((int)Integers[_random.Next(Integers.Length)]),
    };

    /// <summary>An integer that indices are made of.</summary>
    private Operand NextIndex(Uniformity least)
    {
        int kind = _random.Next(8);
        if (kind < 4 && least == Uniformity.Lane) return new Operand(NextText("%flat", "%lane", "%grid", "%flat", "%counter0", "%counter1", "%index0"), Uniformity.Lane);
        if (kind == 4 && least <= Uniformity.Warp) return new Operand("%warp", Uniformity.Warp);
        return Operand.Of(NextOne('r', NextLevel(least)));
    }

    private int NextShift() => _random.Next(4) == 0 ? (int)Integers[_random.Next(Integers.Length)] : _random.Next(40);

    private Guard? NextGuard(Uniformity least, int oneIn) =>
        _random.Next(oneIn) != 0 ? null : new Guard(NextOne('p', NextLevel(least)), _random.Next(2) == 0);

    private Uniformity NextLevel(Uniformity least) => (Uniformity)_random.Next((int)least, 3);

    private static Uniformity Least(Uniformity a, Uniformity b) => a < b ? a : b;

    private char NextOf(string some) => some[_random.Next(some.Length)];

    private string NextText(params string[] some) => some[_random.Next(some.Length)];

    private Departure NextEnum(Departure a, Departure b) => _random.Next(2) == 0 ? a : b;
}
