using System.Numerics;
using static ClipCuda.Tests.Ptx.TableRow;

namespace ClipCuda.Tests.Ptx;

/// <summary>.ftz, directed rounding, approximations and f64: against exact rational arithmetic where rounding is the point, else C#'s operators.</summary>
public sealed class FloatRowsTests
{
    internal static readonly Dictionary<string, TableRow> Rows = Table().ToDictionary(row => row.Opcode, StringComparer.Ordinal);

    public static IEnumerable<string> Opcodes() => Rows.Keys.Order(StringComparer.Ordinal);

    [TestCaseSource(nameof(Opcodes))]
    public void Gives_what_the_manual_says(string opcode) => Rows[opcode].Check();

    private static IEnumerable<TableRow> Table()
    {
        foreach (string rounding in (string[])["", ".rn"])
        {
            yield return new($"add{rounding}.ftz.f32", "f:ff", Flushed((a, b) => a + b));
            yield return new($"sub{rounding}.ftz.f32", "f:ff", Flushed((a, b) => a - b));
            yield return new($"mul{rounding}.ftz.f32", "f:ff", Flushed((a, b) => a * b));
            yield return new($"add{rounding}.f64", "d:dd", Doubles((a, b, _) => a + b, 2));
            yield return new($"sub{rounding}.f64", "d:dd", Doubles((a, b, _) => a - b, 2));
            yield return new($"mul{rounding}.f64", "d:dd", Doubles((a, b, _) => a * b, 2));
        }
        yield return new("div.rn.ftz.f32", "f:ff", Flushed((a, b) => a / b));
        yield return new("div.full.ftz.f32", "f:ff", Flushed((a, b) => a / b), Ulps: 2);
        yield return new("div.full.f32", "f:ff", (a, b, _) => Bits(Real(a) / Real(b)), Ulps: 2);
        yield return new("div.approx.f32", "f:ff", (a, b, _) => Bits(Approximate(Real(a), Real(b))), Ulps: 2);
        yield return new("div.approx.ftz.f32", "f:ff", Flushed(Approximate), Ulps: 2);
        yield return new("min.ftz.f32", "f:ff", Flushed((a, b) => float.IsNaN(a) ? b : float.IsNaN(b) ? a : MathF.Min(a, b)));
        yield return new("max.ftz.f32", "f:ff", Flushed((a, b) => float.IsNaN(a) ? b : float.IsNaN(b) ? a : MathF.Max(a, b)));
        yield return new("fma.rn.ftz.f32", "f:fff", (a, b, c) => FlushBits(Bits(MathF.FusedMultiplyAdd(Real(FlushBits(a)), Real(FlushBits(b)), Real(FlushBits(c))))));
        yield return new("neg.ftz.f32", "f:f", Flushed((a, _) => -a));
        yield return new("abs.ftz.f32", "f:f", Flushed((a, _) => MathF.Abs(a)));
        yield return new("sqrt.approx.f32", "f:f", (a, _, _) => Bits(MathF.Sqrt(Real(a))), Ulps: 1);
        yield return new("sqrt.rn.ftz.f32", "f:f", Flushed((a, _) => MathF.Sqrt(a)));
        yield return new("sqrt.approx.ftz.f32", "f:f", Flushed((a, _) => MathF.Sqrt(a)), Ulps: 1);
        yield return new("rcp.rn.ftz.f32", "f:f", Flushed((a, _) => 1 / a));
        yield return new("rsqrt.approx.ftz.f32", "f:f", Flushed((a, _) => (float)(1 / Math.Sqrt(a))), Ulps: 2);
        yield return new("lg2.approx.f32", "f:f", (a, _, _) => Bits((float)Math.Log2(Real(a))), Ulps: 1);
        yield return new("lg2.approx.ftz.f32", "f:f", Flushed((a, _) => (float)Math.Log2(a)), Ulps: 1);
        yield return new("tanh.approx.f32", "f:f", (a, _, _) => Bits((float)Math.Tanh(Real(a))), Ulps: 1);
        foreach (int direction in (int[])[-1, 0, 1])
        {
            string name = direction switch { -1 => "rm", 0 => "rz", _ => "rp" };
            const ulong One = 0x3F800000, Sign = 0x80000000;
            yield return new($"add.{name}.f32", "f:ff", (a, b, _) => Fused(a, One, b, direction));
            yield return new($"sub.{name}.f32", "f:ff", (a, b, _) => Fused(a, One, b ^ Sign, direction));
            yield return new($"mul.{name}.f32", "f:ff", (a, b, _) => Fused(a, b, (a ^ b) & Sign, direction));
            yield return new($"fma.{name}.f32", "f:fff", (a, b, c) => Fused(a, b, c, direction));
            yield return new($"fma.{name}.ftz.f32", "f:fff", (a, b, c) => FlushBits(Fused(FlushBits(a), FlushBits(b), FlushBits(c), direction)));
        }
        yield return new("div.rn.f64", "d:dd", Doubles((a, b, _) => a / b, 2));
        yield return new("min.f64", "d:dd", Doubles((a, b, _) => double.IsNaN(a) ? b : double.IsNaN(b) ? a : Math.Min(a, b), 2));
        yield return new("max.f64", "d:dd", Doubles((a, b, _) => double.IsNaN(a) ? b : double.IsNaN(b) ? a : Math.Max(a, b), 2));
        foreach (string name in (string[])["fma", "mad"]) yield return new($"{name}.rn.f64", "d:ddd", Doubles(Math.FusedMultiplyAdd, 3));
        yield return new("neg.f64", "d:d", (a, _, _) => a ^ 1UL << 63);
        yield return new("abs.f64", "d:d", (a, _, _) => a << 1 >> 1);
        yield return new("sqrt.rn.f64", "d:d", Doubles((a, _, _) => Math.Sqrt(a), 1));
        yield return new("rcp.rn.f64", "d:d", Doubles((a, _, _) => 1 / a, 1));
        foreach (var row in Comparisons()) yield return row;
    }

    private static IEnumerable<TableRow> Comparisons()
    {
        // An ordered comparison with a NaN is false, an unordered one true.
        var orders = new (string Name, Func<int, bool> Holds)[]
        {
            ("eq", o => o == 0), ("ne", o => o != 0), ("lt", o => o < 0), ("le", o => o <= 0), ("gt", o => o > 0), ("ge", o => o >= 0),
        };
        foreach (var (type, operand, read) in ((string, char, Func<ulong, double>)[])[("ftz.f32", 'f', a => Real(FlushBits(a))), ("f64", 'd', Wide)])
        {
            bool Unordered(ulong a, ulong b) => double.IsNaN(read(a)) || double.IsNaN(read(b));
            int Order(ulong a, ulong b) => read(a) < read(b) ? -1 : read(a) > read(b) ? 1 : 0;
            foreach (var (name, holds) in orders)
            {
                foreach (var row in Compare(name, type, operand, (a, b) => !Unordered(a, b) && holds(Order(a, b)))) yield return row;
                foreach (var row in Compare(name + "u", type, operand, (a, b) => Unordered(a, b) || holds(Order(a, b)))) yield return row;
            }
            foreach (var row in Compare("num", type, operand, (a, b) => !Unordered(a, b))) yield return row;
            foreach (var row in Compare("nan", type, operand, Unordered)) yield return row;
        }
    }

    private static IEnumerable<TableRow> Compare(string name, string type, char operand, Func<ulong, ulong, bool> holds)
    {
        yield return new($"setp.{name}.{type}", $"p:{operand}{operand}", (a, b, _) => holds(a, b) ? 1UL : 0);
        yield return new($"setp.{name}.and.{type}", $"p:{operand}{operand}p", (a, b, c) => holds(a, b) && c != 0 ? 1UL : 0);
        yield return new($"setp.{name}.or.{type}", $"p:{operand}{operand}p", (a, b, c) => holds(a, b) || c != 0 ? 1UL : 0);
        yield return new($"setp.{name}.xor.{type}", $"p:{operand}{operand}p", (a, b, c) => holds(a, b) != (c != 0) ? 1UL : 0);
    }

    private static Func<ulong, ulong, ulong, ulong> Flushed(Func<float, float, float> f) => (a, b, _) => FlushBits(Bits(f(Real(FlushBits(a)), Real(FlushBits(b)))));

    /// <summary>The manual: past 2^126 a finite quotient is 0 and an infinite one NaN.</summary>
    private static float Approximate(float a, float b) =>
        MathF.Abs(b) > MathF.ScaleB(1, 126) && float.IsFinite(b) ? float.IsFinite(a) ? 0 * a * MathF.Sign(b) : float.NaN : a / b;

    /// <summary>A NaN of f64 keeps the payload of the first NaN operand, and is quiet.</summary>
    private static Func<ulong, ulong, ulong, ulong> Doubles(Func<double, double, double, double> f, int operands) => (a, b, c) =>
    {
        double result = f(Wide(a), Wide(b), Wide(c));
        if (!double.IsNaN(result)) return BitConverter.DoubleToUInt64Bits(result);
        foreach (ulong operand in ((ulong[])[a, b, c])[..operands]) if (double.IsNaN(Wide(operand))) return operand | 1UL << 51;
        return 0xFFF8000000000000;
    };

    /// <summary>a·b + c with the exact sum as an integer times 2^-298, rounded down (−1), to zero (0) or up (1).</summary>
    private static ulong Fused(ulong a, ulong b, ulong c, int direction)
    {
        float x = Real(a), y = Real(b), z = Real(c);
        if (!float.IsFinite(x) || !float.IsFinite(y) || !float.IsFinite(z)) return Bits(MathF.FusedMultiplyAdd(x, y, z));
        BigInteger exact = Scaled(a) * Scaled(b) + (Scaled(c) << 149);
        if (exact.IsZero)
        {
            bool product = ((a ^ b) & 0x80000000) != 0, addend = (c & 0x80000000) != 0, bothZero = Scaled(c).IsZero;
            bool negative = bothZero && product == addend ? product : direction < 0;
            return negative ? 0x80000000u : 0u;
        }
        bool minus = exact.Sign < 0, away = direction != 0 && direction < 0 == minus;
        var size = BigInteger.Abs(exact);
        // Bit patterns of positive floats are ordered: the last one that is not above.
        uint low = 0, high = 0x7F7FFFFF;
        while (low < high)
        {
            uint middle = low + (high - low + 1) / 2;
            if (Scaled(middle) << 149 <= size) low = middle;
            else high = middle - 1;
        }
        if (away && Scaled(low) << 149 != size) low++;
        return low | (minus ? 0x80000000u : 0u);
    }

    /// <summary>A finite float times 2^149.</summary>
    private static BigInteger Scaled(ulong bits)
    {
        int exponent = (int)(bits >> 23 & 255);
        BigInteger size = exponent == 0 ? bits & 0x7FFFFF : ((BigInteger)(bits & 0x7FFFFF | 0x800000)) << (exponent - 1);
        return (bits & 0x80000000) != 0 ? -size : size;
    }
}
