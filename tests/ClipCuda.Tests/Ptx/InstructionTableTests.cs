using System.Numerics;
using ClipCuda.Ptx;
using static ClipCuda.Tests.Ptx.TableRow;

namespace ClipCuda.Tests.Ptx;

/// <summary>
/// Every elementwise instruction against the PTX ISA's definition, written as a scalar expression: edge values crossed with each other, all
/// lanes and odd lanes only (the others keep what they had), whole and ragged blocks, checked and unchecked.
/// </summary>
public sealed class InstructionTableTests
{
    private static readonly Dictionary<string, TableRow> Rows = Table().ToDictionary(row => row.Opcode, StringComparer.Ordinal);

    private static IEnumerable<string> Opcodes() => Rows.Keys.Order(StringComparer.Ordinal);

    [TestCaseSource(nameof(Opcodes))]
    public void Gives_what_the_manual_says(string opcode) => Rows[opcode].Check();

    [Test]
    public void Every_instruction_of_the_table_has_a_row_in_a_test() =>
        Assert.That(Rows.Keys.Concat(IntegerRowsTests.Opcodes()).Concat(FloatRowsTests.Opcodes()).Concat(ConversionRowsTests.Opcodes()), Is.EquivalentTo(InstructionTable.Opcodes));

    /// <summary>The rows of all tests of the table, without those that take a fourth, immediate operand.</summary>
    internal static IReadOnlyDictionary<string, TableRow> AllRows { get; } =
        new[] { Rows, IntegerRowsTests.Rows, FloatRowsTests.Rows, ConversionRowsTests.Rows }.SelectMany(rows => rows.Values).Where(row => row.Immediates.Length == 0)
            .ToDictionary(row => row.Opcode, StringComparer.Ordinal);

    private static IEnumerable<TableRow> Table()
    {
        // Integers: arithmetic modulo 2^n.
        foreach (string sign in (string[])["s", "u"])
        {
            yield return new($"add.{sign}32", "r:rr", (a, b, _) => (uint)(a + b));
            yield return new($"add.{sign}64", "R:RR", (a, b, _) => a + b);
            yield return new($"sub.{sign}32", "r:rr", (a, b, _) => (uint)(a - b));
            yield return new($"sub.{sign}64", "R:RR", (a, b, _) => a - b);
            yield return new($"mul.lo.{sign}32", "r:rr", (a, b, _) => (uint)(a * b));
            yield return new($"mul.lo.{sign}64", "R:RR", (a, b, _) => a * b);
            yield return new($"mad.lo.{sign}32", "r:rrr", (a, b, c) => (uint)(a * b + c));
            yield return new($"mad.lo.{sign}64", "R:RRR", (a, b, c) => a * b + c);
        }
        yield return new("mul.wide.s32", "R:rr", (a, b, _) => (ulong)((long)(int)a * (int)b));
        yield return new("mul.wide.u32", "R:rr", (a, b, _) => (ulong)(uint)a * (uint)b);
        yield return new("mad.wide.s32", "R:rrR", (a, b, c) => (ulong)((long)(int)a * (int)b) + c);
        yield return new("mad.wide.u32", "R:rrR", (a, b, c) => (ulong)(uint)a * (uint)b + c);
        yield return new("mul.hi.s32", "r:rr", (a, b, _) => (uint)((BigInteger)(int)a * (int)b >> 32 & uint.MaxValue));
        yield return new("mul.hi.u32", "r:rr", (a, b, _) => (uint)((BigInteger)(uint)a * (uint)b >> 32));
        yield return new("mul.hi.u64", "R:RR", (a, b, _) => (ulong)((BigInteger)a * b >> 64));
        // A GPU gives all ones for x / 0 and x for x % 0; the one overflow wraps.
        yield return new("div.s32", "r:rr", (a, b, _) => (int)b == 0 ? uint.MaxValue : (uint)((long)(int)a / (int)b));
        yield return new("div.u32", "r:rr", (a, b, _) => (uint)b == 0 ? uint.MaxValue : (uint)a / (uint)b);
        yield return new("div.s64", "R:RR", (a, b, _) => b == 0 ? ulong.MaxValue : (ulong)((BigInteger)(long)a / (long)b & ulong.MaxValue));
        yield return new("div.u64", "R:RR", (a, b, _) => b == 0 ? ulong.MaxValue : a / b);
        yield return new("rem.s32", "r:rr", (a, b, _) => (int)b == 0 ? (uint)a : (uint)((long)(int)a % (int)b));
        yield return new("rem.u32", "r:rr", (a, b, _) => (uint)b == 0 ? (uint)a : (uint)a % (uint)b);
        yield return new("rem.s64", "R:RR", (a, b, _) => b == 0 ? a : (ulong)((BigInteger)(long)a % (long)b & ulong.MaxValue));
        yield return new("rem.u64", "R:RR", (a, b, _) => b == 0 ? a : a % b);
        yield return new("min.s32", "r:rr", (a, b, _) => (int)a < (int)b ? a : b);
        yield return new("min.u32", "r:rr", (a, b, _) => a < b ? a : b);
        yield return new("min.s64", "R:RR", (a, b, _) => (long)a < (long)b ? a : b);
        yield return new("min.u64", "R:RR", (a, b, _) => a < b ? a : b);
        yield return new("max.s32", "r:rr", (a, b, _) => (int)a > (int)b ? a : b);
        yield return new("max.u32", "r:rr", (a, b, _) => a > b ? a : b);
        yield return new("max.s64", "R:RR", (a, b, _) => (long)a > (long)b ? a : b);
        yield return new("max.u64", "R:RR", (a, b, _) => a > b ? a : b);
        yield return new("neg.s32", "r:r", (a, _, _) => (uint)(0 - a));
        yield return new("neg.s64", "R:R", (a, _, _) => 0 - a);
        yield return new("abs.s32", "r:r", (a, _, _) => (int)a < 0 ? (uint)(0 - a) : a);
        yield return new("abs.s64", "R:R", (a, _, _) => (long)a < 0 ? 0 - a : a);
        foreach (var (name, f) in ((string, Func<ulong, ulong, ulong>)[])[("and", (a, b) => a & b), ("or", (a, b) => a | b), ("xor", (a, b) => a ^ b)])
        {
            yield return new($"{name}.b32", "r:rr", (a, b, _) => f(a, b));
            yield return new($"{name}.b64", "R:RR", (a, b, _) => f(a, b));
            yield return new($"{name}.b16", "h:hh", (a, b, _) => f(a, b));
            yield return new($"{name}.pred", "p:pp", (a, b, _) => f(a, b));
        }
        yield return new("not.b32", "r:r", (a, _, _) => (uint)~a);
        yield return new("not.b64", "R:R", (a, _, _) => ~a);
        yield return new("not.pred", "p:p", (a, _, _) => a ^ 1);
        // Amounts past the width clamp to it.
        yield return new("shl.b32", "r:rs", (a, b, _) => b > 31 ? 0 : (uint)(a << (int)b));
        foreach (string type in (string[])["u32", "b32"]) yield return new($"shr.{type}", "r:rs", (a, b, _) => b > 31 ? 0 : a >> (int)b);
        yield return new("shr.s32", "r:rs", (a, b, _) => (uint)((int)a >> (int)Math.Min(b, 31)));
        yield return new("shl.b64", "R:Rs", (a, b, _) => b > 63 ? 0 : a << (int)b);
        foreach (string type in (string[])["u64", "b64"]) yield return new($"shr.{type}", "R:Rs", (a, b, _) => b > 63 ? 0 : a >> (int)b);
        yield return new("shr.s64", "R:Rs", (a, b, _) => (ulong)((long)a >> (int)Math.Min(b, 63)));
        yield return new("bfe.u32", "r:rss", (a, b, c) => (uint)((a >> (int)Math.Min(b & 255, 63)) & ((1UL << (int)Math.Min(c & 255, 32)) - 1)));
        yield return new("popc.b32", "r:r", (a, _, _) => (ulong)Enumerable.Range(0, 32).Count(bit => (a >> bit & 1) != 0));
        yield return new("clz.b32", "r:r", (a, _, _) => (ulong)Enumerable.Range(0, 32).TakeWhile(bit => (a >> (31 - bit) & 1) == 0).Count());

        // Floats: each result rounded once; a NaN is 7FFFFFFF.
        foreach (string rounding in (string[])["", ".rn"])
        {
            yield return new($"add{rounding}.f32", "f:ff", Floats((a, b) => a + b));
            yield return new($"sub{rounding}.f32", "f:ff", Floats((a, b) => a - b));
            yield return new($"mul{rounding}.f32", "f:ff", Floats((a, b) => a * b));
        }
        yield return new("div.rn.f32", "f:ff", Floats((a, b) => a / b));
        yield return new("fma.rn.f32", "f:fff", (a, b, c) => Bits(MathF.FusedMultiplyAdd(Real(a), Real(b), Real(c))));
        yield return new("min.f32", "f:ff", Floats((a, b) => float.IsNaN(a) ? b : float.IsNaN(b) ? a : MathF.Min(a, b)));
        yield return new("max.f32", "f:ff", Floats((a, b) => float.IsNaN(a) ? b : float.IsNaN(b) ? a : MathF.Max(a, b)));
        yield return new("neg.f32", "f:f", Floats((a, _) => -a));
        yield return new("abs.f32", "f:f", Floats((a, _) => MathF.Abs(a)));
        yield return new("sqrt.rn.f32", "f:f", Floats((a, _) => MathF.Sqrt(a)));
        yield return new("rcp.rn.f32", "f:f", Floats((a, _) => 1 / a));
        yield return new("rcp.approx.f32", "f:f", Floats((a, _) => 1 / a), Ulps: 1);
        yield return new("rcp.approx.ftz.f32", "f:f", Floats((a, _) => Flush(1 / Flush(a))), Ulps: 1);
        yield return new("rsqrt.approx.f32", "f:f", Floats((a, _) => (float)(1 / Math.Sqrt(a))), Ulps: 2);
        yield return new("ex2.approx.f32", "f:f", Floats((a, _) => (float)Math.Pow(2, a)), Ulps: 2);
        yield return new("ex2.approx.ftz.f32", "f:f", Floats((a, _) => Flush((float)Math.Pow(2, Flush(a)))), Ulps: 2);

        // Moves, choices, comparisons.
        foreach (string type in (string[])["b32", "u32", "s32", "f32"]) yield return new($"mov.{type}", "r:r", (a, _, _) => a);
        foreach (string type in (string[])["b64", "u64", "s64", "f64"]) yield return new($"mov.{type}", "R:R", (a, _, _) => a);
        foreach (string type in (string[])["b16", "u16", "s16"]) yield return new($"mov.{type}", "h:h", (a, _, _) => a);
        yield return new("mov.pred", "p:p", (a, _, _) => a);
        yield return new("cvta.to.global.u32", "r:r", (a, _, _) => a);
        foreach (string way in (string[])["to.global", "global", "to.const", "const", "to.local", "local"]) yield return new($"cvta.{way}.u64", "R:R", (a, _, _) => a);
        foreach (string type in (string[])["b32", "u32", "s32", "f32"]) yield return new($"selp.{type}", "r:rrp", (a, b, c) => c != 0 ? a : b);
        foreach (string type in (string[])["b64", "u64", "s64", "f64"]) yield return new($"selp.{type}", "R:RRp", (a, b, c) => c != 0 ? a : b);
        foreach (string type in (string[])["b16", "u16", "s16"]) yield return new($"selp.{type}", "h:hhp", (a, b, c) => c != 0 ? a : b);
        foreach (var row in Comparisons()) yield return row;

        // Conversions.
        yield return new("cvt.s64.s32", "R:r", (a, _, _) => (ulong)(int)a);
        yield return new("cvt.u64.u32", "R:r", (a, _, _) => a);
        yield return new("cvt.s64.u32", "R:r", (a, _, _) => a);
        foreach (string way in (string[])["u32.u64", "s32.s64", "u32.s64"]) yield return new($"cvt.{way}", "r:R", (a, _, _) => (uint)a);
        foreach (var (name, mode) in ((string, MidpointRounding)[])
            [("rni", MidpointRounding.ToEven), ("rzi", MidpointRounding.ToZero), ("rmi", MidpointRounding.ToNegativeInfinity), ("rpi", MidpointRounding.ToPositiveInfinity)])
        {
            yield return new($"cvt.{name}.f32.f32", "f:f", Floats((a, _) => MathF.Round(a, mode)));
        }
        yield return new("cvt.sat.f32.f32", "f:f", Floats((a, _) => a > 0 ? MathF.Min(a, 1) : 0));
    }

    private static IEnumerable<TableRow> Comparisons()
    {
        var orders = new (string Name, Func<int, bool> Holds)[]
        {
            ("eq", o => o == 0), ("ne", o => o != 0), ("lt", o => o < 0), ("le", o => o <= 0), ("gt", o => o > 0), ("ge", o => o >= 0),
        };
        var types = new (string Type, string Operand, Func<ulong, ulong, int> Order)[]
        {
            ("s32", "r", (a, b) => ((int)a).CompareTo((int)b)), ("s64", "R", (a, b) => ((long)a).CompareTo((long)b)),
            ("u32", "r", (a, b) => a.CompareTo(b)), ("u64", "R", (a, b) => a.CompareTo(b)),
            ("b32", "r", (a, b) => a.CompareTo(b)), ("b64", "R", (a, b) => a.CompareTo(b)),
        };
        foreach (var (type, operand, order) in types)
        {
            foreach (var (name, holds) in orders.Where(o => type[0] != 'b' || o.Name is "eq" or "ne"))
            {
                foreach (var row in Compare(name, type, operand, (a, b) => holds(order(a, b)))) yield return row;
            }
            if (type[0] != 'u') continue;
            foreach (var (alias, of) in ((string, string)[])[("lo", "lt"), ("ls", "le"), ("hi", "gt"), ("hs", "ge")])
            {
                var holds = orders.First(o => o.Name == of).Holds;
                foreach (var row in Compare(alias, type, operand, (a, b) => holds(order(a, b)))) yield return row;
            }
        }
        // An ordered comparison with a NaN is false, an unordered one true.
        var floats = new (string Name, Func<float, float, bool> Holds)[]
        {
            ("eq", (a, b) => a == b), ("ne", (a, b) => a < b || a > b), ("lt", (a, b) => a < b), ("le", (a, b) => a <= b), ("gt", (a, b) => a > b), ("ge", (a, b) => a >= b),
        };
        foreach (var (name, holds) in floats)
        {
            foreach (var row in Compare(name, "f32", "f", (a, b) => holds(Real(a), Real(b)))) yield return row;
            foreach (var row in Compare(name + "u", "f32", "f", (a, b) => IsUnordered(a, b) || holds(Real(a), Real(b)))) yield return row;
        }
        foreach (var row in Compare("num", "f32", "f", (a, b) => !IsUnordered(a, b))) yield return row;
        foreach (var row in Compare("nan", "f32", "f", IsUnordered)) yield return row;
    }

    private static IEnumerable<TableRow> Compare(string name, string type, string operand, Func<ulong, ulong, bool> holds)
    {
        yield return new($"setp.{name}.{type}", $"p:{operand}{operand}", (a, b, _) => holds(a, b) ? 1UL : 0);
        yield return new($"setp.{name}.and.{type}", $"p:{operand}{operand}p", (a, b, c) => holds(a, b) && c != 0 ? 1UL : 0);
        yield return new($"setp.{name}.xor.{type}", $"p:{operand}{operand}p", (a, b, c) => holds(a, b) != (c != 0) ? 1UL : 0);
        yield return new($"setp.{name}.or.{type}", $"p:{operand}{operand}p", (a, b, c) => holds(a, b) || c != 0 ? 1UL : 0);
    }

    private static Func<ulong, ulong, ulong, ulong> Floats(Func<float, float, float> f) => (a, b, _) => Bits(f(Real(a), Real(b)));

    private static bool IsUnordered(ulong a, ulong b) => float.IsNaN(Real(a)) || float.IsNaN(Real(b));
}
