using System.Runtime.InteropServices;

namespace ClipCuda.Cli;

/// <summary>
/// Ctrl-C (SIGINT) and SIGTERM ask to stop: the first is taken as a request, which <see cref="Token"/> passes on; a second one ends the process
/// as if nobody had asked.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;

    /// <param name="asked">Called once, at the first signal.</param>
    public StopSignals(Action asked)
    {
        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Handle(context, 128 + 2)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Handle(context, 128 + 15)),
        ];

        void Handle(PosixSignalContext context, int exitCode)
        {
            if (_source.IsCancellationRequested) return;
            context.Cancel = true;
            ExitCode = exitCode;
            _source.Cancel();
            asked();
        }
    }

    public CancellationToken Token => _source.Token;

    /// <summary>What a shell expects of a process that a signal ended: 130 or 143.</summary>
    public int ExitCode { get; private set; }

    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
        _source.Dispose();
    }
}
