using System.Diagnostics;
using ClipCuda.Data;
using ClipCuda.Devices;
using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>How a run ended.</summary>
/// <param name="Evaluation">The evaluation after the last epoch; null without validation data.</param>
public sealed record TrainingSummary(string Folder, string? LastCheckpoint, string? BestCheckpoint, RetrievalReport? Evaluation);

/// <summary>
/// A whole run: data, model, memory check, epochs of steps, evaluations, checkpoints and the books. Losses and weights depend on the options
/// and the data alone, never on the number of threads or workers.
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
    private readonly CsvDataset? _valData;
    private readonly BatchSource _train;
    private readonly BatchLoader? _val;
    private readonly RetrievalEvaluation? _evaluation;
    private readonly HashSet<string> _skippedNoted = new(StringComparer.Ordinal);
    private readonly string _deviceName;
    private RunFolder? _folder;
    private RetrievalReport? _lastEvaluation;
    private bool _refusalNoted;

    /// <summary>Opens the device, reads the data and checks everything that can be known before the first step.</summary>
    /// <exception cref="ArgumentException">A setting is out of range, does not fit the data, or needs more memory than is free.</exception>
    /// <exception cref="IOException">The run folder exists, or data cannot be read.</exception>
    /// <exception cref="InvalidDataException">Data are malformed.</exception>
    public Trainer(TrainingOptions options, ITrainingProgress progress)
    {
        _progress = progress;
        try
        {
            options.Model.Validate();
            using var pretrained = options.Pretrained is null ? null : PretrainedWeights.Open(options.Pretrained, options.Model.QuickGelu);
            pretrained?.RequireFit(options.Model);
            options = options with { Name = options.Name ?? RunFolder.DefaultName(DateTime.Now, options.ModelName, options.LearningRate, options.BatchSize) };
            RunFolder.Locate(options.Logs, options.Name!);
            var device = Own(Device.Open(options.Device, options.Threads, options.Tf32));
            _options = options with { Device = device.Name, Threads = options.Threads > 0 ? options.Threads : Environment.ProcessorCount };
            _deviceName = device.Description;
            Note($"Device: {device.Announcement}");

            var tokenizer = new ClipTokenizer(Path.Combine(DataFolder.Find(), DataFolder.Merges));
            if (options.Model.Text.VocabSize < tokenizer.VocabularySize)
                throw new ArgumentException($"The vocabulary of {options.Model.Text.VocabSize} is smaller than the tokenizer's {tokenizer.VocabularySize}; use --vocab-size {tokenizer.VocabularySize}.");
            _train = Own(TrainingData.Open(options, tokenizer));
            Note($"Training data: {_train.Description}, {_train.BatchesPerEpoch} steps of {options.BatchSize} an epoch");
            if (options.ValCsv is null)
            {
                Note("Evaluation data: none, so nothing is evaluated; name some with --val-csv");
            }
            else
            {
                _valData = CsvDataset.Load(options.ValCsv, options.Csv);
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
            else if (options.Frozen != FrozenParts.None)
            {
                Note("Weights: fresh, also those of the locked tower, which keeps them as they are; name trained ones with --pretrained");
            }
            _step = Own(new TrainingStep(_model, options));
            if (_val is not null) _evaluation = new RetrievalEvaluation(_model, _step.Preprocess, _valData!, _val, options.BatchSize) { ExampleImages = ExampleImages };
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Trains to the end.</summary>
    /// <exception cref="OperationCanceledException">Asked to stop; the step was finished and the files are whole.</exception>
    /// <exception cref="NotFiniteNumberException">A loss, gradient or embedding is not finite; the checkpoints written so far are whole.</exception>
    public TrainingSummary Run(CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        _folder = Own(RunFolder.Create(_options.Logs, _options.Name!, _options.Settings()));
        foreach (string note in _notes) _folder.Log.Info(note);
        try
        {
            var schedule = new LearningRate(_options.LearningRate, _options.Warmup, (long)_options.Epochs * _train.BatchesPerEpoch);
            RetrievalReport? evaluation = null;
            _progress.Begin(_options.Epochs, _train.BatchesPerEpoch);
            for (int epoch = 1; epoch <= _options.Epochs; epoch++)
            {
                TrainEpoch(epoch, schedule, stop);
                bool last = epoch == _options.Epochs;
                evaluation = _evaluation is not null && (last || epoch % _options.ValFrequency == 0) ? Evaluate(epoch, stop) : null;
                if (last || epoch % _options.SaveFrequency == 0)
                    _folder.Checkpoints.Save(epoch, evaluation?.MeanRecallAt10, path => Checkpoint.Save(path, _model, Facts(epoch)));
                NoteSkipped();
            }
            WriteReport(evaluation);
            return new TrainingSummary(_folder.Path, _folder.Checkpoints.Last, _folder.Checkpoints.Best, evaluation);
        }
        catch (OperationCanceledException)
        {
            WriteReport(_lastEvaluation);
            _folder.Log.Warning("Stopped before the end of the run.");
            throw;
        }
        catch (Exception e)
        {
            _folder.Log.Error(e.Message);
            throw;
        }
    }

    public void Dispose()
    {
        while (_owned.TryPop(out var owned)) owned.Dispose();
    }

    private void TrainEpoch(int epoch, LearningRate schedule, CancellationToken stop)
    {
        int stepOfEpoch = 0;
        var waited = _train.Waited;
        long began = Stopwatch.GetTimestamp();
        var watch = new EpochWatch(_train, _options.Workers);
        foreach (var batch in _train.Epoch(epoch - 1))
        {
            long step = (long)(epoch - 1) * _train.BatchesPerEpoch + stepOfEpoch;
            float learningRate = schedule.At(step);
            StepResult result;
            using (batch) result = _step.Run(batch, learningRate);
            NoteRefusal();
            stepOfEpoch++;
            long ended = Stopwatch.GetTimestamp();
            var report = new StepReport
            {
                Epoch = epoch,
                Step = step + 1,
                StepOfEpoch = stepOfEpoch,
                StepsPerEpoch = _train.BatchesPerEpoch,
                BatchSize = _options.BatchSize,
                Loss = result.Loss,
                LearningRate = learningRate,
                LogitScale = result.LogitScale,
                GradientNorm = result.GradientNorm,
                Seconds = Stopwatch.GetElapsedTime(began, ended).TotalSeconds,
                DataSeconds = (_train.Waited - waited).TotalSeconds,
            };
            (began, waited) = (ended, _train.Waited);
            _folder!.Add(report);
            _folder.Log.Step(report, IsShown(report));
            _progress.Step(report);
            stop.ThrowIfCancellationRequested();
        }
        Note($"epoch {epoch}/{_options.Epochs} trained: {watch.Report()}");
    }

    /// <summary>Whether a step has a line in the log: every n-th of the run, and the last of an epoch.</summary>
    private bool IsShown(StepReport step) => step.Step % _options.LogEveryNSteps == 0 || step.StepOfEpoch == step.StepsPerEpoch;

    private RetrievalReport Evaluate(int epoch, CancellationToken stop)
    {
        long began = Stopwatch.GetTimestamp();
        var report = _evaluation!.Run(_step.Tape, stop);
        _folder!.Add(epoch, (long)epoch * _train.BatchesPerEpoch, report);
        _folder.Log.Evaluation(epoch, report);
        _lastEvaluation = report;
        _progress.Evaluation(epoch, report, Stopwatch.GetElapsedTime(began));
        return report;
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

    private Dictionary<string, long> Facts(int epoch) => new(StringComparer.Ordinal) { ["epoch"] = epoch, ["step"] = (long)epoch * _train.BatchesPerEpoch };

    /// <summary>Notes the images that were found missing or undecodable since the last time: the first few, and how many.</summary>
    private void NoteSkipped()
    {
        foreach (var (source, name) in new (BatchSource?, string)[] { (_train, _options.TrainData), (_val, _options.ValCsv ?? "") })
        {
            if (source is null) continue;
            var all = source.Skipped;
            SkippedImage[] found = [.. all.Where(skipped => _skippedNoted.Add($"{name}\n{skipped.Place}\n{skipped.Path}"))];
            foreach (var skipped in found.Take(SkippedShown)) Note($"Skipped, {skipped.Place} of '{name}': {skipped.Reason}");
            if (found.Length > SkippedShown) Note($"Skipped {found.Length - SkippedShown:N0} more");
            if (found.Length > 0) Note($"{all.Count:N0} images of '{name}' skipped so far; make that an error with --strict");
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
