using System.Text;
using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

public sealed class NpyFileTests
{
    [TestCase(3L, 2)]
    [TestCase(12345678901L, 1024)]
    public void The_header_is_numpys(long rows, int columns)
    {
        using var stream = new MemoryStream();
        NpyFile.WriteHeader(stream, rows, columns);
        byte[] bytes = stream.ToArray();
        Assert.That(bytes[..8], Is.EqualTo(new byte[] { 0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', 1, 0 }));
        Assert.That(bytes.Length % 64, Is.Zero, "numbers start at a multiple of 64");
        Assert.That(bytes[8] + 256 * bytes[9], Is.EqualTo(bytes.Length - 10));
        string header = Encoding.ASCII.GetString(bytes[10..]);
        Assert.That(header, Does.StartWith($"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}").And.EndsWith("\n"));
    }
}
