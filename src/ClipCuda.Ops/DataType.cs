namespace ClipCuda.Ops;

/// <summary>What a tensor's elements are.</summary>
public enum DataType
{
    Float32,
    Int32,
    UInt8,
}
