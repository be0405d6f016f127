using System.Text;
using ClipCuda.Ptx;
using ClipCuda.Ptx.Compiler;

namespace ClipCuda.Tests.Ptx;

/// <summary>Runs one instruction over arrays of operands, in a kernel made for it.</summary>
internal static unsafe class InstructionKernel
{
    /// <summary>What the destination holds before the instruction.</summary>
    public static ulong Untouched(char destination) => destination switch
    {
        'p' => 0,
        'h' => 0xBEEF,
        'R' or 'd' => 0xDEADBEEFDEADBEEF,
        _ => 0xDEADBEEF,
    };

    /// <summary>Executes the opcode in each thread on its own operands; with <paramref name="oddOnly"/> under a branch that even threads do not take.</summary>
    public static ulong[] Run(string opcode, char destination, string sources, ulong[][] operands, bool oddOnly, int threads, TestEngine engine, string tail = "")
    {
        var entry = PtxModule.Parse(Write(opcode, destination, sources, oddOnly, tail), "instruction.ptx").Entries[0];
        int count = operands[0].Length / threads * threads;
        var buffers = new ulong[4][];
        MemoryMap? map = engine == TestEngine.Checked ? new MemoryMap() : null;
        byte* parameters = stackalloc byte[32];
        for (int i = 0; i < 4; i++)
        {
            buffers[i] = GC.AllocateArray<ulong>(count, pinned: true);
            if (i > 0) operands[i - 1].AsSpan(0, count).CopyTo(buffers[i]);
            fixed (ulong* start = buffers[i])
            {
                ((ulong*)parameters)[i] = (ulong)start;
                map?.Add((ulong)start, count * 8L, $"buffer {i}");
                if (i > 0) map?.MarkInitialised((ulong)start, count * 8L);
            }
        }
        Launch(entry, engine, new LaunchShape(count / threads, threads), parameters, map);
        return buffers[0];
    }

    /// <summary>Runs all blocks of an entry on an engine; a checked one holds accesses against the map.</summary>
    public static void Launch(PtxEntry entry, TestEngine engine, in LaunchShape shape, byte* parameters, MemoryMap? map = null)
    {
        if (engine != TestEngine.Compiled)
        {
            KernelProgram.Create(entry, engine == TestEngine.Checked ? map ?? new MemoryMap() : null).Run(shape, parameters, 0, shape.Grid.Count);
            return;
        }
        using var program = CompiledProgram.TryCreate(entry, 512, out string reason);
        Assert.That(program, Is.Not.Null, reason);
        program!.Run(shape, parameters, 0, shape.Grid.Count);
    }

    private static string Write(string opcode, char destination, string sources, bool oddOnly, string tail)
    {
        var text = new StringBuilder("""
            .version 6.3
            .target sm_75
            .address_size 64
            .visible .entry instruction(.param .u64 p0, .param .u64 p1, .param .u64 p2, .param .u64 p3)
            {
                .reg .pred %p<8>;
                .reg .b16 %h<5>;
                .reg .b32 %r<12>;
                .reg .b64 %R<16>;
                mov.u32 %r8, %ctaid.x;
                mov.u32 %r9, %ntid.x;
                mov.u32 %r10, %tid.x;
                mad.lo.s32 %r11, %r8, %r9, %r10;
                mul.wide.u32 %R8, %r11, 8;

            """);
        for (int i = 1; i <= sources.Length; i++)
        {
            text.AppendLine($"ld.param.u64 %R9, [p{i}];").AppendLine("add.s64 %R10, %R9, %R8;");
            text.AppendLine(sources[i - 1] switch
            {
                'R' or 'd' => $"ld.global.u64 %R{i}, [%R10];",
                'h' => $"ld.global.u16 %h{i}, [%R10];",
                'p' => $"ld.global.u32 %r{i}, [%R10]; setp.ne.s32 %p{i}, %r{i}, 0;",
                _ => $"ld.global.u32 %r{i}, [%R10];",
            });
        }
        string result = Register(destination, 0);
        text.AppendLine(destination switch
        {
            'p' => "setp.ne.s32 %p0, %r8, %r8;",
            'h' => $"mov.u16 %h0, {Untouched('h')};",
            'R' or 'd' => $"mov.u64 %R0, 0x{Untouched('R'):x};",
            _ => $"mov.u32 %r0, 0x{Untouched('r'):x};",
        });
        if (oddOnly) text.AppendLine("and.b32 %r7, %r10, 1; setp.eq.s32 %p7, %r7, 0; @%p7 bra $skip;");
        text.Append($"{opcode} {result}");
        for (int i = 1; i <= sources.Length; i++) text.Append($", {Register(sources[i - 1], i)}");
        text.AppendLine($"{tail};").AppendLine("$skip:").AppendLine("ld.param.u64 %R9, [p0]; add.s64 %R10, %R9, %R8;");
        text.AppendLine(destination switch
        {
            'R' or 'd' => "st.global.u64 [%R10], %R0;",
            'h' => "mov.u64 %R11, 0; st.global.u64 [%R10], %R11; st.global.u16 [%R10], %h0;",
            'p' => "selp.b32 %r0, 1, 0, %p0; cvt.u64.u32 %R11, %r0; st.global.u64 [%R10], %R11;",
            _ => "cvt.u64.u32 %R11, %r0; st.global.u64 [%R10], %R11;",
        });
        return text.AppendLine("ret;").AppendLine("}").ToString();
    }

    private static string Register(char type, int index) => type switch
    {
        'R' or 'd' => $"%R{index}",
        'h' => $"%h{index}",
        'p' => $"%p{index}",
        _ => $"%r{index}",
    };
}

/// <summary>What runs a test's kernel.</summary>
public enum TestEngine
{
    Interpreted,
    Checked,
    Compiled,
}

/// <summary>Operands: the edge values of a type crossed with those of the other operands, then random bits.</summary>
internal static class OperandTable
{
    /// <summary>A multiple of 128 and of 37, so that every block is whole.</summary>
    public const int Count = 128 * 37;

    private static readonly uint[] FloatEdges =
    [
        0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFF812345, 1, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF,
        0x3F000000, 0x3FC00000, 0x40200000, 0xC0200000, 0x4F000000, 0xCF000001, 0x4F800000, 0x3EFFFFFF, 0x4B000001, 0xC3160000, 0x43000000,
    ];

    private static readonly double[] DoubleEdges =
    [
        0, -0.0, 1, -1, double.PositiveInfinity, double.NegativeInfinity, double.NaN, BitConverter.UInt64BitsToDouble(0x7FF0000000000123), double.Epsilon, -double.Epsilon,
        2.2250738585072009e-308, 2.2250738585072014e-308, double.MaxValue, double.MinValue, 0.5, 1.5, 2.5, -2.5, 2147483648, -2147483649, 4294967295.5, 1.8446744073709552e19,
        3.4028235677973366e38, 1e-45, -1e-40,
    ];

    private static readonly ulong[] IntegerEdges =
        [0, 1, 2, 7, 31, 32, 127, 128, 255, 32767, 32768, 65535, int.MaxValue, 0x80000000, 0x80000001, uint.MaxValue, 0x100000000, long.MaxValue, 0x8000000000000000, ulong.MaxValue];

    private static readonly ulong[] Shifts = [0, 1, 5, 31, 32, 33, 63, 64, 65, 255, 256, 0x80000000, 0xFFFFFFFF];

    public static ulong[] Values(char type, int operand)
    {
        ulong[] edges = type switch
        {
            'f' => Array.ConvertAll(FloatEdges, bits => (ulong)bits),
            'd' => Array.ConvertAll(DoubleEdges, BitConverter.DoubleToUInt64Bits),
            's' => Shifts,
            'p' => [0, 1],
            _ => IntegerEdges,
        };
        ulong mask = type switch
        {
            'R' or 'd' => ulong.MaxValue,
            'h' => 0xFFFF,
            'p' => 1,
            _ => uint.MaxValue,
        };
        var random = new Random(operand);
        var values = new ulong[Count];
        // Strides of about 1, 26 and 676 cross up to 25 edges with each other.
        int stride = operand switch { 0 => 1, 1 => 26, _ => 677 };
        for (int i = 0; i < Count; i++) values[i] = (i < Count * 3 / 4 ? edges[i / stride % edges.Length] : (ulong)random.NextInt64() << 1 ^ (ulong)random.NextInt64()) & mask;
        return values;
    }
}
