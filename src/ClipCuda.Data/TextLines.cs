using System.Text;

namespace ClipCuda.Data;

/// <summary>A text file with one thing a line.</summary>
public static class TextLines
{
    /// <summary>The lines without white space around them, empty ones left out.</summary>
    /// <param name="what">What an error calls the lines: "classes".</param>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">It is empty or not UTF-8.</exception>
    public static IReadOnlyList<string> Read(string path, string what)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"There is no file '{path}' of {what}; check the path.", path);
        try
        {
            var strict = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
            string[] lines = [.. File.ReadLines(path, strict).Select(line => line.Trim()).Where(line => line.Length > 0)];
            return lines.Length > 0 ? lines : throw new InvalidDataException($"'{path}' is empty; write {what} into it, one a line.");
        }
        catch (DecoderFallbackException e)
        {
            throw new InvalidDataException($"'{path}' is not UTF-8 text; save it with UTF-8 encoding.", e);
        }
    }
}
