using System.Diagnostics;
using ClipCuda.Devices;

namespace ClipCuda.Training;

/// <summary>What a device can do at best, measured on it: the two lines of a roofline (Williams, Waterman, Patterson 2009).</summary>
/// <param name="BytesPerSecond">Of a copy within its memory; what is read and what is written both count.</param>
/// <param name="FlopsPerSecond">Of fused multiply-adds in registers, through the same PTX as every kernel; one counts as two operations.</param>
/// <param name="GemmFlopsPerSecond">Of a GEMM of large squares, with TF32 if the device was opened so.</param>
/// <param name="LaunchesPerSecond">Of a kernel of one warp that has next to nothing to do, one after another.</param>
public readonly record struct DevicePeaks(double BytesPerSecond, double FlopsPerSecond, double GemmFlopsPerSecond, double LaunchesPerSecond)
{
    private const long CopiedBytes = 128 << 20;
    private const int Chains = 8, Unrolled = 16, Threads = 128, Blocks = 512, Rounds = 5;

    /// <summary>As long as a measurement has to take for a clock to tell its time.</summary>
    private const double LeastSeconds = 0.02;

    /// <summary>The sides of squares that are multiplied, the next one twice as long until a product takes this long.</summary>
    private const int LeastSide = 512, MostSide = 8192;
    private const double LeastGemmSeconds = 0.005;

    /// <exception cref="DeviceException">The device has no 256 MiB left, or one so fast that large squares are multiplied, no 512 MiB.</exception>
    public static DevicePeaks Measure(Device device)
    {
        using var from = device.Allocate(CopiedBytes, "copied from");
        using var to = device.Allocate(CopiedBytes, "copied to");
        device.Clear(from.Start, CopiedBytes);
        double copy = Best(times =>
        {
            for (int i = 0; i < times; i++) device.Copy(from.Start, to.Start, CopiedBytes);
            return 2.0 * CopiedBytes * times;
        });
        var kernel = device.LoadModule("peak", FusedMultiplyAdds)["peak"];
        double flops = Best(times =>
        {
            kernel.Launch(Blocks, Threads, to.Start, times);
            return 2.0 * Chains * Unrolled * Threads * Blocks * times;
        });
        double launches = Best(times =>
        {
            for (int i = 0; i < times; i++) kernel.Launch(1, 32, to.Start, 1);
            return times;
        });
        return new(copy, flops, MeasureGemm(device), launches);

        double Best(Func<int, double> work) => DevicePeaks.Best(device, work);
    }

    private static double MeasureGemm(Device device)
    {
        for (int side = LeastSide; ; side *= 2)
        {
            long bytes = (long)side * side * sizeof(float);
            using var factors = device.Allocate(bytes, "factors");
            using var product = device.Allocate(bytes, "product");
            device.Clear(factors.Start, bytes);
            double flops = 2.0 * side * side * side;
            double best = Best(device, times =>
            {
                for (int i = 0; i < times; i++) device.Gemm(new GemmCall(side, side, side, new(factors.Start, side), new(factors.Start, side), new(product.Start, side)));
                return flops * times;
            });
            if (side == MostSide || flops / best > LeastGemmSeconds) return best;
        }
    }

    /// <summary>What work says it did a second, at best; its argument doubles until it takes long enough.</summary>
    private static double Best(Device device, Func<int, double> work)
    {
        double best = 0;
        int times = 1;
        for (int round = 0; round < Rounds;)
        {
            long start = Stopwatch.GetTimestamp();
            double done = work(times);
            device.Synchronize();
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (seconds < LeastSeconds && times < 1 << 24)
            {
                times *= 2;
                continue;
            }
            best = Math.Max(best, done / seconds);
            round++;
        }
        return best;
    }

    /// <summary>
    /// x ← x · a + b in eight chains, as many as hide the latency of an addition, and so many times a round that counting the rounds costs a GPU next to nothing:
    /// peak(float* out, int times).
    /// </summary>
    private static string FusedMultiplyAdds =>
        $$"""
        .version 6.3
        .target sm_75
        .address_size 64
        .visible .entry peak(.param .u64 out, .param .u32 times)
        .maxntid {{Threads}}, 1, 1
        {
            .reg .pred %p<2>;
            .reg .b32 %r<4>;
            .reg .f32 %f<{{Chains + 3}}>;
            .reg .b64 %rd<4>;
            ld.param.u64 %rd1, [out];
            ld.param.u32 %r1, [times];
            mov.u32 %r2, %tid.x;
            cvt.rn.f32.s32 %f0, %r2;
            mov.f32 %f{{Chains + 1}}, 0f3F000000;
            mov.f32 %f{{Chains + 2}}, 0f3F800000;
        {{Each(i => $"    mov.f32 %f{i}, %f0;")}}
        again:
        {{string.Join('\n', Enumerable.Range(0, Unrolled).Select(_ => Each(i => $"    fma.rn.f32 %f{i}, %f{i}, %f{Chains + 1}, %f{Chains + 2};")))}}
            add.s32 %r1, %r1, -1;
            setp.gt.s32 %p1, %r1, 0;
            @%p1 bra again;
        {{Each(i => $"    add.rn.f32 %f0, %f0, %f{i};")}}
            mul.wide.s32 %rd2, %r2, 4;
            add.s64 %rd3, %rd1, %rd2;
            st.global.f32 [%rd3], %f0;
            ret;
        }
        """;

    private static string Each(Func<int, string> line) => string.Join('\n', Enumerable.Range(1, Chains).Select(line));
}
