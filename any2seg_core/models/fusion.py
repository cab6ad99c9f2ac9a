"""What every way of fusing has to say: how the modalities are encoded, fused and decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from any2seg_core.models.backbones import make_encoder
from any2seg_core.models.config import ModelConfig
from any2seg_core.models.decoder import AllMLPHead
from any2seg_core.models.outputs import Encoded, Fused, Prediction

Resize = Callable[[Tensor], Tensor]
"""(N, K, H_1, W_1) logits -> (N, K, H, W), the size of the images."""


class Network(NamedTuple):
    """The parts of a model that every fusion uses.

    Attributes:
        encoder: images (R, C, H, W) -> four features (R, C_j, H_j, W_j).
        head: four features -> logits (R, K, H_1, W_1).
    """

    encoder: Any  # a module with `widths`, of one of four classes
    head: AllMLPHead


class Fusion(nn.Module, ABC):
    """Where the modalities of a model meet; one class per way of fusing.

    Shapes:
        images M x (B, 3, H, W) and present (B, M) bool -> `encode` -> `fuse` -> `decode` -> logits (B, K, H_1, W_1).

    Attributes:
        encodes_alone: whether every modality has features of its own, which do not depend on what else is there.
        takes_anchor: whether `fuse` takes the fused features of the previous set of a stream.
        asks_for_content: whether `fuse` is to know where each modality says something, also without `content_masks`.
    """

    encodes_alone: bool
    asks_for_content = False

    @property
    def takes_anchor(self) -> bool:
        return False

    @classmethod
    @abstractmethod
    def of(cls, config: ModelConfig, widths: tuple[int, ...]) -> Fusion:
        """The fusion of a model whose encoder's levels have these widths."""

    @classmethod
    def make_encoder(cls, config: ModelConfig, drop_path: float) -> Any:
        """A new encoder as this fusion needs it."""
        return make_encoder(config.encoder, drop_path, eps=config.layer_norm_eps)

    @abstractmethod
    def encode(self, network: Network, images: list[Tensor], present: Tensor, names: tuple[str, ...]) -> Encoded:
        """What can be computed of the present pairs before it is known which of them will be fused."""

    @abstractmethod
    def fuse(self, network: Network, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        """The present modalities of each sample in one; ``anchor``: four levels, where `takes_anchor`."""

    def finished(self, network: Network, joined: Fused) -> Fused:
        """Fused levels -> all that is decoded, where some of the encoder follows the fusion; else what was given."""
        return joined

    def decode(self, network: Network, fused: Fused) -> Tensor:
        """Logits (B, K, H_1, W_1)."""
        return network.head(fused.levels)

    def predict(self, network: Network, encoded: Encoded, resize: Resize) -> Prediction:
        """`fuse` and `decode`, with all that a loss may want to know."""
        fused = self.fuse(network, encoded)
        if not self.training:
            return Prediction(resize(self.decode(network, fused)), fused, encoded)
        hidden = network.head.hidden(fused.levels)  # (B, C, H_1, W_1)
        return Prediction(resize(network.head.classify(hidden)), fused, encoded, hidden=hidden)


class EncodedApart(Fusion):
    """Every present (sample, modality) pair passes the encoder alone: pairs stand on its batch axis."""

    encodes_alone = True

    def encode(self, network: Network, images: list[Tensor], present: Tensor, names: tuple[str, ...]) -> Encoded:
        features = network.encoder(present_rows(images, present))  # 4 x (R, C_j, H_j, W_j)
        return self.encoded(network, features, present, names)

    def encoded(self, network: Network, features: list[Tensor], present: Tensor, names: tuple[str, ...]) -> Encoded:
        """Features of the present pairs, 4 x (R, C_j, H_j, W_j) -> Encoded."""
        return Encoded([spread(level, present) for level in features], present, names)

    def predict(
        self, network: Network, encoded: Encoded, resize: Resize, subsets: Tensor | None = None
    ) -> Prediction:
        """As in `Fusion`, with the logits of ``subsets`` (S, B, M) bool of what is present beside it."""
        if subsets is None:
            fused = self.fuse(network, encoded)
            logits, hidden = self.decoded(network, fused)
            return Prediction(resize(logits), fused, encoded, hidden=hidden)
        shown = torch.cat([encoded.present[None], subsets])  # (1 + S, B, M)
        # All of them pass the head as one batch: its BatchNorm then sees in training what it averages for evaluation.
        every = Fused.joined([self.fuse(network, encoded.showing(present)) for present in shown])
        logits, hidden = self.decoded(network, every)  # ((1 + S) * B, K, H_1, W_1)
        first = slice(0, len(encoded.present))
        return Prediction(
            resize(logits[first]),
            every.samples(first),
            encoded,
            hidden=None if hidden is None else hidden[first],
            shown=shown,
            subset_logits=logits.unflatten(0, shown.shape[:2]),
        )

    def decoded(self, network: Network, fused: Fused) -> tuple[Tensor, Tensor | None]:
        """Logits (B, K, H_1, W_1) and, in training, the map (B, C, H_1, W_1) that was classified, if there is one."""
        if not self.training:
            return self.decode(network, fused), None
        hidden = network.head.hidden(fused.levels)
        return network.head.classify(hidden), hidden

    @abstractmethod
    def modality_logits(self, network: Network, encoded: Encoded) -> Tensor:
        """Each present modality segmented alone: (B, M, K, H_1, W_1), zero where absent."""


class EncodedTogether(Fusion):
    """The modalities of a subset pass the encoder together: nothing can be encoded before the subset is known."""

    encodes_alone = False

    def __init__(self, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.modalities = modalities

    def encode(self, network: Network, images: list[Tensor], present: Tensor, names: tuple[str, ...]) -> Encoded:
        return Encoded([], present, names, images=torch.stack(images, dim=1))

    def all_modalities(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Images (B, M, C, H, W) of all of the model's modalities, zeros where absent or not given; and (B, M) bool."""
        images = encoded.images
        assert images is not None  # `encode` keeps them
        slots = [self.modalities.index(name) for name in encoded.modalities]
        canvas = images.new_zeros((len(images), len(self.modalities), *images.shape[2:]))
        canvas[:, slots] = images.masked_fill(~encoded.present[:, :, None, None, None], 0.0)
        present = encoded.present.new_zeros(canvas.shape[:2])
        present[:, slots] = encoded.present
        return canvas, present


def present_rows(images: list[Tensor], present: Tensor) -> Tensor:
    """M images (B, C, H, W) of one size -> those of the present pairs (R, C, H, W)."""
    rows = present.flatten()  # (B * M,)
    batch = images[0] if len(images) == 1 else torch.stack(images, dim=1).flatten(0, 1)  # (B * M, C, H, W)
    return batch if bool(rows.all()) else batch[rows]


def spread(level: Tensor, present: Tensor) -> Tensor:
    """Values of the present pairs (R, ...) -> (B, M, ...), zero where absent; (B, M) bool says which are present."""
    rows = present.flatten()  # (B * M,)
    if level.shape[0] == rows.shape[0]:
        return level.unflatten(0, tuple(present.shape))  # (B, M, ...)
    whole = level.new_zeros((rows.shape[0], *level.shape[1:]))
    whole[rows] = level
    return whole.unflatten(0, tuple(present.shape))  # (B, M, ...)


def gathered(level: Tensor, present: Tensor) -> Tensor:
    """(B, M, ...) -> values of the present pairs (R, ...)."""
    return level.flatten(0, 1)[present.flatten()]
