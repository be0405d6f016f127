using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

/// <summary>Four warps that run a few instructions each on its own thread index.</summary>
internal static unsafe class WarpKernel
{
    public const int Threads = 128;

    /// <summary>What %r1 holds before the body, and keeps in threads that skip it.</summary>
    public const uint Untouched = 7777;

    /// <summary>The bytes at %rd3.</summary>
    public static readonly byte[] Source = [.. Enumerable.Range(0, 4096).Select(i => (byte)(0x80 + i * 37))];

    /// <summary>Runs a body in 128 threads: %r0 is the thread, %p0 whether it is odd, %rd2 its element of the result, %rd3 the source; returns %r1, <see cref="Untouched"/> at first.</summary>
    public static uint[] Run(string body, bool oddOnly = false, TestEngine engine = TestEngine.Interpreted, string module = "")
    {
        var entry = PtxModule.Parse($$"""
            .version 6.3
            .target sm_75
            .address_size 64
            {{module}}
            .visible .entry kernel(.param .u64 out, .param .u64 in)
            {
                .reg .pred %p<3>; .reg .b16 %h<2>; .reg .b32 %r<8>; .reg .b64 %rd<8>;
                .shared .align 16 .b8 memory[2048];
                mov.u32 %r0, %tid.x;
                and.b32 %r6, %r0, 1;
                setp.ne.s32 %p0, %r6, 0;
                mul.wide.u32 %rd1, %r0, 4;
                ld.param.u64 %rd2, [out];
                add.s64 %rd2, %rd2, %rd1;
                ld.param.u64 %rd3, [in];
                mov.u32 %r1, {{Untouched}};
                {{(oddOnly ? "@!%p0 bra $end;" : "")}}
                {{body}}
            $end:
                st.global.u32 [%rd2], %r1;
                ret;
            }
            """, "warp.ptx").Entries[0];
        var results = new uint[Threads];
        byte* parameters = stackalloc byte[16];
        fixed (uint* output = results)
        fixed (byte* input = Source)
        {
            ((ulong*)parameters)[0] = (ulong)output;
            ((ulong*)parameters)[1] = (ulong)input;
            MemoryMap? map = engine == TestEngine.Checked ? new MemoryMap() : null;
            map?.Add((ulong)output, 4 * Threads, "out");
            map?.Add((ulong)input, Source.Length, "in");
            map?.MarkInitialised((ulong)input, Source.Length);
            InstructionKernel.Launch(entry, engine, new LaunchShape(1, Threads), parameters, map);
        }
        return results;
    }
}
