using System.Globalization;
using System.Text;

namespace ClipCuda.Tests;

/// <summary>
/// Inputs for fuzz tests and the bounds every reader must keep. <c>CLIPCUDA_FUZZ</c> is how many cases a test runs (`./build.sh fuzz 10000`; a
/// sample otherwise), <c>CLIPCUDA_FUZZ_SEED</c> where they begin; a failure names the seed of its case.
/// </summary>
internal static class Mutation
{
    private const int Sample = 300;

    /// <summary>No case is worth more of a processor's time; a hang is. Time that passes while the machine does something else is not counted.</summary>
    private static readonly TimeSpan LongestCase = TimeSpan.FromSeconds(10);

    private static readonly string[] Numbers = ["-1", "0", "1", "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e999", "-1e-999", "1.5", "NaN", "null", "true", "\"7\"", "[]", "{}"];

    private static readonly byte[][] InvalidUtf8 = [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xC3], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x28, 0xA1], Encoding.ASCII.GetBytes("\\ud800"), [0]];

    /// <summary>
    /// Runs every case: it may end well or with one of the exceptions that are errors for a user, within the time and memory that the size of its input
    /// warrants.
    /// </summary>
    /// <param name="run">Makes the input from the random numbers and reads it; returns its size in bytes and what it is, for the message.</param>
    /// <param name="bytesAllowed">Of memory, for an input of so many bytes.</param>
    public static void Run(Func<Random, (long Bytes, Func<string> Show, Action Read)> run, Func<long, long> bytesAllowed, params Type[] errors)
    {
        int count = Setting("CLIPCUDA_FUZZ", Sample), seed = Setting("CLIPCUDA_FUZZ_SEED", 1), well = 0, refused = 0;
        for (int i = 0; i < count; i++)
        {
            var (bytes, show, read) = run(new Random(seed + i));
            long allocated = GC.GetAllocatedBytesForCurrentThread();
            var began = Environment.CpuUsage.TotalTime;
            Exception? error = null;
            try
            {
                read();
            }
            catch (Exception e)
            {
                error = e;
            }
            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            var took = Environment.CpuUsage.TotalTime - began;
            string where = $"CLIPCUDA_FUZZ_SEED={seed + i}";
            if (error is not null && (!errors.Contains(error.GetType()) || error.Message.Length == 0)) Assert.Fail($"{where}: {error}\n{show()}");
            if (took > LongestCase) Assert.Fail($"{where}: took {took}\n{show()}");
            if (allocated > bytesAllowed(bytes)) Assert.Fail($"{where}: {bytes} bytes of input took {allocated} bytes of memory, allowed {bytesAllowed(bytes)}; {error?.Message}\n{show()}");
            if (error is null) well++;
            else refused++;
        }
        // Cases that all end one way test nothing of the other.
        if (count >= Sample) Assert.That((well > 0, refused > 0 || errors.Length == 0), Is.EqualTo((true, true)), $"{well} of {count} cases were read, {refused} refused");
    }

    /// <summary>One to four changes: bits flipped, cut off, doubled, numbers made huge, nested deeply, invalid UTF-8.</summary>
    public static byte[] Change(Random random, byte[] bytes)
    {
        for (int changes = random.Next(0, 5); changes > 0; changes--)
        {
            if (bytes.Length == 0) return bytes;
            int at = random.Next(bytes.Length);
            switch (random.Next(8))
            {
                case 0:
                    bytes = [.. bytes];
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes = bytes[..at];
                    break;
                case 2:
                    bytes = [.. bytes[..at], .. bytes[random.Next(at, bytes.Length)..]];
                    break;
                case 3:
                    int end = Math.Min(bytes.Length, at + random.Next(64));
                    bytes = [.. bytes[..end], .. bytes[at..end], .. bytes[end..]];
                    break;
                case 4:
                    bytes = WithNumber(random, bytes, at);
                    break;
                case 5:
                    int depth = random.Next(1, 20_000);
                    string open = random.Next(2) == 0 ? "[" : "{\"a\":";
                    bytes = [.. bytes[..at], .. Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(open, depth))), .. bytes[at..]];
                    break;
                case 6:
                    bytes = [.. bytes[..at], .. InvalidUtf8[random.Next(InvalidUtf8.Length)], .. bytes[at..]];
                    break;
                default:
                    bytes = [.. bytes];
                    bytes[at] = (byte)random.Next(256);
                    break;
            }
        }
        return bytes;
    }

    public static int Setting(string name, int otherwise)
    {
        string? text = Environment.GetEnvironmentVariable(name);
        if (string.IsNullOrEmpty(text)) return otherwise;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number > 0 ? number : throw new ArgumentException($"{name} is '{text}'; give a whole number above 0.");
    }

    /// <summary>Replaces the first number from there on.</summary>
    private static byte[] WithNumber(Random random, byte[] bytes, int at)
    {
        while (at < bytes.Length && !char.IsAsciiDigit((char)bytes[at])) at++;
        int end = at;
        while (end < bytes.Length && char.IsAsciiDigit((char)bytes[end])) end++;
        return [.. bytes[..at], .. Encoding.ASCII.GetBytes(Numbers[random.Next(Numbers.Length)]), .. bytes[end..]];
    }
}
