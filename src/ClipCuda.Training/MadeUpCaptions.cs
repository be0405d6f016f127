using ClipCuda.Model;

namespace ClipCuda.Training;

/// <summary>Captions of random words and lengths, for models that are to be run and not asked.</summary>
public static class MadeUpCaptions
{
    /// <summary>Fills in captions: start, at least one word, end, zeros. Start and end are the vocabulary's last two ids, as CLIP's tokenizer has them.</summary>
    /// <param name="tokens">captions · context length ids.</param>
    public static void Fill(Random random, TextConfig text, Span<int> tokens)
    {
        tokens.Clear();
        for (; !tokens.IsEmpty; tokens = tokens[text.ContextLength..])
        {
            int words = random.Next(1, text.ContextLength - 1);
            tokens[0] = text.VocabSize - 2;
            for (int word = 1; word <= words; word++) tokens[word] = random.Next(text.VocabSize - 2);
            tokens[words + 1] = text.VocabSize - 1;
        }
    }
}
