using System.Text;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>
/// Prints a random program as PTX. Parameters: input (read only), output, two integers. The output holds, for T threads of the grid: the
/// dump (8·T bytes a variable), planes of 1 to 16 bytes a thread (16·T bytes each), then 64 bytes a thread.
/// </summary>
internal sealed class ProgramWriter
{
    /// <summary>Bytes before the input that programs may read.</summary>
    public const int Slack = 4096;

    /// <summary>Bytes of the input from where its parameter points.</summary>
    public const int InputBytes = 65536;

    public const int Planes = 5, PlaneBytes = 16, OwnBytes = 64;

    private readonly StringBuilder _text = new();
    private readonly FuzzProgram _program;
    private readonly Stack<(string Break, string Continue)> _loops = [];
    private readonly HashSet<Variable> _used = [];
    private bool _sharedUsed;
    private int _labels;

    private ProgramWriter(FuzzProgram program) => _program = program;

    public static int OutputBytes(FuzzProgram program) => program.GridThreads * (8 * Variable.All.Length + Planes * PlaneBytes + OwnBytes);

    /// <summary>What lies at an offset of the output, in words.</summary>
    public static string Describe(FuzzProgram program, int offset)
    {
        int threads = program.GridThreads;
        if (offset < 0 || offset >= OutputBytes(program)) return "a byte outside of the output";
        int dump = 8 * threads * Variable.All.Length, own = dump + Planes * PlaneBytes * threads;
        if (offset < dump) return $"register {Variable.All[offset / (8 * threads)]} of thread {offset % (8 * threads) / 8}";
        if (offset < own) return $"plane of {1 << (offset - dump) / (PlaneBytes * threads)} bytes at byte {(offset - dump) % (PlaneBytes * threads)}";
        return $"byte {(offset - own) % OwnBytes} of thread {(offset - own) / OwnBytes}'s own";
    }

    public static string Write(FuzzProgram program)
    {
        var writer = new ProgramWriter(program);
        writer.Body(program.Body);
        string body = writer._text.ToString();
        writer._text.Clear();
        writer.Prologue();
        writer._text.Append(body);
        writer.Epilogue();
        return writer._text.ToString();
    }

    private void Prologue()
    {
        Line(".version 6.3\n.target sm_75\n.address_size 64");
        Line(".visible .entry fuzz(.param .u64 p_in, .param .u64 p_out, .param .u32 p_a, .param .u32 p_b)\n{");
        foreach (var (type, declared) in ((char, string)[])[('p', ".pred"), ('h', ".b16"), ('r', ".b32"), ('f', ".f32"), ('R', ".b64"), ('d', ".f64")])
            Line($".reg {declared} %{type}l<8>, %{type}w<4>, %{type}b<4>;");
        Line(".reg .pred %q<4>; .reg .b32 %t<6>; .reg .b64 %T<6>; .reg .b32 %counter<4>; .reg .b32 %trip<4>; .reg .b32 %index<4>;");
        Line(".reg .b32 %flat, %lane, %warp, %grid; .reg .b64 %in, %out;");
        if (_sharedUsed) Line(".shared .align 16 .b8 exchange[1024]; .shared .align 16 .b8 own[2048]; .shared .align 16 .b8 planes[10240];");
        Line("ld.param.u64 %in, [p_in]; ld.param.u64 %out, [p_out]; cvta.to.global.u64 %in, %in;");
        Line("mov.u32 %flat, %tid.x;");
        if (_program.Shape.Block.Y > 1) Line("mov.u32 %t0, %tid.y; mov.u32 %t1, %ntid.x; mad.lo.s32 %flat, %t0, %t1, %flat;");
        if (_program.Shape.Block.Z > 1) Line($"mov.u32 %t0, %tid.z; mad.lo.s32 %flat, %t0, {_program.Shape.Block.X * _program.Shape.Block.Y}, %flat;");
        Line($"and.b32 %lane, %flat, 31; shr.u32 %warp, %flat, 5; mov.u32 %t0, %ctaid.x; mad.lo.s32 %grid, %t0, {_program.Threads}, %flat;");
        for (int i = 0; i < 4; i++) Line($"mov.u32 %counter{i}, 0; mov.u32 %index{i}, 0;");
        if (_sharedUsed)
        {
            Line("mov.u64 %T0, own; mul.wide.u32 %T1, %flat, 16; add.s64 %T0, %T0, %T1; st.shared.v4.u32 [%T0], {%flat, %lane, %grid, %t0};");
            for (int i = 0; i < Planes; i++)
                Line($"mov.u64 %T0, planes; mul.wide.u32 %T1, %flat, {1 << i}; add.s64 %T0, %T0, %T1; {Initial(i)}");
        }
        foreach (var variable in Variable.All.Where(_used.Contains)) Initialise(variable);
    }

    private static string Initial(int plane) => $"{(plane < 3 ? "st.shared." : plane == 3 ? "st.shared.v2." : "st.shared.v4.")}u{Math.Min(32, 8 << plane)} [%T0+{2048 * plane}], "
        + (plane switch { < 3 => "%grid;", 3 => "{%grid, %lane};", _ => "{%grid, %lane, %flat, %warp};" });

    private void Initialise(Variable v)
    {
        int kind = (_program.Seed ^ (v.Index * 7919 + v.Class * 31 + (int)v.Level)) & 3, place = 16 * Array.IndexOf(Variable.All, v) + (_program.Seed & 1023);
        // An element of the input for each lane, each warp, or each launch.
        string index = v.Level switch { Uniformity.Lane => "%grid", Uniformity.Warp => "%warp", _ => "%ctaid.x" };
        Line($"mov.u32 %t0, {index}; mul.wide.u32 %T0, %t0, 8; add.s64 %T0, %in, %T0;");
        switch (v.Class)
        {
            case 'p':
                Line(v.Level == Uniformity.Lane && kind != 0
                    ? $"setp.{(kind == 1 ? "lt" : "ge")}.u32 {v}, {(kind == 3 ? "%flat" : "%lane")}, {5 + 4 * v.Index};"
                    : $"ld.global.u32 %t1, [%T0+{place * 8}]; setp.lt.s32 {v}, %t1, 1;");
                break;
            case 'h':
                Line($"ld.global.u16 {v}, [%T0+{place * 8}];");
                break;
            case 'r':
                Line(kind switch
                {
                    0 => $"mov.u32 {v}, {index};",
                    1 when v.Level == Uniformity.Lane => $"shl.b32 {v}, %flat, {v.Index};",
                    2 when v.Level == Uniformity.Block => $"ld.param.u32 {v}, [p_{"ab"[v.Index & 1]}];",
                    _ => $"ld.global.u32 {v}, [%T0+{place * 8}];",
                });
                break;
            case 'f':
                Line(kind == 0 ? $"cvt.rn.f32.u32 {v}, %t0;" : $"ld.global.f32 {v}, [%T0+{place * 8}];");
                break;
            default:
                Line(kind == 0 ? $"cvt.s64.s32 %T1, %t0; mov.b64 {v}, %T1;" : $"ld.global.b64 {v}, [%T0+{place * 8}];");
                break;
        }
    }

    private void Epilogue()
    {
        int threads = _program.GridThreads;
        Line("mul.wide.u32 %T0, %grid, 8; add.s64 %T0, %out, %T0;");
        for (int i = 0; i < Variable.All.Length; i++)
        {
            var v = Variable.All[i];
            if (!_used.Contains(v)) continue;
            string at = $"[%T0+{8 * threads * i}]";
            Line(v.Class switch
            {
                'p' => $"selp.b32 %t0, 1, 0, {v}; st.global.u32 {at}, %t0;",
                'h' => $"st.global.u16 {at}, {v};",
                'r' => $"st.global.u32 {at}, {v};",
                'f' => $"st.global.f32 {at}, {v};",
                _ => $"st.global.b64 {at}, {v};",
            });
        }
        Line("ret;\n}");
    }

    private void Body(Statement[] statements)
    {
        foreach (var statement in statements) One(statement);
    }

    private void One(Statement statement)
    {
        switch (statement)
        {
            case Assign s:
                Use(s.Guard, [s.Target], s.Sources);
                Line($"{s.Guard}{s.Opcode} {s.Target}, {string.Join(", ", s.Sources.AsEnumerable())};");
                break;
            case Widen s:
                Use(null, [s.Target], [s.Index]);
                Line($"mad.lo.s32 %t0, {s.Index}, {s.Scale}, {s.Offset};");
                Line(s.Form switch
                {
                    0 => $"cvt.s64.s32 {s.Target}, %t0;",
                    1 => $"cvt.u64.u32 {s.Target}, %t0;",
                    2 => $"mul.wide.s32 {s.Target}, %t0, 12;",
                    3 => $"mul.wide.u32 {s.Target}, %t0, 4;",
                    4 => $"mad.wide.s32 {s.Target}, %t0, 4, {s.Target};",
                    _ => $"shl.b32 %t0, %t0, 1; add.s32 %t0, %t0, 5; cvt.s64.s32 %T0, %t0; shl.b64 {s.Target}, %T0, 2;",
                });
                break;
            case Load s:
                Use(s.Guard, s.Targets, [s.Access.Index]);
                WriteAccess("ld", s.Access, s.Guard, s.Targets.Select(t => t.Name));
                break;
            case Store s:
                Use(s.Guard, [], [.. s.Values, s.Access.Index]);
                WriteAccess("st", s.Access, s.Guard, s.Values.Select(v => v.Text));
                break;
            case If s:
                WriteIf(s);
                break;
            case Loop s:
                WriteLoop(s);
                break;
            case Leave s:
                WriteLeave(s);
                break;
            case Barrier:
                Line("bar.sync 0;");
                break;
            case Shuffle s:
                WriteShuffle(s);
                break;
            case Reduce s:
                Use(null, [s.Target], [s.Value]);
                string type = s.Opcode.EndsWith("f32", StringComparison.Ordinal) ? "f32" : "b32";
                Line($"mov.{type} {s.Target}, {s.Value};");
                for (int mask = 16; mask >= s.Smallest; mask /= 2)
                    Line($"shfl.sync.bfly.b32 %t0, {s.Target}, {mask}, 31, -1; {s.Opcode} {s.Target}, {s.Target}, %t0;");
                break;
            case Exchange s:
                WriteExchange(s);
                break;
            default:
                throw new ArgumentException($"No text for {statement}.", nameof(statement));
        }
    }

    private void WriteIf(If s)
    {
        Use(s.Condition, [], []);
        string other = Label(), end = Label();
        var away = s.Condition with { Negated = !s.Condition.Negated };
        Line($"{away}bra {(s.Else.Length > 0 ? other : end)};");
        Body(s.Then);
        if (s.Else.Length > 0)
        {
            Line($"bra.uni {end};\n{other}:");
            Body(s.Else);
        }
        Line($"{end}:");
    }

    private void WriteLoop(Loop s)
    {
        Use(null, [], [s.Trips]);
        int d = s.Depth;
        string start = Label(), next = Label(), end = Label();
        if (s.Form == LoopForm.Stride) Line($"mov.u32 %index{d}, %flat; mov.u32 %trip{d}, {s.Limit * _program.Threads / 2};");
        else Line($"mov.u32 %counter{d}, 0; mov.u32 %trip{d}, {s.Trips}; and.b32 %trip{d}, %trip{d}, {s.Limit};");
        string counter = s.Form == LoopForm.Stride ? $"%index{d}" : $"%counter{d}";
        Line($"{start}:");
        if (s.Form != LoopForm.DoWhile) Line($"setp.ge.u32 %q{d}, {counter}, %trip{d}; @%q{d} bra {end};");
        _loops.Push((end, next));
        Body(s.Body);
        _loops.Pop();
        Line($"{next}:\nadd.s32 {counter}, {counter}, {(s.Form == LoopForm.Stride ? _program.Threads : 1)};");
        Line(s.Form == LoopForm.DoWhile ? $"setp.lt.u32 %q{d}, {counter}, %trip{d}; @%q{d} bra {start};" : $"bra.uni {start};");
        Line($"{end}:");
    }

    private void WriteLeave(Leave s)
    {
        if (s.Guard is not null) Use(s.Guard, [], []);
        if (s.Kind is Departure.Return or Departure.Exit) Line($"{s.Guard}{(s.Kind == Departure.Return ? "ret" : "exit")};");
        // Shrinking may have taken the loop away.
        else if (_loops.TryPeek(out var loop)) Line($"{s.Guard}bra {(s.Kind == Departure.Break ? loop.Break : loop.Continue)};");
    }

    private void WriteShuffle(Shuffle s)
    {
        Use(null, s.InRange is null ? [s.Target] : [s.Target, s.InRange], [s.Value, s.Amount]);
        if (_program.WholeWarps)
        {
            Line($"shfl.sync.{s.Mode}.b32 {s.Target}{(s.InRange is null ? "" : $"|{s.InRange}")}, {s.Value}, {s.Amount}, {s.Clamp}, -1;");
            return;
        }
        // Lanes that do not exist hold nothing: whoever reads one keeps its own value.
        Line($"mov.b32 %t1, {s.Value}; shfl.sync.bfly.b32 %t0, %t1, {s.Amount}, 31, -1;");
        Line($"xor.b32 %t2, %flat, {s.Amount}; setp.lt.u32 %q3, %t2, {_program.Threads}; selp.b32 {s.Target}, %t0, %t1, %q3;");
    }

    private void WriteExchange(Exchange s)
    {
        _sharedUsed = true;
        Use(s.Guard, [s.Target], s.Second is null ? [s.Value, s.Index] : [s.Value, s.Index, s.Second]);
        bool wide = s.Target.Class == 'R';
        string type = wide ? "b64" : "b32";
        int bytes = wide ? 8 : 4, last = _program.Threads - 1;
        Line($"bar.sync 0; mov.u64 %T2, exchange; mul.wide.u32 %T0, %flat, {bytes}; add.s64 %T0, %T2, %T0; st.shared.{type} [%T0], {s.Value};");
        if (s.Second is not null) Line($"{s.Guard}st.shared.{type} [%T0], {s.Second};");
        Line("bar.sync 0;");
        Line(s.Form switch
        {
            0 => $"sub.s32 %t0, {last}, %flat;",
            1 => $"add.s32 %t0, %flat, 3; min.u32 %t0, %t0, {last};",
            2 => $"add.s32 %t0, %lane, 32; min.s32 %t0, %t0, {last};",
            3 => $"rem.u32 %t0, {s.Index}, {_program.Threads};",
            _ => $"mov.u32 %t0, {s.Index}; and.b32 %t0, %t0, 15;",
        });
        Line($"mul.wide.s32 %T1, %t0, {bytes}; add.s64 %T1, %T2, %T1; ld.shared.{type} {s.Target}, [%T1];");
    }

    private void WriteAccess(string verb, Access access, Guard? guard, IEnumerable<string> values)
    {
        int bytes = access.Bytes, plane = int.Log2(bytes);
        string guardText = guard?.ToString() ?? "";
        long offset = access.Offset * (long)bytes;
        switch (access.Place)
        {
            case Place.Grid:
                Line($"mad.lo.s32 %t0, %grid, {access.Scale}, {access.Offset};");
                offset = 0;
                break;
            case Place.Block:
                Line($"and.b32 %t1, {access.Index}, 63; mad.lo.s32 %t0, %flat, {access.Scale}, %t1;");
                break;
            case Place.Scattered:
                Line($"and.b32 %t0, {access.Index}, 1023;");
                break;
            case Place.Clamped:
                Line($"add.s32 %t0, %lane, {access.Scale * 8}; min.s32 %t0, %t0, {_program.Threads - 1};");
                break;
            case Place.Reversed:
                Line($"sub.s32 %t0, {_program.Threads - 1}, %flat;");
                break;
            case Place.Wrapped:
                Line($"add.s32 %t0, %flat, {-8 * access.Scale}; setp.ge.u32 %q3, %flat, {8 * access.Scale};");
                guardText = "@%q3 ";
                break;
            case Place.Induction:
                Line($"mov.u32 %t0, {access.Index};");
                break;
            case Place.Plane:
                Line("mov.u32 %t0, %grid;");
                offset = (8L * Variable.All.Length + plane * PlaneBytes) * _program.GridThreads;
                break;
            case Place.Own:
                Line($"shl.b32 %t0, %grid, {int.Log2(OwnBytes / bytes)};");
                offset += (8L * Variable.All.Length + Planes * PlaneBytes) * _program.GridThreads;
                break;
            case Place.SharedPlane:
                Line("mov.u32 %t0, %flat;");
                offset = 2048L * plane;
                break;
            case Place.SharedOwn:
                Line($"mul.lo.s32 %t0, %flat, {16 / bytes};");
                break;
        }
        string start = access.Place switch { Place.SharedPlane => "planes", Place.SharedOwn => "own", Place.Plane or Place.Own => "%out", _ => "%in" };
        _sharedUsed |= access.IsShared;
        Line(access.Form switch
        {
            0 => $"mul.wide.s32 %T0, %t0, {bytes}; add.s64 %T1, {start}, %T0;",
            1 => $"cvt.s64.s32 %T0, %t0; shl.b64 %T0, %T0, {plane}; add.s64 %T1, {start}, %T0;",
            2 => $"cvt.u64.u32 %T0, %t0; mov.u64 %T2, {start}; mad.lo.s64 %T1, %T0, {bytes}, %T2;",
            3 => $"mov.u64 %T2, {start}; mad.wide.u32 %T1, %t0, {bytes}, %T2;",
            4 => $"shl.b32 %t0, %t0, {plane}; cvt.u64.u32 %T0, %t0; add.s64 %T1, {start}, %T0;",
            _ => $"mul.wide.u32 %T0, %t0, {bytes}; add.s64 %T1, {start}, %T0;",
        });
        string vector = access.Elements == 1 ? "" : $".v{access.Elements}", list = string.Join(", ", values);
        string opcode = $"{guardText}{verb}.{(access.IsShared ? "shared" : "global")}{vector}.{access.Type}";
        if (access.Elements > 1) list = $"{{{list}}}";
        Line(verb == "ld" ? $"{opcode} {list}, [%T1+{offset}];" : $"{opcode} [%T1+{offset}], {list};");
    }

    private void Use(Guard? guard, Variable[] targets, Operand[] sources)
    {
        if (guard is not null) _used.Add(guard.Predicate);
        _used.UnionWith(targets);
        foreach (var source in sources) if (source.Variable is { } variable) _used.Add(variable);
    }

    private string Label() => $"$L{_labels++}";

    private void Line(string text) => _text.Append(text).Append('\n');
}
