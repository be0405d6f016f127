using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class PromptTemplatesTests
{
    [Test]
    public void A_name_is_put_in_for_either_place()
    {
        Assert.That(PromptTemplates.Fill("a photo of a {}.", "cat"), Is.EqualTo("a photo of a cat."));
        Assert.That(PromptTemplates.Fill("{c}, a kind of {c}", "cat"), Is.EqualTo("cat, a kind of cat"));
        Assert.That(PromptTemplates.Default.Select(template => PromptTemplates.Fill(template, "cat")), Is.All.Contains(" cat").And.None.Contains("{"));
        Assert.That(PromptTemplates.Default[0], Is.EqualTo("a photo of a {}."));
    }

    [Test]
    public void A_file_has_one_a_line_each_with_a_place()
    {
        using var folder = new TemporaryFolder();
        Assert.That(PromptTemplates.Read(folder.Write("t.txt", "a {}\n\n  {c}!  \n")), Is.EqualTo(new[] { "a {}", "{c}!" }));
        Assert.That(() => PromptTemplates.Read(folder.Write("t.txt", "a {}\na cat\n")), Throws.TypeOf<InvalidDataException>().With.Message.Contains("'a cat'").And.Message.Contains("t.txt"));
    }
}
