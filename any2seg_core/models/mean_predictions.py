"""Mean of the predictions of every modality alone (functional entropy, Zheng et al., ICCV 2025, Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from any2seg_core.models.config import ModelConfig
from any2seg_core.models.content import taking_part
from any2seg_core.models.fusion import EncodedApart, Network, spread
from any2seg_core.models.outputs import Encoded, Fused


class MeanOfPredictions(EncodedApart):
    """Every modality is segmented alone, and p = mean_m p_m over the logits of those that are present.

    With `content_masks` at each location over those that say something there, if there is one.
    """

    @classmethod
    def of(cls, config: ModelConfig, widths: tuple[int, ...]) -> MeanOfPredictions:
        return cls()

    def encoded(self, network: Network, features: list[Tensor], present: Tensor, names: tuple[str, ...]) -> Encoded:
        levels = [spread(level, present) for level in features]
        return Encoded(levels, present, names, logits=spread(network.head(features), present))

    def fuse(self, network: Network, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        logits = self.modality_logits(network, encoded)
        there = taking_part(encoded.present, encoded.content[0] if encoded.content else None)
        share = there.to(logits.dtype) / there.sum(dim=1, keepdim=True)  # (B, M) or (B, M, H_1, W_1)
        sums = "bmkhw,bm->bkhw" if share.ndim == 2 else "bmkhw,bmhw->bkhw"
        return Fused(logits=torch.einsum(sums, logits, share))

    def decode(self, network: Network, fused: Fused) -> Tensor:
        assert fused.logits is not None  # `fuse` gives them
        return fused.logits

    def decoded(self, network: Network, fused: Fused) -> tuple[Tensor, Tensor | None]:
        return self.decode(network, fused), None

    def modality_logits(self, network: Network, encoded: Encoded) -> Tensor:
        assert encoded.logits is not None  # `encoded` gives them
        return encoded.logits
