using System.CommandLine;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using ClipCuda.Model;

namespace ClipCuda.Cli;

/// <summary>
/// A flag that asks for results in a machine's format: <c>--json</c> writes them to standard output in place of the table (notes then go to the
/// error stream), <c>--json FILE</c> to a file beside it.
/// </summary>
internal sealed class ResultOption
{
    // Names are read by people: letters of all scripts stay as they are.
    private static readonly JsonWriterOptions Indented = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Option<string?> _option;

    public ResultOption(string name, string format) =>
        _option = new Option<string?>(name)
        {
            Description = $"write the results as {format}: into the file, or without one to standard output in place of the table",
            HelpName = "file",
            Arity = ArgumentArity.ZeroOrOne,
        };

    public Option Option => _option;

    /// <summary>Whether standard output takes the results, and people's notes have to go elsewhere.</summary>
    public bool TakesOutput(ParseResult parsed) => parsed.GetResult(_option) is not null && parsed.GetValue(_option) is null;

    /// <summary>Writes the results where they are wanted, if they are.</summary>
    public void Write(ParseResult parsed, Action<Stream> write)
    {
        if (TakesOutput(parsed))
        {
            using var text = new MemoryStream();
            write(text);
            parsed.InvocationConfiguration.Output.Write(Encoding.UTF8.GetString(text.ToArray()));
        }
        else if (parsed.GetValue(_option) is { } path)
        {
            AtomicFile.Write(path, write);
        }
    }

    /// <summary>Writes one JSON object where it is wanted, if it is.</summary>
    /// <param name="writeProperties">Writes what it holds.</param>
    public void WriteJson(ParseResult parsed, Action<Utf8JsonWriter> writeProperties) => Write(parsed, stream =>
    {
        using (var writer = new Utf8JsonWriter(stream, Indented))
        {
            writer.WriteStartObject();
            writeProperties(writer);
            writer.WriteEndObject();
        }
        stream.WriteByte((byte)'\n');
    });
}
