namespace ClipCuda.Ptx;

public sealed record PtxParameter(string Name, int Offset, int Size);
public sealed record PtxEntry(string Name, IReadOnlyList<PtxParameter> Parameters, int StaticSharedBytes, int MaxThreadsPerBlock);
public sealed record PtxModule(string Name, IReadOnlyList<PtxEntry> Entries);
