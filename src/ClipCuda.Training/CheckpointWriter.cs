using System.Diagnostics;

namespace ClipCuda.Training;

/// <summary>
/// Writes checkpoints while the training goes on: the device is waited for only until a copy in host memory is taken. One is written at a time; the
/// next waits for it. An error of the disk is thrown at the next call.
/// </summary>
internal sealed class CheckpointWriter(CheckpointFolders folders, TrainingSnapshot snapshot)
{
    private Task _writing = Task.CompletedTask;

    /// <summary>How long the longest has taken so far, from the copy to the disk; read when none is being written.</summary>
    public TimeSpan Longest { get; private set; }

    /// <summary>The step of the checkpoint that was written or begun last; -1 before the first.</summary>
    public long Step { get; private set; } = -1;

    /// <summary>How many have been begun.</summary>
    public int Count { get; private set; }

    /// <summary>How long the training has waited for copies, and for one that was still being written when the next was due.</summary>
    public TimeSpan Waited { get; private set; }

    /// <summary>Whether one could not be written.</summary>
    public bool Failed { get; private set; }

    /// <summary>Copies what is to be saved and begins to write it.</summary>
    public void Begin(TrainingState state)
    {
        long began = Stopwatch.GetTimestamp();
        Wait();
        long copying = Stopwatch.GetTimestamp();
        snapshot.Take(state);
        (Step, Count, Waited) = (state.Step, Count + 1, Waited + Stopwatch.GetElapsedTime(began));
        _writing = Task.Run(() =>
        {
            folders.Save(state.Name, state.Score, snapshot.Write);
            var took = Stopwatch.GetElapsedTime(copying);
            if (took > Longest) Longest = took;
        });
    }

    /// <summary>Throws what has gone wrong since, without waiting.</summary>
    public void ThrowIfFailed()
    {
        if (_writing.IsCompleted) Wait();
    }

    /// <summary>Waits until everything is on disk.</summary>
    /// <exception cref="IOException">It cannot be written; what was there before is untouched.</exception>
    public void Wait()
    {
        var writing = _writing;
        _writing = Task.CompletedTask;
        try
        {
            writing.GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Failed = true;
            string last = folders.Last is { } path ? $"the last one is '{path}'" : "there is none yet";
            throw new IOException($"A checkpoint cannot be written ({e.Message.TrimEnd('.')}); {last}. Make room, then go on with --resume latest.", e);
        }
        catch
        {
            Failed = true;
            throw;
        }
    }
}
