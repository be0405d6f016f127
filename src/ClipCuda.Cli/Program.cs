using System.CommandLine;
using System.CommandLine.Invocation;
using System.Reflection;
using ClipCuda.Data;

namespace ClipCuda.Cli;

/// <summary>
/// The command line: one class a command. An error is one line on the error stream, <c>error: …</c>; the exit code is 2 for a command line that
/// cannot be understood, 1 for work that failed, and 128 + the signal for a run that was stopped.
/// </summary>
internal static class Program
{
    private const int Failed = 1, UsageError = 2;

    public static int Main(string[] args) => Run(args, Console.Out, Console.Error);

    /// <summary>Runs a command line, writing to the given streams; what tests call.</summary>
    internal static int Run(string[] args, TextWriter output, TextWriter error)
    {
        var verbose = new Option<bool>("--verbose") { Description = "show where in the program an error came from", Recursive = true };
        var root = new RootCommand("Trains CLIP and uses it, with CUDA kernels written by hand, on an NVIDIA GPU or the CPU.")
        {
            verbose, TrainCommand.Create(), InferenceCommand.Create(), EvaluateCommand.Create(), EmbedCommand.Create(), TestModelCommand.Create(), ConvertCommand.Create(),
            PackCommand.Create(), VerifyCommand.Create(), ProfileCommand.Create(), DevicesCommand.Create(),
        };
        foreach (var builtIn in root.Options.OfType<VersionOption>().ToArray()) root.Options.Remove(builtIn);
        root.Options.Add(new Option<bool>("--version") { Description = "show the version", Recursive = true, Action = new ShowVersion() });

        if (args.Length == 0) args = ["--help"];
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            string what = parsed.UnmatchedTokens is [var unknown, ..] ? Unknown(unknown, parsed.CommandResult.Command, root) : parsed.Errors[0].Message;
            error.WriteLine($"error: {OneLine(what)} See '{CommandPath(parsed)} --help'.");
            return UsageError;
        }
        try
        {
            // A step is finished however long it takes; see StopSignals.
            return parsed.Invoke(new InvocationConfiguration { Output = output, Error = error, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (Exception e)
        {
            error.WriteLine(parsed.GetValue(verbose) ? $"error: {e}" : $"error: {Describe(e)}");
            return Failed;
        }
    }

    /// <summary>What is wrong with a word of the command line, and the known one that it is likely to be.</summary>
    private static string Unknown(string word, Command command, RootCommand root)
    {
        string name = word.Split('=')[0].TrimStart('-');
        bool isOption = word.StartsWith('-');
        var known = isOption
            ? command.Options.Concat(root.Options.Where(option => option.Recursive)).SelectMany(option => option.Aliases.Prepend(option.Name)).Where(other => other.StartsWith("--", StringComparison.Ordinal)).Select(other => other[2..])
            : command.Subcommands.Select(other => other.Name);
        string what = isOption ? $"unknown option '{word.Split('=')[0]}'" : command.Subcommands.Count > 0 ? $"unknown command '{word}'" : $"'{word}' belongs to no option";
        string? nearest = known.Any() ? EditDistance.Nearest(name, known) : null;
        return nearest is not null && EditDistance.Between(name, nearest) * 2 <= name.Length ? $"{what}; did you mean '{(isOption ? "--" : "")}{nearest}'?" : $"{what}.";
    }

    private static string Describe(Exception e) => OneLine(e is NullReferenceException or IndexOutOfRangeException or InvalidOperationException or InvalidCastException or KeyNotFoundException
        ? $"{e.GetType().Name}: {e.Message} This is a fault of the program; run again with --verbose to see where."
        : e.Message);

    private static string OneLine(string message) => string.Join(' ', message.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    private static string CommandPath(ParseResult parsed) => parsed.CommandResult.Command is RootCommand ? "clipcuda" : $"clipcuda {parsed.CommandResult.Command.Name}";

    private sealed class ShowVersion : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            parseResult.InvocationConfiguration.Output.WriteLine(typeof(Program).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion);
            return 0;
        }
    }
}
