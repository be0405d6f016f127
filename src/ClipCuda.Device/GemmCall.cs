namespace ClipCuda.Devices;

/// <summary>
/// One row-major float32 matrix operand: <paramref name="LeadingDimension"/> elements from row to row as it lies in memory, and
/// <paramref name="BatchStride"/> elements from matrix to matrix. Transposed means that op(X) = Xᵀ is what is multiplied.
/// </summary>
public readonly record struct GemmOperand(DevicePointer Data, int LeadingDimension, bool Transposed = false, long BatchStride = 0);

/// <summary>
/// C[M, N] = Alpha · op(A)[M, K] · op(B)[K, N] + Beta · C, for each of Batch matrices. With Beta = 0, C is written without being
/// read. C may not overlap A or B. Each element of C is one chain of fused multiply-adds in the order of k (a split of K depends on
/// M, N and K alone), so that results do not depend on threads.
/// </summary>
public readonly record struct GemmCall(int M, int N, int K, GemmOperand A, GemmOperand B, GemmOperand C, float Alpha = 1, float Beta = 0, int Batch = 1);
