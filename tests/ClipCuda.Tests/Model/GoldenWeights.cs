using System.Text;
using System.Text.RegularExpressions;
using ClipCuda.Model;

namespace ClipCuda.Tests.Model;

/// <summary>
/// The weights of OpenAI's ViT in the golden folder, and what transformers would save of them: names and layouts written out here, apart from the
/// table under test.
/// </summary>
internal static class GoldenWeights
{
    /// <summary>The golden folder's case.json in the words of transformers.</summary>
    public const string HuggingFaceConfig = """
        {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 32, "torch_dtype": "float32",
         "text_config": {"vocab_size": 200, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1,
                         "max_position_embeddings": 12, "hidden_act": "quick_gelu", "eos_token_id": 199},
         "vision_config": {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 48,
                           "patch_size": 16, "hidden_act": "quick_gelu"}}
        """;

    public const string OpenClipConfig = """
        {"model_cfg": {"embed_dim": 32, "quick_gelu": true, "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16},
                       "text_cfg": {"context_length": 12, "vocab_size": 200, "width": 64, "heads": 1, "layers": 2}},
         "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}}
        """;

    public static readonly ClipConfig Config = new(32, new(48, 16, 64, 2, 1, LnPre: true), new(12, 200, 64, 2, 1), QuickGelu: true, QkvBias: true);

    public static string Path { get; } = System.IO.Path.Combine(AppContext.BaseDirectory, "golden", "openai_vit", "weights.safetensors");

    public static Dictionary<string, (int[] Shape, float[] Values)> Read(string path)
    {
        using var file = SafetensorsFile.Open(path);
        return file.Entries.ToDictionary(entry => entry.Name, entry => (entry.Shape, file.ReadFloats(entry.Name)), StringComparer.Ordinal);
    }

    /// <summary>The golden weights as transformers saves them.</summary>
    public static Dictionary<string, (int[] Shape, float[] Values)> AsHuggingFace()
    {
        var result = new Dictionary<string, (int[] Shape, float[] Values)>(StringComparer.Ordinal);
        foreach (var (name, (shape, values)) in Read(Path))
        {
            if (name.Contains("in_proj", StringComparison.Ordinal))
            {
                int third = values.Length / 3;
                for (int i = 0; i < 3; i++)
                {
                    string part = Rename(name).Replace("attn.in_proj_", $"self_attn.{"qkv"[i]}_proj.", StringComparison.Ordinal);
                    result.Add(part, ([shape[0] / 3, .. shape[1..]], values[(i * third)..((i + 1) * third)]));
                }
            }
            else if (name is "text_projection" or "visual.proj")
            {
                var transposed = new float[values.Length];
                for (int i = 0; i < values.Length; i++) transposed[i % shape[1] * shape[0] + i / shape[1]] = values[i];
                result.Add(name == "visual.proj" ? "visual_projection.weight" : "text_projection.weight", ([shape[1], shape[0]], transposed));
            }
            else
            {
                result.Add(Rename(name), (shape, values));
            }
        }
        return result;
    }

    public static void Write(string path, Dictionary<string, (int[] Shape, float[] Values)> tensors) =>
        SafetensorsFile.Write(path, [.. tensors.Select(tensor => (tensor.Key, tensor.Value.Shape, (Func<float[]>)(() => tensor.Value.Values)))]);

    /// <summary>A file of bytes as they are, for headers that no writer would write.</summary>
    public static byte[] File(string header, int dataBytes)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        return [.. BitConverter.GetBytes((ulong)json.Length), .. json, .. new byte[dataBytes]];
    }

    private static string Rename(string name)
    {
        name = Regex.Replace(name, @"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers.");
        name = Regex.Replace(name, @"^transformer\.resblocks\.", "text_model.encoder.layers.");
        foreach (var (from, to) in new[]
        {
            (".ln_1.", ".layer_norm1."), (".ln_2.", ".layer_norm2."), (".mlp.c_fc.", ".mlp.fc1."), (".mlp.c_proj.", ".mlp.fc2."), (".attn.out_proj.", ".self_attn.out_proj."),
            ("visual.class_embedding", "vision_model.embeddings.class_embedding"), ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
            ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"), ("visual.ln_pre.", "vision_model.pre_layrnorm."),
            ("visual.ln_post.", "vision_model.post_layernorm."), ("ln_final.", "text_model.final_layer_norm."),
            ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
        }) name = name.Replace(from, to, StringComparison.Ordinal);
        return name == "positional_embedding" ? "text_model.embeddings.position_embedding.weight" : name;
    }
}
