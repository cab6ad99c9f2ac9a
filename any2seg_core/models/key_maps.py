"""The one map from published MiT state names to ours, so that weights of other programs load strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

# Official SegFormer names: patch_embed1.proj, block1.0.attn.q, block1.0.mlp.dwconv.dwconv, norm1.
_OFFICIAL = (
    (re.compile(r"^patch_embed(\d)\."), lambda m: f"stages.{int(m[1]) - 1}.embed."),
    (re.compile(r"^block(\d)\."), lambda m: f"stages.{int(m[1]) - 1}.blocks."),
    (re.compile(r"^norm(\d)\."), lambda m: f"stages.{int(m[1]) - 1}.norm."),
    (re.compile(r"\.dwconv\.dwconv\."), lambda m: ".dwconv."),
)

# transformers.SegformerModel names: encoder.patch_embeddings.0.proj, encoder.block.0.0.attention.self.query, ...
_HUGGING_FACE = (
    (re.compile(r"^(?:segformer\.)?encoder\.patch_embeddings\.(\d)\.layer_norm\."), r"stages.\1.embed.norm."),
    (re.compile(r"^(?:segformer\.)?encoder\.patch_embeddings\.(\d)\."), r"stages.\1.embed."),
    (re.compile(r"^(?:segformer\.)?encoder\.block\.(\d)\."), r"stages.\1.blocks."),
    (re.compile(r"^(?:segformer\.)?encoder\.layer_norm\.(\d)\."), r"stages.\1.norm."),
    (re.compile(r"\.layer_norm_(\d)\."), r".norm\1."),
    (re.compile(r"\.attention\.self\.query\."), ".attn.q."),
    (re.compile(r"\.attention\.self\.sr\."), ".attn.sr."),
    (re.compile(r"\.attention\.self\.layer_norm\."), ".attn.norm."),
    (re.compile(r"\.attention\.output\.dense\."), ".attn.proj."),
    (re.compile(r"\.mlp\.dense(\d)\."), r".mlp.fc\1."),
    (re.compile(r"\.dwconv\.dwconv\."), ".dwconv."),
)


# The same from version 5 on, as `state_dict` gives it: stages.0.blocks.0.attention.q_proj, ... Files that
# `save_pretrained` writes keep the names above.
_HUGGING_FACE_5 = (
    (re.compile(r"\.patch_embeddings\.layer_norm\."), ".embed.norm."),
    (re.compile(r"\.patch_embeddings\."), ".embed."),
    (re.compile(r"\.layernorm_before\."), ".norm1."),
    (re.compile(r"\.layernorm_after\."), ".norm2."),
    (re.compile(r"\.attention\.q_proj\."), ".attn.q."),
    (re.compile(r"\.attention\.o_proj\."), ".attn.proj."),
    (re.compile(r"\.attention\.sequence_reduction\.sequence_reduction\."), ".attn.sr."),
    (re.compile(r"\.attention\.sequence_reduction\.layer_norm\."), ".attn.norm."),
    (re.compile(r"^(stages\.\d)\.layer_norm\."), r"\1.norm."),
    (re.compile(r"\.dwconv\.dwconv\."), ".dwconv."),
)

# MMSegmentation's MixVisionTransformer: layers.0.0.projection, layers.0.1.0.attn.attn.in_proj_weight, layers.0.2.
_MMSEGMENTATION = (
    (re.compile(r"^layers\.(\d)\.0\.projection\."), r"stages.\1.embed.proj."),
    (re.compile(r"^layers\.(\d)\.0\."), r"stages.\1.embed."),
    (re.compile(r"^layers\.(\d)\.1\."), r"stages.\1.blocks."),
    (re.compile(r"^layers\.(\d)\.2\."), r"stages.\1.norm."),
    (re.compile(r"\.attn\.attn\.out_proj\."), ".attn.proj."),
    (re.compile(r"\.ffn\.layers\.0\."), ".mlp.fc1."),
    (re.compile(r"\.ffn\.layers\.1\."), ".mlp.dwconv."),
    (re.compile(r"\.ffn\.layers\.4\."), ".mlp.fc2."),
)
_IN_PROJECTION = ".attn.attn.in_proj_"


def renamed(name: str, rules: tuple) -> str:
    """A name after all rules, one after the other, each a pattern and what stands in its place."""
    for pattern, replacement in rules:
        name = pattern.sub(replacement, name)
    return name


def from_official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official MiT state (``mit_b*.pth``; its ImageNet ``head`` is left out) -> MixTransformer state."""
    return {renamed(name, _OFFICIAL): value for name, value in state.items() if not name.startswith("head.")}


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``transformers`` SegformerModel state -> MixTransformer state; separate key and value are joined."""
    encoder = {name: value for name, value in state.items() if "decode_head" not in name}
    joined = _with_joined(encoder, ".attention.self.key.", ".attention.self.value.")
    return {renamed(name, _HUGGING_FACE): value for name, value in joined.items()}


def from_hugging_face_5(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same for the names within a model of ``transformers`` 5."""
    joined = _with_joined(state, ".attention.k_proj.", ".attention.v_proj.")
    return {renamed(name, _HUGGING_FACE_5): value for name, value in joined.items()}


def from_mmsegmentation(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of MMSegmentation's MixVisionTransformer -> MixTransformer state: query from key and value, 1x1 kernels to
    matrices.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if _IN_PROJECTION in name:
            width = len(value) // 3
            block, _, part = name.partition(_IN_PROJECTION)
            found[renamed(f"{block}.attn.q.{part}", _MMSEGMENTATION)] = value[:width]  # (C, C) or (C,)
            found[renamed(f"{block}.attn.kv.{part}", _MMSEGMENTATION)] = value[width:]  # (2C, C) or (2C,)
        else:
            is_matrix = name.endswith(("ffn.layers.0.weight", "ffn.layers.4.weight"))
            found[renamed(name, _MMSEGMENTATION)] = value.flatten(1) if is_matrix else value
    return found


def _with_joined(state: dict[str, Tensor], key: str, values: str) -> dict[str, Tensor]:
    """Keys and values of an attention in one: (2C, C) or (2C,)."""
    joined = {}
    for name, tensor in state.items():
        if key in name and (other := name.replace(key, values)) in state:
            joined[name.replace(key, ".attn.kv.")] = torch.cat([tensor, state[other]])
        elif values not in name:
            joined[name] = tensor
    return joined


DIALECTS: Mapping[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = MappingProxyType(
    {
        "stages.0.embed.proj.weight": dict,  # our own
        "patch_embed1.proj.weight": from_official,
        "layers.0.0.projection.weight": from_mmsegmentation,
        "encoder.patch_embeddings.0.proj.weight": from_hugging_face,
        "stages.0.patch_embeddings.proj.weight": from_hugging_face_5,
    }
)
"""First weight of a MiT in the names of each program -> what translates a state of these names."""
