using System.Collections.Concurrent;
using ClipCuda.Devices;
using ClipCuda.Ops;
using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>How a mutant fared.</summary>
internal enum Fate
{
    /// <summary>A result was wrong.</summary>
    Compared,

    /// <summary>A check of <c>cpu:check</c>: an access out of bounds or misaligned, a race, an uninitialised read, a divergent barrier.</summary>
    Checked,

    /// <summary>The watchdog: it would not end.</summary>
    Stopped,

    /// <summary>All tests that execute the instruction pass.</summary>
    Survived,

    /// <summary>No test executes the instruction.</summary>
    Unreached,
}

internal sealed record MutationResult(Mutant Mutant, Fate Fate)
{
    public bool IsKilled => Fate is Fate.Compared or Fate.Checked or Fate.Stopped;
}

/// <summary>
/// Alters the kernels of one module, an instruction at a time, and runs the op's tests on each mutant: those that execute the instruction, the quickest
/// first, until one fails; first checked, and if all pass on the compiler.
/// </summary>
internal sealed class MutationRun(string module)
{
    private readonly string _text = KernelLibrary.ReadPtx(module);
    private readonly IReadOnlyList<OpCase> _cases = OpCase.Of(module);

    /// <summary>All mutants of the module.</summary>
    public IReadOnlyList<Mutant> Mutants { get; } = [.. PtxModule.Parse(KernelLibrary.ReadPtx(module), module).Entries.SelectMany(Mutations.Of)];

    /// <summary>Runs mutants on all cores; results in their order.</summary>
    public MutationResult[] Run(IReadOnlyList<Mutant> mutants, Action<MutationResult>? done = null)
    {
        var results = new MutationResult[mutants.Count];
        var errors = new ConcurrentQueue<Exception>();
        int next = -1;
        var threads = Enumerable.Range(0, Environment.ProcessorCount).Select(_ => new Thread(Work)).ToArray();
        foreach (var thread in threads) thread.Start();
        foreach (var thread in threads) thread.Join();
        if (errors.TryPeek(out var error)) throw new InvalidOperationException(error.Message, error);
        return results;

        void Work()
        {
            try
            {
                var copy = PtxModule.Parse(_text, module);
                var killers = new Dictionary<string, OpCase>(StringComparer.Ordinal);
                for (int i = Interlocked.Increment(ref next); i < mutants.Count && errors.IsEmpty; i = Interlocked.Increment(ref next))
                {
                    results[i] = new MutationResult(mutants[i], FateOf(mutants[i], copy, killers));
                    done?.Invoke(results[i]);
                }
            }
            catch (Exception exception)
            {
                errors.Enqueue(exception);
            }
        }
    }

    /// <param name="killers">For each entry the case that killed its last mutant: the likeliest to kill the next.</param>
    private Fate FateOf(Mutant mutant, PtxModule module, Dictionary<string, OpCase> killers)
    {
        var instructions = module.Entries.Single(e => e.Name == mutant.Entry).Instructions;
        var original = instructions[mutant.Index];
        instructions[mutant.Index] = mutant.Replacement;
        try
        {
            var killer = killers.GetValueOrDefault(mutant.Entry);
            OpCase[] cases = [.. _cases.OrderBy(c => c == killer ? 0 : c.Seconds).Where(c => c.Executes(mutant))];
            foreach (var test in cases)
            {
                if (test.Run(module) is not { } failure) continue;
                killers[mutant.Entry] = test;
                return FateBy(failure, mutant);
            }
            // The interpreter runs four warps in step, so that of these none is ahead where a barrier is missing, and several may do what is one's to do;
            // the compiler runs one after another. Its accesses are those that have just been found in bounds.
            var compiled = WithMutant(mutant);
            foreach (var test in cases)
            {
                if (test.RunCompiled(compiled) is { } failure) return FateBy(failure, mutant);
            }
            return cases.Length > 0 ? Fate.Survived : Fate.Unreached;
        }
        finally
        {
            instructions[mutant.Index] = original;
        }
    }

    /// <summary>A module of its own: what the compiler makes of an entry, it keeps.</summary>
    private PtxModule WithMutant(Mutant mutant)
    {
        var copy = PtxModule.Parse(_text, module);
        copy.Entries.Single(e => e.Name == mutant.Entry).Instructions[mutant.Index] = mutant.Replacement;
        return copy;
    }

    private static Fate FateBy(Exception failure, Mutant mutant) => failure switch
    {
        PtxException stopped when stopped.Message.Contains("still running after", StringComparison.Ordinal) => Fate.Stopped,
        PtxException loaded when loaded.Message.EndsWith($"(kernel {mutant.Entry}).", StringComparison.Ordinal) => throw new InvalidOperationException($"{mutant} is no PTX: {loaded.Message}"),
        PtxException or DeviceException => Fate.Checked,
        AssertionException or MultipleAssertException => Fate.Compared,
        _ => throw new InvalidOperationException($"{mutant}: {failure.Message}", failure),
    };
}
