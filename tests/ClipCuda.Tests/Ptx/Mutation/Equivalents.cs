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
        (@"gradientnorm|cliploss", @"^if \(threadIdx\.x == 0\) (partial|\*loss)", "^guarded bra dropped", "every thread of the block holds the sum, and they all store the same bits"),
        (@"reduce\.cuh", @"^if \(threadIdx\.x % WarpSize == 0\) scratch", "setp|bra", "every lane of the warp holds the sum: whichever stores it, the same bits are stored"),
        (@"l2normalize|layernorm|attention|cliploss", @"^if \((threadIdx\.x % WarpSize|lane) == 0( && (query|row) < (shape\.sequence|batch))?\)", @"setp\.(eq|ne)\.s32|bra (with its|without its) guard",
            "every lane of the warp holds the number: whichever stores it, the same bits are stored"),

        // Loops that run at least once.
        (@"bias|layernorm|positions|tokenembedding|preprocess|reduce", "^(for|dweight|dbias|dpositions)", @"^setp\.(ge\.s32 → setp\.gt|gt\.s32 → setp\.ge)\.s32|^guarded bra dropped|^bra without its guard|^mov\.(f32|b32) 0 → 1",
            "the way round a loop of no passes: there is at least one row, run, chunk, caption and tap, so nobody takes it"),
        (@"bias|layernorm", @"^if \(c >= (width|n)\) return", "another parameter", "the length of a run becomes the number of rows: the first run takes all of them and the others none, which is the same sum in another order"),
        (@"patchembedding", @"^for \(int i = threadIdx\.x; i < 3 \* area; i \+= 128\) out\[i\] = 0", @"mov\.b32 0 → 1", "the bits of 1 are the float 1.4e-45, which the GEMM multiplies by weights: the class token's row changes by less than its last bit"),
        (@"positions", @"^if \(c >= width\) return 0", @"mov\.f32 0 → 1", "nobody uses what columns beyond the width return"),

        (@"tokenembedding_backward_partial .*tokenembedding\.cu", @"^if \(first == last\) return", "^guarded bra dropped", "sums of chunks that nobody owns are 0, and nobody reads them"),

        // A second barrier behind the last use.
        (@"reduce\.cuh", "^__syncthreads", "bar.sync dropped", "it lets `scratch` be used again, and no block of this kernel sums twice"),
        (@"reduce\.cuh", @"^for \(int warp = 0", @"add\.rn\.f32 → sub", "the first addition, to 0 or of 0: x − 0 = x + 0"),
        (@"reduce\.cuh", @"^for \(int lane = 16", "clamp 31 → 15", "upper lanes get wrong sums, lane 0 does not, and only lane 0 stores"),

        // Boundaries between formulas that agree there.
        (@"math\.cuh", @"^(r = a < -87|return a > 88|return a < -126)", @"setp\.(lt|gt)\.f32 → setp\.(le|ge)", "differs at the one float where the exponential ends, where 0 and 1e-38, or infinity and 3e38, serve alike"),
        (@"gelu", @"^return t > 6", @"setp\.gt\.f32 → setp\.ge", "differs at 6 alone, where 0 and 1e-9 are both right to 1e-9"),
        (@"gelu", @"^(DEVICE float normal_density|for \(int c|float s = fminf)", @"^min\.f32 6 → 12", "matters beyond 6 alone, where what comes of it is replaced by 0; or of NaN, where the factor u is NaN"),
        (@"gelu", @"^return u > 0", @"setp\.gt\.f32 → setp\.ge", "differs at 0, where the tail is 1/2 and so is 1 − tail"),
        (@"l2normalize", "LargestReciprocal", @"setp\.gt\.f32 → setp\.ge", "differs where r is the bound itself, which it then becomes"),
        (@"gradientnorm", @"^result\[1\] = factor > 1", @"setp\.gt\.f32 → setp\.ge", "differs where the factor is 1, which it then becomes"),
        (@"cliploss", @"^\*logit_scale = value > 4", @"setp\.gt\.f32 → setp\.ge", "differs where the value is the bound itself, which it then becomes"),
        (@"gradientnorm", @"^float factor", @"selp\.f32 1 → 2", "the next line makes any factor above 1 into 1"),

        // The exponential of what is never positive, or never out of range.
        (@"layernorm", @"^float d = in\[c\] - m", @"sub\.rn\.f32 a, b", "d is squared"),
        (@"adamw", @"^float second", "abs", "second moments are sums of squares: their magnitude is themselves"),
        (@"stretch\.cuh", @"^DEVICE int lanes_before", @"^setp\.(lt|le|gt|ge)\.s64 → setp\.(lt|le|gt|ge)", "differs where exactly 0 or 32 elements are left, of which both ways round give as many"),

        // Attention: rows and columns beyond the sequence and beyond the head.
        (@"attention\.cu", @"^for \(; i \+ 4 <= count", @"^bra with|^setp\.gt\.s32 → setp\.ge|^setp\.lt\.s32 (→ setp\.le|4 → 5)|^add\.s32 8 → 9", "the loop over single rows does what the loop over four leaves, in the same order; rows beyond the last have weight 0"),
        (@"attention\.cu", @"^for \(int start", @"^setp\.lt\.s32 → setp\.le", "a tile more, all of whose keys are masked"),
        (@"attention\.cu", @"^(for \(int start|for \(int d = 0|for \(int i = threadIdx)", @"^setp\.ge\.s32 → setp\.gt|^guarded bra dropped|^mov\.(f32|b32) 0 → 1", "the way round a loop of no passes, or what fills up a tile and meets a 0 of the other"),
        (@"attention\.cu", @"^for \(; i < count", @"^mov\.(f32|b32) (0|-3\.40282347e\+38) →|^add\.s32 → sub|^or\.b32", "the way round a loop of no passes: a sequence has at least one row"),
        (@"attention_\w+_(64|128) .*attention\.cu", @"^for \(int start", @"^setp\.lt\.s32 (→ setp\.le|1 → 2)", "asks whether a head has no column, and heads of this kernel have more than 32"),
        (@"attention\.cu", @"^(for \(int start|row_lse\[slot\])", @"^add\.s32 → sub", "corrects the quotient of negative numbers: it is 0 here"),
        (@"attention\.cu", @"^for \(int start = shape\.causal", @"^min\.s32 a, b", "queries beyond the sequence take another row's number, and are masked"),
        (@"attention|cliploss", @"", @"^shr\.s32 31 → 32|^shr\.u32 30 → 31", "rounds the quotient of negative numbers, and there are none; a shift by 32 is one by 31"),

        // Masked scores.
        (@"cliploss", @"^if \(threadIdx\.x == 0\)", @"^add\.rn\.f32 → sub", "the first addition, to 0 or of 0: x − 0 = x + 0"),
        (@"cliploss", @"^if \(threadIdx\.x != 0\) return", "^guarded bra dropped", "every thread clamps, and clamping twice is clamping"),


        // The exponential and the logarithm, inlined where results carry less than all of their digits.
        (@"cliploss", @"^(float p =|return a > 88|if \(row == start|for \(int start = 0)", @"^setp\.gt\.f32 (88\.376|→ setp\.ge)|^selp\.f32 Infinity", "e^x of what is never positive but by rounding, or of the logarithm of the scale, which is clamped to [0, ln 100]: nothing comes to the overflow"),
        (@"attention|cliploss", @"", @"(-1\.42860677e-06|0\.00137805939|0\.00837312452|-0\.121483319|0\.139814854|-0\.130310059)",
            "changes e^x or log x by at most 4e-5 of it, and that for few x: below the op's tolerance. The same lines inlined in gelu and quickgelu, whose tests see single ulp, have no such survivors"),
    ];

    private static readonly (Regex File, Regex Line, Regex Change)[] Patterns = [.. Arguments.Select(a => (new Regex(a.File), new Regex(a.Line), new Regex(a.Change)))];

    /// <summary>The argument that a change is equivalent, or null.</summary>
    /// <param name="source">A CUDA line such as <c>kernels/layernorm.cu:42</c>.</param>
    /// <param name="line">Its text.</param>
    /// <param name="entry">The kernel it was made in.</param>
    public static string? ArgumentFor(string entry, string source, string line, string change)
    {
        int place = PlaceOf(entry, source, line, change);
        return place < 0 ? null : Arguments[place].Argument;
    }

    /// <summary>The patterns and argument that none of these mutants calls for, because the kernel is not what it was.</summary>
    /// <param name="textOf">The text of a CUDA line.</param>
    public static IEnumerable<string> Idle(IEnumerable<Mutant> mutants, Func<string, string> textOf)
    {
        var called = mutants.Select(m => (m.Entry, m.Source, m.Change)).Distinct().Select(m => PlaceOf(m.Entry, m.Source, textOf(m.Source), m.Change)).ToHashSet();
        return Enumerable.Range(0, Arguments.Length).Where(i => !called.Contains(i)).Select(i => Arguments[i].ToString());
    }

    private static int PlaceOf(string entry, string source, string line, string change)
    {
        string file = entry + " " + source.Split(':')[0];
        return Array.FindIndex(Patterns, p => p.File.IsMatch(file) && p.Line.IsMatch(line) && p.Change.IsMatch(change));
    }
}
