namespace ClipCuda.Data;

/// <summary>How far a word that nobody knows is from those that are known.</summary>
public static class EditDistance
{
    /// <summary>The known name that takes the fewest such changes; of several the first by alphabet.</summary>
    public static string Nearest(string name, IEnumerable<string> known) => known.MinBy(other => (Between(name, other), other))!;

    /// <summary>The fewest letters that have to be put in, left out or exchanged to make one text of the other (Levenshtein 1965).</summary>
    public static int Between(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int exchanged = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(exchanged, Math.Min(row[j], row[j - 1]) + 1);
            }
        }
        return row[^1];
    }
}
