using System.Diagnostics;
using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>How a run ended.</summary>
/// <param name="Evaluation">The last evaluation; null without validation data.</param>
/// <param name="Finished">False if <see cref="TrainingOptions.MaxTime"/> ended it before its last step.</param>
public sealed record TrainingSummary(string Folder, string? LastCheckpoint, string? BestCheckpoint, RetrievalReport? Evaluation, bool Finished = true);

/// <summary>
/// A whole run: data, model, memory check, epochs of steps, evaluations, checkpoints and the books. Losses and weights depend on the options
/// and the data alone, never on the number of threads or workers, nor on whether the run was stopped and went on from a checkpoint.
/// </summary>
public sealed class Trainer : IDisposable
{
    private const int SkippedShown = 3, ExampleImages = 24;

    private readonly TrainingOptions _options;
    private readonly ITrainingProgress _progress;
    private readonly Stack<IDisposable> _owned = new();
    private readonly List<string> _notes = [];
    private readonly ClipModel _model;
    private readonly TrainingStep _step;
    private readonly PairDataset? _valData;
    private readonly BatchSource _train;
    private readonly BatchLoader? _val;
    private readonly RetrievalEvaluation? _evaluation;
    private readonly ZeroShotEvaluation? _zeroShot;
    private readonly HashSet<string> _skippedNoted = new(StringComparer.Ordinal);
    private readonly string _deviceName;
    private readonly LearningRate _learningRates;
    private readonly NotFiniteSteps _notFinite;
    private readonly TimeBudget _time;
    private readonly string? _checkpoint;
    private TrainingState _state;
    private TimeSpan _longestStep, _longestEvaluation;
    private RetrievalReport? _lastEvaluation;
    private RunFolder? _folder;
    private CheckpointWriter? _writer;
    private long _firstStep;
    private bool _inStep;
    private bool _refusalNoted;

    /// <summary>Opens the device, reads the data and checks everything that can be known before the first step.</summary>
    /// <exception cref="ArgumentException">A setting is out of range, does not fit the data, or needs more memory than is free.</exception>
    /// <exception cref="IOException">The run folder exists, or data cannot be read.</exception>
    /// <exception cref="InvalidDataException">Data are malformed.</exception>
    public Trainer(TrainingOptions options, ITrainingProgress progress)
    {
        _progress = progress;
        _time = new TimeBudget(options.MaxTime, TimeProvider.System);
        try
        {
            options.Validate();
            options = options with { Name = options.Name ?? RunFolder.DefaultName(DateTime.Now, options.ModelName, options.LearningRate, options.BatchSize) };
            _checkpoint = FindCheckpoint(options);
            if (options.Mode == RunMode.Resume && _checkpoint is null) Note($"Nothing to resume: there is no checkpoint in '{Path.Combine(options.Logs, options.Name)}', so the run begins at step 0");
            using var pretrained = options.Pretrained is null || _checkpoint is not null ? null : PretrainedWeights.Open(options.Pretrained, options.Model.QuickGelu);
            pretrained?.RequireFit(options.Model);
            var device = Own(Device.Open(options.Device, options.Threads, options.Tf32));
            _options = options with { Device = device.Name, Threads = options.Threads > 0 ? options.Threads : Environment.ProcessorCount };
            _deviceName = device.Description;
            Note($"Device: {device.Announcement}");

            var tokenizer = new ClipTokenizer(Path.Combine(DataFolder.Find(), DataFolder.Merges));
            if (options.Model.Text.VocabSize < tokenizer.VocabularySize)
                throw new ArgumentException($"The vocabulary of {options.Model.Text.VocabSize} is smaller than the tokenizer's {tokenizer.VocabularySize}; use --vocab-size {tokenizer.VocabularySize}.");
            _train = Own(TrainingData.Open(options, tokenizer));
            Note($"Training data: {_train.Description}, {_train.BatchesPerEpoch} steps of {options.SamplesPerStep} an epoch");
            if (options.ValData is null)
            {
                Note("Evaluation data: none, so nothing is evaluated; name some with --val-data");
            }
            else
            {
                _valData = PairDataset.Open(options.ValData, options.Csv, options.DatasetType);
                _val = Own(new BatchLoader(_valData, tokenizer, options.ValLoader));
                Note($"Evaluation data: {_val.Description}");
            }
            NoteSkipped();

            var memory = new MemoryEstimate(_options, _train.TypicalSize(), _valData);
            string changed = Presets.All.FirstOrDefault(preset => preset.Name == options.ModelName) is { } named && named.Config != options.Model ? " changed by flags" : "";
            Note($"Model: {options.ModelName}{changed}, {memory.Parameters:N0} parameters");
            Note(memory.Check(device));
            _model = Own(new ClipModel(device, options.Model, options.WeightDecayScope, options.Frozen));
            Initialization.Apply(_model.Parameters, options.Model, options.Initialization, options.Seed);
            if (pretrained is not null)
            {
                Note($"Weights: '{pretrained.Path}'{Locked(options)}");
                foreach (string note in pretrained.FitInto(_model)) Note(note);
            }
            else if (options.Frozen != FrozenParts.None && _checkpoint is null)
            {
                Note("Weights: fresh, also those of the locked tower, which keeps them as they are; name trained ones with --pretrained");
            }
            _step = Own(new TrainingStep(_model, options));
            if (_val is not null) _evaluation = new RetrievalEvaluation(_model, _step.Preprocess, _valData!, _val, options.BatchSize) { ExampleImages = ExampleImages };
            if (options.ZeroShotData is not null)
            {
                _zeroShot = new ZeroShotEvaluation(_model, tokenizer, options);
                Note($"Zero-shot data: {_zeroShot.Description}");
            }
            _learningRates = options.LearningRates(_train.BatchesPerEpoch);
            _notFinite = new NotFiniteSteps(_model, options.MaxNotFiniteSteps);
            _state = new TrainingState { Step = 0, StepsPerEpoch = _train.BatchesPerEpoch, BatchSize = options.SamplesPerStep, Samples = _train.SampleCount, Seed = options.Seed };
            if (_checkpoint is not null) Restore(_checkpoint);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The run's folder, which exists once the run has begun.</summary>
    public string Folder => Path.Combine(_options.Logs, _options.Name!);

    /// <summary>The checkpoint at which a run that is to be resumed is finished; null if there is something left to do. Opens neither data nor device.</summary>
    /// <exception cref="InvalidDataException">The checkpoint is damaged.</exception>
    public static string? FinishedAt(TrainingOptions options) =>
        options.Name is not null && FindCheckpoint(options) is { } checkpoint && TrainingState.Read(checkpoint).IsEnd(options.Epochs) ? checkpoint : null;

    /// <summary>Trains to the end, or until <see cref="TrainingOptions.MaxTime"/> is up.</summary>
    /// <exception cref="OperationCanceledException">Asked to stop; the step was finished and a checkpoint saved.</exception>
    /// <exception cref="NotFiniteNumberException">Too many steps in a row, or an embedding, are not finite; the checkpoints written so far are whole.</exception>
    public TrainingSummary Run(CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        _folder = Own(RunFolder.Create(_options, _checkpoint));
        _writer = new CheckpointWriter(_folder.Checkpoints, new TrainingSnapshot(_model, _step.Optimizer));
        foreach (string note in _notes) _folder.Log.Info(note);
        try
        {
            _progress.Begin(_options.Epochs, _state.StepsPerEpoch, _state.Step);
            long began = Stopwatch.GetTimestamp();
            bool finished = TrainFromHere(stop);
            var trained = Stopwatch.GetElapsedTime(began);
            _writer.Wait();
            if (_notFinite.Total > 0) Note($"{_notFinite.Total:N0} of {_state.Step:N0} steps were skipped, because the loss or a gradient was not finite");
            _folder.Log.Info($"Checkpoints: {_writer.Count} written; the training waited {_writer.Waited.TotalSeconds:F3} s for them, {_writer.Waited / trained:P2} of its time");
            if (!finished) Note($"Stopped after step {_state.Step} of {_learningRates.Steps}, before --max-time is up; --resume latest goes on.");
            WriteReport(_lastEvaluation);
            return new TrainingSummary(_folder.Path, _folder.Checkpoints.Last, _folder.Checkpoints.Best, _lastEvaluation, finished);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            WriteReport(_lastEvaluation);
            _folder.Log.Warning($"Stopped after step {_state.Step} of {_learningRates.Steps}; the checkpoint is '{_folder.Checkpoints.Last}'.");
            throw;
        }
        catch (Exception e)
        {
            SaveWhatIsThere();
            _folder.Log.Error(e.Message);
            _folder.DiscardIfUnused();
            throw;
        }
    }

    public void Dispose()
    {
        while (_owned.TryPop(out var owned)) owned.Dispose();
    }

    /// <summary>Where a run that is to be resumed goes on; null: at its first step.</summary>
    private static string? FindCheckpoint(TrainingOptions options)
    {
        string folder = RunFolder.Locate(options.Logs, options.Name!, options.Mode);
        return options.Mode == RunMode.Resume ? options.ResumeFrom ?? CheckpointFolders.LatestOf(Path.Combine(folder, RunFolder.CheckpointsFolder)) : null;
    }

    private void Restore(string checkpoint)
    {
        var state = TrainingState.Read(checkpoint);
        state.RequireSame(_state, checkpoint);
        TrainingSnapshot.Restore(checkpoint, state, _model, _step.Optimizer);
        (_notFinite.Total, _notFinite.InARow) = (state.SkippedSteps, state.SkippedInARow);
        (_state, _firstStep) = (state, state.Step);
        Note($"Resumed: '{checkpoint}', step {state.Step} of {_learningRates.Steps}");
    }

    /// <summary>Returns whether the end was reached.</summary>
    private bool TrainFromHere(CancellationToken stop)
    {
        if (_state.EvaluationDue)
        {
            // The process was stopped between a step and its evaluation; the checkpoint of that step is the last.
            Evaluate(stop);
            _folder!.Checkpoints.UpdateLast(_state);
        }
        while (_state.Step < _learningRates.Steps)
        {
            if (!TrainEpoch(stop)) return false;
            NoteSkipped();
        }
        return true;
    }

    /// <summary>Trains what is left of an epoch; returns false if the time is up.</summary>
    private bool TrainEpoch(CancellationToken stop)
    {
        int epoch = (int)_state.Epoch, stepOfEpoch = (int)(_state.Step % _state.StepsPerEpoch);
        var waited = _train.Waited;
        long began = Stopwatch.GetTimestamp();
        var watch = new EpochWatch(_train, _options.Workers);
        foreach (var batch in _train.Epoch(epoch, stepOfEpoch))
        {
            float learningRate = _learningRates.At(_state.Step);
            StepResult result;
            _inStep = true;
            using (batch) result = _step.Run(batch, learningRate);
            NoteRefusal();
            stepOfEpoch++;
            var took = Stopwatch.GetElapsedTime(began);
            var report = new StepReport
            {
                Epoch = epoch + 1,
                Step = _state.Step + 1,
                StepOfEpoch = stepOfEpoch,
                StepsPerEpoch = _state.StepsPerEpoch,
                BatchSize = _options.SamplesPerStep,
                Loss = result.Loss,
                LearningRate = learningRate,
                LogitScale = result.LogitScale,
                GradientNorm = result.GradientNorm,
                Seconds = took.TotalSeconds,
                DataSeconds = (_train.Waited - waited).TotalSeconds,
            };
            if (took > _longestStep) _longestStep = took;
            _folder!.Add(report);
            _folder.Log.Step(report, IsShown(report));
            _progress.Step(report);
            if (_notFinite.Add(report.Step, result.NotFinite) is { } skipped) Note(skipped);
            _state = _state with { Step = report.Step, OptimizerSteps = _step.Optimizer.StepCount, SkippedSteps = _notFinite.Total, SkippedInARow = _notFinite.InARow, EvaluationDue = IsEvaluationDue(report.Step), Score = null };
            _inStep = false;
            if (!EndStep(stop)) return false;
            (began, waited) = (Stopwatch.GetTimestamp(), _train.Waited);
        }
        Note($"epoch {epoch + 1}/{_options.Epochs} trained: {watch.Report()}");
        return true;
    }

    /// <summary>Evaluates and saves if that is due after this step, and saves if the run is to stop; returns false if its time is up.</summary>
    private bool EndStep(CancellationToken stop)
    {
        _writer!.ThrowIfFailed();
        bool last = _state.Step == _learningRates.Steps, isSaveDue = last || IsSaveDue();
        if (stop.IsCancellationRequested) SaveAndStop(stop);
        if (_state.EvaluationDue)
        {
            // First, because an evaluation may take long, and the process may not live to its end.
            if (isSaveDue) Save();
            if (!_time.Allows(_longestEvaluation, SaveTime))
            {
                Save();
                return false;
            }
            try
            {
                Evaluate(stop);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                SaveAndStop(stop);
            }
            if (isSaveDue)
            {
                _writer.Wait();
                _folder!.Checkpoints.UpdateLast(_state);
            }
        }
        bool timeIsUp = !last && !_time.Allows(_longestStep, SaveTime);
        if (isSaveDue || timeIsUp) Save();
        if (!last && stop.IsCancellationRequested) SaveAndStop(stop);
        return !timeIsUp;
    }

    private bool IsEvaluationDue(long step) =>
        (_evaluation is not null || _zeroShot is not null)
        && (step == _learningRates.Steps || IsMultiple(step, (long)_options.ValFrequency * _state.StepsPerEpoch) || IsMultiple(step, _options.ValSteps));

    private bool IsSaveDue() => IsMultiple(_state.Step, (long)_options.SaveFrequency * _state.StepsPerEpoch) || IsMultiple(_state.Step, _options.SaveSteps);

    private static bool IsMultiple(long step, long interval) => interval > 0 && step % interval == 0;

    /// <summary>What a checkpoint takes; before the first, by a disk of 100 MB/s.</summary>
    private TimeSpan SaveTime => _writer!.Longest > TimeSpan.Zero ? _writer.Longest : TimeSpan.FromSeconds(3 * sizeof(float) * _model.Parameters.Count / 1e8);

    private void Save()
    {
        if (_writer!.Step != _state.Step) _writer.Begin(_state);
    }

    private void SaveAndStop(CancellationToken stop)
    {
        Save();
        _writer!.Wait();
        throw new OperationCanceledException(stop);
    }

    /// <summary>After an error between two steps, such as that images cannot be read any more, saves the steps that are done; after any, waits for the disk.</summary>
    private void SaveWhatIsThere()
    {
        try
        {
            if (!_inStep && !_writer!.Failed && _state.Step > _firstStep) Save();
            _writer!.Wait();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotFiniteNumberException or Devices.DeviceException)
        {
            // It is the first error that the user has to know of; what was saved before is whole.
            _folder!.Log.Warning(e.Message);
        }
    }

    /// <summary>Whether a step has a line in the log: every n-th of the run, and the last of an epoch.</summary>
    private bool IsShown(StepReport step) => step.Step % _options.LogEveryNSteps == 0 || step.StepOfEpoch == step.StepsPerEpoch;

    private void Evaluate(CancellationToken stop)
    {
        long began = Stopwatch.GetTimestamp(), step = _state.Step;
        int epoch = (int)((step - 1) / _state.StepsPerEpoch) + 1;
        double? score = null;
        if (_evaluation is not null)
        {
            var report = _lastEvaluation = _evaluation.Run(_step.Tape, stop);
            _folder!.Add(epoch, step, report);
            _folder.Log.Evaluation(epoch, report);
            _progress.Evaluation(epoch, step, report, Stopwatch.GetElapsedTime(began));
            score = report.MeanRecallAt10;
        }
        if (_zeroShot is not null)
        {
            long begun = Stopwatch.GetTimestamp();
            var report = _zeroShot.Run(_step, stop);
            _folder!.Add(epoch, step, report);
            _folder.Log.ZeroShot(epoch, report);
            _progress.ZeroShot(epoch, step, report, Stopwatch.GetElapsedTime(begun));
            score ??= report.Acc1;
        }
        _state = _state with { EvaluationDue = false, Score = score };
        var took = Stopwatch.GetElapsedTime(began);
        if (took > _longestEvaluation) _longestEvaluation = took;
    }

    /// <summary>Draws what there is to look at. A run whose pictures cannot be written is whole all the same.</summary>
    private void WriteReport(RetrievalReport? evaluation)
    {
        var report = new RunReport(_folder!.Path) { Evaluation = evaluation, Examples = _evaluation?.Examples ?? [], Settings = _options.Settings(), Notes = _notes, Device = _deviceName };
        try
        {
            report.Write();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            _folder.Log.Warning($"The report could not be written: {e.Message}");
            _progress.Note($"The report could not be written: {e.Message}");
        }
    }

    private static string Locked(TrainingOptions options) => (options.LockImage, options.LockText) switch
    {
        (true, true) => ", both towers locked: the temperature alone is trained",
        (true, false) => ", image tower locked",
        (false, true) => ", text tower locked",
        _ => "",
    };

    /// <summary>Notes the images that were found missing or undecodable since the last time: the first few, and how many.</summary>
    private void NoteSkipped()
    {
        foreach (var (source, name) in new (BatchSource?, string)[] { (_train, _options.TrainData), (_val, _options.ValData ?? "") })
        {
            if (source is null) continue;
            var all = source.Skipped;
            SkippedImage[] found = [.. all.Where(skipped => _skippedNoted.Add($"{name}\n{skipped.Place}\n{skipped.Path}"))];
            foreach (var skipped in found.Take(SkippedShown)) Note($"Skipped, {skipped.Place} of '{name}': {skipped.Reason}");
            if (found.Length > SkippedShown) Note($"Skipped {found.Length - SkippedShown:N0} more");
            if (found.Length > 0) Note($"{all.Count:N0} of '{name}' skipped so far; make that an error with --strict");
        }
    }

    /// <summary>Notes once that steps are slower than they could be.</summary>
    private void NoteRefusal()
    {
        if (_refusalNoted || _step.RecordingRefusal is not { } why) return;
        _refusalNoted = true;
        Note($"Steps run call by call, because the device could not record one: {why}");
    }

    private void Note(string line)
    {
        _notes.Add(line);
        _folder?.Log.Info(line);
        _progress.Note(line);
    }

    private T Own<T>(T owned)
        where T : IDisposable
    {
        _owned.Push(owned);
        return owned;
    }
}
