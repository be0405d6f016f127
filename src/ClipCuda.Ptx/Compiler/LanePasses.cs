namespace ClipCuda.Ptx.Compiler;

/// <summary>
/// Which loops may run in passes: some of the warp's lanes first, through all iterations, then the next ones. A GPU's kernel keeps many numbers
/// a thread, more than the processor has registers for when 32 lanes keep them at once; a pass of a quarter of the lanes needs a quarter of
/// the registers. Scalars are computed again in each pass, so all passes go the same way.
/// </summary>
internal static class LanePasses
{
    /// <summary>
    /// The loop has no loop inside, no lane of it waits, its branches are the same for all lanes, nothing goes from lane to lane, and nothing is
    /// written to memory, so that no lane can notice how far the others are.
    /// </summary>
    public static bool Allow(Loop loop, List<BasicBlock> blocks, FlowGraph graph, Webs webs, Analysis analysis, Inlining inlining) =>
        graph.IsInnermost(loop) && loop.Blocks.All(b =>
            blocks[b].End is BlockEnd.Jump or BlockEnd.Branch && !analysis.IsPartial(b) && !analysis.IsDivergent(b)
            && blocks[b].Operations.TrueForAll(o => Allows(o, webs, analysis, inlining)));

    private static bool Allows(Operation operation, Webs webs, Analysis analysis, Inlining inlining)
    {
        if (analysis.NeedsTest(operation) || inlining.Absorbed.Contains(operation) || operation.Destinations.Any(w => analysis.Classes[w].Kind == ValueKind.Periodic)) return false;
        return operation.Kind switch
        {
            OperationKind.Pure => VectorForm.Exists(operation, analysis) && analysis.ReductionPeriod(operation, out _) == 0,
            OperationKind.Load => MemoryForm.Of(operation, analysis, webs) != MemoryShape.Scattered,
            _ => false,
        };
    }
}
