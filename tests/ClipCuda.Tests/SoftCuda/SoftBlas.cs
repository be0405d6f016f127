using System.Runtime.InteropServices;
using ClipCuda.Devices;

namespace ClipCuda.Tests.SoftCuda;

/// <summary>The callbacks of the soft cuBLAS: column-major products on the CPU device's row-major GEMM. A negative <see cref="SoftError"/> is a cuBLAS status.</summary>
internal static unsafe class SoftBlas
{
    private const int InvalidValue = -7, NotSupported = -15;

    [UnmanagedCallersOnly(EntryPoint = "cublasCreate_v2")]
    private static int Create(nint* handle) => SoftGpu.Enter("cublasCreate_v2", gpu =>
    {
        gpu.Streams.RefuseInCapture("cublasCreate_v2");
        *handle = gpu.Add(new SoftBlasHandle());
    }, blas: true);

    [UnmanagedCallersOnly(EntryPoint = "cublasDestroy_v2")]
    private static int Destroy(nint handle) => SoftGpu.Enter("cublasDestroy_v2", gpu => gpu.Remove<SoftBlasHandle>(handle, "cublasDestroy_v2"), releases: true, blas: true);

    [UnmanagedCallersOnly(EntryPoint = "cublasSetStream_v2")]
    private static int SetStream(nint handle, nint stream) => SoftGpu.Enter("cublasSetStream_v2", gpu =>
    {
        var blas = gpu.Get<SoftBlasHandle>(handle, "cublasSetStream_v2");
        (blas.Stream, blas.Workspace) = (gpu.Get<SoftStream>(stream, "cublasSetStream_v2"), null);
    }, blas: true);

    [UnmanagedCallersOnly(EntryPoint = "cublasSetMathMode")]
    private static int SetMathMode(nint handle, int mode) => SoftGpu.Enter("cublasSetMathMode", gpu =>
    {
        gpu.Get<SoftBlasHandle>(handle, "cublasSetMathMode");
        if (mode != 0) throw new SoftError(NotSupported);
    }, blas: true);

    [UnmanagedCallersOnly(EntryPoint = "cublasSetWorkspace_v2")]
    private static int SetWorkspace(nint handle, void* workspace, nuint bytes) => SoftGpu.Enter("cublasSetWorkspace_v2", gpu =>
    {
        var pointer = gpu.Memory.Find((ulong)workspace, (long)bytes, "cublasSetWorkspace_v2");
        gpu.Get<SoftBlasHandle>(handle, "cublasSetWorkspace_v2").Workspace = gpu.Memory.Holding(pointer.Address);
    }, blas: true);

    [UnmanagedCallersOnly(EntryPoint = "cublasGetProperty")]
    private static int GetProperty(int property, int* value) => SoftGpu.Enter("cublasGetProperty", _ => *value = property == 0 ? 13 : property, needsContext: false, blas: true);

    [UnmanagedCallersOnly(EntryPoint = "cublasGetVersion_v2")]
    private static int GetVersion(nint handle, int* version) => SoftGpu.Enter("cublasGetVersion_v2", gpu =>
    {
        gpu.Get<SoftBlasHandle>(handle, "cublasGetVersion_v2");
        *version = 130_102;
    }, blas: true);

    [UnmanagedCallersOnly(EntryPoint = "cublasGemmEx")]
    private static int Gemm(
        nint handle, int ta, int tb, int m, int n, int k, float* alpha, void* a, int at, int lda, void* b, int bt, int ldb, float* beta, void* c, int ct, int ldc, int compute, int algorithm) =>
        Multiply("cublasGemmEx", handle, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0, 1, compute, algorithm);

    [UnmanagedCallersOnly(EntryPoint = "cublasGemmStridedBatchedEx")]
    private static int GemmBatched(
        nint handle, int ta, int tb, int m, int n, int k, float* alpha, void* a, int at, int lda, long sa, void* b, int bt, int ldb, long sb, float* beta, void* c, int ct, int ldc, long sc,
        int batch, int compute, int algorithm) =>
        Multiply("cublasGemmStridedBatchedEx", handle, ta, tb, m, n, k, alpha, a, at, lda, sa, b, bt, ldb, sb, beta, c, ct, ldc, sc, batch, compute, algorithm);

    private static int Multiply(
        string call, nint handle, int ta, int tb, int m, int n, int k, float* alpha, void* a, int at, int lda, long sa, void* b, int bt, int ldb, long sb, float* beta, void* c, int ct, int ldc, long sc,
        int batch, int compute, int algorithm) => SoftGpu.Enter(call, gpu =>
    {
        var blas = gpu.Get<SoftBlasHandle>(handle, call);
        var stream = blas.Stream ?? throw gpu.Misuse(InvalidValue, $"{call}: the handle has no stream");
        if (ta is not (0 or 1) || tb is not (0 or 1) || m < 0 || n < 0 || k < 0 || batch < 0) throw gpu.Misuse(InvalidValue, $"{call}: a size or transposition is out of range");
        if (lda < Math.Max(1, ta == 0 ? m : k) || ldb < Math.Max(1, tb == 0 ? k : n) || ldc < Math.Max(1, m)) throw gpu.Misuse(InvalidValue, $"{call}: a leading dimension is too small");
        if (at != 0 || bt != 0 || ct != 0 || compute is not (68 or 77) || algorithm != -1) throw gpu.Misuse(NotSupported, $"{call}: not float32 by the default algorithm");
        if (blas.Workspace is not { IsFreed: false } workspace) throw gpu.Misuse(InvalidValue, $"{call}: no workspace of the caller's is set, so results may differ from run to run");
        // The column-major C is Cᵀ in rows: Cᵀ = op(B)ᵀ · op(A)ᵀ.
        var product = new GemmCall(
            n, m, k, Operand(b, ldb, tb == 1, sb), Operand(a, lda, ta == 1, sa), Operand(c, ldc, false, sc), *alpha, *beta, batch);
        List<SoftAccess> accesses = [SoftAccess.Whole(workspace, writes: true), Access(product.C, writes: true)];
        if (k > 0) accesses.AddRange([Access(product.A, writes: false), Access(product.B, writes: false)]);
        bool rounds = compute == 77;
        gpu.Streams.Enqueue(stream, call, accesses, () =>
        {
            if (rounds) MultiplyTf32(gpu, product);
            else gpu.Engine.Gemm(product);
        });

        GemmOperand Operand(void* data, int leading, bool transposed, long stride) => new(gpu.Memory.Find((ulong)data, 0, call), leading, transposed, stride);

        SoftAccess Access(in GemmOperand operand, bool writes) => SoftAccess.Whole(gpu.Memory.Holding(operand.Data.Address)!, writes);
    }, blas: true);

    /// <summary>As tensor cores do: factors rounded to 10 bits of fraction, products and sums in float32.</summary>
    private static void MultiplyTf32(SoftGpu gpu, GemmCall call)
    {
        using var a = Rounded(gpu, call.A.Data);
        using var b = Rounded(gpu, call.B.Data);
        gpu.Engine.Gemm(call with { A = call.A with { Data = a.Start }, B = call.B with { Data = b.Start } });
    }

    private static DeviceBuffer Rounded(SoftGpu gpu, DevicePointer from)
    {
        var copy = gpu.Engine.Allocate(from.Remaining, "rounded to TF32");
        var bits = new uint[from.Remaining / sizeof(float)];
        gpu.Engine.CopyToHost(from, MemoryMarshal.AsBytes(bits.AsSpan()));
        for (int i = 0; i < bits.Length; i++) bits[i] = (bits[i] + 0xFFF + ((bits[i] >> 13) & 1)) & ~0x1FFFu;
        gpu.Engine.CopyToDevice(MemoryMarshal.AsBytes(bits.AsSpan()), copy.Start);
        return copy;
    }
}

internal sealed class SoftBlasHandle
{
    public SoftStream? Stream { get; set; }

    public SoftAllocation? Workspace { get; set; }
}
