"""Gated MFF: MFF in which each sensor counts, location by location, as much as a few trained numbers believe it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from any2seg_core.models.config import MFFConfig, ModelConfig
from any2seg_core.models.mff import MFF
from any2seg_core.models.outputs import Encoded


class MFFGated(MFF):
    """MFF with a reliability r_m of each present modality per location, a softmax of one number for each.

    That number is a linear map of the modality's own feature there and of whether it says anything there; the map is
    the same for all modalities, so that any number of them can be fused. r_m stands in place of 1 / M in the mean and
    in f_mb, and its logarithm is added to the cosines of the selection. The maps begin at zero: then it is MFF.

    Args:
        config: of MFF. widths: C_j of the levels.
        masks: whether those that say nothing take no part at all, as `content_masks` has it.
    """

    asks_for_content = True

    def __init__(self, config: MFFConfig, widths: Sequence[int], masks: bool = False) -> None:
        super().__init__(config)
        self.gates = nn.ParameterList(torch.zeros(width + 1) for width in widths)
        self._masks = masks

    @classmethod
    def of(cls, config: ModelConfig, widths: tuple[int, ...]) -> MFFGated:
        return cls(config.mff, widths, config.content_masks)

    def fused_levels(self, encoded: Encoded, anchor: list[Tensor] | None = None) -> list[Tensor]:
        anchors: Sequence[Tensor | None] = anchor or [None] * len(encoded.levels)
        fused = []
        for gate, level, content, f_a in zip(self.gates, encoded.levels, encoded.content, anchors, strict=True):
            trust = _trust(gate, level, content)
            fused.append(self(level, encoded.present, f_a, content if self._masks else None, trust))
        return fused


def _trust(weight: Tensor, features: Tensor, content: Tensor) -> Tensor:
    """weight (C + 1,), features (B, M, C, H, W), content (B, M, H, W) bool -> (B, M, H, W)."""
    of_features = features.permute(0, 1, 3, 4, 2) @ weight[:-1]  # (B, M, H, W)
    return of_features + weight[-1] * content.to(of_features.dtype)
