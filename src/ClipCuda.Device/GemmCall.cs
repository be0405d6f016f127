namespace ClipCuda.Devices;

/// <summary>
/// One row-major float32 matrix operand: <paramref name="LeadingDimension"/> elements from row to row as it lies in memory, and
/// <paramref name="BatchStride"/> elements from matrix to matrix (0: one matrix serves the whole batch). Transposed means that
/// op(X) = Xᵀ is what is multiplied.
/// </summary>
public readonly record struct GemmOperand(DevicePointer Data, int LeadingDimension, bool Transposed = false, long BatchStride = 0);

/// <summary>
/// C[M, N] = Alpha · op(A)[M, K] · op(B)[K, N] + Beta · C, for each of Batch matrices. With Beta = 0, C is written without being
/// read; with Alpha = 0, A and B are not read. C may not overlap A or B. Each element of C is one chain of fused multiply-adds in the
/// order of k (a split of K depends on M, N and K alone), so that results do not depend on threads.
/// </summary>
public readonly record struct GemmCall(int M, int N, int K, GemmOperand A, GemmOperand B, GemmOperand C, float Alpha = 1, float Beta = 0, int Batch = 1)
{
    internal void Check(Device device)
    {
        if (M < 0 || N < 0 || K < 0 || Batch < 0) throw Error("a size is negative");
        if (M == 0 || N == 0 || Batch == 0) return;
        if (C.Transposed) throw Error("C cannot be transposed; exchange A and B");
        long bytesC = CheckOperand(device, "C", C, M, N);
        if (Batch > 1 && !BatchesOfCAreApart()) throw Error($"the {Batch} matrices of C overlap at a batch stride of {C.BatchStride}");
        if (K == 0) return;
        long bytesA = A.Transposed ? CheckOperand(device, "A", A, K, M) : CheckOperand(device, "A", A, M, K);
        long bytesB = B.Transposed ? CheckOperand(device, "B", B, N, K) : CheckOperand(device, "B", B, K, N);
        if (Overlap(A.Data, bytesA, C.Data, bytesC)) throw Error($"C overlaps A in buffer '{C.Data.Buffer!.Label}'");
        if (Overlap(B.Data, bytesB, C.Data, bytesC)) throw Error($"C overlaps B in buffer '{C.Data.Buffer!.Label}'");
    }

    /// <summary>Checks one operand of the given rows and columns in memory; returns the bytes from its first element to its last.</summary>
    private long CheckOperand(Device device, string name, in GemmOperand operand, int rows, int columns)
    {
        if (operand.LeadingDimension < columns) throw Error($"the leading dimension {operand.LeadingDimension} of {name} is less than its {columns} columns");
        if (operand.BatchStride < 0) throw Error($"the batch stride of {name} is negative");
        if (operand.Data.Offset % sizeof(float) != 0) throw Error($"{name} starts at byte {operand.Data.Offset}, no multiple of {sizeof(float)}");
        Int128 elements = (Int128)(Batch - 1) * operand.BatchStride + (Int128)(rows - 1) * operand.LeadingDimension + columns;
        long bytes = (long)Int128.Min(elements * sizeof(float), long.MaxValue);
        // The text is for an error alone: a step makes hundreds of calls.
        if (!device.HasRange(operand.Data, bytes)) device.CheckRange(operand.Data, bytes, $"GEMM of {M}×{N}×{K}, operand {name}");
        return bytes;
    }

    /// <summary>Whether the matrices of C lie one after another, or side by side within rows.</summary>
    private bool BatchesOfCAreApart() =>
        C.BatchStride >= (M - 1L) * C.LeadingDimension + N
        || (C.BatchStride >= N && (Int128)(Batch - 1) * C.BatchStride + N <= C.LeadingDimension);

    private static bool Overlap(DevicePointer x, long xBytes, DevicePointer y, long yBytes) =>
        x.Buffer == y.Buffer && x.Offset < y.Offset + yBytes && y.Offset < x.Offset + xBytes;

    private DeviceException Error(string what) => new($"GEMM of {M}×{N}×{K}: {what}.");
}
