using System.Runtime.InteropServices;
using ClipCuda.Ptx;
using ClipCuda.Ptx.Compiler;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>Runs a program on the interpreter and on the compiler at each width, and compares every byte of the output and around it.</summary>
internal static unsafe class EngineComparison
{
    /// <summary>Bytes before and behind the output that nobody may write.</summary>
    private const int Border = 512;

    private static readonly int[] Widths = [128, 256, 512];

    /// <summary>The same for all programs, which only read it.</summary>
    private static readonly byte* Input = AllocateInput();

    /// <summary>How the engines differ on a program, or null: where, both bits, the width.</summary>
    public static string? Difference(FuzzProgram program) =>
        Difference(ProgramWriter.Write(program), program.Shape, ProgramWriter.OutputBytes(program), program.Seed, at => ProgramWriter.Describe(program, at));

    /// <summary>How the engines differ on PTX text whose parameters are those of <see cref="ProgramWriter"/>, or null.</summary>
    /// <param name="describe">What lies at an offset of the output, in words.</param>
    public static string? Difference(string text, LaunchShape shape, int outputBytes, int seed, Func<int, string> describe)
    {
        var entry = PtxModule.Parse(text, "fuzz.ptx").Entries[0];
        byte[] expected = Run(KernelProgram.Create(entry, checks: null).Run, shape, outputBytes, seed);
        foreach (int width in Widths)
        {
            using var compiled = CompiledProgram.TryCreate(entry, width, out string reason);
            if (compiled is null) return $"width {width}: the compiler refuses the program: {reason}";
            byte[] actual;
            try
            {
                actual = Run(compiled.Run, shape, outputBytes, seed);
            }
            catch (Exception error) when (error is not OutOfMemoryException)
            {
                return $"width {width}: {error}";
            }
            int at = expected.AsSpan().CommonPrefixLength(actual);
            if (at == expected.Length) continue;
            int word = at / 8 * 8;
            return $"width {width}: {describe(at - Border)} (output byte {at - Border}): "
                + $"interpreter {MemoryMarshal.Read<ulong>(expected.AsSpan(word)):x16}, compiler {MemoryMarshal.Read<ulong>(actual.AsSpan(word)):x16}";
        }
        return null;
    }

    /// <summary>PTX of an entry around a few instructions: registers by type, <c>%in</c>, <c>%flat</c>, and in <c>%out</c> the thread's own part of the output.</summary>
    public static string Entry(string body, int bytesAThread) => $$"""
        .version 6.3
        .target sm_75
        .address_size 64
        .visible .entry piece(.param .u64 p_in, .param .u64 p_out)
        {
            .reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<16>; .reg .f32 %f<64>; .reg .f64 %d<8>; .reg .b64 %R<16>; .reg .b32 %flat; .reg .b64 %in, %out;
            .shared .align 16 .b8 memory[1024];
            ld.param.u64 %in, [p_in];
            ld.param.u64 %out, [p_out];
            mov.u32 %flat, %tid.x;
            mul.wide.u32 %R0, %flat, {{bytesAThread}};
            add.s64 %out, %out, %R0;
            {{body}}
            ret;
        }
        """;

    private delegate void Engine(in LaunchShape shape, byte* parameters, long firstBlock, long blockCount);

    private static byte[] Run(Engine engine, LaunchShape shape, int outputBytes, int seed)
    {
        byte[] output = new byte[outputBytes + 2 * Border];
        byte* start = (byte*)NativeMemory.AlignedAlloc((nuint)output.Length, 64);
        try
        {
            new Span<byte>(start, output.Length).Fill(0xCD);
            byte* parameters = stackalloc byte[24];
            ((ulong*)parameters)[0] = (ulong)(Input + ProgramWriter.Slack);
            ((ulong*)parameters)[1] = (ulong)(start + Border);
            ((int*)parameters)[4] = seed % 50;
            ((int*)parameters)[5] = int.MaxValue - seed % 9;
            engine(shape, parameters, 0, shape.Grid.Count);
            new Span<byte>(start, output.Length).CopyTo(output);
        }
        finally
        {
            NativeMemory.AlignedFree(start);
        }
        return output;
    }

    private static byte* AllocateInput()
    {
        uint[] words = ProgramGenerator.InputWords((ProgramWriter.Slack + ProgramWriter.InputBytes) / 4);
        byte* start = (byte*)NativeMemory.AlignedAlloc((nuint)words.Length * 4, 64);
        words.CopyTo(new Span<uint>(start, words.Length));
        return start;
    }
}
