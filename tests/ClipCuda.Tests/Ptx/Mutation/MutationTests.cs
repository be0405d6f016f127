using System.Diagnostics;
using System.Globalization;
using ClipCuda.Ops;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>
/// The tests of the ops find mistakes in kernels: each mutant fails but those that are argued to be the same kernel. Here a seeded sample;
/// `./build.sh mutate [kernel]` runs all of them (<c>CLIPCUDA_MUTATE</c> is the kernel, or <c>all</c>; <c>CLIPCUDA_MUTATE_MOST</c> how many of each, by a fixed seed) and writes RESULTS.md.
/// </summary>
public sealed class MutationTests
{
    /// <summary>Kernels whose tests are quick, a few mutants each.</summary>
    private static readonly string[] Quick = ["gatherrows", "residual", "quickgelu", "l2normalize"];

    private const int Sample = 20;

    [TestCaseSource(nameof(Quick))]
    public void A_sample_of_mutants_is_killed(string module)
    {
        var run = new MutationRun(module);
        var mutants = Draw(run.Mutants, Sample);
        Assert.That(Unexplained(run.Run(mutants)), Is.Empty);
    }

    [Test]
    public void Each_argument_is_about_kernels_as_they_are()
    {
        var lines = new Dictionary<string, string>(StringComparer.Ordinal);
        var mutants = KernelLibrary.ModuleNames.SelectMany(m => PtxModule.Parse(KernelLibrary.ReadPtx(m), m).Entries).SelectMany(Mutations.Of);
        Assert.That(Equivalents.Idle(mutants, TextOf), Is.Empty, "Equivalents.cs argues about mutants that there are not; remove these lines, or make them match the kernel");

        string TextOf(string source)
        {
            if (!lines.TryGetValue(source, out string? text)) lines.Add(source, text = SourceLine(source));
            return text;
        }
    }

    [Test, Explicit("hours: ./build.sh mutate runs it")]
    public void All_mutants()
    {
        string? asked = Environment.GetEnvironmentVariable("CLIPCUDA_MUTATE");
        if (string.IsNullOrEmpty(asked)) asked = "all";
        int most = Environment.GetEnvironmentVariable("CLIPCUDA_MUTATE_MOST") is { Length: > 0 } number ? int.Parse(number, CultureInfo.InvariantCulture) : int.MaxValue;
        string[] modules = asked == "all" ? [.. KernelLibrary.ModuleNames.OrderBy(m => KernelLibrary.ReadPtx(m).Length)] : [asked!];
        Assert.That(modules, Is.SubsetOf(KernelLibrary.ModuleNames), "kernels");
        string path = Path.Combine(LayoutTests.Root, "tests/ClipCuda.Tests/Ptx/Mutation/RESULTS.md");
        var all = new List<MutationResult>();
        foreach (string module in modules)
        {
            long start = Stopwatch.GetTimestamp();
            var run = new MutationRun(module);
            var mutants = Draw(run.Mutants, most);
            TestContext.Progress.WriteLine($"{module}: {mutants.Count} of {run.Mutants.Count} mutants");
            int done = 0;
            var results = run.Run(mutants, result =>
            {
                foreach (string survivor in Unexplained([result])) TestContext.Progress.WriteLine(survivor);
                if (Interlocked.Increment(ref done) % 100 == 0) TestContext.Progress.WriteLine($"{module}: {done} after {Stopwatch.GetElapsedTime(start).TotalSeconds:0} s");
            });
            File.WriteAllText(path, MutationReport.Update(File.Exists(path) ? File.ReadAllText(path) : "", module, results, run.Mutants.Count, SourceLine));
            TestContext.Progress.WriteLine($"{module}: {results.Count(r => r.IsKilled)} of {results.Length} killed in {Stopwatch.GetElapsedTime(start).TotalSeconds:0} s");
            all.AddRange(results);
        }
        Assert.That(Unexplained(all), Is.Empty);
    }

    /// <summary>Survivors that nobody has argued to be equivalent.</summary>
    private static IEnumerable<string> Unexplained(IEnumerable<MutationResult> results) =>
        results.Where(r => !r.IsKilled && Equivalents.ArgumentFor(r.Mutant.Entry, r.Mutant.Source, SourceLine(r.Mutant.Source), r.Mutant.Change) is null).Select(r => $"{r.Fate}: {r.Mutant}");

    /// <summary>Some, by a fixed seed, in their order.</summary>
    private static List<Mutant> Draw(IReadOnlyList<Mutant> mutants, int most)
    {
        if (mutants.Count <= most) return [.. mutants];
        int[] order = [.. Enumerable.Range(0, mutants.Count)];
        new Random(1).Shuffle(order);
        return [.. order[..most].Order().Select(i => mutants[i])];
    }

    /// <summary>The text of a CUDA line such as <c>kernels/layernorm.cu:42</c>.</summary>
    private static string SourceLine(string source)
    {
        string[] parts = source.Split(' ')[0].Split(':');
        string path = Path.Combine(LayoutTests.Root, parts[0]);
        return parts.Length == 2 && File.Exists(path) ? File.ReadLines(path).ElementAtOrDefault(int.Parse(parts[1], CultureInfo.InvariantCulture) - 1)?.Trim() ?? "" : "";
    }
}
