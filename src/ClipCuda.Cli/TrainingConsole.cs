using System.Diagnostics;
using ClipCuda.Training;
using Spectre.Console;

namespace ClipCuda.Cli;

/// <summary>
/// Shows a run: on a terminal with bars of the run and the epoch that are drawn anew as steps are done, elsewhere (a file, a pipe) with a line for every so many steps.
/// </summary>
internal sealed class TrainingConsole : ITrainingProgress
{
    private readonly IAnsiConsole _console;
    private readonly TextWriter _output;
    private readonly bool _live;
    private readonly int _logEveryNSteps;
    private readonly Stopwatch _time = new();
    private ProgressTask? _task, _epochTask;
    private double _seconds, _waited; // since the last line
    private int _epochs, _stepsPerEpoch;
    private long _steps, _stepsBefore;

    // Columns of a terminal: what the numbers beside the bar take at most, and the bar's own.
    private const int NumbersWidth = 76, LeastBarWidth = 4, MostBarWidth = 40;

    /// <param name="live">Whether <paramref name="output"/> is a terminal.</param>
    public TrainingConsole(TextWriter output, bool live, int logEveryNSteps)
    {
        _output = output;
        _live = live;
        _logEveryNSteps = logEveryNSteps;
        _console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) });
    }

    /// <summary>Runs the training, with a progress line below its notes if this is a terminal.</summary>
    public T Show<T>(Func<T> training)
    {
        if (!_live) return training();
        return _console.Progress()
            .AutoClear(true)
            .Columns(new ProgressBarColumn { Width = Math.Clamp(_console.Profile.Width - NumbersWidth, LeastBarWidth, MostBarWidth) }, new TaskDescriptionColumn { Alignment = Justify.Left })
            .Start(context =>
            {
                _task = context.AddTask("first step", autoStart: false, maxValue: 1);
                _epochTask = context.AddTask("epoch", autoStart: false, maxValue: 1);
                try
                {
                    return training();
                }
                finally
                {
                    _task.StopTask();
                    _epochTask.StopTask();
                    _task = _epochTask = null;
                }
            });
    }

    public void Note(string line)
    {
        if (_live) _console.MarkupLineInterpolated($"{line}");
        else _output.WriteLine(line);
    }

    public void Begin(int epochs, int stepsPerEpoch, long stepsDone)
    {
        (_epochs, _stepsPerEpoch, _steps, _stepsBefore) = (epochs, stepsPerEpoch, (long)epochs * stepsPerEpoch, stepsDone);
        _time.Restart();
        if (_task is null) return;
        _task.MaxValue = _steps;
        _task.StartTask();
        _epochTask!.MaxValue = stepsPerEpoch;
        _epochTask.StartTask();
    }

    public void Step(StepReport step)
    {
        _seconds += step.Seconds;
        _waited += step.DataSeconds;
        bool due = step.Step % _logEveryNSteps == 0 || step.Step == _steps;
        if (_task is not null)
        {
            _task.Value = step.Step;
            _task.Description = Markup.Escape(Line(step));
            _epochTask!.Value = step.StepOfEpoch;
            _epochTask.Description = $"epoch {step.Epoch}/{_epochs} step {step.StepOfEpoch}/{step.StepsPerEpoch}";
        }
        else if (due)
        {
            _output.WriteLine(Line(step));
        }
        if (due) (_seconds, _waited) = (0, 0);
    }

    public void Evaluation(int epoch, long step, RetrievalReport report, TimeSpan duration) =>
        Note($"{At(epoch, step)} evaluated: loss {report.Loss:F3}, R@1/5/10 image→text {Percent(report.ImageToText)} %, text→image {Percent(report.TextToImage)} % ({duration.TotalSeconds:F1} s)");

    public void ZeroShot(int epoch, long step, ClassificationReport report, TimeSpan duration) =>
        Note($"{At(epoch, step)} zero-shot: top-1 {100 * report.Acc1:F1} %{(report.Acc5 is { } acc5 ? $", top-5 {100 * acc5:F1} %" : "")} of {report.Images:N0} images in {report.Classes:N0} classes ({duration.TotalSeconds:F1} s)");

    /// <summary>The last evaluation as a table, how long it took, and where the results are.</summary>
    public void Finish(TrainingSummary summary)
    {
        if (summary.Evaluation is { } report) _console.Write(RetrievalTable.Of(report));
        _output.WriteLine($"{(summary.Finished ? "Trained in" : "Stopped after")} {Duration(_time.Elapsed)}.");
        _output.WriteLine($"Results: {summary.Folder} (report.html, curves.png, metrics.csv, tensorboard, out.log, params.txt)");
        _output.WriteLine($"Checkpoint: {summary.LastCheckpoint}" + (summary.BestCheckpoint is { } best && best != summary.LastCheckpoint ? $" (best: {best})" : ""));
    }

    private string Line(StepReport step)
    {
        var left = _time.Elapsed / (step.Step - _stepsBefore) * (_steps - step.Step);
        return $"epoch {step.Epoch}/{_epochs} step {step.Step}/{_steps} loss {step.Loss:F3} scale {step.LogitScale:F1} {step.SamplesPerSecond:F0}/s wait {(_seconds > 0 ? _waited / _seconds : 0):P1} ETA {Duration(left)}";
    }

    private string At(int epoch, long step) => $"epoch {epoch}/{_epochs}{(step == (long)epoch * _stepsPerEpoch ? "" : $" step {step}/{_steps}")}";

    private static string Percent(Recall recall) => $"{100 * recall.At1:F1}/{100 * recall.At5:F1}/{100 * recall.At10:F1}";

    private static string Duration(TimeSpan time) => time.TotalHours >= 1 ? $"{(int)time.TotalHours}h{time.Minutes:00}m" : time.TotalMinutes >= 1 ? $"{time.Minutes}m{time.Seconds:00}s" : $"{time.Seconds}s";
}
