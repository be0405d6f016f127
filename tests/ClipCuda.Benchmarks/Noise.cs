namespace ClipCuda.Benchmarks;

/// <summary>Numbers that both sides of a row start from; the same seed gives the same numbers.</summary>
internal static class Noise
{
    /// <summary>Standard normal numbers times a factor, by Box and Muller's transform.</summary>
    public static float[] Normal(int seed, long count, double factor = 1)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (long i = 0; i < count; i += 2)
        {
            double radius = factor * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())), angle = 2 * Math.PI * random.NextDouble();
            values[i] = (float)(radius * Math.Cos(angle));
            if (i + 1 < count) values[i + 1] = (float)(radius * Math.Sin(angle));
        }
        return values;
    }

    /// <summary>Uniform numbers within ±bound, drawn faster for the many of an optimizer.</summary>
    public static float[] Uniform(int seed, long count, float bound)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (long i = 0; i < count; i++) values[i] = bound * (2 * random.NextSingle() - 1);
        return values;
    }

    /// <summary>Captions of random words: start, words, end, zeros. The end token is the largest id.</summary>
    public static int[] Captions(int seed, int batch, int context, int vocabulary)
    {
        var random = new Random(seed);
        var tokens = new int[batch * context];
        for (int caption = 0; caption < batch; caption++)
        {
            var ids = tokens.AsSpan(caption * context, context);
            int end = random.Next(3, context);
            ids[0] = vocabulary - 2;
            for (int i = 1; i < end; i++) ids[i] = random.Next(1, vocabulary - 2);
            ids[end] = vocabulary - 1;
        }
        return tokens;
    }
}
