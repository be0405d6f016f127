using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx;

/// <summary>Kernels of a few instructions whose counts are known by hand.</summary>
public sealed unsafe class KernelCountersTests
{
    /// <summary>What stands before every body, and its <c>ret</c>.</summary>
    private const int Around = 5;

    [Test]
    public void Instructions_count_for_each_warp_and_each_thread([Values(1, 32, 33, 200)] int threads, [Values(1, 3)] int blocks)
    {
        var counters = Run("mov.u32 %r1, 1; add.s32 %r1, %r1, 1;", threads, blocks);
        Assert.That(counters.WarpInstructions, Is.EqualTo(blocks * ((threads + 31) / 32) * (Around + 2)));
        Assert.That(counters.ThreadInstructions, Is.EqualTo(blocks * threads * (Around + 2)));
        Assert.That(counters.Executed, Is.All.EqualTo(blocks * ((threads + 31) / 32)));
    }

    /// <summary>A warp of 32 threads: bytes asked for, and 32-byte sectors touched, from an aligned address.</summary>
    [TestCase("mul.wide.u32 %rd3, %r0, 4;", "u32", 4, 4, 128, TestName = "Neighbours")]
    [TestCase("mul.wide.u32 %rd3, %r0, 4; add.s64 %rd3, %rd3, 4;", "u32", 5, 4, 128, TestName = "Neighbours that do not begin at a sector")]
    [TestCase("mul.wide.u32 %rd3, %r0, 8;", "u32", 8, 4, 128, TestName = "Every second number")]
    [TestCase("mul.wide.u32 %rd3, %r0, 32;", "u32", 32, 4, 128, TestName = "A sector each")]
    [TestCase("mov.u64 %rd3, 0;", "u32", 1, 1, 4, TestName = "One number for all")]
    [TestCase("and.b32 %r1, %r0, 1; mul.wide.u32 %rd3, %r1, 64;", "u32", 2, 1, 8, TestName = "Two numbers in turns")]
    [TestCase("mul.wide.u32 %rd3, %r0, 1;", "u8", 1, 1, 32, TestName = "Bytes")]
    [TestCase("mul.wide.u32 %rd3, %r0, 8;", "u64", 8, 8, 256, TestName = "Neighbours of 8 bytes")]
    public void Sectors_of_a_request(string offset, string type, int sectors, int ideal, int distinctBytes)
    {
        int bytes = int.Parse(type[1..], System.Globalization.CultureInfo.InvariantCulture) / 8;
        string register = type == "u64" ? "%rd4" : "%r2";
        var counters = Run($"{offset} add.s64 %rd1, %rd1, %rd3; ld.global.{type} {register}, [%rd1]; add.s64 %rd2, %rd2, %rd3; st.global.{type} [%rd2], {register};");
        foreach (var traffic in (GlobalTraffic[])[counters.Loads, counters.Stores])
        {
            Assert.That((traffic.Requests, traffic.Bytes, traffic.Sectors, traffic.DistinctSectors), Is.EqualTo((1, 32 * bytes, sectors, sectors)));
            Assert.That((traffic.SectorsPerRequest, traffic.IdealSectors, traffic.DistinctBytes), Is.EqualTo((sectors, ideal, distinctBytes)));
        }
    }

    [Test]
    public void A_vector_of_four_moves_16_sectors_in_one_request()
    {
        var counters = Run("mul.wide.u32 %rd3, %r0, 16; add.s64 %rd1, %rd1, %rd3; ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];");
        Assert.That((counters.Loads.Requests, counters.Loads.Bytes, counters.Loads.Sectors), Is.EqualTo((1, 512, 16)));
    }

    /// <summary>Two blocks of two warps read the same 128 bytes twice: eight requests of four sectors, of which four are different.</summary>
    [Test]
    public void Distinct_sectors_count_once_a_launch()
    {
        const string Body = "and.b32 %r1, %r0, 31; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd1, %rd1, %rd3; ld.global.u32 %r2, [%rd1]; ld.global.u32 %r2, [%rd1];";
        var counters = Run(Body, threads: 64, blocks: 2, launches: 3);
        Assert.That((counters.Loads.Requests, counters.Loads.Sectors, counters.Loads.DistinctSectors, counters.Loads.DistinctBytes), Is.EqualTo((3 * 8, 3 * 32, 3 * 4, 3 * 128)));
        Assert.That(counters.Stores.Requests, Is.Zero);
    }

    /// <summary>Lanes at a stride of n words meet in a bank gcd(n, 32) at a time; wide accesses go by halves and quarters of a warp.</summary>
    [TestCase("u32", 4, 0)]
    [TestCase("u32", 0, 0)]
    [TestCase("u32", 8, 1)]
    [TestCase("u32", 12, 0)]
    [TestCase("u32", 16, 3)]
    [TestCase("u32", 128, 31)]
    [TestCase("u32", 132, 0)]
    [TestCase("u64", 8, 0)]
    [TestCase("u64", 16, 2)]
    [TestCase("v4.u32", 16, 0)]
    [TestCase("v4.u32", 32, 4)]
    [TestCase("u8", 1, 0)]
    public void Bank_conflicts_by_stride(string type, int stride, int conflicts)
    {
        string value = type switch { "u64" => "%rd4", "v4.u32" => "{%r1, %r2, %r3, %r4}", _ => "%r1" };
        var counters = Run($"mul.wide.u32 %rd3, %r0, {stride}; mov.u64 %rd4, 1; st.shared.{type} [%rd3], {value}; ld.shared.{type} {value}, [%rd3];");
        Assert.That((counters.SharedRequests, counters.BankConflicts), Is.EqualTo((2, 2 * conflicts)));
        Assert.That(counters.Loads.Requests + counters.Stores.Requests, Is.Zero);
    }

    [Test]
    public void Shared_memory_by_a_generic_address_counts_as_shared()
    {
        var counters = Run("mul.wide.u32 %rd3, %r0, 8; st.shared.u32 [%rd3], %r0; cvta.shared.u64 %rd3, %rd3; ld.u32 %r1, [%rd3];");
        Assert.That((counters.SharedRequests, counters.BankConflicts, counters.Loads.Requests), Is.EqualTo((2, 2, 0)));
    }

    [Test]
    public void Half_a_warp_that_takes_a_branch_diverges()
    {
        var counters = Run("setp.lt.u32 %p1, %r0, 16; @%p1 bra $join; mov.u32 %r1, 1; mov.u32 %r2, 2; $join: mov.u32 %r3, 3;");
        Assert.That((counters.Branches, counters.DivergentBranches), Is.EqualTo((1, 1)));
        Assert.That(counters.WarpInstructions, Is.EqualTo(Around + 5));
        Assert.That(counters.ThreadInstructions, Is.EqualTo(32 * (Around + 3) + 16 * 2));
        Assert.That(counters.ActiveLanes, Is.EqualTo((32 * (Around + 3) + 16 * 2) / (32.0 * (Around + 5))));
    }

    /// <summary>Of four warps one goes another way than the rest: nobody diverges.</summary>
    [Test]
    public void Whole_warps_that_part_do_not_diverge()
    {
        var counters = Run("setp.lt.u32 %p1, %r0, 32; @%p1 bra $join; mov.u32 %r1, 1; $join: mov.u32 %r3, 3;", threads: 128);
        Assert.That((counters.Branches, counters.DivergentBranches), Is.EqualTo((4, 0)));
        Assert.That(counters.WarpInstructions, Is.EqualTo(4 * (Around + 3) + 3));
        Assert.That(counters.ActiveLanes, Is.EqualTo(1));
    }

    [Test]
    public void A_guarded_instruction_counts_once_with_the_lanes_that_come_to_it()
    {
        var counters = Run("setp.lt.u32 %p1, %r0, 8; mul.wide.u32 %rd3, %r0, 4; add.s64 %rd1, %rd1, %rd3; @%p1 ld.global.u32 %r1, [%rd1];");
        Assert.That((counters.WarpInstructions, counters.ThreadInstructions), Is.EqualTo((Around + 4, 32 * (Around + 4))));
        Assert.That((counters.Loads.Requests, counters.Loads.Bytes, counters.Loads.Sectors), Is.EqualTo((1, 32, 1)));
    }

    /// <summary>%r0 is the thread; %rd1 is where 4 KiB begin that may be read, %rd2 where others begin that may be written, both at a sector.</summary>
    private static KernelCounters Run(string body, int threads = 32, int blocks = 1, int launches = 1)
    {
        const int Bytes = 4096;
        var entry = PtxModule.Parse($$"""
            .version 6.3
            .target sm_75
            .address_size 64
            .visible .entry kernel(.param .u64 out, .param .u64 in)
            {
                .reg .pred %p<2>; .reg .b32 %r<6>; .reg .b64 %rd<6>;
                .shared .align 16 .b8 memory[8192];
                mov.u32 %r0, %tid.x;
                mov.u32 %r5, %ctaid.x;
                ld.param.u64 %rd2, [out];
                ld.param.u64 %rd1, [in];
                {{body}}
                ret;
            }
            """, "count.ptx").Entries[0];
        byte[] memory = GC.AllocateArray<byte>(2 * Bytes + KernelCounters.SectorBytes, pinned: true);
        fixed (byte* start = memory)
        {
            byte* input = (byte*)(((nint)start + KernelCounters.SectorBytes - 1) / KernelCounters.SectorBytes * KernelCounters.SectorBytes), output = input + Bytes;
            var map = new MemoryMap();
            map.Add((ulong)input, Bytes, "in");
            map.Add((ulong)output, Bytes, "out");
            map.MarkInitialised((ulong)input, Bytes);
            byte* parameters = stackalloc byte[16];
            ((ulong*)parameters)[0] = (ulong)output;
            ((ulong*)parameters)[1] = (ulong)input;
            var program = KernelProgram.Create(entry, map);
            var total = new KernelCounters(entry, launch: 0);
            for (int launch = 0; launch < launches; launch++)
            {
                // In two parts, as two threads of a device run it.
                int number = map.StartLaunch();
                foreach (var (first, count) in (ReadOnlySpan<(int, int)>)[(0, blocks / 2), (blocks / 2, blocks - blocks / 2)])
                {
                    var part = new KernelCounters(entry, number);
                    program.Run(new LaunchShape(blocks, threads), parameters, first, count, part);
                    total.Add(part);
                }
            }
            return total;
        }
    }
}
