namespace ClipCuda.Training;

/// <summary>
/// The learning rate by step, as open_clip's <c>cosine_lr</c>: up in a straight line, then down to 0 along half a cosine.
/// <code>
/// step &lt; warmup:  peak · (step + 1) / warmup
/// otherwise:      peak · (1 + cos(π · (step − warmup) / (steps − warmup))) / 2
/// </code>
/// </summary>
/// <param name="Peak">The largest value, reached when the warm-up ends.</param>
/// <param name="WarmupSteps">Steps of the warm-up; 0 starts at the peak.</param>
/// <param name="Steps">Steps of the whole run, warm-up included. The value at this step, which is never run, would be 0.</param>
public sealed record LearningRate(float Peak, long WarmupSteps, long Steps)
{
    /// <summary>The value for a step, counted from 0.</summary>
    public float At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(step, Steps);
        if (step < WarmupSteps) return (float)(Peak * ((step + 1.0) / WarmupSteps));
        double done = (double)(step - WarmupSteps) / (Steps - WarmupSteps);
        return (float)(Peak * (1 + Math.Cos(Math.PI * done)) / 2);
    }
}
