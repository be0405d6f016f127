using System.Buffers.Binary;
using System.Text;
using ClipCuda.Tests.Data;
using ClipCuda.Training;

namespace ClipCuda.Tests.Training;

/// <summary>Reads the file by the descriptions of TFRecord and of protocol buffers, with none of the code that wrote it.</summary>
public sealed class EventFileTests
{
    [Test]
    public void Records_have_the_lengths_checksums_and_fields_of_tensorboard()
    {
        using var folder = new TemporaryFolder();
        using var events = new EventFile(folder.At("tensorboard"));
        events.Add(7, ("train/loss", 4.75), ("train/lr", 0.0005));
        events.AddPicture(300, "val/retrieval", 20, 10, [1, 2, 3]);
        Assert.That(Path.GetFileName(events.Path), Does.StartWith("events.out.tfevents."));

        var records = Read(events.Path).Select(Fields).ToList();
        Assert.That(records, Has.Count.EqualTo(3));
        Assert.That(records.Select(record => (double)One(record, 1)), Is.All.EqualTo(DateTimeOffset.UtcNow.ToUnixTimeSeconds()).Within(60));
        Assert.That(Text(One(records[0], 3)), Is.EqualTo("brain.Event:2"));
        Assert.That(One(records[1], 2), Is.EqualTo(7UL));
        var values = Fields((byte[])One(records[1], 5)).Select(value => Fields((byte[])value.Value)).ToList();
        Assert.That(values.Select(value => (Text(One(value, 1)), (float)One(value, 2))), Is.EqualTo(new[] { ("train/loss", 4.75f), ("train/lr", 0.0005f) }));
        Assert.That(One(records[2], 2), Is.EqualTo(300UL));
        var picture = Fields((byte[])One(Fields((byte[])One(Fields((byte[])One(records[2], 5)), 1)), 4));
        Assert.That((One(picture, 1), One(picture, 2), One(picture, 3)), Is.EqualTo(((object)10UL, (object)20UL, (object)4UL)));
        Assert.That(One(picture, 4), Is.EqualTo(new byte[] { 1, 2, 3 }));
    }

    /// <summary>TensorBoard's reader purges at a session log whose status (field 1) is START (1).</summary>
    [Test]
    public void A_run_that_goes_on_says_from_which_step()
    {
        using var folder = new TemporaryFolder();
        using var events = new EventFile(folder.At("tensorboard"));
        events.Restart(12);
        var record = Fields(Read(events.Path).Last());
        Assert.That((One(record, 2), One(Fields((byte[])One(record, 7)), 1)), Is.EqualTo(((object)12UL, (object)1UL)));
    }

    [Test]
    public void Files_made_in_the_same_millisecond_have_names_of_their_own_in_order()
    {
        using var folder = new TemporaryFolder();
        var names = new List<string>();
        for (int i = 0; i < 20; i++)
        {
            using var events = new EventFile(folder.At("tensorboard"));
            names.Add(events.Path);
        }
        Assert.That(names, Is.Ordered.Using((IComparer<string>)StringComparer.Ordinal).And.Unique);
    }

    /// <summary>RFC 3720, B.4.</summary>
    [Test]
    public void The_checksum_is_crc32c() =>
        Assert.That((Crc32C(new byte[32]), Crc32C([.. Enumerable.Repeat((byte)0xFF, 32)]), Crc32C("123456789"u8)), Is.EqualTo((0x8A9136AAu, 0x62A8AB43u, 0xE3069283u)));

    /// <summary>The records of a file, each with its checksums checked.</summary>
    internal static IEnumerable<byte[]> Read(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new BinaryReader(file);
        while (file.Position < file.Length)
        {
            byte[] length = reader.ReadBytes(8);
            Assert.That(reader.ReadUInt32(), Is.EqualTo(Masked(length)));
            byte[] data = reader.ReadBytes((int)BinaryPrimitives.ReadUInt64LittleEndian(length));
            Assert.That(reader.ReadUInt32(), Is.EqualTo(Masked(data)));
            yield return data;
        }
    }

    /// <summary>The fields of a protocol buffer: numbers as ulong, fixed ones as double and float, the others as bytes.</summary>
    internal static List<(int Field, object Value)> Fields(byte[] message)
    {
        var fields = new List<(int, object)>();
        int at = 0;
        while (at < message.Length)
        {
            ulong key = Varint();
            object value;
            switch (key & 7)
            {
                case 0: value = Varint(); break;
                case 1: value = BitConverter.ToDouble(message, at); at += 8; break;
                case 2: int length = (int)Varint(); value = message[at..(at + length)]; at += length; break;
                case 5: value = BitConverter.ToSingle(message, at); at += 4; break;
                default: throw new InvalidDataException($"wire type {key & 7}");
            }
            fields.Add(((int)(key >> 3), value));
        }
        return fields;

        ulong Varint()
        {
            ulong value = 0;
            for (int shift = 0; ; shift += 7)
            {
                byte next = message[at++];
                value |= (ulong)(next & 127) << shift;
                if (next < 128) return value;
            }
        }
    }

    internal static object One(List<(int Field, object Value)> fields, int field) => fields.Single(item => item.Field == field).Value;

    internal static string Text(object bytes) => Encoding.UTF8.GetString((byte[])bytes);

    private static uint Masked(ReadOnlySpan<byte> data)
    {
        uint crc = Crc32C(data);
        return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
    }

    /// <summary>Bit by bit: the reversed polynomial of Castagnoli.</summary>
    private static uint Crc32C(ReadOnlySpan<byte> data)
    {
        uint crc = 0xFFFFFFFF;
        foreach (byte value in data)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78);
        }
        return ~crc;
    }
}
