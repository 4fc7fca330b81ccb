"""open_clip's weights of a ViT in the layout of transformers."""

from pathlib import Path

from safetensors.torch import load_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.": "pre_layrnorm.",
    "ln_post.": "post_layernorm.",
    "transformer.resblocks.": "encoder.layers.",
    "attn.out_proj.": "self_attn.out_proj.",
    "mlp.c_fc.": "mlp.fc1.",
    "mlp.c_proj.": "mlp.fc2.",
    "ln_1.": "layer_norm1.",
    "ln_2.": "layer_norm2.",
}


def vision_model_of(config: dict, weights: Path) -> CLIPVisionModelWithProjection:
    """The image tower of an open_clip model of this config, with its weights."""
    vision, state = config["vision_cfg"], {}
    for name, tensor in load_file(weights).items():
        if not name.startswith("visual."):
            continue
        name, tensor = name.removeprefix("visual."), tensor.float()
        if name == "proj":
            state["visual_projection.weight"] = tensor.T
            continue
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        if "attn.in_proj_" in name:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                state["vision_model." + name.replace("attn.in_proj_", f"self_attn.{part}_proj.")] = third
        else:
            state["vision_model." + name] = tensor
    model = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=vision["width"],
            intermediate_size=4 * vision["width"],
            projection_dim=config["embed_dim"],
            num_hidden_layers=vision["layers"],
            num_attention_heads=vision["width"] // vision["head_width"],
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            hidden_act="gelu",
        )
    )
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"vision_model.embeddings.position_ids"}, (missing, unexpected)
    return model
