using System.Text.RegularExpressions;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>
/// Why no test can tell certain mutants from the kernel: each argument holds for the mutants whose CUDA line matches one pattern and whose change matches
/// another. Lines go by their text, so that an edited kernel does not shift the arguments to other lines.
/// </summary>
internal static class Equivalents
{
    private static readonly (string File, string Line, string Change, string Argument)[] Arguments =
    [
        // Several lanes hold what one of them stores.
        (@"gradientnorm|cliploss", @"^(if \(threadIdx\.x == 0\) (partial|\*loss|\*dlogit)|if \(threadIdx\.x != 0\) return)", "setp|bra (with its|without its) guard",
            "every thread of the block holds the sum: whichever stores it, the same bits are stored"),
        (@"reduce\.cuh", @"^if \(threadIdx\.x % WarpSize == 0\) scratch", "setp|bra", "every lane of the warp holds the sum: whichever stores it, the same bits are stored"),
        (@"l2normalize|layernorm|attention|cliploss", @"^if \((threadIdx\.x % WarpSize|lane) == 0( && (query|row) < (shape\.sequence|batch))?\)", @"setp\.(eq|ne)\.s32|bra (with its|without its) guard",
            "every lane of the warp holds the number: whichever stores it, the same bits are stored"),

        // Loops that run at least once.
        (@"bias|layernorm|positions|tokenembedding|preprocess|reduce", "^(for|dweight|dbias|dpositions)", @"^setp\.(ge\.s32 → setp\.gt|gt\.s32 → setp\.ge)\.s32|^guarded bra dropped|^bra without its guard|^mov\.(f32|b32) 0 → 1",
            "the way round a loop of no passes: there is at least one row, run, chunk, caption and tap, so nobody takes it"),
        (@"bias|layernorm", @"^if \(c >= (width|n)\) return", "another parameter", "the length of a run becomes the number of rows: the first run takes all of them and the others none, which is the same sum in another order"),
        (@"patchembedding", @"^for \(int i = threadIdx\.x; i < 3 \* area; i \+= 128\) out\[i\] = 0", @"mov\.b32 0 → 1", "the bits of 1 are the float 1.4e-45, which the GEMM multiplies by weights: the class token's row changes by less than its last bit"),
        (@"positions", @"^if \(c >= width\) return 0", @"mov\.f32 0 → 1", "nobody uses what columns beyond the width return"),

        // A second barrier behind the last use.
        (@"reduce\.cuh", "^__syncthreads", "bar.sync dropped", "it lets `scratch` be used again, and no block of this kernel sums twice"),
        (@"reduce\.cuh", @"^for \(int warp = 0", @"add\.rn\.f32 → sub", "the first addition, to 0 or of 0: x − 0 = x + 0"),
        (@"reduce\.cuh", @"^for \(int lane = 16", "clamp 31 → 15", "upper lanes get wrong sums, lane 0 does not, and only lane 0 stores"),

        // Boundaries between formulas that agree there.
        (@"math\.cuh", "^return !\\(a <= 88", @"setp\.(gtu|ltu|lt|gt)\.f32 → setp\.(geu|leu|le|ge)", "differs at the one float at which the exponential overflows or would be denormal, where both values are right to 1e-38 or within a bit of the largest float"),
        (@"math\.cuh", @"^return t > 0\.927734375f", @"setp\.gt\.f32 → setp\.ge", "differs at the one float where both polynomials hold to an ulp"),
        (@"l2normalize", "LargestReciprocal", @"setp\.gt\.f32 → setp\.ge", "differs where r is the bound itself, which it then becomes"),
        (@"gradientnorm", @"^result\[1\] = factor > 1", @"setp\.gt\.f32 → setp\.ge", "differs where the factor is 1, which it then becomes"),
        (@"gradientnorm", @"^float factor", @"selp\.f32 1 → 2", "the next line makes any factor above 1 into 1"),

        // The exponential of what is never positive, or never out of range.
        (@"math\.cuh", "^return !\\(a <= 88", @"(add|sub)\.rn\.f32 (→|a, b)", "beyond the overflow a − ∞ stands for a + ∞: 1 / (1 − ∞) is a zero like 1 / (1 + ∞), and of NaN both are NaN"),
        (@"math\.cuh", "^return !\\(a <= 88", @"add\.rn\.f32 Infinity|setp\.gtu\.f32 88\.72", "the argument is never positive here: only NaN comes to this, and NaN + anything is NaN"),
        (@"math\.cuh", "^float far = copysignf", @"sub\.rn\.f32 a, b|abs\.f32", "1 − e^r ≥ 0, and copysign takes its magnitude: the sign of the difference, or of its magnitude, is not used"),
        (@"layernorm", @"^float d = in\[c\] - m", @"sub\.rn\.f32 a, b", "d is squared"),
        (@"adamw", @"^float second", "abs", "second moments are sums of squares: their magnitude is themselves"),
        (@"adamw", @"^long long i = start", @"or\.b64 1024", "this i decides bounds alone, and those are multiples of 64: i and i | 1 lie on the same side"),
    ];

    /// <summary>The argument that a change is equivalent, or null.</summary>
    /// <param name="source">A CUDA line such as <c>kernels/layernorm.cu:42</c>.</param>
    /// <param name="line">Its text.</param>
    /// <param name="entry">The kernel it was made in.</param>
    public static string? ArgumentFor(string entry, string source, string line, string change)
    {
        string place = entry + " " + source.Split(':')[0];
        foreach (var argument in Arguments)
        {
            if (Regex.IsMatch(place, argument.File) && Regex.IsMatch(line, argument.Line) && Regex.IsMatch(change, argument.Change)) return argument.Argument;
        }
        return null;
    }
}
