using System.CommandLine;
using ClipCuda.Training;

namespace ClipCuda.Cli;

/// <summary><c>convert SRC DST --to open_clip|hf</c>: weights from one library's folder to another's, bit for bit.</summary>
internal static class ConvertCommand
{
    private const string OpenClip = "open_clip", HuggingFace = "hf", QuickGelu = "quick_gelu", Gelu = "gelu";

    public static Command Create()
    {
        var source = new Argument<string>("source") { Description = "an open_clip or Hugging Face folder, or a safetensors file with OpenAI's names" };
        var target = new Argument<string>("target") { Description = "the folder to write, which must be new or empty" };
        var to = new Option<string>("--to") { Description = "whose layout to write", HelpName = $"{OpenClip}|{HuggingFace}", Required = true };
        to.AcceptOnlyFromAmong(OpenClip, HuggingFace);
        var activation = new Option<string?>("--activation") { Description = "activation of a file without configuration; OpenAI's models use quick_gelu", HelpName = $"{Gelu}|{QuickGelu}" };
        activation.AcceptOnlyFromAmong(Gelu, QuickGelu);
        var command = new Command("convert", "Convert weights between open_clip's and Hugging Face's layout.") { source, target, to, activation };
        command.SetAction(parsed =>
        {
            bool? quickGelu = parsed.GetValue(activation) is { } name ? name == QuickGelu : null;
            var converted = WeightsConversion.Run(parsed.GetValue(source)!, parsed.GetValue(target)!, parsed.GetValue(to) == HuggingFace, quickGelu);
            foreach (string line in converted) parsed.InvocationConfiguration.Output.WriteLine(line);
            return 0;
        });
        return command;
    }
}
