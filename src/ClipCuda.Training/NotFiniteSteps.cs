using ClipCuda.Model;
using ClipCuda.Ops;

namespace ClipCuda.Training;

/// <summary>
/// Counts the steps that were skipped because the loss or a gradient was not finite, and ends a run that cannot recover: after so many in a row, or at
/// once if the weights themselves are not finite.
/// </summary>
/// <param name="most">How many in a row end the run.</param>
internal sealed class NotFiniteSteps(ClipModel model, int most)
{
    /// <summary>A line for each of the first ones, and then for one of so many.</summary>
    private const int Shown = 10, ShownOf = 100;

    private const string Advice = "use a lower learning rate (--lr), a longer warm-up (--warmup) or a smaller --grad-clip-norm";

    public long Total { get; set; }

    public int InARow { get; set; }

    /// <summary>Takes note of a step's outcome; returns a line for people if it was skipped, unless there have been many.</summary>
    /// <param name="step">Counted from 1.</param>
    /// <param name="notFinite"><see cref="StepResult.NotFinite"/>.</param>
    /// <exception cref="NotFiniteNumberException">The run cannot go on; the message says what is not finite since when.</exception>
    public string? Add(long step, string? notFinite)
    {
        if (notFinite is null)
        {
            InARow = 0;
            return null;
        }
        Total++;
        InARow++;
        if (FirstWeight() is { } weight)
            throw new NotFiniteNumberException($"Step {step}: {notFinite}, not a finite number, and the weights are not finite either ('{weight}'), so no later step can be: {Advice}, and resume from an earlier checkpoint.");
        if (InARow >= most)
            throw new NotFiniteNumberException($"Step {step}: {notFinite}, not a finite number; so it was for {InARow} steps in a row, since step {step - InARow + 1}, all of which were skipped: {Advice}.");
        return Total > Shown && Total % ShownOf != 0 ? null : $"Step {step} skipped: {notFinite}, not a finite number ({Total:N0} skipped so far)";
    }

    /// <summary>The first parameter or running statistic with a number that is not finite. Skipped steps change none, so only the first in a row looks.</summary>
    private string? FirstWeight()
    {
        if (InARow > 1) return null;
        return model.Parameters.Names.Select(name => (Name: name, Tensor: model.Parameters[name])).Concat(model.Statistics.Names.Select(name => (Name: name, Tensor: model.Statistics[name])))
            .FirstOrDefault(weight => FirstIn(weight.Tensor) is not null).Name;
    }

    /// <summary>The first number of a tensor that is not finite, or null.</summary>
    internal static float? FirstIn(Tensor tensor) => FirstIn(tensor.ToArray());

    /// <inheritdoc cref="FirstIn(Tensor)"/>
    internal static float? FirstIn(ReadOnlySpan<float> values)
    {
        foreach (float value in values)
        {
            if (!float.IsFinite(value)) return value;
        }
        return null;
    }
}
