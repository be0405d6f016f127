using System.Collections.Concurrent;

namespace ClipCuda.Data;

/// <summary>
/// Tells whether files lie below a folder once every symbolic link on the way is followed; by their paths they do. A folder is looked at once,
/// a file each time, which takes one call of the system. Thread-safe.
/// </summary>
internal sealed class LinkGuard
{
    /// <summary>So many links in a row are taken for a circle, as Linux does.</summary>
    private const int MostLinks = 40;

    private readonly string _name, _root;
    private readonly ConcurrentDictionary<string, bool> _folders = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool>.AlternateLookup<ReadOnlySpan<char>> _foldersBySpan;

    /// <param name="root">An existing folder; it may be a link itself.</param>
    public LinkGuard(string root)
    {
        _name = Path.GetFullPath(root);
        _root = RealPath(_name);
        _foldersBySpan = _folders.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <param name="path">The full path of an existing file.</param>
    /// <exception cref="IOException">Links lead in a circle, or a folder cannot be looked at.</exception>
    public bool IsInside(string path) => IsInside(path, File.ResolveLinkTarget(path, returnFinalTarget: false) is not null);

    /// <inheritdoc cref="IsInside(string)"/>
    /// <param name="isLink">Whether the file itself is a link.</param>
    public bool IsInside(string path, bool isLink) => IsFolderInside(Path.GetDirectoryName(path.AsSpan())) && (!isLink || IsBelow(RealPath(path)));

    /// <summary>Demands that an existing file lies below the root once links are followed.</summary>
    /// <exception cref="InvalidDataException">It does not.</exception>
    /// <exception cref="IOException">It cannot be told.</exception>
    public void RequireInside(string path)
    {
        if (!IsInside(path)) throw new InvalidDataException(Outside(path));
    }

    /// <summary>What is wrong with a file that is not inside.</summary>
    public string Outside(string path) =>
        $"Image '{path}' is, or lies behind, a symbolic link that leads out of the image root '{_name}'; name the folder that holds it with --img-root, or take it with --allow-outside.";

    private bool IsFolderInside(ReadOnlySpan<char> folder)
    {
        if (!_foldersBySpan.TryGetValue(folder, out bool inside)) _folders[folder.ToString()] = inside = IsBelow(RealPath(folder.ToString()));
        return inside;
    }

    private bool IsBelow(string real) => real == _root || real.StartsWith(Path.EndsInDirectorySeparator(_root) ? _root : _root + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    /// <summary>A full path without links, <c>.</c> and <c>..</c>; a <c>..</c> behind a link means the folder above its target.</summary>
    private static string RealPath(string path)
    {
        string here = Path.GetPathRoot(path)!;
        var rest = new Stack<string>(Parts(path));
        int links = 0;
        while (rest.TryPop(out string? part))
        {
            if (part is "" or ".") continue;
            if (part == "..")
            {
                here = Path.GetDirectoryName(here) ?? here;
                continue;
            }
            string next = Path.Combine(here, part);
            if (new FileInfo(next).LinkTarget is not { } target)
            {
                here = next;
                continue;
            }
            if (++links > MostLinks) throw new IOException($"'{path}' leads through more than {MostLinks} symbolic links.");
            if (Path.IsPathRooted(target)) here = Path.GetPathRoot(target)!;
            foreach (string further in Parts(target)) rest.Push(further);
        }
        return here;
    }

    /// <summary>The parts of a path behind its root, from the last to the first.</summary>
    private static IEnumerable<string> Parts(string path) => path[Path.GetPathRoot(path)!.Length..].Split(Path.DirectorySeparatorChar, Path.AltDirectorySeparatorChar).Reverse();
}
