using System.Runtime.InteropServices;
using ManagedCuda.BasicTypes;
using ManagedCuda.CudaBlas;

namespace ClipCuda.Devices;

/// <summary>cuBLAS through ManagedCuda, a method a function.</summary>
internal static unsafe class ManagedCudaBlas
{
    [UnmanagedCallersOnly(EntryPoint = "cublasCreate_v2")]
    private static int Create(CudaBlasHandle* handle) => (int)CudaBlasNativeMethods.cublasCreate_v2(ref *handle);

    [UnmanagedCallersOnly(EntryPoint = "cublasDestroy_v2")]
    private static int Destroy(nint handle) => (int)CudaBlasNativeMethods.cublasDestroy_v2(Handle(handle));

    [UnmanagedCallersOnly(EntryPoint = "cublasSetStream_v2")]
    private static int SetStream(nint handle, nint stream) => (int)CudaBlasNativeMethods.cublasSetStream_v2(Handle(handle), ManagedCudaDriver.Handle<CUstream>(stream));

    [UnmanagedCallersOnly(EntryPoint = "cublasSetMathMode")]
    private static int SetMathMode(nint handle, int mode) => (int)CudaBlasNativeMethods.cublasSetMathMode(Handle(handle), (ManagedCuda.CudaBlas.Math)mode);

    [UnmanagedCallersOnly(EntryPoint = "cublasSetWorkspace_v2")]
    private static int SetWorkspace(nint handle, ulong workspace, nuint bytes) => (int)CudaBlasNativeMethods.cublasSetWorkspace_v2(Handle(handle), ManagedCudaDriver.At(workspace), bytes);

    [UnmanagedCallersOnly(EntryPoint = "cublasGetVersion_v2")]
    private static int GetVersion(nint handle, int* version) => (int)CudaBlasNativeMethods.cublasGetVersion_v2(Handle(handle), ref *version);

    [UnmanagedCallersOnly(EntryPoint = "cublasGemmEx")]
    private static int Gemm(
        nint handle, int transposeA, int transposeB, int m, int n, int k, nint alpha, ulong a, int typeA, int ldA, ulong b, int typeB, int ldB, nint beta, ulong c, int typeC, int ldC,
        int compute, int algorithm) => (int)CudaBlasNativeMethods.cublasGemmEx(
            Handle(handle), (Operation)transposeA, (Operation)transposeB, m, n, k, alpha, ManagedCudaDriver.At(a), (cudaDataType)typeA, ldA, ManagedCudaDriver.At(b), (cudaDataType)typeB,
            ldB, beta, ManagedCudaDriver.At(c), (cudaDataType)typeC, ldC, (ComputeType)compute, (GemmAlgo)algorithm);

    /// <summary>ManagedCuda declares the computing type as a data type; the function takes a cublasComputeType_t, so its number goes through the other's name.</summary>
    [UnmanagedCallersOnly(EntryPoint = "cublasGemmStridedBatchedEx")]
    private static int GemmBatched(
        nint handle, int transposeA, int transposeB, int m, int n, int k, nint alpha, ulong a, int typeA, int ldA, long strideA, ulong b, int typeB, int ldB, long strideB, nint beta,
        ulong c, int typeC, int ldC, long strideC, int batch, int compute, int algorithm) => (int)CudaBlasNativeMethods.cublasGemmStridedBatchedEx(
            Handle(handle), (Operation)transposeA, (Operation)transposeB, m, n, k, alpha, ManagedCudaDriver.At(a), (cudaDataType)typeA, ldA, strideA, ManagedCudaDriver.At(b),
            (cudaDataType)typeB, ldB, strideB, beta, ManagedCudaDriver.At(c), (cudaDataType)typeC, ldC, strideC, batch, (cudaDataType)compute, (GemmAlgo)algorithm);

    private static CudaBlasHandle Handle(nint pointer) => ManagedCudaDriver.Handle<CudaBlasHandle>(pointer);
}
