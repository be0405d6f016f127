using ClipCuda.Devices;

namespace ClipCuda.Tests.Devices;

/// <summary>Packed panels, element by element, with numbers that say where they come from.</summary>
public sealed unsafe class GemmPackingTests
{
    private const float Untouched = -1;

    [Test]
    public void Every_element_of_a_valid_lane_is_where_the_kernel_reads_it([Values] bool lanesSideBySide)
    {
        // Odd depths leave a rest behind every unrolled loop; rows of 1024 are the ones that share a cache set.
        foreach (int depth in new[] { 1, 3, 4, 16, 37 })
        {
            foreach (int lanes in new[] { 1, 2, 3, 4, 5, 7, 8, 9, 12, 14, 15, 16, 24, 32, 48, 128 })
            {
                foreach (int valid in new[] { 1, 2, 3, 4, 7, 8, 11, 13, 16, 17, 31, 32, 47, 48, 100 }.Where(valid => valid < lanes).Append(lanes))
                    Check(lanesSideBySide, lanes, valid, depth, lanesSideBySide ? valid + 3 : depth + 3);
            }
        }
        Check(lanesSideBySide, 48, 48, 37, 1024);
        Check(lanesSideBySide, 14, 9, 37, 1024);
    }

    private static void Check(bool lanesSideBySide, int lanes, int valid, int depth, int stride)
    {
        // The operand ends with its last valid element, so that a read beyond it is one of a page that may not be there.
        int rows = lanesSideBySide ? depth : valid, length = lanesSideBySide ? valid : depth;
        float[] source = Enumerable.Range(0, (rows - 1) * stride + length).Select(i => (float)i).ToArray();
        float[] panel = Enumerable.Repeat(Untouched, depth * lanes + 64).ToArray();
        fixed (float* from = source, to = panel)
            GemmPacking.Pack(from, lanesSideBySide ? 1 : stride, lanesSideBySide ? stride : 1, lanes, valid, depth, to);
        string what = $"{lanes} lanes, {valid} valid, depth {depth}, stride {stride}";
        for (int k = 0; k < depth; k++)
        {
            for (int lane = 0; lane < lanes; lane++)
            {
                float found = panel[k * lanes + lane];
                if (lane < valid) Assert.That(found, Is.EqualTo(lanesSideBySide ? k * stride + lane : lane * stride + k), $"{what}: lane {lane}, k {k}");
                else Assert.That(found, Is.Not.EqualTo(Untouched), $"{what}: lane {lane}, k {k} holds what was there before");
            }
        }
        Assert.That(panel.Skip(depth * lanes), Is.All.EqualTo(Untouched), $"{what}: wrote past the panel");
    }
}
