using System.Runtime.InteropServices;

namespace ClipCuda.Model;

/// <summary>
/// Writes a file under a temporary name, flushes it to disk, then renames it and flushes the folder: a partly written file never replaces a whole
/// one, and what was written is there after a power cut.
/// </summary>
public static partial class AtomicFile
{
    /// <exception cref="IOException">The file cannot be written; what was there before is untouched.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        string temporary = path + ".tmp";
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
        FlushParent(path);
    }

    /// <summary>Renames a folder whose files are whole, and flushes the folder that holds it.</summary>
    /// <exception cref="IOException">It cannot be renamed.</exception>
    public static void MoveFolder(string from, string to)
    {
        Directory.Move(from, to);
        FlushParent(to);
    }

    /// <summary>
    /// Brings what was renamed in the folder that holds a path to the disk; Windows does that by itself. Returns whether it could: there are file
    /// systems without that, and folders that may be written but not read. Then the system does it when it likes, and the file is whole all the same.
    /// </summary>
    public static bool FlushParent(string path)
    {
        if (OperatingSystem.IsWindows()) return true;
        int folder = OpenForReading(Path.GetDirectoryName(Path.GetFullPath(path))!, flags: 0);
        if (folder < 0) return false;
        bool flushed = Flush(folder) == 0;
        _ = Close(folder);
        return flushed;
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenForReading(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Flush(int file);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int file);
}
