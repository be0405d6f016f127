namespace ClipCuda.Data;

/// <summary>What kind of data a data set is.</summary>
public enum DatasetType
{
    /// <summary>By its name: tar shards if that ends in <c>.tar</c>, else a CSV file.</summary>
    Auto,
    Csv,
    WebDataset,
    Synthetic,
}
