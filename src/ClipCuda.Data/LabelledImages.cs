using System.Globalization;

namespace ClipCuda.Data;

/// <summary>
/// Images that each belong to one class: a tree with a folder a class, as torchvision's ImageFolder reads it, a CSV file with a column of
/// labels, or tar shards with labels in them.
/// </summary>
public sealed class LabelledImages
{
    /// <summary>Where WebDataset puts a sample's class.</summary>
    public const string ShardLabel = "cls";

    private LabelledImages(IReadOnlyList<string> classes, IReadOnlyList<ImagePlace> images, IReadOnlyList<int> labels, IReadOnlyList<SkippedImage> missing) =>
        (Classes, Images, Labels, Missing) = (classes, images, labels, missing);

    /// <summary>The classes' names.</summary>
    public IReadOnlyList<string> Classes { get; }

    public IReadOnlyList<ImagePlace> Images { get; }

    /// <summary>For each image its class: an index into <see cref="Classes"/>.</summary>
    public IReadOnlyList<int> Labels { get; }

    /// <summary>What a CSV file or shards name and that cannot be used.</summary>
    public IReadOnlyList<SkippedImage> Missing { get; }

    /// <summary>How many there are, for people.</summary>
    public string Describe(string source, int templates) => $"{Images.Count:N0} images of {Classes.Count:N0} classes from '{source}', {templates} template{(templates == 1 ? "" : "s")}";

    /// <summary>Reads tar shards if the name is theirs; else a CSV file if it is said which of its columns is the class, or a tree of folders.</summary>
    /// <param name="label">Of a CSV file the column; of shards what <see cref="OfShards"/> takes, null for <see cref="ShardLabel"/>; null for a tree.</param>
    /// <param name="csv">How a CSV file is read, its column of captions aside.</param>
    /// <param name="classesFile">The classes' names, a line each; null takes the folders' names or the labels.</param>
    public static LabelledImages Open(string source, string? label, CsvOptions csv, string? classesFile)
    {
        var names = classesFile is null ? null : TextLines.Read(classesFile, "classes");
        return ShardNames.IsShards(source) ? OfShards(source, label ?? ShardLabel, csv.Strict, names)
            : label is null ? OfFolders(source, names)
            : OfCsv(source, csv with { CaptionColumn = label }, names);
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
        var images = new List<ImagePlace>();
        var labels = new List<int>();
        for (int label = 0; label < folders.Length; label++)
        {
            string[] files = ImageFiles.Find(folders[label]);
            images.AddRange(files.Select(ImagePlace.OfFile));
            labels.AddRange(Enumerable.Repeat(label, files.Length));
        }
        return new LabelledImages(names, images, labels, []);
    }

    /// <summary>Reads a CSV file with a column of images and one of labels.</summary>
    /// <param name="options">Its column of captions is the labels'.</param>
    /// <param name="names">All classes there are; null: the labels of the file, by name.</param>
    /// <exception cref="InvalidDataException">An image has two labels, or one that is not among the names; or as <see cref="CsvDataset.Load(string, CsvOptions)"/>.</exception>
    public static LabelledImages OfCsv(string csvPath, CsvOptions options, IReadOnlyList<string>? names = null) => Of(CsvDataset.Load(csvPath, options), names);

    /// <summary>Reads tar shards.</summary>
    /// <param name="label">The ending of the file with a sample's class (<c>cls</c>), or its key in <c>.json</c>; it holds the class's name, or its number from 0 among the names.</param>
    /// <param name="names">All classes there are; null: the labels of the shards, by name.</param>
    /// <exception cref="InvalidDataException">A label is not among the names, or they are numbers without names; or as <see cref="ShardDataset(string, bool, string)"/>.</exception>
    public static LabelledImages OfShards(string pattern, string label, bool strict = false, IReadOnlyList<string>? names = null)
    {
        var data = new ShardDataset(pattern, strict, label);
        bool numbers = data.Rows.All(row => int.TryParse(row.Caption, NumberStyles.None, CultureInfo.InvariantCulture, out _));
        if (!numbers) return Of(data, names);
        if (names is null) throw new InvalidDataException($"The labels of '{pattern}' are numbers of classes, whose names are not known; give a file with their names, the first line that of number 0 (--zeroshot-classes of train, --classes-file of evaluate).");
        int wrong = Enumerable.Range(0, data.Rows.Count).FirstOrDefault(row => Number(row) >= names.Count, -1);
        if (wrong >= 0) throw new InvalidDataException($"{data.PlaceOf(wrong)}: there is no class {Number(wrong)}; the {names.Count} names are of 0 to {names.Count - 1}.");
        return new LabelledImages(names, [.. data.Samples.Select(sample => sample.Image)], [.. data.Samples.Select(sample => Number(sample.Rows[0]))], data.Skipped);

        int Number(int row) => int.Parse(data.Rows[row].Caption, NumberStyles.None, CultureInfo.InvariantCulture);
    }

    /// <summary>Takes captions for the names of classes.</summary>
    private static LabelledImages Of(PairDataset data, IReadOnlyList<string>? names)
    {
        names ??= [.. data.Rows.Select(row => row.Caption.Trim()).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        var numbers = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string name in names) numbers.TryAdd(name, numbers.Count);
        if (numbers.Count != names.Count) throw new ArgumentException("A class is named twice; name each once.");
        var labels = new List<int>();
        foreach (var sample in data.Samples)
        {
            int first = sample.Rows[0];
            string label = data.Rows[first].Caption.Trim();
            foreach (int row in sample.Rows)
            {
                if (data.Rows[row].Caption.Trim() is var other && other != label)
                    throw new InvalidDataException($"{data.PlaceOf(row)}: the image has the label '{other}', and '{label}' in line {data.Rows[first].Line}; an image has one.");
            }
            labels.Add(numbers.TryGetValue(label, out int number) ? number : throw new InvalidDataException($"{data.PlaceOf(first)}: '{label}' is none of the {names.Count} classes."));
        }
        return new LabelledImages(names, [.. data.Samples.Select(sample => sample.Image)], labels, data.Skipped);
    }
}
