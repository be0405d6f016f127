namespace ClipCuda.Devices;

/// <summary>
/// The functions of cuBLAS that ClipCuda calls. cuBLAS thinks in columns: a row-major matrix is its own transpose there, so that C = A · B is asked for as
/// Cᵀ = Bᵀ · Aᵀ, which takes no copy.
/// </summary>
internal sealed unsafe class CuBlas
{
    // cublasOperation_t, cudaDataType, cublasGemmAlgo_t, cublasMath_t
    private const int AsIs = 0, Transposed = 1, Float32 = 0, DefaultAlgorithm = -1, DefaultMath = 0;

    // cublasComputeType_t
    private const int ComputeFloat32 = 68, ComputeTf32 = 77;

    private readonly CudaBinding _binding;
    private readonly delegate* unmanaged<nint*, int> _create;
    private readonly delegate* unmanaged<nint, int> _destroy;
    private readonly delegate* unmanaged<nint, nint, int> _setStream;
    private readonly delegate* unmanaged<nint, int, int> _setMathMode;
    private readonly delegate* unmanaged<nint, void*, nuint, int> _setWorkspace;
    private readonly delegate* unmanaged<int, int*, int> _getProperty; // may be absent
    private readonly delegate* unmanaged<nint, int*, int> _getVersion;
    private readonly delegate* unmanaged<nint, int, int, int, int, int, float*, void*, int, int, void*, int, int, float*, void*, int, int, int, int, int> _gemm;
    private readonly delegate* unmanaged<nint, int, int, int, int, int, float*, void*, int, int, long, void*, int, int, long, float*, void*, int, int, long, int, int, int, int> _gemmBatched;

    /// <exception cref="DeviceException">There is no cuBLAS, or none that is new enough.</exception>
    public CuBlas(CudaBinding binding)
    {
        _binding = binding;
        _create = (delegate* unmanaged<nint*, int>)Symbol("cublasCreate_v2");
        _destroy = (delegate* unmanaged<nint, int>)Symbol("cublasDestroy_v2");
        _setStream = (delegate* unmanaged<nint, nint, int>)Symbol("cublasSetStream_v2");
        _setMathMode = (delegate* unmanaged<nint, int, int>)Symbol("cublasSetMathMode");
        _setWorkspace = (delegate* unmanaged<nint, void*, nuint, int>)Symbol("cublasSetWorkspace_v2");
        _getProperty = (delegate* unmanaged<int, int*, int>)binding.BlasFunction("cublasGetProperty");
        _getVersion = (delegate* unmanaged<nint, int*, int>)Symbol("cublasGetVersion_v2");
        _gemm = (delegate* unmanaged<nint, int, int, int, int, int, float*, void*, int, int, void*, int, int, float*, void*, int, int, int, int, int>)Symbol("cublasGemmEx");
        _gemmBatched = (delegate* unmanaged<nint, int, int, int, int, int, float*, void*, int, int, long, void*, int, int, long, float*, void*, int, int, long, int, int, int, int>)
            Symbol("cublasGemmStridedBatchedEx");
    }

    /// <summary>Such as 12.4.5.</summary>
    /// <param name="handle">0 if there is none, which serves where the binding has cublasGetProperty.</param>
    public string Version(nint handle)
    {
        if (_getProperty is not null) return string.Join('.', Enumerable.Range(0, 3).Select(Property)); // MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL
        int version = 0;
        return _getVersion(handle, &version) is not 0 and var status ? throw Error(status, "cublasGetVersion_v2") : $"{version / 10_000}.{version / 100 % 100}.{version % 100}";
    }

    /// <summary>A handle on the current context and the given stream, with a workspace of its own, without which results may differ from run to run.</summary>
    public int Create(nint* handle, nint stream, ulong workspace, long workspaceBytes, out string call)
    {
        call = "cublasCreate_v2";
        int status = _create(handle);
        if (status != 0) return status;
        call = "cublasSetStream_v2";
        status = _setStream(*handle, stream);
        if (status != 0) return status;
        // Setting the stream resets the workspace, so this comes after.
        call = "cublasSetWorkspace_v2";
        status = _setWorkspace(*handle, (void*)workspace, (nuint)workspaceBytes);
        if (status != 0) return status;
        call = "cublasSetMathMode";
        return _setMathMode(*handle, DefaultMath);
    }

    public int Destroy(nint handle) => _destroy(handle);

    public int Gemm(nint handle, in GemmCall call, bool tf32, out string name)
    {
        (float alpha, float beta) = (call.Alpha, call.Beta);
        int compute = tf32 ? ComputeTf32 : ComputeFloat32;
        (int transposeA, int transposeB) = (call.A.Transposed ? Transposed : AsIs, call.B.Transposed ? Transposed : AsIs);
        void* a = Address(call.A), b = Address(call.B), c = Address(call.C);
        (int ldA, int ldB, int ldC, int k) = (call.A.LeadingDimension, call.B.LeadingDimension, call.C.LeadingDimension, call.K);
        if (k == 0 || alpha == 0)
        {
            // Nothing is to be read of A and B, which may be null or hold NaN: an empty sum, with operands that are valid.
            a = b = c;
            (k, transposeA, transposeB, ldA, ldB) = (0, AsIs, AsIs, 1, call.N);
        }
        if (call.Batch == 1)
        {
            name = "cublasGemmEx";
            return _gemm(
                handle, transposeB, transposeA, call.N, call.M, k, &alpha, b, Float32, ldB, a, Float32, ldA, &beta, c, Float32, ldC, compute, DefaultAlgorithm);
        }
        name = "cublasGemmStridedBatchedEx";
        return _gemmBatched(
            handle, transposeB, transposeA, call.N, call.M, k, &alpha, b, Float32, ldB, call.B.BatchStride, a, Float32, ldA, call.A.BatchStride, &beta, c, Float32, ldC,
            call.C.BatchStride, call.Batch, compute, DefaultAlgorithm);
    }

    /// <summary>One line: the call, where it was, and the status by name.</summary>
    public static DeviceException Error(int status, string call, string? where = null)
    {
        // cublasStatus_t, cuBLAS manual 2.2.2.
        var (name, text) = status switch
        {
            1 => ("CUBLAS_STATUS_NOT_INITIALIZED", "cuBLAS was not initialised; most often the device is out of memory, so use a lower --batch-size"),
            3 => ("CUBLAS_STATUS_ALLOC_FAILED", "out of memory; use a lower --batch-size"),
            7 => ("CUBLAS_STATUS_INVALID_VALUE", "an argument is out of range"),
            8 => ("CUBLAS_STATUS_ARCH_MISMATCH", "the GPU is too old for this function"),
            11 => ("CUBLAS_STATUS_MAPPING_ERROR", "GPU memory could not be accessed"),
            13 => ("CUBLAS_STATUS_EXECUTION_FAILED", "the GPU failed to run it; the same command with --device cpu:check shows whether a kernel before it went wrong"),
            14 => ("CUBLAS_STATUS_INTERNAL_ERROR", "an internal error of cuBLAS; most often an earlier kernel failed or the device is lost"),
            15 => ("CUBLAS_STATUS_NOT_SUPPORTED", "not supported by this cuBLAS on this GPU"),
            16 => ("CUBLAS_STATUS_LICENSE_ERROR", "a licence is missing"),
            _ => ("unknown status", "no description"),
        };
        return new DeviceException($"{call}{(where is null ? "" : $" ({where})")} failed: {name} ({status}): {text}.") { DeviceIsWell = status is 3 or 15 };
    }

    private static void* Address(in GemmOperand operand) => (void*)operand.Data.Address;

    private int Property(int property)
    {
        int value = 0;
        return _getProperty(property, &value) is not 0 and var status ? throw Error(status, "cublasGetProperty") : value;
    }

    private nint Symbol(string name) => _binding.BlasFunction(name) is not 0 and var address
        ? address
        : throw new DeviceException($"cuBLAS has no {name}; it is older than version 11. Install cuBLAS 12 or 13.");
}
