namespace ClipCuda.Data;

/// <summary>
/// Images that each belong to one class: a tree with a folder a class, as torchvision's ImageFolder reads it, or a CSV file with a column of
/// labels.
/// </summary>
public sealed class LabelledImages
{
    private LabelledImages(IReadOnlyList<string> classes, IReadOnlyList<string> paths, IReadOnlyList<int> labels, IReadOnlyList<SkippedImage> missing) =>
        (Classes, Paths, Labels, Missing) = (classes, paths, labels, missing);

    /// <summary>The classes' names.</summary>
    public IReadOnlyList<string> Classes { get; }

    public IReadOnlyList<string> Paths { get; }

    /// <summary>For each image its class: an index into <see cref="Classes"/>.</summary>
    public IReadOnlyList<int> Labels { get; }

    /// <summary>Images that a CSV file names and that do not exist.</summary>
    public IReadOnlyList<SkippedImage> Missing { get; }

    /// <summary>Reads a tree of folders or, if it is said which of its columns is the class, a CSV file.</summary>
    /// <param name="labelColumn">Null for a tree.</param>
    /// <param name="csv">How a CSV file is read, its column of captions aside.</param>
    /// <param name="classesFile">The classes' names, a line each; null takes the folders' names or the labels.</param>
    public static LabelledImages Open(string source, string? labelColumn, CsvOptions csv, string? classesFile)
    {
        var names = classesFile is null ? null : TextLines.Read(classesFile, "classes");
        return labelColumn is null ? OfFolders(source, names) : OfCsv(source, csv with { CaptionColumn = labelColumn }, names);
    }

    /// <summary>Reads a tree: each folder in <paramref name="root"/> is a class with the images in it and below.</summary>
    /// <param name="names">The classes' names in the order of the folders' names; null: the folders' names, underscores read as spaces.</param>
    /// <exception cref="DirectoryNotFoundException">There is no such folder, or none in it.</exception>
    /// <exception cref="ArgumentException">There are more or fewer names than folders.</exception>
    public static LabelledImages OfFolders(string root, IReadOnlyList<string>? names = null)
    {
        if (!Directory.Exists(root)) throw new DirectoryNotFoundException($"The image folder '{root}' does not exist; check the path.");
        string[] folders = [.. Directory.EnumerateDirectories(root).Order(StringComparer.Ordinal)];
        if (folders.Length == 0) throw new DirectoryNotFoundException($"'{root}' holds no folders; it needs one with images for each class.");
        names ??= [.. folders.Select(folder => Path.GetFileName(folder).Replace('_', ' '))];
        if (names.Count != folders.Length) throw new ArgumentException($"There are {names.Count} class names for the {folders.Length} folders of '{root}'; give one a folder, in the order of the folders' names.");
        var paths = new List<string>();
        var labels = new List<int>();
        for (int label = 0; label < folders.Length; label++)
        {
            string[] files = ImageFiles.Find(folders[label]);
            paths.AddRange(files);
            labels.AddRange(Enumerable.Repeat(label, files.Length));
        }
        return new LabelledImages(names, paths, labels, []);
    }

    /// <summary>Reads a CSV file with a column of images and one of labels.</summary>
    /// <param name="options">Its column of captions is the labels'.</param>
    /// <param name="names">All classes there are; null: the labels of the file, by name.</param>
    /// <exception cref="InvalidDataException">An image has two labels, or one that is not among the names; or as <see cref="CsvDataset.Load(string, CsvOptions)"/>.</exception>
    public static LabelledImages OfCsv(string csvPath, CsvOptions options, IReadOnlyList<string>? names = null)
    {
        var data = CsvDataset.Load(csvPath, options);
        names ??= [.. data.Rows.Select(row => row.Caption.Trim()).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        var numbers = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string name in names) numbers.TryAdd(name, numbers.Count);
        if (numbers.Count != names.Count) throw new ArgumentException("A class is named twice; name each once.");
        var labels = new List<int>();
        foreach (var sample in data.Samples)
        {
            var row = data.Rows[sample.Rows[0]];
            string label = row.Caption.Trim();
            foreach (var other in sample.Rows.Select(index => data.Rows[index]))
            {
                if (other.Caption.Trim() != label)
                    throw new InvalidDataException($"CSV '{csvPath}', line {other.Line}: the image has the label '{other.Caption.Trim()}', and '{label}' in line {row.Line}; an image has one.");
            }
            labels.Add(numbers.TryGetValue(label, out int number) ? number : throw new InvalidDataException($"CSV '{csvPath}', line {row.Line}: '{label}' is none of the {names.Count} classes."));
        }
        return new LabelledImages(names, [.. data.Samples.Select(sample => sample.Path)], labels, data.Skipped);
    }
}
