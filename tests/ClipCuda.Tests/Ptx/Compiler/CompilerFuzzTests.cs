using FsCheck;
using FsCheck.Fluent;
using Microsoft.FSharp.Core;

namespace ClipCuda.Tests.Ptx.Compiler;

/// <summary>
/// Random programs give the same bits on the interpreter and on the compiler at 128, 256 and 512 bits. <c>CLIPCUDA_FUZZ</c> is how many
/// (`./build.sh fuzz 10000`), <c>CLIPCUDA_FUZZ_SEED</c> where they begin; a failure names its seed, and prints the smallest program that fails.
/// </summary>
public sealed class CompilerFuzzTests
{
    private const int Sample = 60;

    [Test]
    public void Compiler_gives_the_bits_of_the_interpreter()
    {
        int count = Setting("CLIPCUDA_FUZZ", Sample), seed = Setting("CLIPCUDA_FUZZ_SEED", 1);
        // The program that is running, should it take the process with it.
        string? running = count > Sample ? Path.Combine(TestContext.CurrentContext.WorkDirectory, "fuzz-running.ptx") : null;
        (FuzzProgram Program, string Difference)? smallest = null;
        int ran = 0;
        var drawn = Gen.Sized(size => Gen.Choose(0, int.MaxValue - 1).Select(start => ProgramGenerator.Generate(start, size)));
        var programs = Arb.From(drawn, ProgramShrinker.Shrink);
        var property = Prop.ForAll<FuzzProgram>(programs, program =>
        {
            ran++;
            if (running is not null) File.WriteAllText(running, program.ToString());
            if (EngineComparison.Difference(program) is not { } difference) return true;
            smallest = (program, difference);
            return false;
        });
        var replay = FSharpOption<Replay>.Some(new Replay(new Rnd((ulong)seed, 0x9E3779B97F4A7C15), FSharpOption<int>.None));
        try
        {
            Check.One(Config.QuickThrowOnFailure.WithMaxTest(count).WithStartSize(2).WithEndSize(60).WithReplay(replay).WithQuietOnSuccess(true), property);
        }
        catch (Exception) when (smallest is not null)
        {
            Assert.Fail($"CLIPCUDA_FUZZ_SEED={seed}, run {ran}: {smallest.Value.Difference}\n{smallest.Value.Program}");
        }
        Assert.That(ran, Is.EqualTo(count));
    }

    private static int Setting(string name, int otherwise)
    {
        string? text = Environment.GetEnvironmentVariable(name);
        if (string.IsNullOrEmpty(text)) return otherwise;
        return int.TryParse(text, out int number) && number > 0 ? number : throw new ArgumentException($"{name} is '{text}'; give a whole number above 0.");
    }
}
