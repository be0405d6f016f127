using System.Text.Json;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>
/// Where a run stands: with the weights and the optimizer's moments, all that the rest of the run depends on. Order, captions and crops are
/// functions of seed, epoch and sample, and the learning rate one of the step, so the step says where each of them is. A checkpoint holds it as
/// <c>training.json</c>.
/// </summary>
public sealed record TrainingState
{
    public const string FileName = "training.json";

    /// <summary>Steps done, those that were skipped included.</summary>
    public required long Step { get; init; }

    public required int StepsPerEpoch { get; init; }

    /// <summary>Samples of a step.</summary>
    public required int BatchSize { get; init; }

    /// <summary>Samples of an epoch, those of the last incomplete batch included.</summary>
    public required int Samples { get; init; }

    public required int Seed { get; init; }

    /// <summary>Updates of the optimizer, which its bias correction counts.</summary>
    public int OptimizerSteps { get; init; }

    /// <summary>Steps that were skipped because a number was not finite, and of these the last ones in a row.</summary>
    public long SkippedSteps { get; init; }

    /// <inheritdoc cref="SkippedSteps"/>
    public int SkippedInARow { get; init; }

    /// <summary>An evaluation is due at this step and has not been done.</summary>
    public bool EvaluationDue { get; init; }

    /// <summary>What the evaluation at this step found for <see cref="CheckpointFolders"/>; null without one.</summary>
    public double? Score { get; init; }

    /// <summary>Epochs done.</summary>
    public long Epoch => Step / StepsPerEpoch;

    /// <summary>The name of this state's checkpoint: <c>epoch_K</c> after an epoch, <c>step_N</c> within one.</summary>
    public string Name => Step % StepsPerEpoch == 0 ? $"epoch_{Epoch}" : $"step_{Step}";

    /// <summary>Whether a run of so many epochs has nothing left to do.</summary>
    public bool IsEnd(int epochs) => Step >= (long)epochs * StepsPerEpoch && !EvaluationDue;

    /// <exception cref="FileNotFoundException">The folder is no checkpoint of a run.</exception>
    /// <exception cref="InvalidDataException">The file is damaged; the message names it.</exception>
    public static TrainingState Read(string checkpoint)
    {
        string path = Path.Combine(checkpoint, FileName);
        if (!File.Exists(path)) throw new FileNotFoundException($"'{checkpoint}' has no {FileName}, so a run cannot go on from it; begin a new one from its weights with --pretrained.", path);
        try
        {
            using var json = JsonFile.Read(path);
            var root = json.RootElement;
            var state = new TrainingState
            {
                Step = root.GetProperty("step").GetInt64(),
                StepsPerEpoch = root.GetProperty("steps_per_epoch").GetInt32(),
                BatchSize = root.GetProperty("batch_size").GetInt32(),
                Samples = root.GetProperty("samples").GetInt32(),
                Seed = root.GetProperty("seed").GetInt32(),
                OptimizerSteps = root.GetProperty("optimizer_steps").GetInt32(),
                SkippedSteps = root.GetProperty("skipped_steps").GetInt64(),
                SkippedInARow = root.GetProperty("skipped_in_a_row").GetInt32(),
                EvaluationDue = root.GetProperty("evaluation_due").GetBoolean(),
                Score = root.GetProperty("score") is { ValueKind: JsonValueKind.Number } score ? score.GetDouble() : null,
            };
            if (state.Step < 0 || state.StepsPerEpoch < 1) throw new FormatException($"step {state.Step} of {state.StepsPerEpoch} an epoch");
            return state;
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException($"'{path}' is damaged ({e.Message.TrimEnd('.')}); resume from another checkpoint.", e);
        }
    }

    public void Write(string checkpoint) => JsonFile.Write(Path.Combine(checkpoint, FileName), writer =>
    {
        writer.WriteNumber("step", Step);
        writer.WriteNumber("epoch", Epoch);
        writer.WriteNumber("steps_per_epoch", StepsPerEpoch);
        writer.WriteNumber("batch_size", BatchSize);
        writer.WriteNumber("samples", Samples);
        writer.WriteNumber("seed", Seed);
        writer.WriteNumber("optimizer_steps", OptimizerSteps);
        writer.WriteNumber("skipped_steps", SkippedSteps);
        writer.WriteNumber("skipped_in_a_row", SkippedInARow);
        writer.WriteBoolean("evaluation_due", EvaluationDue);
        if (Score is { } score && double.IsFinite(score)) writer.WriteNumber("score", score);
        else writer.WriteNull("score");
    });

    /// <summary>Demands that the data are walked through as they were; otherwise their position says nothing.</summary>
    /// <exception cref="ArgumentException">They are not; the message says what differs.</exception>
    public void RequireSame(TrainingState run, string checkpoint)
    {
        string[] differences =
        [
            .. Differs("--seed", Seed, run.Seed), .. Differs("the batch size", BatchSize, run.BatchSize), .. Differs("the number of samples", Samples, run.Samples),
        ];
        if (differences.Length > 0)
            throw new ArgumentException($"'{checkpoint}' cannot be resumed with other data or batches: {string.Join(", ", differences)}; give what it was trained with, or begin a new run from its weights with --pretrained.");

        static IEnumerable<string> Differs(string what, int was, int now) => was == now ? [] : [$"{what} was {was} and is {now}"];
    }
}
