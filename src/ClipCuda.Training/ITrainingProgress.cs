namespace ClipCuda.Training;

/// <summary>Who watches a run: the terminal, or a test.</summary>
public interface ITrainingProgress
{
    /// <summary>A line for people: what is used, what was skipped, what was saved.</summary>
    void Note(string line);

    /// <summary>The first step is about to begin.</summary>
    void Begin(int epochs, int stepsPerEpoch);

    void Step(StepReport step);

    /// <summary>An evaluation after an epoch, counted from 1.</summary>
    void Evaluation(int epoch, RetrievalReport report, TimeSpan duration);
}
