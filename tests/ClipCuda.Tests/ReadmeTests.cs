using System.Text.RegularExpressions;
using ClipCuda.Data;
using ClipCuda.Tests.Cli;
using ClipCuda.Tests.Training;

namespace ClipCuda.Tests;

/// <summary>What README says is true: its commands run, its files and flags exist.</summary>
public sealed partial class ReadmeTests
{
    private const string Prefix = "dotnet run -c Release --project src/ClipCuda.Cli -- ";

    /// <summary>Makes any `train` a matter of seconds; everything else of the command stays as README has it.</summary>
    private static readonly string[] Small =
    [
        "--epochs", "1", "--image-size", "16", "--patch-size", "16", "--vision-width", "16", "--vision-layers", "1", "--vision-heads", "1",
        "--text-width", "16", "--text-layers", "1", "--text-heads", "1", "--context-length", "8", "--embed-dim", "8",
    ];

    private static readonly string Root = LayoutTests.Root;

    private static readonly string Readme = File.ReadAllText(Path.Combine(Root, "README.md"));

    private static IEnumerable<string> Commands() => CodeBlock().Matches(Readme).Select(match => match.Groups["block"].Value.Trim()).Where(block => block.StartsWith(Prefix, StringComparison.Ordinal));

    [Test]
    public void There_are_commands_to_run() => Assert.That(Commands().Count(), Is.AtLeast(3));

    [TestCaseSource(nameof(Commands))]
    public void Each_command_runs(string command)
    {
        using var data = new TinyRun();
        string[] args = command[Prefix.Length..].Split(' ');
        for (int i = 1; i < args.Length; i++)
        {
            args[i] = args[i] switch
            {
                "train.csv" => data.TrainCsv,
                "val.csv" => data.ValCsv,
                "images" => Path.Combine(DataFolder.Find(), "emoji"),
                var path when path.StartsWith("tests/", StringComparison.Ordinal) => Path.Combine(Root, path),
                var other => other,
            };
        }
        args = args[0] switch
        {
            "train" => [.. args, .. Small, .. args.Contains("--train-csv") ? (string[])["--batch-size", "4"] : [], "--logs", data.Folder.Path],
            "test-model" => [.. args, .. Small.AsSpan(2)],
            "inference" or "evaluate" or "embed" => WithCheckpoint(args, data),
            _ => args,
        };
        var run = CommandLine.Run(args);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")), run.Output);
    }

    /// <summary>A checkpoint of the tiny run in place of the one that is named or the latest; outputs go to the run's folder.</summary>
    private static string[] WithCheckpoint(string[] args, TinyRun data)
    {
        string checkpoint = TinyRun.Train(data.Options("trained")).Summary.LastCheckpoint!;
        int named = Array.IndexOf(args, "--checkpoint");
        if (named >= 0) args[named + 1] = checkpoint;
        else args = [.. args, "--checkpoint", checkpoint];
        if (args[0] == "inference" && !args.Contains("--picture")) args = [.. args, "--picture", "inference.png"];
        return [.. args.Select(arg => Path.GetExtension(arg) is ".png" or ".npy" or ".safetensors" or ".json" && !Path.IsPathRooted(arg) ? data.Folder.At(arg) : arg)];
    }

    [Test]
    public void Every_file_and_folder_that_is_named_exists()
    {
        foreach (Match match in RepositoryPath().Matches(Readme))
        {
            string path = match.Groups["path"].Value;
            Assert.That(Path.Exists(Path.Combine(Root, path)) || path.StartsWith("kernels/scale", StringComparison.Ordinal) || path.EndsWith("Scale.cs", StringComparison.Ordinal) || path.EndsWith("ScaleTests.cs", StringComparison.Ordinal), path);
        }
    }

    [Test]
    public void Every_flag_that_is_named_is_in_the_help()
    {
        string[] commands = ["train", "inference", "evaluate", "embed", "test-model", "convert", "verify", "profile", "pack"];
        string help = string.Concat(commands.Select(command => CommandLine.Run(command, "--help").Output));
        foreach (Match match in Flag().Matches(Readme.Replace(Prefix, "", StringComparison.Ordinal))) Assert.That(help, Does.Contain(match.Value));
    }

    [GeneratedRegex("^```sh\\n(?<block>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture)]
    private static partial Regex CodeBlock();

    [GeneratedRegex("`(?<path>(src|tests|kernels|data)(/[A-Za-z0-9_.]+)*)`", RegexOptions.ExplicitCapture)]
    private static partial Regex RepositoryPath();

    [GeneratedRegex("(?<=[ `(])--[a-z][a-z0-9-]+", RegexOptions.ExplicitCapture)]
    private static partial Regex Flag();
}
