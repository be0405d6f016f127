using System.Diagnostics;
using System.Globalization;
using ClipCuda.Tests.Data;
using ClipCuda.Tests.SoftCuda;

namespace ClipCuda.Tests.GpuPack;

/// <summary>The report of the GPU pack, as its <c>run</c> makes it, on a soft GPU and with a compute-sanitizer that is a script: its memcheck finds nothing, its racecheck something.</summary>
public sealed class GpuReportTests
{
    private const string Sanitizer = """
        #!/bin/sh
        # --tool TOOL --error-exitcode 99 PROGRAM ARGUMENTS
        echo "========= COMPUTE-SANITIZER"
        if [ "$2" = racecheck ]; then
            echo "========= Error: Race reported between Read access and Write access"
            exit $4
        fi
        shift 4
        "$@"
        """;

    private TemporaryFolder _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public void Every_part_runs_on_the_GPU_and_what_fails_is_told()
    {
        SoftGpu.Require();
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(_folder.Write("compute-sanitizer", Sanitizer), UnixFileMode.UserRead | UnixFileMode.UserExecute);
        string path = _folder.At("report.md");
        var (exitCode, output, error) = Start(GpuReport.Verb, "--small", "--output", path);
        string report = File.ReadAllText(path);
        Assert.That((exitCode, error), Is.EqualTo((1, "")), output + report);
        Assert.That(report, Does.StartWith("# ClipCuda on Soft GPU 0\n").And.Contain("compute capability 8.0").And.Contain("driver for CUDA 12.4, cuBLAS 13.1.2"));

        var rows = report.Split('\n').Where(line => line.StartsWith('|')).Skip(2).Select(line => line.Split('|', StringSplitOptions.TrimEntries)).ToDictionary(cells => cells[1], cells => cells[2..5]);
        Assert.That(rows.Keys, Is.EqualTo(new[]
        {
            "Kernels: forward and gradients against float64", "Golden numbers of PyTorch and OpenAI's code", "Gradients of whole models, recorded steps", "Training",
            "A training step, float32", "A training step, TF32", "compute-sanitizer memcheck", "compute-sanitizer racecheck",
        }));
        foreach (var (part, cells) in rows)
        {
            bool races = part.EndsWith("racecheck", StringComparison.Ordinal);
            Assert.That(cells[1], Is.EqualTo(races ? "1" : "0"), $"{part}, failed");
            Assert.That(int.Parse(cells[0], CultureInfo.InvariantCulture), races ? Is.Zero : Is.Positive, $"{part}, passed");
        }
        Assert.That(int.Parse(rows["Golden numbers of PyTorch and OpenAI's code"][0], CultureInfo.InvariantCulture), Is.AtLeast(4), "a folder a test, on cuda alone");
        Assert.That(report, Does.Contain("## Failed: compute-sanitizer racecheck\n\n- exit code 99\n").And.Contain("\n========= Error: Race reported"));
        Assert.That(report, Does.Match(@"(?m)^epoch 1/1 evaluated: loss \d").And.Match(@"(?m)^adamw_step .* \d+%$").And.Contain("\nThat is ").And.Contain("cuBLAS 13.1.2, TF32\n"));
        Assert.That(output, Does.EndWith($"the report is {path}\n").And.Contain("compute-sanitizer racecheck: 0 passed, 1 failed"));
    }

    [Test]
    public void What_is_no_flag_or_no_test_is_an_error()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Start(GpuReport.Verb, "--quick"), Is.EqualTo((2, "", "error: '--quick' is no flag of gpu-report; there are --small and --output FILE.\n")));
            Assert.That(Start(TestRun.Verb, "NoSuchClass"), Is.EqualTo((1, "", "error: No class of tests matches 'NoSuchClass'.\n")));
        });
    }

    /// <summary>Runs the tests' executable, which finds the folder's programs first.</summary>
    private (int ExitCode, string Output, string Error) Start(params string[] arguments)
    {
        var info = new ProcessStartInfo("dotnet", [typeof(GpuReport).Assembly.Location, .. arguments]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        info.Environment[Program.SoftVariable] = "1";
        info.Environment["PATH"] = _folder.Path + Path.PathSeparator + info.Environment["PATH"];
        using var process = Process.Start(info)!;
        var output = process.StandardOutput.ReadToEndAsync();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output.Result.ReplaceLineEndings("\n"), error.ReplaceLineEndings("\n"));
    }
}
