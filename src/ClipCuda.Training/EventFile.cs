using System.Buffers.Binary;
using System.Numerics;
using Google.Protobuf;

namespace ClipCuda.Training;

/// <summary>
/// A TensorBoard event file: scalars and pictures by step. It is a TFRecord file (length in 8 bytes, its masked CRC-32C, the record, its masked
/// CRC-32C; little-endian) of <c>tensorflow.Event</c> messages (tensorflow/core/util/event.proto, core/framework/summary.proto). Each is in the
/// file as soon as it is added. A process writes a file of its own; TensorBoard reads all of a folder as one run.
/// </summary>
public sealed class EventFile : IDisposable
{
    // Field numbers of the messages.
    private const int EventWallTime = 1, EventStep = 2, EventFileVersion = 3, EventSummary = 5, EventSession = 7, SessionStatus = 1, SessionStart = 1, SummaryValue = 1, ValueTag = 1, ValueSimple = 2, ValueImage = 4;
    private const int ImageHeight = 1, ImageWidth = 2, ImageColours = 3, ImageBytes = 4, Rgba = 4;
    private const int TagBytes = 1; // of a field number below 16

    /// <summary>A message of a step has some 30 bytes; by default each of its streams would have 4,096.</summary>
    private const int BufferBytes = 64;

    private readonly FileStream _file;

    /// <summary>Creates the folder and a new file in it.</summary>
    public EventFile(string folder)
    {
        Directory.CreateDirectory(folder);
        // TensorBoard reads files in the order of their names: of two in one millisecond, the later one gets the next.
        long now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        do
        {
            Path = System.IO.Path.Combine(folder, $"events.out.tfevents.{now++ / 1000.0:F3}.{Environment.MachineName}.{Environment.ProcessId}");
        }
        while (File.Exists(Path));
        _file = new FileStream(Path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        Write(message =>
        {
            message.WriteTag(EventFileVersion, WireFormat.WireType.LengthDelimited);
            message.WriteString("brain.Event:2");
        });
    }

    public string Path { get; }

    /// <summary>Says that a run goes on: TensorBoard forgets what files before this one hold of that step and later ones, which come again.</summary>
    public void Restart(long step) => Write(message =>
    {
        message.WriteTag(EventStep, WireFormat.WireType.Varint);
        message.WriteInt64(step);
        Nested(message, EventSession, session =>
        {
            session.WriteTag(SessionStatus, WireFormat.WireType.Varint);
            session.WriteEnum(SessionStart);
        });
    });

    /// <summary>Adds numbers of one step.</summary>
    public void Add(long step, params ReadOnlySpan<(string Tag, double Value)> scalars)
    {
        using var summary = new MemoryStream();
        using (var output = new CodedOutputStream(summary, BufferBytes, leaveOpen: true))
        {
            foreach (var (tag, value) in scalars)
            {
                // As Nested writes it, without its streams: these are a step's.
                output.WriteTag(SummaryValue, WireFormat.WireType.LengthDelimited);
                output.WriteLength(TagBytes + CodedOutputStream.ComputeStringSize(tag) + TagBytes + sizeof(float));
                output.WriteTag(ValueTag, WireFormat.WireType.LengthDelimited);
                output.WriteString(tag);
                output.WriteTag(ValueSimple, WireFormat.WireType.Fixed32);
                output.WriteFloat((float)value);
            }
        }
        WriteSummary(step, summary);
    }

    /// <summary>Adds a picture, as the bytes of its PNG file.</summary>
    public void AddPicture(long step, string tag, int width, int height, byte[] png)
    {
        using var summary = new MemoryStream();
        using (var output = new CodedOutputStream(summary, BufferBytes, leaveOpen: true))
        {
            Nested(output, SummaryValue, item =>
            {
                item.WriteTag(ValueTag, WireFormat.WireType.LengthDelimited);
                item.WriteString(tag);
                Nested(item, ValueImage, image =>
                {
                    foreach (var (field, number) in new[] { (ImageHeight, height), (ImageWidth, width), (ImageColours, Rgba) })
                    {
                        image.WriteTag(field, WireFormat.WireType.Varint);
                        image.WriteInt32(number);
                    }
                    image.WriteTag(ImageBytes, WireFormat.WireType.LengthDelimited);
                    image.WriteBytes(ByteString.CopyFrom(png));
                });
            });
        }
        WriteSummary(step, summary);
    }

    public void Dispose() => _file.Dispose();

    private static void Nested(CodedOutputStream output, int field, Action<CodedOutputStream> write)
    {
        using var bytes = new MemoryStream();
        using (var inner = new CodedOutputStream(bytes, BufferBytes, leaveOpen: true)) write(inner);
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(ByteString.CopyFrom(bytes.ToArray()));
    }

    private void WriteSummary(long step, MemoryStream summary) => Write(message =>
    {
        message.WriteTag(EventStep, WireFormat.WireType.Varint);
        message.WriteInt64(step);
        message.WriteTag(EventSummary, WireFormat.WireType.LengthDelimited);
        message.WriteBytes(ByteString.CopyFrom(summary.ToArray()));
    });

    private void Write(Action<CodedOutputStream> write)
    {
        using var message = new MemoryStream();
        using (var output = new CodedOutputStream(message, BufferBytes, leaveOpen: true))
        {
            output.WriteTag(EventWallTime, WireFormat.WireType.Fixed64);
            output.WriteDouble(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0);
            write(output);
        }
        byte[] data = message.ToArray();
        byte[] record = new byte[8 + 4 + data.Length + 4];
        BinaryPrimitives.WriteInt64LittleEndian(record, data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(8), MaskedCrc(record.AsSpan(0, 8)));
        data.CopyTo(record, 12);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(12 + data.Length), MaskedCrc(data));
        _file.Write(record);
        _file.Flush();
    }

    /// <summary>CRC-32C, rotated and shifted as TFRecord does, so that a CRC of data that hold CRCs is of use.</summary>
    private static uint MaskedCrc(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in data) crc = BitOperations.Crc32C(crc, value);
        return BitOperations.RotateRight(~crc, 15) + 0xA282EAD8;
    }
}
