namespace ClipCuda.Training;

/// <summary>The last value and the mean of all since the last reset, as open_clip's log shows both.</summary>
internal sealed class RunningMean
{
    private double _sum;
    private long _count;

    public double Last { get; private set; }

    public double Mean => _count == 0 ? 0 : _sum / _count;

    public void Add(double value)
    {
        Last = value;
        _sum += value;
        _count++;
    }

    public void Reset() => (_sum, _count) = (0, 0);
}
