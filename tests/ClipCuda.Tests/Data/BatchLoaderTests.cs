using System.Security.Cryptography;
using ClipCuda.Data;

namespace ClipCuda.Tests.Data;

public sealed class BatchLoaderTests : FolderTests
{
    private const int Context = 8;

    private static readonly ClipTokenizer Tokenizer = new(Path.Combine(DataFolder.Find(), DataFolder.Merges));

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(5)]
    public void Batches_do_not_depend_on_the_number_of_workers(int workers)
    {
        var data = Emoji("train.csv");
        foreach (bool training in new[] { true, false })
        {
            var options = new LoaderOptions { BatchSize = 200, ContextLength = 24, Training = training, Seed = 9, Workers = 0 };
            using var expected = new BatchLoader(data, Tokenizer, options);
            using var actual = new BatchLoader(data, Tokenizer, options with { Workers = workers });
            Assert.That(Digests(actual.Epoch(2)), Is.EqualTo(Digests(expected.Epoch(2))));
        }
    }

    /// <summary>A path and a caption a sample, and what the codec's wrapper takes; no pixels, no tokens. Without workers all of it is this thread's.</summary>
    [Test]
    public void A_batch_takes_little_memory_beside_what_is_kept()
    {
        using var loader = new BatchLoader(Emoji("train.csv"), Tokenizer, new LoaderOptions { BatchSize = 128, ContextLength = 24, Training = true, Workers = 0 });
        for (int epoch = 0; epoch < 2; epoch++) Read(loader.Epoch(epoch), batch => batch.Count);
        long before = GC.GetAllocatedBytesForCurrentThread();
        int batches = Read(loader.Epoch(2), batch => batch.Count).Count;
        long bytes = (GC.GetAllocatedBytesForCurrentThread() - before) / batches;
        TestContext.Out.WriteLine($"{bytes:N0} bytes a batch");
        Assert.That(bytes, Is.LessThan(96 << 10));
    }

    [Test]
    public void An_epoch_begun_in_the_middle_goes_on_alike()
    {
        using var loader = new BatchLoader(Images(23), Tokenizer, Training(batchSize: 4));
        string[] whole = Digests(loader.Epoch(3));
        Assert.That(whole, Has.Length.EqualTo(5));
        Assert.That(Digests(loader.Epoch(3, firstBatch: 2)), Is.EqualTo(whole[2..]));
        Assert.That(loader.Epoch(3, firstBatch: 5), Is.Empty);
    }

    [Test]
    public void Epochs_and_seeds_differ_and_repeat()
    {
        var data = Images(20);
        using var first = new BatchLoader(data, Tokenizer, Training(batchSize: 5));
        using var second = new BatchLoader(data, Tokenizer, Training(batchSize: 5) with { Seed = 2 });
        var epoch0 = Digests(first.Epoch(0));
        Assert.That(Digests(first.Epoch(0)), Is.EqualTo(epoch0));
        Assert.That(Digests(first.Epoch(1)), Is.Not.EqualTo(epoch0));
        Assert.That(Digests(second.Epoch(0)), Is.Not.EqualTo(epoch0));
    }

    [Test]
    public void Training_uses_each_image_at_most_once_and_drops_the_incomplete_batch()
    {
        using var loader = new BatchLoader(Images(23), Tokenizer, Training(batchSize: 4));
        var batches = Read(loader.Epoch(0), batch => batch.SampleIndices.ToArray());
        Assert.That((loader.BatchesPerEpoch, batches.Count), Is.EqualTo((5, 5)));
        Assert.That(batches, Has.All.Length.EqualTo(4));
        Assert.That(batches.SelectMany(samples => samples), Is.Unique);
        Assert.That(batches.SelectMany(samples => samples), Is.Not.Ordered);
    }

    [Test]
    public void Evaluation_goes_through_the_file_with_whole_images()
    {
        using var loader = new BatchLoader(Images(10), Tokenizer, Training(batchSize: 4) with { Training = false });
        var batches = Read(loader.Epoch(0), batch => (Samples: batch.SampleIndices.ToArray(), Images: batch.Images.ToArray(), batch.Count));
        Assert.That(batches.Select(batch => batch.Count), Is.EqualTo(new[] { 4, 4, 2 }));
        Assert.That(batches.SelectMany(batch => batch.Samples), Is.EqualTo(Enumerable.Range(0, 10)));
        Assert.That(batches.SelectMany(batch => batch.Images), Has.All.Matches<ImageSlot>(slot =>
            (slot.CropX, slot.CropY, slot.CropWidth, slot.CropHeight) == (0, 0, slot.Width, slot.Height)));
    }

    [Test]
    public void A_sample_has_its_own_pixels_and_tokens()
    {
        var data = Images(17);
        using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 5));
        var ids = new int[Context];
        int checkedSamples = 0;
        foreach (var batch in loader.Epoch(1))
        {
            using (batch)
            {
                for (int i = 0; i < batch.Count; i++)
                {
                    var slot = batch.Images[i];
                    var image = ImageDecoder.Decode(data.Samples[batch.SampleIndices[i]].Path);
                    Assert.That((slot.Width, slot.Height), Is.EqualTo((image.Width, image.Height)));
                    Assert.That(batch.Rgb.Slice((int)slot.Offset, image.Pixels.Length).SequenceEqual(image.Pixels));
                    var row = data.Rows[batch.RowIndices[i]];
                    Assert.That(row.Sample, Is.EqualTo(batch.SampleIndices[i]));
                    Tokenizer.EncodeCaption(row.Caption, ids);
                    Assert.That(batch.Tokens.Slice(i * Context, Context).SequenceEqual(ids));
                    loader.CopyTokens(batch.RowIndices[i], ids);
                    Assert.That(batch.Tokens.Slice(i * Context, Context).SequenceEqual(ids));
                    checkedSamples++;
                }
            }
        }
        Assert.That(checkedSamples, Is.EqualTo(15));
    }

    [Test]
    public void Every_caption_of_an_image_is_drawn_over_the_epochs()
    {
        Folder.WriteImage("a.png", 3, 3);
        var data = Load("image_path,caption\na.png,one\na.png,two\na.png,three\n");
        using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 1));
        var drawn = new int[3];
        for (int epoch = 0; epoch < 300; epoch++) drawn[Read(loader.Epoch(epoch), batch => batch.RowIndices[0]).Single()]++;
        Assert.That(drawn, Has.All.InRange(60, 140)); // binomial(300, 1/3): 100 ± 8.2, five deviations
    }

    [Test]
    public void Without_drawing_every_row_is_a_sample()
    {
        foreach (string name in new[] { "a.png", "b.png" }) Folder.WriteImage(name, 3, 3);
        var data = Load("image_path,caption\na.png,one\nb.png,two\na.png,three\n");
        foreach (bool training in new[] { true, false })
        {
            using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 3) with { Training = training, DrawCaptions = false });
            var (rows, samples) = Read(loader.Epoch(0), batch => (batch.RowIndices.ToArray(), batch.SampleIndices.ToArray())).Single();
            Assert.That(rows, Is.EquivalentTo(new[] { 0, 1, 2 }));
            Assert.That(samples, Is.EqualTo(rows.Select(row => row == 1 ? 1 : 0)));
        }
    }

    [Test]
    public void Crops_lie_in_their_images_and_change_from_epoch_to_epoch()
    {
        using var loader = new BatchLoader(Images(12, side: 40), Tokenizer, Training(batchSize: 12));
        var crops = new HashSet<(int, int, int, int)>();
        for (int epoch = 0; epoch < 5; epoch++)
        {
            foreach (var slot in Read(loader.Epoch(epoch), batch => batch.Images.ToArray()).Single())
            {
                Assert.That(slot.CropX >= 0 && slot.CropY >= 0 && slot.CropX + slot.CropWidth <= slot.Width && slot.CropY + slot.CropHeight <= slot.Height);
                crops.Add((slot.CropX, slot.CropY, slot.CropWidth, slot.CropHeight));
            }
        }
        Assert.That(crops, Has.Count.GreaterThan(20));
    }

    [TestCase(0)]
    [TestCase(3)]
    public void An_undecodable_image_is_replaced_in_training_and_listed(int workers)
    {
        var data = Images(20);
        Break(data, 7, 8);
        using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 5) with { Workers = workers });
        for (int epoch = 0; epoch < 3; epoch++)
        {
            var batches = Read(loader.Epoch(epoch), batch => batch.SampleIndices.ToArray());
            Assert.That(batches, Has.Count.EqualTo(4).And.All.Length.EqualTo(5).And.All.Unique);
            Assert.That(batches.SelectMany(samples => samples), Has.None.EqualTo(7).And.None.EqualTo(8));
        }
        Assert.That(loader.Skipped.Select(image => image.Line), Is.EqualTo(new[] { 9, 10 }));
        Assert.That(loader.Skipped[0].Reason, Does.Contain(data.Samples[7].Path));
    }

    [Test]
    public void Replacements_do_not_depend_on_the_number_of_workers()
    {
        var data = Images(20);
        Break(data, 1, 2, 3, 13, 14, 19);
        using var one = new BatchLoader(data, Tokenizer, Training(batchSize: 5) with { Workers = 1 });
        using var five = new BatchLoader(data, Tokenizer, Training(batchSize: 5) with { Workers = 5 });
        for (int epoch = 0; epoch < 3; epoch++) Assert.That(Digests(five.Epoch(epoch)), Is.EqualTo(Digests(one.Epoch(epoch))));
    }

    [Test]
    public void An_undecodable_image_is_left_out_in_evaluation()
    {
        var data = Images(10);
        Break(data, 0, 4, 5, 6, 7);
        using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 4) with { Training = false });
        var batches = Read(loader.Epoch(0), batch => batch.SampleIndices.ToArray());
        Assert.That(batches, Is.EqualTo(new[] { new[] { 1, 2, 3 }, [8, 9] })); // the batch that is all bad is none
        Assert.That(loader.Skipped, Has.Count.EqualTo(5));
    }

    [Test]
    public void Missing_and_undecodable_images_are_listed_together()
    {
        Folder.WriteImage("a.png", 3, 3);
        Folder.Write("b.png", "no image");
        var data = Load("image_path,caption\nb.png,one\na.png,two\nx.png,three\n");
        using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 2));
        Assert.That(Read(loader.Epoch(0), batch => batch.SampleIndices.ToArray()).Single(), Is.EqualTo(new[] { 1, 0 }).Or.EqualTo(new[] { 0, 0 }).Or.EqualTo(new[] { 1, 1 }));
        Assert.That(loader.Skipped.Select(image => Path.GetFileName(image.Path)), Is.EqualTo(new[] { "b.png", "x.png" }));
    }

    [Test]
    public void Strict_makes_an_undecodable_image_an_error_with_its_line()
    {
        var data = Images(10);
        Break(data, 6);
        foreach (int workers in new[] { 0, 2 })
        {
            using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 10) with { Strict = true, Workers = workers });
            Assert.That(() => Read(loader.Epoch(0), batch => batch.Count), ThrowsInvalidData("line 8", data.Samples[6].Path));
        }
    }

    [TestCase(true)]
    [TestCase(false)]
    public void No_decodable_image_at_all_is_an_error(bool training)
    {
        var data = Images(4);
        Break(data, 0, 1, 2, 3);
        using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 2) with { Training = training });
        Assert.That(() => Read(loader.Epoch(0), batch => batch.Count), ThrowsInvalidData("No image of", data.Path));
    }

    [Test]
    public void Counts_captions_that_were_cut_and_strict_refuses_them()
    {
        Folder.WriteImage("a.png", 3, 3);
        var data = Load("image_path,caption\na.png,one two three four five six\na.png,one two three four five six seven\na.png,<|endoftext|> a b\n");
        using var loader = new BatchLoader(data, Tokenizer, Training(batchSize: 1));
        Assert.That(loader.TruncatedCaptions, Is.EqualTo(1));
        var ids = new int[Context];
        foreach (int row in new[] { 0, 1, 2 })
        {
            var expected = new int[Context];
            Tokenizer.EncodeCaption(data.Rows[row].Caption, expected);
            loader.CopyTokens(row, ids);
            Assert.That(ids, Is.EqualTo(expected));
        }
        Assert.That(() => new BatchLoader(data, Tokenizer, Training(batchSize: 1) with { Strict = true }), ThrowsInvalidData("line 3", "7 tokens"));
    }

    [Test]
    public void Options_out_of_range_are_errors()
    {
        var data = Images(3);
        var good = Training(batchSize: 3);
        Throws_argument(good with { BatchSize = 0 }, "batch size is 0");
        Throws_argument(good with { BatchSize = 4 }, "larger than the 3 images");
        Throws_argument(good with { BatchSize = 4, DrawCaptions = false }, "larger than the 3 rows");
        Throws_argument(good with { ContextLength = 1 }, "context length is 1");
        Throws_argument(good with { Workers = -1 }, "workers is -1");
        Throws_argument(good with { Crop = new RandomCrop(2) }, "area");
        using var evaluation = new BatchLoader(data, Tokenizer, good with { BatchSize = 4, Training = false });
        Assert.That(evaluation.BatchesPerEpoch, Is.EqualTo(1));

        void Throws_argument(LoaderOptions options, string what) =>
            Assert.That(() => new BatchLoader(data, Tokenizer, options), Throws.ArgumentException.With.Message.Contains(what));
    }

    [Test]
    public void A_steady_state_uses_the_same_few_batches_again()
    {
        using var loader = new BatchLoader(Images(60), Tokenizer, Training(batchSize: 2) with { Workers = 2 });
        var batches = new HashSet<HostBatch>(ReferenceEqualityComparer.Instance);
        for (int epoch = 0; epoch < 3; epoch++)
        {
            foreach (var batch in loader.Epoch(epoch))
            {
                batches.Add(batch);
                batch.Dispose();
                batch.Dispose(); // gives it back once
            }
        }
        Assert.That(batches, Has.Count.LessThanOrEqualTo(4)); // three ahead, one in use
    }

    [Test]
    public void Disposal_ends_an_epoch_that_is_being_read()
    {
        var loader = new BatchLoader(Emoji("train.csv"), Tokenizer, Training(batchSize: 100) with { Workers = 3 });
        using var epoch = loader.Epoch(0).GetEnumerator();
        Assert.That(epoch.MoveNext());
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        loader.Dispose();
        Assert.That(System.Diagnostics.Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(2)));
        Assert.That(epoch.MoveNext, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => Read(loader.Epoch(0), batch => batch.Count), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void Leaving_an_epoch_early_lets_another_begin()
    {
        using var loader = new BatchLoader(Images(20), Tokenizer, Training(batchSize: 2));
        string expected = Digests(loader.Epoch(1))[0];
        foreach (var batch in loader.Epoch(0))
        {
            batch.Dispose();
            break;
        }
        Assert.That(Digests(loader.Epoch(1))[0], Is.EqualTo(expected));
    }

    [Test]
    public void Measures_how_long_it_was_waited_for()
    {
        using var loader = new BatchLoader(Images(20), Tokenizer, Training(batchSize: 5) with { Workers = 0 });
        Assert.That(loader.Waited, Is.EqualTo(TimeSpan.Zero));
        Digests(loader.Epoch(0));
        Assert.That(loader.Waited, Is.GreaterThan(TimeSpan.Zero));
    }

    [Test]
    public void Without_shuffling_training_goes_through_the_file()
    {
        using var loader = new BatchLoader(Images(9), Tokenizer, Training(batchSize: 4) with { Shuffle = false });
        Assert.That(Read(loader.Epoch(5), batch => batch.SampleIndices.ToArray()).SelectMany(samples => samples), Is.EqualTo(Enumerable.Range(0, 8)));
    }

    [Test]
    public void Pixel_changes_are_drawn_by_epoch_and_sample_alone()
    {
        var options = Training(batchSize: 12) with { Augmentation = new PixelAugmentation(Flip: 0.5, ColorJitterProbability: 0.5, 0.4, 0.4, 0.4, 0.1, GrayScaleProbability: 0.5) };
        var data = Images(12);
        using var loader = new BatchLoader(data, Tokenizer, options);
        using var inOrder = new BatchLoader(data, Tokenizer, options with { Shuffle = false, Workers = 0 });
        var seen = new HashSet<PixelDraw>();
        for (int epoch = 0; epoch < 4; epoch++)
        {
            var (samples, draws) = Read(loader.Epoch(epoch), batch => (batch.SampleIndices.ToArray(), batch.Images.ToArray().Select(image => image.Pixels).ToArray())).Single();
            var expected = Read(inOrder.Epoch(epoch), batch => batch.Images.ToArray().Select(image => image.Pixels).ToArray()).Single();
            Assert.That(draws, Is.EqualTo(samples.Select(sample => expected[sample])));
            seen.UnionWith(draws);
        }
        Assert.That(seen, Has.Some.Property("Jitter").True.And.Some.Property("Jitter").False);
        using var evaluation = new BatchLoader(data, Tokenizer, options with { Training = false });
        Assert.That(Read(evaluation.Epoch(0), batch => batch.Images.ToArray()).Single().Select(image => image.Pixels), Is.All.EqualTo(default(PixelDraw)));
    }

    private static LoaderOptions Training(int batchSize) => new() { BatchSize = batchSize, ContextLength = Context, Training = true, Seed = 1, Workers = 2 };

    private static NUnit.Framework.Constraints.IResolveConstraint ThrowsInvalidData(string place, string what) =>
        Throws.TypeOf<InvalidDataException>().With.Message.Contains(place).And.Message.Contains(what).And.Message.Not.Contains("\n");

    /// <summary>The name of its file, the file's handle, and the codec's objects: nothing else is allocated for an image once all buffers are there.</summary>
    [Test]
    public void An_image_takes_no_more_managed_memory_than_its_codec_and_its_name()
    {
        const int BytesAnImage = 512;
        var data = Emoji("val.csv");
        using var loader = new BatchLoader(data, Tokenizer, new LoaderOptions { BatchSize = 128, ContextLength = 32, Training = true, Workers = 0 });
        for (int epoch = 0; epoch < 2; epoch++) ReadAll(epoch);
        long before = GC.GetAllocatedBytesForCurrentThread();
        int images = ReadAll(2);
        Assert.That((GC.GetAllocatedBytesForCurrentThread() - before) / images, Is.LessThan(BytesAnImage));

        int ReadAll(int epoch)
        {
            int count = 0;
            foreach (var batch in loader.Epoch(epoch))
            {
                using (batch) count += batch.Count;
            }
            return count;
        }
    }

    private static CsvDataset Emoji(string name) => CsvDataset.Load(Path.Combine(DataFolder.Find(), "emoji", name));

    /// <summary>Images of different sizes and colours, one caption each, on lines 2 onwards.</summary>
    private CsvDataset Images(int count, int side = 5)
    {
        for (int i = 0; i < count; i++) Folder.WriteImage($"{i}.png", side + i % 3, side + i % 4, (byte)i, (byte)(7 * i), 200);
        return Load("image_path,caption\n" + string.Concat(Enumerable.Range(0, count).Select(i => $"{i}.png,picture {i}\n")));
    }

    private CsvDataset Load(string text) => CsvDataset.Load(Folder.Write("train.csv", text));

    private static void Break(CsvDataset data, params int[] samples)
    {
        foreach (int sample in samples) File.WriteAllText(data.Samples[sample].Path, "no image any more");
    }

    /// <summary>Reads an epoch, giving each batch back.</summary>
    private static List<T> Read<T>(IEnumerable<HostBatch> epoch, Func<HostBatch, T> look)
    {
        var seen = new List<T>();
        foreach (var batch in epoch)
        {
            using (batch) seen.Add(look(batch));
        }
        return seen;
    }

    /// <summary>A digest of everything in each batch.</summary>
    private static string[] Digests(IEnumerable<HostBatch> epoch) => [.. Read(epoch, Digest)];

    private static string Digest(HostBatch batch)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(batch.Rgb);
        hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(batch.Tokens));
        hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(batch.SampleIndices));
        hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(batch.RowIndices));
        foreach (var slot in batch.Images) hash.AppendData(System.Text.Encoding.UTF8.GetBytes(slot.ToString()));
        return Convert.ToHexString(hash.GetHashAndReset());
    }
}
