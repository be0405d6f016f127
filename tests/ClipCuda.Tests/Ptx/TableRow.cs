using System.Globalization;
using System.Numerics;

namespace ClipCuda.Tests.Ptx;

/// <summary>An elementwise instruction and its definition as a scalar expression.</summary>
/// <param name="Form">Destination and sources by letter: r, R, h, p are 32, 64, 16 bits and a predicate, f a float, d a double, s a shift amount.</param>
/// <param name="Ulps">How far an approximation may be off, in units of the last place of a float.</param>
internal sealed record TableRow(string Opcode, string Form, Func<ulong, ulong, ulong, ulong> Expected, int Ulps = 0)
{
    private static readonly (int Threads, TestEngine Engine)[] Runs = [(128, TestEngine.Interpreted), (37, TestEngine.Interpreted), (128, TestEngine.Checked), (128, TestEngine.Compiled)];

    /// <summary>Values of a fourth, immediate operand, and what the instruction is then.</summary>
    public (uint Value, Func<ulong, ulong, ulong, ulong> Expected)[] Immediates { get; init; } = [];

    /// <summary>Runs it on edge values crossed with each other, in all lanes and in odd ones only (the others keep what they had), on both engines.</summary>
    public void Check()
    {
        if (Immediates.Length == 0) Check("", Expected);
        foreach (var (value, expected) in Immediates) Check(string.Create(CultureInfo.InvariantCulture, $", {value}"), expected);
    }

    private void Check(string tail, Func<ulong, ulong, ulong, ulong> expected)
    {
        string sources = Form[2..];
        ulong[][] operands = [.. Enumerable.Range(0, 3).Select(k => k < sources.Length ? OperandTable.Values(sources[k], k) : new ulong[OperandTable.Count])];
        ulong[] wanted = [.. Enumerable.Range(0, OperandTable.Count).Select(i => expected(operands[0][i], operands[1][i], operands[2][i]))];
        foreach (bool oddOnly in (bool[])[false, true])
        {
            foreach (var (threads, engine) in Runs)
            {
                ulong[] actual = InstructionKernel.Run(Opcode, Form[0], sources, operands, oddOnly, threads, engine, tail);
                for (int i = 0; i < actual.Length; i++)
                {
                    ulong value = oddOnly && (i % threads & 1) == 0 ? InstructionKernel.Untouched(Form[0]) : wanted[i];
                    if (!Agrees(actual[i], value))
                    {
                        Assert.Fail($"{Opcode} of {operands[0][i]:x}, {operands[1][i]:x}, {operands[2][i]:x}{tail} is {actual[i]:x}, expected {value:x} "
                            + $"({(oddOnly ? "odd lanes" : "all lanes")}, block {threads}, {engine}, element {i})");
                    }
                }
            }
        }
    }

    private bool Agrees(ulong actual, ulong expected)
    {
        if (actual == expected) return true;
        if (Ulps == 0 || float.IsNaN(Real(actual)) || float.IsNaN(Real(expected))) return false;
        return Math.Abs((long)(int)actual - (int)expected) <= Ulps;
    }

    public static float Real(ulong bits) => BitConverter.UInt32BitsToSingle((uint)bits);

    public static ulong Bits(float value) => float.IsNaN(value) ? 0x7FFFFFFF : BitConverter.SingleToUInt32Bits(value);

    public static double Wide(ulong bits) => BitConverter.UInt64BitsToDouble(bits);

    public static float Flush(float a) => float.IsSubnormal(a) ? MathF.CopySign(0, a) : a;

    public static ulong FlushBits(ulong a) => (a & 0x7F800000) == 0 ? a & 0x80000000 : a;

    /// <summary>The bits of a number of so many bits as that number.</summary>
    public static BigInteger Number(ulong bits, int width, bool signed)
    {
        BigInteger value = width == 64 ? bits : bits & ((1UL << width) - 1);
        return signed && (value >> (width - 1)) != 0 ? value - (BigInteger.One << width) : value;
    }

    /// <summary>The lowest bits of a number, as many as the width.</summary>
    public static ulong Modulo(BigInteger value, int width) => (ulong)(value & ((BigInteger.One << width) - 1));
}
