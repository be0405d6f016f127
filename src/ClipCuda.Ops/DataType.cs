namespace ClipCuda.Ops;

/// <summary>What a tensor's elements are.</summary>
public enum DataType
{
    Float32,
    Int32,
    UInt8,
}

/// <summary>How large elements are.</summary>
public static class DataTypeSize
{
    /// <summary>Bytes an element.</summary>
    public static int Size(this DataType type) => type switch
    {
        DataType.UInt8 => 1,
        _ => 4,
    };
}
