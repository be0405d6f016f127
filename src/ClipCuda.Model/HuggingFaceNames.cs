using System.Text.RegularExpressions;

namespace ClipCuda.Model;

/// <summary>How a parameter is stored in the other layout.</summary>
internal enum StoredAs
{
    Same,

    /// <summary>A projection: open_clip has [in, out] and multiplies from the left, Hugging Face has a linear layer's [out, in].</summary>
    Transposed,

    /// <summary>open_clip's in_proj, [3·width, …]: Hugging Face has queries, keys and values apart.</summary>
    Split,
}

/// <summary>
/// What open_clip's parameters are called in Hugging Face's CLIPModel: one table, used in both directions. The layouts are those of
/// transformers' models/clip/modeling_clip.py and open_clip's model.py and transformer.py.
/// </summary>
internal static partial class HuggingFaceNames
{
    private static readonly (string OpenClip, string HuggingFace, StoredAs Stored)[] Table =
    [
        ("logit_scale", "logit_scale", StoredAs.Same),
        ("text_projection", "text_projection.weight", StoredAs.Transposed),
        ("positional_embedding", "text_model.embeddings.position_embedding.weight", StoredAs.Same),
        ("token_embedding.weight", "text_model.embeddings.token_embedding.weight", StoredAs.Same),
        ("ln_final.*", "text_model.final_layer_norm.*", StoredAs.Same),
        ("visual.proj", "visual_projection.weight", StoredAs.Transposed),
        ("visual.class_embedding", "vision_model.embeddings.class_embedding", StoredAs.Same),
        ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight", StoredAs.Same),
        ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight", StoredAs.Same),
        ("visual.ln_pre.*", "vision_model.pre_layrnorm.*", StoredAs.Same),
        ("visual.ln_post.*", "vision_model.post_layernorm.*", StoredAs.Same),
    ];

    /// <summary>Within a block; * is weight or bias.</summary>
    private static readonly (string OpenClip, string HuggingFace, StoredAs Stored)[] BlockTable =
    [
        ("ln_1.*", "layer_norm1.*", StoredAs.Same),
        ("attn.in_proj_*", "self_attn.?_proj.*", StoredAs.Split),
        ("attn.out_proj.*", "self_attn.out_proj.*", StoredAs.Same),
        ("ln_2.*", "layer_norm2.*", StoredAs.Same),
        ("mlp.c_fc.*", "mlp.fc1.*", StoredAs.Same),
        ("mlp.c_proj.*", "mlp.fc2.*", StoredAs.Same),
    ];

    /// <summary>The tensors that hold a parameter: one, or queries, keys and values.</summary>
    /// <exception cref="InvalidDataException">Hugging Face's CLIPModel has no such parameter.</exception>
    public static (string[] Names, StoredAs Stored) Of(string openClip)
    {
        var block = Block().Match(openClip);
        string prefix = !block.Success ? "" : $"{(block.Groups["visual"].Success ? "vision" : "text")}_model.encoder.layers.{block.Groups["layer"].Value}.";
        string name = block.Success ? block.Groups["rest"].Value : openClip;
        foreach (var (pattern, target, stored) in block.Success ? BlockTable : Table)
        {
            string start = pattern.TrimEnd('*');
            bool open = start.Length < pattern.Length;
            if (open ? !name.StartsWith(start, StringComparison.Ordinal) || name[start.Length..] is not ("weight" or "bias") : name != pattern) continue;
            string full = prefix + (open ? target[..^1] + name[start.Length..] : target);
            return (stored == StoredAs.Split ? [.. "qkv".Select(part => full.Replace('?', part))] : [full], stored);
        }
        throw new InvalidDataException($"Hugging Face's CLIPModel, whose towers are transformers, has nothing like '{openClip}'; use --to open_clip.");
    }

    /// <summary>The name that this version of transformers gives a tensor; older ones nested the towers once more.</summary>
    public static string Flatten(string name)
    {
        foreach (string tower in (ReadOnlySpan<string>)["text_model.", "vision_model."])
        {
            if (name.StartsWith(tower + tower, StringComparison.Ordinal)) return name[tower.Length..];
        }
        return name;
    }

    /// <summary>Counters that older versions of transformers saved with the weights: 0, 1, 2, ….</summary>
    public static bool IsCounter(string name) => name.EndsWith(".embeddings.position_ids", StringComparison.Ordinal);

    [GeneratedRegex(@"^(?<visual>visual\.)?transformer\.resblocks\.(?<layer>\d+)\.(?<rest>.+)$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Block();
}
