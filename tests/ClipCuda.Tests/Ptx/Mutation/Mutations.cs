using System.Globalization;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>
/// All the ways in which one instruction of a kernel is altered: what a slip of the hand would do. Left alone is what no engine or GPU can tell apart: signs of
/// extensions (indices are not negative), and <c>bar.warp.sync</c> and the member masks of shuffles, since lanes run in lockstep here.
/// </summary>
internal static class Mutations
{
    private static string[] OtherOperations(string operation) => operation switch
    {
        "add" => ["sub"],
        "sub" => ["add"],
        "div" => ["mul"],
        "min" => ["max"],
        "max" => ["min"],
        "and" or "xor" => ["or"],
        "or" => ["and"],
        "shl" => ["shr"],
        "shr" => ["shl"],
        _ => [],
    };

    /// <summary>The same with or without equality, and the other way round; u: true of NaN, too.</summary>
    private static string[] OtherComparisons(string comparison) => comparison switch
    {
        "lt" => ["le", "gt"],
        "le" => ["lt", "ge"],
        "gt" => ["ge", "lt"],
        "ge" => ["gt", "le"],
        "eq" => ["ne"],
        "ne" => ["eq"],
        "ltu" => ["leu", "gtu"],
        "leu" => ["ltu", "geu"],
        "gtu" => ["geu", "ltu"],
        "geu" => ["gtu", "leu"],
        "equ" => ["neu"],
        "neu" => ["equ"],
        _ => [],
    };

    public static IEnumerable<Mutant> Of(PtxEntry entry) => Enumerable.Range(0, entry.Instructions.Count).SelectMany(i => Of(entry, i));

    /// <summary>
    /// Where an instruction comes from. Of what is inlined only the innermost line is known, and that of <c>cuda.cuh</c> or the compiler's own headers says
    /// nothing: then it is the line of the instruction before.
    /// </summary>
    private static string LineOf(PtxEntry entry, int index)
    {
        for (int i = index; i >= 0; i--)
        {
            if (entry.Instructions[i].Source is { } source && source.StartsWith("kernels/", StringComparison.Ordinal) && !source.Contains("cuda.cuh", StringComparison.Ordinal) && !source.EndsWith(":0", StringComparison.Ordinal))
                return i == index ? source : source + " or behind";
        }
        return "kernels/" + entry.Name;
    }

    private static IEnumerable<Mutant> Of(PtxEntry entry, int index)
    {
        var at = entry.Instructions[index];
        string[] parts = at.Opcode.Split('.');
        IEnumerable<Mutant> changes = parts[0] switch
        {
            "setp" => Comparisons(),
            "bar" when at.Opcode == "bar.sync" => [Mutate("barrier", $"{at.Opcode} dropped", Nothing())],
            "shfl" => Shuffles(),
            "ld" when at.Operands[1].Kind == PtxOperandKind.Address && parts[1] == "param" => Parameters(),
            "ld" or "st" => Accesses(),
            "bar" or "bra" or "ret" or "membar" => [],
            _ => Arithmetic(),
        };
        return changes.Concat(Guards());

        IEnumerable<Mutant> Comparisons()
        {
            foreach (string other in OtherComparisons(parts[1]))
            {
                string opcode = string.Join('.', [parts[0], other, .. parts[2..]]);
                yield return Mutate("comparison", $"{at.Opcode} → {opcode}", With(opcode, at.Operands));
            }
            foreach (var constant in Constants()) yield return constant;
        }

        IEnumerable<Mutant> Shuffles()
        {
            // d, a, lane, clamp and segment, member mask
            if (at.Operands is not [_, _, { Kind: PtxOperandKind.Number } lane, { Kind: PtxOperandKind.Number } clamp, _]) yield break;
            // Half of it: the steps of a butterfly would still span the warp if one of them were its sum with another.
            yield return Mutate("shuffle", $"lane {lane.Value} → {lane.Value / 2}", Operand(2, lane with { Value = lane.Value / 2 }));
            yield return Mutate("shuffle", $"clamp {clamp.Value} → {clamp.Value / 2}", Operand(3, clamp with { Value = clamp.Value / 2 }));
        }

        IEnumerable<Mutant> Parameters()
        {
            var address = at.Operands[1];
            var parameters = entry.Parameters.ToList();
            int place = parameters.FindIndex(p => p.Name == address.Name);
            if (place < 0) yield break;
            // The next one of the same size.
            for (int step = 1; step < parameters.Count; step++)
            {
                var other = parameters[(place + step) % parameters.Count];
                if (other.Size != parameters[place].Size) continue;
                yield return Mutate("operand", "another parameter", Operand(1, address with { Name = other.Name }));
                yield break;
            }
        }

        IEnumerable<Mutant> Accesses()
        {
            bool store = parts[0] == "st";
            int place = store ? 0 : 1;
            var address = at.Operands[place];
            if (address.Kind != PtxOperandKind.Address) yield break;
            int bytes = int.Parse(parts[^1][1..], CultureInfo.InvariantCulture) / 8 * (at.Operands[1 - place].Elements?.Length ?? 1);
            yield return Mutate("offset", $"{at.Opcode} {bytes} bytes further", Operand(place, address with { Value = address.Value + bytes }));
            if (store) yield return Mutate("store", $"{at.Opcode} dropped", Nothing());
        }

        IEnumerable<Mutant> Arithmetic()
        {
            foreach (string other in Others())
                yield return Mutate("operator", $"{at.Opcode} → {other}", With(other, at.Operands));
            foreach (var (change, replacement) in OneSourceLess()) yield return Mutate("operator", change, replacement);
            foreach (var operand in OtherOperands()) yield return operand;
            foreach (var constant in Constants()) yield return constant;
        }

        IEnumerable<string> Others()
        {
            string type = parts[^1];
            if (parts[0] == "mul" && parts[1] != "wide" && parts[1] != "hi") yield return type[0] == 'f' ? $"add.rn.{type}" : $"add.{type}";
            else if (parts[0] == "div" && type[0] != 'f') yield return $"rem.{type}";
            else if (parts[0] == "rem") yield return $"div.{type}";
            else if (at.Opcode is "sqrt.rn.f32" or "rcp.rn.f32" or "neg.f32" or "abs.f32" or "ex2.approx.f32") yield return "mov.f32";
            else if (at.Opcode is "neg.s32" or "not.b32") yield return "mov.b32";
            else
            {
                foreach (string other in OtherOperations(parts[0]))
                    yield return string.Join('.', [other, .. parts[1..^1], parts[0] == "shr" ? "b" + type[1..] : parts[0] == "shl" ? "u" + type[1..] : type]);
            }
        }

        IEnumerable<(string, PtxInstruction)> OneSourceLess()
        {
            if (parts[0] is not ("fma" or "mad") || parts[1] is "wide" or "hi") yield break;
            string type = parts[^1], add = type[0] == 'f' ? $"add.rn.{type}" : $"add.{type}", multiply = type[0] == 'f' ? $"mul.rn.{type}" : $"mul.lo.{type}";
            var (d, a, b, c) = (at.Operands[0], at.Operands[1], at.Operands[2], at.Operands[3]);
            yield return ($"{at.Opcode} without its addend{Literal(c)}", With(multiply, [d, a, b]));
            yield return ($"{at.Opcode} without its second factor{Literal(b)}", With(add, [d, a, c]));

            static string Literal(PtxOperand operand) => operand.IsFloatLiteral ? string.Create(CultureInfo.InvariantCulture, $" {BitConverter.Int32BitsToSingle((int)operand.Value):g9}") : "";
        }

        IEnumerable<Mutant> OtherOperands()
        {
            var sources = at.Operands[1..];
            bool swap = parts[0] is "sub" or "div" or "rem" or "selp", repeat = parts[0] is "add" or "mul" or "min" or "max" or "and" or "or";
            if (swap && sources[0] != sources[1]) yield return Mutate("operand", $"{at.Opcode} a, b → b, a", With(at.Opcode, [at.Operands[0], sources[1], sources[0], .. sources[2..]]));
            if (repeat && sources[0].Kind == PtxOperandKind.Register && sources[1].Kind == PtxOperandKind.Register && sources[0] != sources[1] && at.Opcode is not ("mul.wide.u32" or "mul.wide.s32"))
                yield return Mutate("operand", $"{at.Opcode} a, b → a, a", Operand(2, sources[0]));
        }

        IEnumerable<Mutant> Constants()
        {
            for (int i = 1; i < at.Operands.Length; i++)
            {
                if (at.Operands[i] is not { Kind: PtxOperandKind.Number } number) continue;
                bool wide = parts[^1] is "f64";
                if (number.IsFloatLiteral && !wide)
                {
                    float value = BitConverter.Int32BitsToSingle((int)number.Value), other = value == 0 || !float.IsFinite(value) ? 1 : 2 * value;
                    string text = string.Create(CultureInfo.InvariantCulture, $"{value:g9} → {other:g9}");
                    yield return Mutate("constant", $"{at.Opcode} {text}", Operand(i, number with { Value = BitConverter.SingleToUInt32Bits(other) }));
                }
                else if (!number.IsFloatLiteral)
                {
                    // Off by one; twice as much where one is nothing of it. A predicate becomes the other one.
                    long other = parts[^1] == "pred" ? ~number.Value : Math.Abs(number.Value) > 1 << 16 ? 2 * number.Value : number.Value + 1;
                    yield return Mutate("constant", $"{at.Opcode} {number.Value} → {other}", Operand(i, number with { Value = other }));
                }
            }
        }

        IEnumerable<Mutant> Guards()
        {
            if (at.Guard < 0) yield break;
            yield return Mutate("guard", $"{at.Opcode} with its guard inverted", Copy(at.Opcode, at.Operands, at.Guard, !at.GuardNegated));
            yield return Mutate("guard", $"{at.Opcode} without its guard", Copy(at.Opcode, at.Operands, guard: -1, negated: false));
            yield return Mutate("guard", $"guarded {at.Opcode} dropped", Nothing());
        }

        Mutant Mutate(string kind, string change, PtxInstruction replacement) => new(entry.Name, index, kind, change, replacement, LineOf(entry, index));

        PtxInstruction With(string opcode, PtxOperand[] operands) => Copy(opcode, operands, at.Guard, at.GuardNegated);

        PtxInstruction Operand(int place, PtxOperand operand)
        {
            PtxOperand[] operands = [.. at.Operands];
            operands[place] = operand;
            return With(at.Opcode, operands);
        }

        PtxInstruction Nothing() => Copy("membar.cta", [], guard: -1, negated: false);

        PtxInstruction Copy(string opcode, PtxOperand[] operands, int guard, bool negated) => new()
        {
            Opcode = opcode,
            Operands = operands,
            Guard = guard,
            GuardNegated = negated,
            Line = at.Line,
            Column = at.Column,
            Source = at.Source,
            Location = at.Location,
        };
    }
}
