using System.Numerics;
using static ClipCuda.Tests.Ptx.TableRow;

namespace ClipCuda.Tests.Ptx;

/// <summary>16-bit arithmetic, bit fields, permutations and high products, each against arithmetic on big integers or bit by bit.</summary>
public sealed class IntegerRowsTests
{
    internal static readonly Dictionary<string, TableRow> Rows = Table().ToDictionary(row => row.Opcode, StringComparer.Ordinal);

    public static IEnumerable<string> Opcodes() => Rows.Keys.Order(StringComparer.Ordinal);

    [TestCaseSource(nameof(Opcodes))]
    public void Gives_what_the_manual_says(string opcode) => Rows[opcode].Check();

    private static IEnumerable<TableRow> Table()
    {
        foreach (bool signed in (bool[])[false, true])
        {
            string s = signed ? "s" : "u";
            BigInteger N(ulong a) => Number(a, 16, signed);
            yield return new($"add.{s}16", "h:hh", (a, b, _) => Modulo(N(a) + N(b), 16));
            yield return new($"sub.{s}16", "h:hh", (a, b, _) => Modulo(N(a) - N(b), 16));
            yield return new($"mul.lo.{s}16", "h:hh", (a, b, _) => Modulo(N(a) * N(b), 16));
            yield return new($"mul.hi.{s}16", "h:hh", (a, b, _) => Modulo((N(a) * N(b)) >> 16, 16));
            yield return new($"mul.wide.{s}16", "r:hh", (a, b, _) => Modulo(N(a) * N(b), 32));
            yield return new($"mad.wide.{s}16", "r:hhr", (a, b, c) => Modulo(N(a) * N(b) + c, 32));
            yield return new($"mad.lo.{s}16", "h:hhh", (a, b, c) => Modulo(N(a) * N(b) + N(c), 16));
            yield return new($"min.{s}16", "h:hh", (a, b, _) => Modulo(BigInteger.Min(N(a), N(b)), 16));
            yield return new($"max.{s}16", "h:hh", (a, b, _) => Modulo(BigInteger.Max(N(a), N(b)), 16));
            yield return new($"div.{s}16", "h:hh", (a, b, _) => b == 0 ? 0xFFFF : Modulo(BigInteger.Divide(N(a), N(b)), 16));
            yield return new($"rem.{s}16", "h:hh", (a, b, _) => b == 0 ? a : Modulo(BigInteger.Remainder(N(a), N(b)), 16));
            foreach (int width in (int[])[16, 32, 64])
            {
                string form = width switch { 16 => "h:hhh", 32 => "r:rrr", _ => "R:RRR" };
                yield return new($"sad.{s}{width}", form, (a, b, c) => Modulo(c + BigInteger.Abs(Number(a, width, signed) - Number(b, width, signed)), width));
                if (width > 16) yield return new($"mad.hi.{s}{width}", form, (a, b, c) => Modulo(((Number(a, width, signed) * Number(b, width, signed)) >> width) + c, width));
                if (width == 16) continue;
                yield return new($"bfind.{s}{width}", width == 32 ? "r:r" : "r:R", (a, _, _) => Find(a, width, signed));
                yield return new($"bfind.shiftamt.{s}{width}", width == 32 ? "r:r" : "r:R", (a, _, _) => Find(a, width, signed) is var bit && bit == uint.MaxValue ? bit : (ulong)(width - 1) - bit);
                if (width == 64 || signed) yield return new($"bfe.{s}{width}", width == 32 ? "r:rss" : "R:Rss", (a, b, c) => Extract(a, b, c, width, signed));
            }
        }
        yield return new("mul.hi.s64", "R:RR", (a, b, _) => Modulo((Number(a, 64, true) * Number(b, 64, true)) >> 64, 64));
        yield return new("neg.s16", "h:h", (a, _, _) => Modulo(-Number(a, 16, true), 16));
        yield return new("abs.s16", "h:h", (a, _, _) => Modulo(BigInteger.Abs(Number(a, 16, true)), 16));
        yield return new("not.b16", "h:h", (a, _, _) => 0xFFFF - a);
        yield return new("shl.b16", "h:hs", (a, b, _) => b > 15 ? 0 : Modulo((BigInteger)a << (int)b, 16));
        foreach (string type in (string[])["u16", "b16"]) yield return new($"shr.{type}", "h:hs", (a, b, _) => b > 15 ? 0 : a >> (int)b);
        yield return new("shr.s16", "h:hs", (a, b, _) => Modulo(Number(a, 16, true) >> (int)Math.Min(b, 15), 16));
        yield return new("add.sat.s32", "r:rr", (a, b, _) => Modulo(BigInteger.Max(BigInteger.Min(Number(a, 32, true) + Number(b, 32, true), int.MaxValue), int.MinValue), 32));
        yield return new("sub.sat.s32", "r:rr", (a, b, _) => Modulo(BigInteger.Max(BigInteger.Min(Number(a, 32, true) - Number(b, 32, true), int.MaxValue), int.MinValue), 32));
        foreach (var row in Comparisons()) yield return row;

        uint[] lengths = [0, 1, 7, 31, 32, 40, 64, 255, 256];
        foreach (int width in (int[])[32, 64])
        {
            yield return new($"bfi.b{width}", width == 32 ? "r:rrs" : "R:RRs", (_, _, _) => 0)
            {
                Immediates = [.. lengths.Select(length => (length, (Func<ulong, ulong, ulong, ulong>)((a, b, c) => Insert(a, b, c, length, width))))],
            };
        }
        yield return new("lop3.b32", "r:rrr", (_, _, _) => 0)
        {
            Immediates =
            [
                (0xF0, (a, _, _) => a), (0xCC, (_, b, _) => b), (0xAA, (_, _, c) => c), (0x96, (a, b, c) => a ^ b ^ c), (0xE8, (a, b, c) => (a & b) | (b & c) | (a & c)),
                (0xCA, (a, b, c) => (a & b) | ((uint)~a & c)), (0, (_, _, _) => 0), (0xFF, (_, _, _) => uint.MaxValue), (0x2A, (a, b, c) => c & (uint)~(a & b)),
            ],
        };
        yield return new("brev.b32", "r:r", (a, _, _) => Reverse(a, 32));
        yield return new("brev.b64", "R:R", (a, _, _) => Reverse(a, 64));
        yield return new("popc.b64", "r:R", (a, _, _) => (ulong)Enumerable.Range(0, 64).Count(bit => (a >> bit & 1) != 0));
        yield return new("clz.b64", "r:R", (a, _, _) => (ulong)Enumerable.Range(0, 64).TakeWhile(bit => (a >> (63 - bit) & 1) == 0).Count());
        yield return new("shf.l.wrap.b32", "r:rrs", (a, b, c) => Modulo((((BigInteger)b << 32) + a) << (int)(c % 32) >> 32, 32));
        yield return new("shf.l.clamp.b32", "r:rrs", (a, b, c) => Modulo((((BigInteger)b << 32) + a) << (int)Math.Min(c, 32) >> 32, 32));
        yield return new("shf.r.wrap.b32", "r:rrs", (a, b, c) => Modulo((((BigInteger)b << 32) + a) >> (int)(c % 32), 32));
        yield return new("shf.r.clamp.b32", "r:rrs", (a, b, c) => Modulo((((BigInteger)b << 32) + a) >> (int)Math.Min(c, 32), 32));
        yield return new("prmt.b32", "r:rrr", Permute);
    }

    private static IEnumerable<TableRow> Comparisons()
    {
        foreach (var (name, holds) in ((string, Func<int, bool>)[])
            [("eq", o => o == 0), ("ne", o => o != 0), ("lt", o => o < 0), ("le", o => o <= 0), ("gt", o => o > 0), ("ge", o => o >= 0),
                ("lo", o => o < 0), ("ls", o => o <= 0), ("hi", o => o > 0), ("hs", o => o >= 0)])
        {
            foreach (string type in (string[])["u16", "s16", "b16"])
            {
                if ((type == "b16" && name is not ("eq" or "ne")) || (type == "s16" && name is "lo" or "ls" or "hi" or "hs")) continue;
                bool Holds(ulong a, ulong b) => holds(Number(a, 16, type == "s16").CompareTo(Number(b, 16, type == "s16")));
                yield return new($"setp.{name}.{type}", "p:hh", (a, b, _) => Holds(a, b) ? 1UL : 0);
                yield return new($"setp.{name}.and.{type}", "p:hhp", (a, b, c) => Holds(a, b) && c != 0 ? 1UL : 0);
                yield return new($"setp.{name}.or.{type}", "p:hhp", (a, b, c) => Holds(a, b) || c != 0 ? 1UL : 0);
                yield return new($"setp.{name}.xor.{type}", "p:hhp", (a, b, c) => Holds(a, b) != (c != 0) ? 1UL : 0);
            }
        }
    }

    /// <summary>As the manual's pseudo-code has it: the highest bit that differs from the sign.</summary>
    private static ulong Find(ulong a, int width, bool signed)
    {
        ulong sign = signed ? a >> (width - 1) & 1 : 0;
        for (int bit = width - 1; bit >= 0; bit--) if ((a >> bit & 1) != sign) return (ulong)bit;
        return uint.MaxValue;
    }

    private static ulong Extract(ulong a, ulong b, ulong c, int width, bool signed)
    {
        int from = (int)(b & 255), count = (int)(c & 255), last = Math.Min(from + count - 1, width - 1);
        ulong sign = !signed || count == 0 ? 0 : a >> last & 1, result = 0;
        for (int i = 0; i < width; i++) result |= (i < count && from + i < width ? a >> (from + i) & 1 : sign) << i;
        return result;
    }

    private static ulong Insert(ulong a, ulong b, ulong c, ulong d, int width)
    {
        int from = (int)(c & 255), count = (int)(d & 255);
        for (int i = 0; i < count && from + i < width; i++) b = (b & ~(1UL << (from + i))) | ((a >> i & 1) << (from + i));
        return b;
    }

    private static ulong Reverse(ulong a, int width)
    {
        ulong result = 0;
        for (int bit = 0; bit < width; bit++) result |= (a >> bit & 1) << (width - 1 - bit);
        return result;
    }

    private static ulong Permute(ulong a, ulong b, ulong c)
    {
        byte[] bytes = [.. BitConverter.GetBytes((uint)a), .. BitConverter.GetBytes((uint)b)];
        var result = new byte[4];
        for (int i = 0; i < 4; i++)
        {
            int nibble = (int)(c >> 4 * i) & 15;
            result[i] = nibble < 8 ? bytes[nibble] : bytes[nibble - 8] >= 0x80 ? (byte)0xFF : (byte)0;
        }
        return BitConverter.ToUInt32(result);
    }
}
