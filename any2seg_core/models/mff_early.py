"""Early MFF: every modality passes half of the encoder at a size of its own, and what is fused passes the rest once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import torch.nn.functional as F
from torch import Tensor

from any2seg_core.models.config import MFFConfig, ModelConfig
from any2seg_core.models.fusion import EncodedApart, Network, gathered, present_rows, spread
from any2seg_core.models.mff import MFF
from any2seg_core.models.outputs import Encoded, Fused

APART, TOGETHER = slice(0, 2), slice(2, 4)
"""Stages of the encoder before and after the modalities meet."""


class MFFEarly(EncodedApart):
    """MFF at the first two levels; stages 3 and 4 run once, on the fused second level.

    As MFF has no parameters and gives a feature of the encoder's own kind whatever is present, the later stages need
    not know how many modalities there were. Features of a smaller image are enlarged bilinearly to the grid of a whole
    one before they are fused, so that every subset has maps of the same sizes.

    Args:
        config: of MFF.
        scale: per modality, of its image's sides against the model's input; 1 for those that are not named.

    Shapes:
        images M x (B, 3, scale_m * H, scale_m * W) -> encoded 2 x (B, M, C_j, H / 2^(j+1), W / 2^(j+1)), j = 1, 2
        -> fused 4 x (B, C_j, H / 2^(j+1), W / 2^(j+1)), j = 1..4.
    """

    def __init__(self, config: MFFConfig, scale: Mapping[str, float]) -> None:
        super().__init__()
        self.mff = MFF(config)
        self._scale = dict(scale)

    @classmethod
    def of(cls, config: ModelConfig, widths: tuple[int, ...]) -> MFFEarly:
        return cls(config.mff, config.mff_early.scale)

    @property
    def takes_anchor(self) -> bool:
        return self.mff.takes_anchor

    def encode(self, network: Network, images: list[Tensor], present: Tensor, names: tuple[str, ...]) -> Encoded:
        parts = []
        for share, group in groupby(range(len(names)), lambda column: self._scale.get(names[column], 1.0)):
            columns = list(group)
            part = slice(columns[0], columns[-1] + 1)
            features = network.encoder(present_rows(images[part], present[:, part]), APART)  # 2 x (R, C_j, h_j, w_j)
            if share != 1.0:
                features = [F.interpolate(level, scale_factor=1.0 / share, mode="bilinear") for level in features]
            parts.append(self.encoded(network, features, present[:, part], names[part]))
        return Encoded.joined(parts)

    def fuse(self, network: Network, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        return self.finished(network, self.mff.fuse(network, encoded, anchor))

    def finished(self, network: Network, joined: Fused) -> Fused:
        """The two fused levels -> all four."""
        level_1, level_2 = joined.levels
        return Fused([level_1, level_2, *network.encoder(level_2, TOGETHER)])

    def modality_logits(self, network: Network, encoded: Encoded) -> Tensor:
        rows = [gathered(level, encoded.present)[:, None] for level in encoded.levels]  # 2 x (R, 1, C_j, H_j, W_j)
        alone = Encoded(rows, encoded.present.new_ones(len(rows[0]), 1), ("one of them",))
        return spread(network.head(self.fuse(network, alone).levels), encoded.present)
