using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>Reports with round numbers, for tests of what writes them.</summary>
internal static class Examples
{
    public static StepReport Step { get; } = new()
    {
        Epoch = 1,
        Step = 10,
        StepOfEpoch = 10,
        StepsPerEpoch = 24,
        BatchSize = 128,
        Loss = 4.75f,
        LearningRate = 5e-4f,
        LogitScale = 14.2857f,
        GradientNorm = 2.5f,
        Seconds = 0.5,
        DataSeconds = 0.0125,
    };

    public static ClassificationReport Classification { get; } = new(Images: 24, Classes: 6, Acc1: 0.625, Acc5: 0.875, MeanPerClassRecall: 0.5);

    public static RetrievalReport Evaluation { get; } =
        new(Images: 1346, Captions: 2692, Loss: 3.25, new Recall(0.125, 0.25, 0.5, 33.5, 12), new Recall(0.0625, 0.375, 0.75, 44.25, 9.5));
}
