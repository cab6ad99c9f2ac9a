"""The one map from published MiT state names to ours, so that official and Hugging Face weights load strictly."""

from __future__ import annotations

import re

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


def _rename(name: str, rules: tuple) -> str:
    for pattern, replacement in rules:
        name = pattern.sub(replacement, name)
    return name


def from_official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Official MiT state (``mit_b*.pth``; its ImageNet ``head`` is left out) -> MixTransformer state."""
    return {_rename(name, _OFFICIAL): value for name, value in state.items() if not name.startswith("head.")}


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``transformers`` SegformerModel state -> MixTransformer state; separate key and value are joined."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if ".attention.self.value." in name or "decode_head" in name:
            continue
        if ".attention.self.key." in name:
            value = torch.cat([value, state[name.replace(".key.", ".value.")]])  # (2C, C) or (2C,)
            name = name.replace(".attention.self.key.", ".attn.kv.")
        renamed[_rename(name, _HUGGING_FACE)] = value
    return renamed
