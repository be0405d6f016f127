namespace ClipCuda.Training;

/// <summary>What one training step did.</summary>
public sealed record StepReport
{
    /// <summary>The epoch, counted from 1.</summary>
    public required int Epoch { get; init; }

    /// <summary>Steps done so far in the whole run, this one included.</summary>
    public required long Step { get; init; }

    /// <summary>Steps done so far in this epoch, this one included.</summary>
    public required int StepOfEpoch { get; init; }

    public required int StepsPerEpoch { get; init; }

    /// <summary>Samples of a step.</summary>
    public required int BatchSize { get; init; }

    /// <summary>The contrastive loss of this batch, before the update.</summary>
    public required float Loss { get; init; }

    public required float LearningRate { get; init; }

    /// <summary>What the logits were multiplied with in this step: exp of the parameter <c>logit_scale</c>.</summary>
    public required float LogitScale { get; init; }

    /// <summary>The global norm of the gradients before clipping.</summary>
    public required float GradientNorm { get; init; }

    /// <summary>Seconds from the end of the last step to the end of this one, waiting for data included.</summary>
    public required double Seconds { get; init; }

    /// <summary>Of these, seconds spent waiting for data.</summary>
    public required double DataSeconds { get; init; }

    /// <summary>The share of the time that was spent waiting for data.</summary>
    public double WaitShare => Seconds > 0 ? Math.Min(1, DataSeconds / Seconds) : 0;

    public double SamplesPerSecond => BatchSize / Seconds;
}

/// <summary>Retrieval in one direction, over all queries. Ranks count from 1, ties against the model.</summary>
/// <param name="At1">The share of queries whose right answer has rank 1; so for 5 and 10.</param>
public sealed record Recall(double At1, double At5, double At10, double MeanRank, double MedianRank)
{
    public static Recall Of(IReadOnlyCollection<int> ranks)
    {
        if (ranks.Count == 0) throw new ArgumentException("There is no query to take a recall over.");
        int[] sorted = [.. ranks.Order()];
        double Share(int most) => (double)sorted.Count(rank => rank <= most) / sorted.Length;
        double median = (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2.0;
        return new Recall(Share(1), Share(5), Share(10), sorted.Average(), median);
    }
}

/// <summary>What an evaluation found.</summary>
/// <param name="Loss">The contrastive loss, averaged over the batches by their size; each image with its first caption.</param>
public sealed record RetrievalReport(int Images, int Captions, double Loss, Recall ImageToText, Recall TextToImage)
{
    /// <summary>What decides which checkpoint is best.</summary>
    public double MeanRecallAt10 => (ImageToText.At10 + TextToImage.At10) / 2;
}
