using System.Collections.Concurrent;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace ClipCuda.Devices;

/// <summary>
/// A micro-kernel: a block of Rows × Columns elements of C, each one chain of fused multiply-adds in the order of k, all of them in
/// registers. It is emitted as IL when first asked for, because every shape (rows, vectors, vector width) is the same few lines, and
/// because the accumulators have to be separate locals to stay in registers. All kernels give the same bits.
/// </summary>
internal sealed unsafe class GemmKernel
{
    /// <summary>The most elements a kernel's block can have.</summary>
    public const int MaxElements = 512;

    /// <summary>
    /// For r &lt; Rows and j &lt; Columns: s = Σ a[k][r] · b[k][j] over k &lt; depth (at least 1), one fused chain from 0; then
    /// c[r][j] = alpha · s where beta = 0, of which c is not read, else fma(alpha, s, beta · c[r][j]). Strides, from one k or row to the
    /// next, are in bytes; a's rows are <paramref name="rowStrideA"/> apart, or side by side where the body is made for that.
    /// </summary>
    public delegate void Body(nint depth, float* a, nint strideA, nint rowStrideA, float* b, nint strideB, float* c, nint strideC, float alpha, float beta);

    private static readonly ConcurrentDictionary<(int Bits, int Rows, int Vectors), GemmKernel> Emitted = new();

    private readonly Lazy<Body> _multiplyApart;

    private GemmKernel(int vectorBits, int rows, int vectors)
    {
        Rows = rows;
        Vectors = vectors;
        Columns = vectors * (vectorBits / 32);
        Multiply = new Emitter(vectorBits, rows, vectors, apart: false).Emit();
        _multiplyApart = new(() => new Emitter(vectorBits, rows, vectors, apart: true).Emit());
    }

    public int Rows { get; }

    /// <summary>Vectors a row of the block.</summary>
    public int Vectors { get; }

    public int Columns { get; }

    /// <summary>For rows of a that lie side by side.</summary>
    public Body Multiply { get; }

    /// <summary>For rows of a anywhere.</summary>
    public Body MultiplyApart => _multiplyApart.Value;

    /// <summary>Bits of the widest vectors that this machine accelerates.</summary>
    public static int BestVectorBits => Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;

    /// <summary>Vector registers of this machine.</summary>
    private static int Registers => Avx512F.VL.IsSupported || AdvSimd.Arm64.IsSupported ? 32 : 16;

    public static GemmKernel Get(int vectorBits, int rows, int vectors) =>
        Emitted.GetOrAdd((vectorBits, rows, vectors), static key => new GemmKernel(key.Bits, key.Rows, key.Vectors));

    /// <summary>
    /// The most rows whose accumulators stay in registers beside what a step of k loads: the shorter edge of the block whole, the
    /// longer one element by element; one register is left over.
    /// </summary>
    public static int MaxRows(int vectors)
    {
        int rows = 1;
        while (rows < 16 && (rows + 1) * vectors + Math.Min(rows + 1, vectors) + 1 < Registers) rows++;
        return rows;
    }

    /// <summary>Writes the IL of one kernel.</summary>
    private sealed class Emitter
    {
        private const int CacheLine = 64;

        // Argument 0 is the unused target that the delegate is bound to, which saves a thunk at each call.
        private const int Depth = 1, A = 2, StrideA = 3, RowStrideA = 4, B = 5, StrideB = 6, C = 7, StrideC = 8, Alpha = 9, Beta = 10;

        /// <summary>Rows that one pointer serves where they are apart: itself, and one and two strides further.</summary>
        private const int RowsAPointer = 3;

        private readonly int _rows, _vectors, _bytes;
        private readonly Type _vector;
        private readonly MethodInfo _create, _multiplyAdd, _multiply, _zero;
        private readonly DynamicMethod _method;
        private readonly ILGenerator _il;
        private readonly LocalBuilder[] _sums;

        /// <summary>To every third row of a, if they are apart; and two strides.</summary>
        private readonly LocalBuilder[] _rowPointers = [];
        private readonly LocalBuilder? _twoRows;

        public Emitter(int vectorBits, int rows, int vectors, bool apart)
        {
            (_rows, _vectors, _bytes) = (rows, vectors, vectorBits / 8);
            (_vector, var functions) = vectorBits switch
            {
                512 => (typeof(Vector512<float>), typeof(Vector512)),
                256 => (typeof(Vector256<float>), typeof(Vector256)),
                128 => (typeof(Vector128<float>), typeof(Vector128)),
                _ => throw new ArgumentOutOfRangeException(nameof(vectorBits), vectorBits, "Vectors have 128, 256 or 512 bits."),
            };
            _create = functions.GetMethod("Create", [typeof(float)])!;
            _multiplyAdd = functions.GetMethod("FusedMultiplyAdd", [_vector, _vector, _vector])!;
            _multiply = _vector.GetMethod("op_Multiply", [_vector, _vector])!;
            _zero = _vector.GetProperty("Zero")!.GetMethod!;
            _method = new DynamicMethod(
                $"Multiply{(apart ? "Apart" : "")}{rows}x{vectors}Vector{vectorBits}", typeof(void),
                [typeof(object), typeof(nint), typeof(float*), typeof(nint), typeof(nint), typeof(float*), typeof(nint), typeof(float*), typeof(nint), typeof(float), typeof(float)],
                typeof(GemmKernel));
            _il = _method.GetILGenerator();
            _sums = new LocalBuilder[rows * vectors];
            if (!apart) return;
            _twoRows = _il.DeclareLocal(typeof(nint));
            _rowPointers = new LocalBuilder[(rows - 1) / RowsAPointer + 1];
            for (int i = 0; i < _rowPointers.Length; i++) _rowPointers[i] = _il.DeclareLocal(typeof(float*));
        }

        public Body Emit()
        {
            PrefetchBlock();
            for (int i = 0; i < _sums.Length; i++)
            {
                _sums[i] = _il.DeclareLocal(_vector);
                _il.Emit(OpCodes.Call, _zero);
                _il.Emit(OpCodes.Stloc, _sums[i]);
            }
            PlaceRowPointers();
            var step = _il.DefineLabel();
            _il.MarkLabel(step);
            if (_rows > _vectors) StepByRows();
            else StepByVectors();
            if (_twoRows is null) Advance(A, StrideA);
            foreach (var pointer in _rowPointers)
            {
                _il.Emit(OpCodes.Ldloc, pointer);
                _il.Emit(OpCodes.Ldarg, StrideA);
                _il.Emit(OpCodes.Add);
                _il.Emit(OpCodes.Stloc, pointer);
            }
            Advance(B, StrideB);
            _il.Emit(OpCodes.Ldarg, Depth);
            _il.Emit(OpCodes.Ldc_I4_1);
            _il.Emit(OpCodes.Sub);
            _il.Emit(OpCodes.Dup);
            _il.Emit(OpCodes.Starg, Depth);
            _il.Emit(OpCodes.Brtrue, step);

            var alpha = Broadcast(() => _il.Emit(OpCodes.Ldarg, Alpha));
            var merge = _il.DefineLabel();
            _il.Emit(OpCodes.Ldarg, Beta);
            _il.Emit(OpCodes.Ldc_R4, 0f);
            _il.Emit(OpCodes.Bne_Un, merge);
            StoreBlock(alpha, beta: null);
            _il.Emit(OpCodes.Ret);
            _il.MarkLabel(merge);
            StoreBlock(alpha, Broadcast(() => _il.Emit(OpCodes.Ldarg, Beta)));
            _il.Emit(OpCodes.Ret);
            return _method.CreateDelegate<Body>(this);
        }

        /// <summary>Asks for the block of C, which is needed when the chains are done.</summary>
        private void PrefetchBlock()
        {
            if (!Sse.IsSupported) return;
            var prefetch = typeof(Sse).GetMethod(nameof(Sse.Prefetch0))!;
            var row = _il.DeclareLocal(typeof(float*));
            _il.Emit(OpCodes.Ldarg, C);
            _il.Emit(OpCodes.Stloc, row);
            for (int r = 0; r < _rows; r++)
            {
                for (int offset = 0; offset < _vectors * _bytes; offset += CacheLine)
                {
                    _il.Emit(OpCodes.Ldloc, row);
                    Add(offset);
                    _il.Emit(OpCodes.Call, prefetch);
                }
                _il.Emit(OpCodes.Ldloc, row);
                _il.Emit(OpCodes.Ldarg, StrideC);
                _il.Emit(OpCodes.Add);
                _il.Emit(OpCodes.Stloc, row);
            }
        }

        private void PlaceRowPointers()
        {
            if (_twoRows is null) return;
            _il.Emit(OpCodes.Ldarg, RowStrideA);
            _il.Emit(OpCodes.Ldarg, RowStrideA);
            _il.Emit(OpCodes.Add);
            _il.Emit(OpCodes.Stloc, _twoRows);
            for (int i = 0; i < _rowPointers.Length; i++)
            {
                _il.Emit(OpCodes.Ldarg, A);
                _il.Emit(OpCodes.Ldarg, RowStrideA);
                _il.Emit(OpCodes.Ldc_I4, RowsAPointer * i);
                _il.Emit(OpCodes.Conv_I);
                _il.Emit(OpCodes.Mul);
                _il.Emit(OpCodes.Add);
                _il.Emit(OpCodes.Stloc, _rowPointers[i]);
            }
        }

        /// <summary>One k of a block of few vectors: they are loaded, and then one element of a after another meets them.</summary>
        private void StepByRows()
        {
            var b = new LocalBuilder[_vectors];
            for (int v = 0; v < _vectors; v++) b[v] = LoadB(v);
            for (int r = 0; r < _rows; r++)
            {
                var a = BroadcastA(r);
                for (int v = 0; v < _vectors; v++) Accumulate(r, v, a, b[v]);
            }
        }

        /// <summary>One k of a block of few rows, the other way round.</summary>
        private void StepByVectors()
        {
            var a = new LocalBuilder[_rows];
            for (int r = 0; r < _rows; r++) a[r] = BroadcastA(r);
            for (int v = 0; v < _vectors; v++)
            {
                var b = LoadB(v);
                for (int r = 0; r < _rows; r++) Accumulate(r, v, a[r], b);
            }
        }

        private void Accumulate(int r, int v, LocalBuilder a, LocalBuilder b)
        {
            var sum = _sums[r * _vectors + v];
            _il.Emit(OpCodes.Ldloc, a);
            _il.Emit(OpCodes.Ldloc, b);
            _il.Emit(OpCodes.Ldloc, sum);
            _il.Emit(OpCodes.Call, _multiplyAdd);
            _il.Emit(OpCodes.Stloc, sum);
        }

        /// <summary>c = alpha · s, or fma(alpha, s, beta · c), row by row.</summary>
        private void StoreBlock(LocalBuilder alpha, LocalBuilder? beta)
        {
            for (int r = 0; r < _rows; r++)
            {
                for (int v = 0; v < _vectors; v++)
                {
                    Address(C, v * _bytes);
                    _il.Emit(OpCodes.Ldloc, alpha);
                    _il.Emit(OpCodes.Ldloc, _sums[r * _vectors + v]);
                    if (beta is null)
                    {
                        _il.Emit(OpCodes.Call, _multiply);
                    }
                    else
                    {
                        _il.Emit(OpCodes.Ldloc, beta);
                        Address(C, v * _bytes);
                        LoadVector();
                        _il.Emit(OpCodes.Call, _multiply);
                        _il.Emit(OpCodes.Call, _multiplyAdd);
                    }
                    _il.Emit(OpCodes.Unaligned, (byte)1);
                    _il.Emit(OpCodes.Stobj, _vector);
                }
                Advance(C, StrideC);
            }
        }

        private LocalBuilder LoadB(int v)
        {
            Address(B, v * _bytes);
            LoadVector();
            return Keep();
        }

        private LocalBuilder BroadcastA(int r) => Broadcast(() =>
        {
            if (_twoRows is null)
            {
                Address(A, r * sizeof(float));
            }
            else
            {
                _il.Emit(OpCodes.Ldloc, _rowPointers[r / RowsAPointer]);
                if (r % RowsAPointer == 1) _il.Emit(OpCodes.Ldarg, RowStrideA);
                if (r % RowsAPointer == 2) _il.Emit(OpCodes.Ldloc, _twoRows);
                if (r % RowsAPointer != 0) _il.Emit(OpCodes.Add);
            }
            _il.Emit(OpCodes.Ldind_R4);
        });

        private LocalBuilder Broadcast(Action loadNumber)
        {
            loadNumber();
            _il.Emit(OpCodes.Call, _create);
            return Keep();
        }

        private LocalBuilder Keep()
        {
            var local = _il.DeclareLocal(_vector);
            _il.Emit(OpCodes.Stloc, local);
            return local;
        }

        private void LoadVector()
        {
            _il.Emit(OpCodes.Unaligned, (byte)1);
            _il.Emit(OpCodes.Ldobj, _vector);
        }

        private void Address(int pointer, int offset)
        {
            _il.Emit(OpCodes.Ldarg, pointer);
            Add(offset);
        }

        private void Add(int offset)
        {
            if (offset == 0) return;
            _il.Emit(OpCodes.Ldc_I4, offset);
            _il.Emit(OpCodes.Conv_I);
            _il.Emit(OpCodes.Add);
        }

        private void Advance(int pointer, int stride)
        {
            _il.Emit(OpCodes.Ldarg, pointer);
            _il.Emit(OpCodes.Ldarg, stride);
            _il.Emit(OpCodes.Add);
            _il.Emit(OpCodes.Starg, pointer);
        }
    }
}
