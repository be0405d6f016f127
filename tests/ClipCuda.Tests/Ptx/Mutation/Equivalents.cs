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
        (@"attention_forward", @"^if \(query >= shape\.sequence\) return", @"^setp\.eq\.s32", "every lane of the warp holds the number: whichever stores it, the same bits are stored"),
        (@"l2normalize|layernorm|attention|cliploss", @"^if \((threadIdx\.x % WarpSize|lane) == 0( && (query|row)( \+ slot)? < (shape\.sequence|batch))?\)", @"setp\.(eq|ne)\.s32|bra (with its|without its) guard",
            "every lane of the warp holds the number: whichever stores it, the same bits are stored"),
        (@"queryattention|preprocess_colours", @"^for \(int (s = threadIdx\.x / WarpSize|step = 0)", @"^setp\.(eq|ne)\.s32 (→|0 → 1)", "asks for lane 0 to store a sum that every lane of the warp holds"),
        (@"tile\.cuh|averagepool|convolution", @"^(tile\.last_row|for \(int row = tile\.row|int last = min)", @"^add\.s32 (16 → 17|256 → 257)", "a row or a column more than the tile has: what is stored there is what the next tile stores"),

        // Loops that run at least once.
        (@"bias|layernorm|positions|tokenembedding|preprocess|reduce", "^(for|dweight|dbias|dpositions)", @"^setp\.(ge\.s32 → setp\.gt|gt\.s32 → setp\.ge)\.s32|^guarded bra dropped|^bra without its guard|^mov\.(f32|b32) 0 → 1",
            "the way round a loop of no passes: there is at least one row, run, chunk, caption and tap, so nobody takes it"),
        (@"channelslast|meantoken|patchembedding|batchnorm|queryattention|convolution", "^for", @"^guarded bra dropped",
            "the way round a loop of no passes: there is at least one channel, place, pixel, row and tap, so nobody takes it"),
        (@"meantoken|batchnorm_(statistics|backward_partial)", "^for", @"^mov\.f32 0 → 1", "the way round a loop of no passes: there is at least one place and row, so nobody takes it"),
        (@"batchnorm", @"^for \(int r = 0", @"^bfe\.u32 30 → 31", "half the rows of a run, whose number has not as many bits"),
        (@"bias|layernorm", @"^if \(c >= (width|n)\) return", "another parameter", "the length of a run becomes the number of rows: the first run takes all of them and the others none, which is the same sum in another order"),
        (@"patchembedding", @"^for \(int i = threadIdx\.x; i < 3 \* area; i \+= 128\) out\[i\] = 0", @"mov\.b32 0 → 1", "the bits of 1 are the float 1.4e-45, which the GEMM multiplies by weights: the class token's row changes by less than its last bit"),
        (@"patchembedding", @"^for \(int x = 0", @"^setp\.lt\.s32 → setp\.le", "a pass more at the end, where no lane has a pixel left"),
        (@"convolution", @"^for \(int c = lane; .* = 0;", @"mov\.b32 0 → 1", "the bits of 1 are the float 1.4e-45, which the GEMM multiplies by weights: sums change by less than their last bit"),
        (@"convolution", @"^if \(Gradient && stride > 1\)", "^guarded bra dropped", "everything is a multiple of a stride of 1, and as often as it is large"),
        (@"convolution", @"^for \(int r = blockIdx", @"^add\.s32 (-1 → 0|→ sub)|^shr\.u32 (31 → 32|→ shl)", "halves what is next below a kernel's width, which is odd: as good as half of the width itself, and neither is negative"),
        (@"positions", @"^if \(c >= width\) return 0", @"mov\.f32 0 → 1", "nobody uses what columns beyond the width return"),

        (@"tokenembedding_backward_partial .*tokenembedding\.cu", @"^if \(first == last\) return", "^guarded bra dropped", "sums of chunks that nobody owns are 0, and nobody reads them"),

        // A second barrier behind the last use.
        (@"reduce\.cuh|batchnorm\.cu", "^__syncthreads", "bar.sync dropped", "it lets `scratch` be used again, and behind it no block of this kernel does"),
        (@"reduce\.cuh|batchnorm|cliploss|queryattention", @"^(for \(int warp = 0|if \(warp > 0|if \(threadIdx\.x == 0\)|for \(int s = threadIdx\.x; s < sequence; s \+= 128\) (weight|slope))", @"add\.rn\.f32 → sub",
            "the first addition, to 0 or of 0: x − 0 = x + 0"),
        (@"reduce\.cuh|queryattention", @"^for \(int (lane = 16|s = threadIdx\.x)", "clamp 31 → 15", "upper lanes get wrong sums, lane 0 does not, and only lane 0 stores"),

        // Boundaries between formulas that agree there.
        (@"math\.cuh", @"^(r = a < -87|return a > 88|return a < -126)", @"setp\.(lt|gt)\.f32 → setp\.(le|ge)", "differs at the one float where the exponential ends, where 0 and 1e-38, or infinity and 3e38, serve alike"),
        (@"cliploss", @"^for \(int c = lane", @"^setp\.(lt|gt)\.f32 → setp\.(le|ge)", "differs at the one float where the exponential ends, where 0 and 1e-38, or infinity and 3e38, serve alike"),
        (@"gelu", @"^return t > 6", @"setp\.gt\.f32 → setp\.ge", "differs at 6 alone, where 0 and 1e-9 are both right to 1e-9"),
        (@"gelu", @"^(DEVICE float normal_density|for \(int c|float s = fminf)", @"^min\.f32 6 → 12", "matters beyond 6 alone, where what comes of it is replaced by 0; or of NaN, where the factor u is NaN"),
        (@"gelu", @"^return u > 0", @"setp\.gt\.f32 → setp\.ge", "differs at 0, where the tail is 1/2 and so is 1 − tail"),
        (@"l2normalize", "LargestReciprocal", @"setp\.gt\.f32 → setp\.ge", "differs where r is the bound itself, which it then becomes"),
        (@"gradientnorm", @"^result\[1\] = factor > 1", @"setp\.gt\.f32 → setp\.ge", "differs where the factor is 1, which it then becomes"),
        (@"cliploss", @"^\*logit_scale = value > 4", @"setp\.gt\.f32 → setp\.ge", "differs where the value is the bound itself, which it then becomes"),
        (@"cliploss", @"^value = value < 0", @"setp\.lt\.f32 → setp\.le", "differs where the value is the bound itself, which it then becomes"),
        (@"batchnorm", @"^y\[i\] = value < least", @"setp\.lt\.f32 → setp\.le", "differs at the bound itself, which it then becomes, but for the sign of 0"),
        (@"gradientnorm", @"^float factor", @"selp\.f32 1 → 2", "the next line makes any factor above 1 into 1"),

        // The exponential of what is never positive, or never out of range.
        (@"layernorm|batchnorm", @"^float d = (in|partial)\[", @"sub\.rn\.f32 a, b", "d is squared"),
        (@"adamw", @"^float second", "abs", "second moments are sums of squares: their magnitude is themselves"),
        (@"stretch\.cuh", @"^DEVICE int lanes_before", @"^setp\.(lt|le|gt|ge)\.s64 → setp\.(lt|le|gt|ge)", "differs where exactly 0 or 32 elements are left, of which both ways round give as many"),
        (@"stretch\.cuh", @"^DEVICE int lanes_before", @"^add\.s64 → sub", "whether a stretch begins before the end is asked twice: else no lane is before it either, unless 2^31 elements lie between"),
        (@"stretch\.cuh", @"^DEVICE int lanes_before", @"^min\.s64 32 → 33", "33 lanes are all 32"),
        (@"stretch\.cuh", @"^for \(int k = 0", @"^add\.s32 -32 → -31", "k counts in steps of 32 and is asked for less than 224: 1 more changes no answer"),

        // Colours: k, a place on a circle of 6, is brought back to [0, 6) by three lines.
        (@"preprocess", @"^(float k = n|k = k)", @"^setp\.lt\.f32 (→|0 → 1)|^setp\.ge\.f32 (→ setp\.gt|6 → 12)|^add\.rn\.f32 (→ sub|6 → 12|-6 → -12)|^selp",
            "a turn too much or too little in one line is made good by the next, or was none: k of red is never negative, of green and blue never 12; and from 4 on to 6, as below 0, the channel is the same"),
        (@"preprocess", @"^if \(range == 0", "^guarded bra dropped", "of a grey pixel the fmax of a clamp makes 0 of the 0 / 0, and the range is 0: it stays what it is"),
        (@"preprocess", @"^int spans", @"^shr\.s32 31 → 32|^shr\.u32 (→ shl|27 → 28)|^add\.s32 → sub", "rounds the quotient of negative numbers, and there are none; a shift by 32 is one by 31"),

        // Attention: rows and columns beyond the sequence and beyond the head.
        (@"attention\.cu", @"^(for \(; i \+ 4 <= count|weight\[mine \+ slot\]\[lane\] = p\[slot\]|__syncthreads)", @"^bra without|^setp\.gt\.s32 → setp\.ge|^setp\.lt\.s32 (→ setp\.le|4 → 5)|^add\.s32 8 → 9", "the loop over single rows does what the loop over four leaves, in the same order"),
        (@"attention\.cu", @"^for \(int (start|first) = ", @"^setp\.lt\.s32 → setp\.le", "a tile more, which has no rows"),
        (@"attention\.cu", @"^for \(int (start = |d = 0|i = 0)", @"^setp\.(ge\.s32 → setp\.gt|le\.s32 → setp\.lt)|^guarded bra dropped|^mov\.(f32|b32) 0 → 1", "the way round a loop of no passes: there is at least one row, one column and one key left"),
        (@"attention\.cu", @"^for \(int start = ", @"^sub\.s32 → add", "asks whether own rows are left from here on, and there are: else the loop had ended"),
        (@"attention_backward", @"^for \(int first = ", @"^add\.s64 → sub", "adds the place of `own_k`, the first array of the kernel's shared memory: 0"),
        (@"attention_backward", @"^(for \(int start = shape\.causal|load_own<|tile\[mine)", @"^and\.b32 2147483616", "begins a tile earlier now and then, whose queries see none of the keys"),
        (@"attention\.cu", @"^for \(int start = shape\.causal", @"^min\.s32 a, b", "queries beyond the sequence take another row's number, and nobody uses what comes of them"),
        (@"attention_(forward|backward)_\d+ .*attention\.cu", @"^for \(int (start = |d = threadIdx)", @"^(or\.b32 -32 → -31|add\.s32 32 → 33)", "counts the columns of a head in steps of 32, and is asked for multiples of 32: 1 more changes no answer"),
        (@"attention_(forward|backward)_\d+ .*attention\.cu", @"^__syncthreads", @"^mov\.b32 -4 → -3", "counts the columns of a head in steps of 4, and is asked for multiples of 4: 1 more changes no answer"),
        (@"attention\.cu", @"^(int rows = |for \(int start)", @"^and\.b32 252 → 253", "a multiple of 4, the slots of a warp, has no such bit"),
        (@"attention\.cu", @"^(if \((first \+ mine >= shape\.sequence\) return|key < shape\.sequence\))|__syncthreads)", @"^guarded bra dropped|^setp\.ge\.s32 → setp\.gt", "a warp without rows works on copies of the last row, and nobody uses what comes of them"),
        (@"attention_backward_.*attention\.cu", @"^if \(own \+ slot < shape\.sequence\)", @"^guarded bra dropped|^setp\.ge\.s32 → setp\.gt", "the first of a warp's four queries is inside, or the loop over them had ended"),
        (@"attention_backward_.*attention\.cu", @"^for \(int i = warp_index\(\) \* Four", @"^setp\.ge\.s32 → setp\.gt|^guarded bra dropped", "four queries more, all of them beyond the sequence, whose sums nobody stores"),
        (@"attention\.cu", @"^tile\[mine \+ slot\]\[d\]", @"^mov\.(f32|b32) 0 → 1", "what fills up an own row meets a 0 of the other rows"),
        (@"attention\.cu", @"^(if \(columns == shape\.head_width|int lane = |tile\[mine)", @"^setp\.gt\.s32 (31 → 32|→ setp\.ge)", "clears what is then loaded, or clears no tile of 31 rows, which are loaded in fours"),
        (@"attention\.cu", @"^if \(columns == shape\.head_width", "^guarded bra dropped", "clears what is then loaded"),
        (@"attention_(forward|backward)_\d+ .*attention\.cu", @"^for \(int d = threadIdx\.x % WarpSize; d < shape\.head_width; d \+= WarpSize\) \*\(float4", @"^setp\.lt\.u32 (→ setp\.le|\d+ → \d+)",
            "lane 0 loads a column more, of what is behind in qkv, into the array behind, where it is stored over before anyone reads it"),
        (@"attention\.cu", @"^int columns = ", @"^and\.b32 \d+ → \d+|^add\.s32 3 → 4", "clears up to four columns more, at the most one behind the tile"),
        (@"attention\.cu", @"^(if \(first \+ mine >= shape\.sequence\) return|load_own<|tile\[mine \+ slot\]\[d\])", @"^min\.s32 a, b", "the first of a warp's own rows is inside, or the warp had returned"),
        (@"attention_(forward|backward)_\d+ .*attention\.cu", @"^for \(int d = warp_index", @"^setp\.lt\.s32 (→ setp\.le|\d+ → \d+)|^st\.shared\.u32 4 bytes further", "a row more than the tile has, of an array that is filled later; or one place further in each, of which the first is always loaded"),
        (@"attention\.cu", @"^for \(int d = warp_index", @"^guarded bra dropped|^setp\.(ge\.s32 → setp\.gt|gt\.s32 (→ setp\.ge|\d+ → \d+))", "a warp without columns clears one of those that the tile has and the head has not; only narrow heads leave one without"),

        // Masked scores.
        (@"attention\.cu", @"^(float product = |for \(int start = 0)", @"^(selp|mov)\.f32 -3\.40282347e\+38 → -Infinity", "2^−∞ is as much 0 as that of the lowest float, and some key is seen"),
        (@"cliploss", @"^for \(int c = threadIdx", @"^mov\.b32 -246811958", "−10³⁰ or −10²¹: of either the exponential is 0 at every scale from 1 on"),
        (@"cliploss|queryattention", @"^(if \(inside\)|for \(int (c = lane|row = warp|s = threadIdx\.x))", @"^mov\.f32 -3\.40282347e\+38 →", "what the largest of numbers is begun with: there is one at least, and no float is below the lowest"),
        (@"queryattention", @"^for \(int s = threadIdx\.x / WarpSize", @"^mov\.f32 0 → 1", "all scores of a head are 32 times the scale larger, and the softmax the same; of products with the gradient their mean is subtracted"),
        (@"queryattention_backward", @"^for \(int d = threadIdx", @"^setp\.lt\.s32 (→ setp\.le|1 → 2)", "the sum over one row is taken for none, 0: and the gradient of the one score is 0"),
        (@"cliploss", @"^if \(threadIdx\.x != 0\) return", "^guarded bra dropped", "every thread clamps, and clamping twice is clamping"),

        // The exponential and the logarithm, inlined where results carry less than all of their digits.
        (@"cliploss|queryattention", @"^(return a > 88|for \(int c = lane)", @"^setp\.gt\.f32 (88\.376|→ setp\.ge)|^selp\.f32 Infinity", "e^x of what is never positive but by rounding, or of the logarithm of the scale, which is clamped to [0, ln 100]: nothing comes to the overflow"),
        (@"cliploss|queryattention", @"", @"(-1\.42860677e-06|0\.00137805939|0\.00837312452|-0\.121483319|0\.139814854|-0\.130310059)",
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
