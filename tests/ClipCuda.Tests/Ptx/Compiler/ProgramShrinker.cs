using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>
/// Simpler programs than a given one. Each keeps the rules of <see cref="ProgramGenerator"/>: statements go away, bodies take the place of their
/// branch or loop, guards go; nothing diverges that did not before.
/// </summary>
internal static class ProgramShrinker
{
    public static IEnumerable<FuzzProgram> Shrink(FuzzProgram program)
    {
        foreach (var body in Shrink(program.Body)) yield return program with { Body = body };
        if (program.Shape.Grid.X > 1) yield return program with { Shape = program.Shape with { Grid = 1 } };
        if (program.Shape.Block != new Dim3(32) && program.WholeWarps) yield return program with { Shape = program.Shape with { Block = 32 } };
    }

    private static IEnumerable<Statement[]> Shrink(Statement[] body)
    {
        for (int length = body.Length; length > 0; length /= 2)
        {
            for (int start = 0; start + length <= body.Length; start += length) yield return [.. body[..start], .. body[(start + length)..]];
        }
        for (int i = 0; i < body.Length; i++)
        {
            foreach (var instead in Shrink(body[i])) yield return [.. body[..i], .. instead, .. body[(i + 1)..]];
        }
    }

    private static IEnumerable<Statement[]> Shrink(Statement statement)
    {
        switch (statement)
        {
            case Assign { Guard: not null } s:
                yield return [s with { Guard = null }];
                break;
            case Load { Guard: not null } s:
                yield return [s with { Guard = null }];
                break;
            case Store { Guard: not null } s:
                yield return [s with { Guard = null }];
                break;
            case Exchange { Second: not null } s:
                yield return [s with { Second = null, Guard = null }];
                break;
            case Shuffle { InRange: not null } s:
                yield return [s with { InRange = null }];
                break;
            case If s:
                yield return s.Then;
                if (s.Else.Length > 0) yield return s.Else;
                foreach (var then in Shrink(s.Then)) yield return [s with { Then = then }];
                foreach (var other in Shrink(s.Else)) yield return [s with { Else = other }];
                break;
            case Loop s:
                yield return WithoutBreaks(s.Body);
                foreach (var body in Shrink(s.Body)) yield return [s with { Body = body }];
                if (s.Limit > 1) yield return [s with { Limit = s.Limit / 2 }];
                break;
        }
    }

    /// <summary>A loop's body without what leaves it, which would else leave the loop around it.</summary>
    private static Statement[] WithoutBreaks(Statement[] body) =>
    [
        .. body.Where(s => s is not Leave { Kind: Departure.Break or Departure.Continue })
            .Select(s => s is If branch ? branch with { Then = WithoutBreaks(branch.Then), Else = WithoutBreaks(branch.Else) } : s),
    ];
}
