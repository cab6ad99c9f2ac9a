"""The one map from published names of SegFormer's head to ours, beside that of the encoder's in `key_maps`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from any2seg_core.models.config import HeadName
from any2seg_core.models.key_maps import renamed

_BATCH_NORM_EPS = 1e-5  # of PyTorch, which no configuration of MMSegmentation changes

# transformers 4: linear_c.0.proj, from version 5 on linear_projections.0.proj.
_HUGGING_FACE = (
    (re.compile(r"^linear_(?:c|projections)\.(\d)\.proj\."), r"projections.\1."),
    (re.compile(r"^linear_fuse\."), "fuse."),
    (re.compile(r"^batch_norm\."), "norm."),
)

# Official SegFormer: linear_c1.proj is of the finest level.
_OFFICIAL = (
    (re.compile(r"^linear_c(\d)\.proj\."), lambda m: f"projections.{int(m[1]) - 1}."),
    (re.compile(r"^linear_fuse\.conv\."), "fuse."),
    (re.compile(r"^linear_fuse\.bn\."), "norm."),
    (re.compile(r"^linear_pred\."), "classifier."),
)

_MMSEGMENTATION = (
    (re.compile(r"^fusion_conv\.conv\."), "fuse."),
    (re.compile(r"^fusion_conv\.bn\."), "norm."),
    (re.compile(r"^conv_seg\."), "classifier."),
)
_LEVELS = range(4)
_PROJECTION = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")


class HeadDialect(NamedTuple):
    """Names of one program.

    Attributes:
        translate: state below ``decode_head.`` -> state of `AllMLPHead`. head: which kind of it.
    """

    translate: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    head: HeadName


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``transformers`` SegformerDecodeHead, versions 4 and 5."""
    return {renamed(name, _HUGGING_FACE): value for name, value in state.items()}


def from_official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SegFormer's own; ``conv_seg``, which its base class makes and nothing uses, is left out."""
    return {renamed(name, _OFFICIAL): value for name, value in state.items() if not name.startswith("conv_seg.")}


def from_mmsegmentation(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """MMSegmentation's SegformerHead: the BatchNorm of a projection becomes part of it, and the levels, which it fuses
    finest first, stand coarsest first.
    """
    found = {renamed(name, _MMSEGMENTATION): value for name, value in state.items()}
    if "fuse.weight" in found:
        parts = found["fuse.weight"].chunk(len(_LEVELS), dim=1)  # (C, C, 1, 1) each
        found["fuse.weight"] = torch.cat(parts[::-1], dim=1)
    for level in _LEVELS:
        names = [f"convs.{level}.{part}" for part in _PROJECTION]
        if all(name in found for name in names):
            weight, bias = _with_norm(*(found.pop(name) for name in names))
            found |= {f"projections.{level}.weight": weight, f"projections.{level}.bias": bias}
            found.pop(f"convs.{level}.bn.num_batches_tracked", None)
    return found


def _with_norm(weight: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution (C, C_j, 1, 1) and its BatchNorm as in evaluation -> (C, C_j) and (C,) that equal both."""
    scale = gain.double() * torch.rsqrt(variance.double() + _BATCH_NORM_EPS)  # (C,)
    folded = weight.flatten(1).double() * scale[:, None]  # (C, C_j)
    return folded.to(weight.dtype), (bias.double() - mean.double() * scale).to(weight.dtype)


HEAD_DIALECTS: Mapping[str, HeadDialect] = MappingProxyType(
    {
        "linear_pred.weight": HeadDialect(from_official, "mlp"),
        "classifier.weight": HeadDialect(from_hugging_face, "mlp"),
        "fusion_conv.conv.weight": HeadDialect(from_mmsegmentation, "mlp_relu"),
    }
)
"""A weight of a SegFormer head in the names of each program -> its dialect."""
