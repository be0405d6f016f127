using System.Buffers.Binary;
using System.Text;

namespace ClipCuda.Model;

/// <summary>
/// NumPy's format for one array (numpy.lib.format, version 1.0): magic, version, length of the header, a Python literal that says type and shape,
/// padded so that the numbers start at a multiple of 64 bytes.
/// </summary>
public static class NpyFile
{
    private const int Alignment = 64, Prefix = 10;

    /// <summary>Writes the header of a float32 array [rows, columns] in row-major order; the numbers follow, little-endian.</summary>
    public static void WriteHeader(Stream stream, long rows, int columns)
    {
        string literal = $"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}";
        int length = (Prefix + literal.Length + 1 + Alignment - 1) / Alignment * Alignment - Prefix;
        Span<byte> prefix = [0x93, .. "NUMPY"u8, 1, 0, 0, 0];
        BinaryPrimitives.WriteUInt16LittleEndian(prefix[8..], (ushort)length);
        stream.Write(prefix);
        stream.Write(Encoding.ASCII.GetBytes(literal.PadRight(length - 1) + "\n"));
    }
}
