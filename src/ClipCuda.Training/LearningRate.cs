namespace ClipCuda.Training;

/// <summary>What the learning rate does after the warm-up.</summary>
public enum LearningRateSchedule
{
    /// <summary>Down to 0 along half a cosine.</summary>
    Cosine,

    /// <summary>Stays at the peak.</summary>
    Const,

    /// <summary>Stays at the peak, then comes down over the cooldown along a power of what is left of it, as open_clip's.</summary>
    ConstCooldown,

    /// <summary>Warm-up, stable, decay: as <see cref="ConstCooldown"/> with 1 − √x, which Hägele et al. 2024 found better than a straight line.</summary>
    Wsd,
}

/// <summary>
/// The learning rate by step, as open_clip's <c>cosine_lr</c>, <c>const_lr</c> and <c>const_lr_cooldown</c>:
/// <code>
/// step &lt; warmup:            peak · (step + 1) / warmup
/// cosine:                   peak · (1 + cos(π · (step − warmup) / (steps − warmup))) / 2
/// const:                    peak
/// in the cooldown, with x = (step − (steps − cooldown)) / cooldown:
/// const-cooldown:           end + (peak − end) · (1 − x)^power
/// wsd:                      end + (peak − end) · (1 − √x)
/// </code>
/// </summary>
/// <param name="Peak">The largest value, reached when the warm-up ends.</param>
/// <param name="WarmupSteps">Steps of the warm-up; 0 starts at the peak.</param>
/// <param name="Steps">Steps of the whole run, warm-up included. The value at this step, which is never run, would be 0, or the cooldown's end.</param>
public sealed record LearningRate(float Peak, long WarmupSteps, long Steps)
{
    public LearningRateSchedule Schedule { get; init; } = LearningRateSchedule.Cosine;

    /// <summary>Steps of the cooldown, the last of the run.</summary>
    public long CooldownSteps { get; init; }

    /// <summary>What the cooldown comes down to.</summary>
    public float CooldownEnd { get; init; }

    public float CooldownPower { get; init; } = 1;

    /// <summary>The value for a step, counted from 0.</summary>
    public float At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(step, Steps);
        if (step < WarmupSteps) return (float)(Peak * ((step + 1.0) / WarmupSteps));
        double done = Math.Max(0, (double)(step - (Steps - CooldownSteps)) / Math.Max(1, CooldownSteps)); // of the cooldown
        return (float)(Schedule switch
        {
            LearningRateSchedule.Cosine => Peak * (1 + Math.Cos(Math.PI * ((double)(step - WarmupSteps) / (Steps - WarmupSteps)))) / 2,
            LearningRateSchedule.Const => Peak,
            LearningRateSchedule.ConstCooldown => CooldownEnd + ((double)Peak - CooldownEnd) * Math.Pow(1 - done, CooldownPower),
            LearningRateSchedule.Wsd => CooldownEnd + ((double)Peak - CooldownEnd) * (1 - Math.Sqrt(done)),
            _ => throw new InvalidOperationException($"There is no schedule {Schedule}."),
        });
    }
}
