using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace ClipCuda.Model;

/// <summary>
/// Reads and writes safetensors: 8 bytes of header length (little-endian), a JSON header (<see cref="SafetensorsHeader"/>), then the tensors. The
/// header is read and checked when the file is opened. Small tensors are read where the file is mapped, long ones a piece at a time: a page
/// fault every 4 KiB costs more than the system's copy (a ViT-B/32 of 605 MB: 0.27 s of a core mapped, 0.12 s through a buffer, 0.09 s to
/// where the bytes belong). Either way no tensor takes memory of the process's own. Used by one thread at a time.
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private const int PrefixBytes = 8, BufferBytes = 1 << 18;

    private readonly string _path;
    private readonly long _dataStart;
    private readonly List<SafetensorsEntry> _entries;
    private readonly Dictionary<string, SafetensorsEntry> _byName;
    private readonly FileStream _stream;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte[]? _buffer;

    private SafetensorsFile(string path, FileStream stream, long dataStart, List<SafetensorsEntry> entries)
    {
        (_path, _stream, _dataStart, _entries) = (path, stream, dataStart, entries);
        _byName = entries.ToDictionary(entry => entry.Name, StringComparer.Ordinal);
        _file = MemoryMappedFile.CreateFromFile(stream, null, stream.Length, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        _view = _file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
    }

    /// <summary>The tensors in the order of the header.</summary>
    public IReadOnlyCollection<SafetensorsEntry> Entries => _entries;

    /// <summary>Reads and checks the header.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">The file is not what it claims to be, or a PyTorch pickle; the message names the file and the tensor.</exception>
    public static SafetensorsFile Open(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"There is no weights file '{path}'.", path);
        var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        try
        {
            long length = stream.Length;
            Span<byte> start = stackalloc byte[PrefixBytes + 1];
            start = start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
            RefusePickle(path, start);
            if (start.Length < PrefixBytes) throw Error(path, $"is {length} bytes long, too short for a safetensors file");
            ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(start);
            if (headerBytes > SafetensorsHeader.MaxBytes || (long)headerBytes > length - PrefixBytes)
                throw Error(path, $"claims a header of {headerBytes} bytes, the file has {length}; it is cut off or no safetensors file");
            var header = new byte[headerBytes];
            stream.Position = PrefixBytes;
            stream.ReadExactly(header);
            long dataStart = PrefixBytes + (long)headerBytes;
            return new SafetensorsFile(path, stream, dataStart, SafetensorsHeader.Read(path, header, length - dataStart));
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    public bool Contains(string name) => _byName.ContainsKey(name);

    public SafetensorsEntry this[string name] =>
        _byName.TryGetValue(name, out var entry) ? entry : throw Error(_path, $"holds no tensor '{name}'");

    /// <summary>A tensor, to be read while the file is open.</summary>
    public WeightTensor Tensor(string name)
    {
        var entry = this[name];
        return new WeightTensor(name, entry.Type, entry.Shape, take => Read(entry, take), entry.Bytes > BufferBytes ? (offset, bytes) => ReadAt(entry, offset, bytes) : null);
    }

    /// <summary>The numbers of an F32, F16 or BF16 tensor.</summary>
    public float[] ReadFloats(string name) => Tensor(name) is { IsFloat: true } tensor ? tensor.ToFloats() : throw WrongType(name, "F32, F16 or BF16");

    /// <summary>The numbers of an I32 tensor.</summary>
    public int[] ReadIntegers(string name)
    {
        var entry = this[name];
        if (entry.Type != "I32") throw WrongType(name, "I32");
        var values = new int[entry.Bytes / sizeof(int)];
        int at = 0;
        Read(entry, piece =>
        {
            piece.CopyTo(MemoryMarshal.AsBytes(values.AsSpan())[at..]);
            at += piece.Length;
        });
        return values;
    }

    /// <summary>Writes float32 tensors in the order given; equal tensors give equal bytes.</summary>
    public static void Write(string path, IReadOnlyList<(string Name, int[] Shape, Func<float[]> Read)> tensors) =>
        Write(path, [.. tensors.Select(tensor => WeightTensor.Of(tensor.Name, tensor.Shape, tensor.Read))]);

    /// <summary>Writes tensors in the order given, a piece at a time; equal tensors give equal bytes.</summary>
    public static void Write(string path, IReadOnlyList<WeightTensor> tensors, params ReadOnlySpan<(string Key, string Value)> metadata)
    {
        byte[] header = SafetensorsHeader.Write(tensors, metadata), prefix = new byte[PrefixBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)header.Length);
        AtomicFile.Write(path, stream =>
        {
            stream.Write(prefix);
            stream.Write(header);
            foreach (var tensor in tensors) tensor.Read(piece => stream.Write(piece));
        });
    }

    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
        _stream.Dispose();
    }

    private void Read(SafetensorsEntry entry, Action<ReadOnlySpan<byte>> take)
    {
        if (entry.Bytes > BufferBytes) ReadThroughBuffer(entry, take);
        else if (entry.Bytes > 0) ReadMapped(entry, take);
    }

    private void ReadThroughBuffer(SafetensorsEntry entry, Action<ReadOnlySpan<byte>> take)
    {
        _buffer ??= GC.AllocateUninitializedArray<byte>(BufferBytes);
        for (long at = 0; at < entry.Bytes; at += BufferBytes)
        {
            // Pieces are of whole elements, so a buffer is filled before it is handed over.
            var piece = _buffer.AsSpan(0, (int)Math.Min(BufferBytes, entry.Bytes - at));
            ReadAt(entry, at, piece);
            take(piece);
        }
    }

    private void ReadAt(SafetensorsEntry entry, long offset, Span<byte> bytes)
    {
        for (int read = 0, more; read < bytes.Length; read += more)
        {
            more = RandomAccess.Read(_stream.SafeFileHandle, bytes[read..], _dataStart + entry.Offset + offset + read);
            if (more == 0) throw Error(_path, $"was cut off while tensor '{entry.Name}' was read");
        }
    }

    private void ReadMapped(SafetensorsEntry entry, Action<ReadOnlySpan<byte>> take)
    {
        byte* start = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        try
        {
            take(new ReadOnlySpan<byte>(start + _view.PointerOffset + _dataStart + entry.Offset, (int)entry.Bytes));
        }
        finally
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
        }
    }

    /// <summary>torch.save writes a zip with a pickle in it, and before version 1.6 wrote bare pickles, which begin with their protocol.</summary>
    private static void RefusePickle(string path, ReadOnlySpan<byte> start)
    {
        if (start.Length > PrefixBytes && start[PrefixBytes] == '{') return;
        if (start.StartsWith("PK\u0003\u0004"u8) || start is [0x80, >= 2 and <= 5, ..])
        {
            throw Error(path, "is a PyTorch pickle, which can run any program when it is loaded, so it is not read; where you trust it, convert it in Python: "
                + "safetensors.torch.save_file(torch.load(FILE, map_location='cpu', weights_only=True), 'model.safetensors')");
        }
    }

    private InvalidDataException WrongType(string name, string expected) => Error(_path, $"holds {this[name].Type} in tensor '{name}', expected {expected}");

    private static InvalidDataException Error(string path, string what) => new($"'{path}' {what}.");
}
