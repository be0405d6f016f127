using ClipCuda.Ptx;

namespace ClipCuda.Tests.Ptx.Mutation;

/// <summary>One instruction of an entry put in the place of another.</summary>
/// <param name="Kind">The family of the change, such as <c>comparison</c>.</param>
/// <param name="Change">What is different, such as <c>setp.lt.s32 → setp.le.s32</c>, without register names: equal changes have equal texts.</param>
/// <param name="Source">The CUDA line it comes from, such as <c>kernels/layernorm.cu:42</c>.</param>
internal sealed record Mutant(string Entry, int Index, string Kind, string Change, PtxInstruction Replacement, string Source)
{
    public override string ToString() => $"{Entry}, {Source}, PTX line {Replacement.Line}: {Kind}, {Change}";
}
