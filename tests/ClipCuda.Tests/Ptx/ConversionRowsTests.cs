using System.Numerics;
using static ClipCuda.Tests.Ptx.TableRow;

namespace ClipCuda.Tests.Ptx;

/// <summary>cvt of every pair of types, against big integers and against searches for the nearest value.</summary>
public sealed class ConversionRowsTests
{
    private static readonly (string Name, int Width, bool Signed)[] Integers =
        [("u8", 8, false), ("s8", 8, true), ("u16", 16, false), ("s16", 16, true), ("u32", 32, false), ("s32", 32, true), ("u64", 64, false), ("s64", 64, true)];

    private static readonly (string Name, MidpointRounding Mode)[] Roundings =
        [("rni", MidpointRounding.ToEven), ("rzi", MidpointRounding.ToZero), ("rmi", MidpointRounding.ToNegativeInfinity), ("rpi", MidpointRounding.ToPositiveInfinity)];

    internal static readonly Dictionary<string, TableRow> Rows = Table().ToDictionary(row => row.Opcode, StringComparer.Ordinal);

    public static IEnumerable<string> Opcodes() => Rows.Keys.Order(StringComparer.Ordinal);

    [TestCaseSource(nameof(Opcodes))]
    public void Gives_what_the_manual_says(string opcode) => Rows[opcode].Check();

    private static IEnumerable<TableRow> Table()
    {
        foreach (var (from, width, signed) in Integers)
        {
            BigInteger N(ulong a) => Number(a, width, signed);
            foreach (var (to, toWidth, toSigned) in Integers)
            {
                string form = $"{Letter(toWidth)}:{Letter(width)}";
                var (least, most) = Range(toWidth, toSigned);
                // InstructionTableTests has the vector forms.
                if ((to, from) is not (("s64", "s32") or ("u64" or "s64", "u32") or ("u32" or "s32", "s64") or ("u32", "u64")) || (to, from) == ("s64", "s64"))
                    yield return new($"cvt.{to}.{from}", form, (a, _, _) => Held(N(a), toWidth, toSigned));
                yield return new($"cvt.sat.{to}.{from}", form, (a, _, _) => Held(BigInteger.Min(BigInteger.Max(N(a), least), most), toWidth, toSigned));
            }
            yield return new($"cvt.rn.f32.{from}", $"f:{Letter(width)}", (a, _, _) => Bits(NearestFloat(N(a))));
            yield return new($"cvt.rn.f64.{from}", $"d:{Letter(width)}", (a, _, _) => BitConverter.DoubleToUInt64Bits(NearestDouble(N(a))));
            foreach (var (name, mode) in Roundings)
            {
                yield return new($"cvt.{name}.{from}.f32", $"{Letter(width)}:f", (a, _, _) => ToInteger(Real(a), mode, width, signed, width == 64));
                yield return new($"cvt.{name}.ftz.{from}.f32", $"{Letter(width)}:f", (a, _, _) => ToInteger(Real(FlushBits(a)), mode, width, signed, width == 64));
                yield return new($"cvt.{name}.{from}.f64", $"{Letter(width)}:d", (a, _, _) => ToInteger(Wide(a), mode, width, signed, true));
            }
        }
        foreach (var (name, mode) in Roundings)
        {
            yield return new($"cvt.{name}.ftz.f32.f32", "f:f", (a, _, _) => Bits(MathF.Round(Real(FlushBits(a)), mode)));
            yield return new($"cvt.{name}.f64.f64", "d:d", (a, _, _) => double.IsNaN(Wide(a)) ? a | 1UL << 51 : BitConverter.DoubleToUInt64Bits(Math.Round(Wide(a), mode)));
        }
        yield return new("cvt.f64.f32", "d:f", (a, _, _) => Widen(a));
        yield return new("cvt.ftz.f64.f32", "d:f", (a, _, _) => Widen(FlushBits(a)));
        foreach (string name in (string[])["rn", "rz", "rm", "rp"])
        {
            yield return new($"cvt.{name}.f32.f64", "f:d", (a, _, _) => Narrow(Wide(a), name));
            yield return new($"cvt.{name}.ftz.f32.f64", "f:d", (a, _, _) => FlushBits(Narrow(Wide(a), name)));
        }
        foreach (string name in (string[])["ftz.sat", "sat.ftz"]) yield return new($"cvt.{name}.f32.f32", "f:f", (a, _, _) => Real(FlushBits(a)) > 0 ? Bits(MathF.Min(Real(a), 1)) : 0);
        yield return new("cvt.f32.f16", "f:h", (a, _, _) => Bits((float)HalfValue(a)));
        yield return new("cvt.f64.f16", "d:h", (a, _, _) => double.IsNaN(HalfValue(a)) ? (a & 0x8000) << 48 | 0x7FF8UL << 48 | (a & 0x3FF) << 42 : BitConverter.DoubleToUInt64Bits(HalfValue(a)));
        yield return new("cvt.rn.f16.f32", "h:f", (a, _, _) => Nearest16(Real(a), HalfValue, 0x7C00, 65520));
        yield return new("cvt.rz.f16.f32", "h:f", (a, _, _) => Truncated16(Real(a), HalfValue, 0x7C00));
        yield return new("cvt.f32.bf16", "f:h", (a, _, _) => Bits(Real(a << 16)));
        yield return new("cvt.rn.bf16.f32", "h:f", (a, _, _) => Brain(a));
        yield return new("cvt.rz.bf16.f32", "h:f", (a, _, _) => Truncated16(Real(a), b => Real(b << 16), 0x7F80));
        yield return new("cvt.rn.f16x2.f32", "r:ff", (a, b, _) => Nearest16(Real(a), HalfValue, 0x7C00, 65520) << 16 | Nearest16(Real(b), HalfValue, 0x7C00, 65520));
        yield return new("cvt.rn.bf16x2.f32", "r:ff", (a, b, _) => Brain(a) << 16 | Brain(b));
    }

    private static char Letter(int width) => width switch { 64 => 'R', 32 => 'r', _ => 'h' };

    private static (BigInteger Least, BigInteger Most) Range(int width, bool signed) =>
        signed ? (-(BigInteger.One << (width - 1)), (BigInteger.One << (width - 1)) - 1) : (0, (BigInteger.One << width) - 1);

    /// <summary>What a register of 16 bits or more holds: narrow results extend by their own sign.</summary>
    private static ulong Held(BigInteger value, int width, bool signed) => width > 8 ? Modulo(value, width) : Modulo(Number(Modulo(value, 8), 8, signed), 16);

    private static ulong ToInteger(double value, MidpointRounding mode, int width, bool signed, bool nanIsHighBit)
    {
        if (double.IsNaN(value)) return nanIsHighBit ? Held(BigInteger.One << (width - 1), width, signed) : 0;
        var (least, most) = Range(width, signed);
        if (double.IsInfinity(value)) return Held(value > 0 ? most : least, width, signed);
        return Held(BigInteger.Min(BigInteger.Max(new BigInteger(Math.Round(value, mode)), least), most), width, signed);
    }

    private static ulong Widen(ulong a) =>
        float.IsNaN(Real(a)) ? (a & 0x80000000) << 32 | 0x7FF8UL << 48 | (a & 0x7FFFFF) << 29 : BitConverter.DoubleToUInt64Bits(Real(a));

    /// <summary>Of the neighbours of a guess the one nearest to an integer, ties to even.</summary>
    private static float NearestFloat(BigInteger value)
    {
        float guess = (float)value;
        return ((float[])[MathF.BitDecrement(guess), guess, MathF.BitIncrement(guess)])
            .OrderBy(f => BigInteger.Abs(2 * new BigInteger(f) - 2 * value)).ThenBy(f => BitConverter.SingleToUInt32Bits(f) & 1).First();
    }

    private static double NearestDouble(BigInteger value)
    {
        double guess = (double)value;
        return ((double[])[Math.BitDecrement(guess), guess, Math.BitIncrement(guess)])
            .OrderBy(f => BigInteger.Abs(2 * new BigInteger(f) - 2 * value)).ThenBy(f => BitConverter.DoubleToUInt64Bits(f) & 1).First();
    }

    private static ulong Narrow(double value, string rounding)
    {
        float near = (float)value;
        if (double.IsNaN(value) || near == value || rounding == "rn") return Bits(near);
        // The two floats around it.
        float below = near < value ? near : MathF.BitDecrement(near), above = near < value ? MathF.BitIncrement(near) : near;
        return Bits(rounding == "rm" || (rounding == "rz" && value > 0) ? below : above);
    }

    /// <summary>A half's value from its fields.</summary>
    private static double HalfValue(ulong bits)
    {
        int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
        double size = exponent == 31 ? fraction == 0 ? double.PositiveInfinity : double.NaN : exponent == 0 ? Math.ScaleB(fraction, -24) : Math.ScaleB(1024 + fraction, exponent - 25);
        return (bits & 0x8000) != 0 ? -size : size;
    }

    /// <summary>The largest 16-bit float that is not above in size.</summary>
    private static ulong Truncated16(double value, Func<ulong, double> of, ulong infinity)
    {
        if (double.IsNaN(value)) return 0x7FFF;
        ulong low = 0, high = double.IsInfinity(value) ? infinity : infinity - 1;
        while (low < high)
        {
            ulong middle = (low + high + 1) / 2;
            if (of(middle) <= Math.Abs(value)) low = middle;
            else high = middle - 1;
        }
        return low | (double.IsNegative(value) ? 0x8000UL : 0);
    }

    /// <summary>That or the next, whichever is nearer, ties to even; past the middle between the largest and twice its step, infinity.</summary>
    private static ulong Nearest16(double value, Func<ulong, double> of, ulong infinity, double overflow)
    {
        if (double.IsNaN(value)) return 0x7FFF;
        ulong below = Truncated16(value, of, infinity), size = below & 0x7FFF;
        if (Math.Abs(value) >= overflow) return infinity | (below & 0x8000);
        if (size >= infinity - 1) return below;
        double down = Math.Abs(value) - of(size), up = of(size + 1) - Math.Abs(value);
        return up < down || (up == down && (size & 1) != 0) ? below + 1 : below;
    }

    private static ulong Brain(ulong a) => Nearest16(Real(a), b => Real(b << 16), 0x7F80, Math.ScaleB(511, 119));
}
