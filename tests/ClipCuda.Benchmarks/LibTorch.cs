using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace ClipCuda.Benchmarks;

/// <summary>
/// Loads libtorch before TorchSharp looks for it. TorchSharp's Linux library was linked with GCC 13 and asks for version GLIBCXX_3.4.32
/// of libstdc++, for one symbol that no relocation uses; Debian 12 ends at 3.4.30. If loading fails for that reason alone, the need is
/// marked weak in the copy that lies in the output folder, which the dynamic loader then lets pass.
/// </summary>
internal static class LibTorch
{
    private const string NewerVersion = "GLIBCXX_3.4.32";

    /// <exception cref="DllNotFoundException">The library does not load.</exception>
    public static void Load()
    {
        if (!OperatingSystem.IsLinux()) return;
        string path = Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", "libLibTorchSharp.so");
        try
        {
            NativeLibrary.Load(path);
        }
        catch (DllNotFoundException error) when (error.Message.Contains(NewerVersion, StringComparison.Ordinal))
        {
            byte[] library = File.ReadAllBytes(path);
            ElfVersionNeeds.Weaken(library, NewerVersion);
            // A new file in its place: the old one may share its blocks with the package cache.
            File.WriteAllBytes(path + ".weak", library);
            File.Move(path + ".weak", path, overwrite: true);
            NativeLibrary.Load(path);
        }
    }
}

/// <summary>The version needs of a 64-bit little-endian ELF file (Linux Standard Base Core, "Symbol Versioning").</summary>
internal static class ElfVersionNeeds
{
    private const uint SectionTypeVersionNeeds = 0x6FFF_FFFE; // SHT_GNU_verneed
    private const ushort Weak = 2; // VER_FLG_WEAK

    /// <summary>Sets the weak flag of every need of that version.</summary>
    /// <exception cref="InvalidDataException">There is none.</exception>
    public static void Weaken(Span<byte> file, string version)
    {
        bool found = false;
        // Section headers: where, how large, how many.
        int sections = Offset(file, 0x28), headerSize = Half(file, 0x3A), count = Half(file, 0x3C);
        for (int i = 0; i < count; i++)
        {
            int header = sections + i * headerSize;
            if (Word(file, header + 4) != SectionTypeVersionNeeds) continue;
            int strings = Offset(file, sections + (int)Word(file, header + 0x28) * headerSize + 0x18);
            int need = Offset(file, header + 0x18), needs = (int)Word(file, header + 0x2C);
            for (int n = 0; n < needs; n++, need += (int)Word(file, need + 12))
            {
                int auxiliary = need + (int)Word(file, need + 8), auxiliaries = Half(file, need + 2);
                for (int a = 0; a < auxiliaries; a++, auxiliary += (int)Word(file, auxiliary + 12))
                {
                    var name = file[(strings + (int)Word(file, auxiliary + 8))..];
                    if (Encoding.ASCII.GetString(name[..name.IndexOf((byte)0)]) != version) continue;
                    BinaryPrimitives.WriteUInt16LittleEndian(file[(auxiliary + 4)..], (ushort)(Half(file, auxiliary + 4) | Weak));
                    found = true;
                }
            }
        }
        if (!found) throw new InvalidDataException($"The library needs no version {version}.");
    }

    private static ushort Half(ReadOnlySpan<byte> file, int at) => BinaryPrimitives.ReadUInt16LittleEndian(file[at..]);

    private static uint Word(ReadOnlySpan<byte> file, int at) => BinaryPrimitives.ReadUInt32LittleEndian(file[at..]);

    private static int Offset(ReadOnlySpan<byte> file, int at) => checked((int)BinaryPrimitives.ReadUInt64LittleEndian(file[at..]));
}
