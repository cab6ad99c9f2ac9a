"""Early concatenation: all modalities are the channels of one image, the baseline without any sharing."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from any2seg_core.models.backbones import make_encoder
from any2seg_core.models.config import ModelConfig
from any2seg_core.models.fusion import EncodedTogether, Network
from any2seg_core.models.outputs import Encoded, Fused


class EarlyConcat(EncodedTogether):
    """One image of 3 M channels, zeros where a modality is absent, passes one encoder."""

    @classmethod
    def of(cls, config: ModelConfig, widths: tuple[int, ...]) -> EarlyConcat:
        return cls(config.modalities)

    @classmethod
    def make_encoder(cls, config: ModelConfig, drop_path: float) -> Any:
        channels = 3 * len(config.modalities)
        return make_encoder(config.encoder, drop_path, channels, config.layer_norm_eps)

    def fuse(self, network: Network, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        images, _ = self.all_modalities(encoded)
        return Fused(network.encoder(images.flatten(1, 2)))  # (B, M * C, H, W)
