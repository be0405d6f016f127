namespace ClipCuda.Training;

/// <summary>Who watches a run: the terminal, or a test.</summary>
public interface ITrainingProgress
{
    /// <summary>A line for people: what is used, what was skipped, what was saved.</summary>
    void Note(string line);

    /// <summary>The first step is about to begin, or the first after those that an earlier process has done.</summary>
    void Begin(int epochs, int stepsPerEpoch, long stepsDone);

    void Step(StepReport step);

    /// <summary>An evaluation after a step of an epoch, counted from 1.</summary>
    void Evaluation(int epoch, long step, RetrievalReport report, TimeSpan duration);

    /// <summary>A zero-shot classification after a step of an epoch.</summary>
    void ZeroShot(int epoch, long step, ClassificationReport report, TimeSpan duration);
}
