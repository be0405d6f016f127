namespace ClipCuda.Data;

/// <summary>Sentences into which a class name is put for zero-shot classification; <c>{}</c> or <c>{c}</c> stands for the name.</summary>
public static class PromptTemplates
{
    /// <summary>What a name is put into if nothing else is asked for.</summary>
    public static IReadOnlyList<string> Default { get; } = ["a photo of a {}.", "a picture of a {}.", "an image of a {}."];

    /// <summary>The name alone.</summary>
    public static IReadOnlyList<string> NameOnly { get; } = ["{}"];

    /// <exception cref="InvalidDataException">A template has no place for the name.</exception>
    public static IReadOnlyList<string> Read(string path)
    {
        var templates = TextLines.Read(path, "templates");
        if (templates.FirstOrDefault(template => Fill(template, "x") == template) is { } without)
            throw new InvalidDataException($"'{path}': the template '{without}' has no {{}} for the class name.");
        return templates;
    }

    public static string Fill(string template, string name) => template.Replace("{c}", name, StringComparison.Ordinal).Replace("{}", name, StringComparison.Ordinal);
}
