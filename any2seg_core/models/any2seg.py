"""Any2Seg: one shared encoder, MFF at all four levels, all-MLP head (Zheng et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from any2seg_core.errors import UserError
from any2seg_core.modalities import MODALITIES, canonical
from any2seg_core.models.decoder import AllMLPHead
from any2seg_core.models.fusion import MFF
from any2seg_core.models.mit import MixTransformer


class ModelConfig(BaseModel):
    """Everything that fixes the parameters of a model; stored in its checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    encoder: str = "mit_b0"
    head_width: int = Field(256, gt=0)
    num_classes: int = Field(25, gt=1)
    modalities: tuple[str, ...] = MODALITIES


@dataclass(frozen=True)
class Encoded:
    """Features of every present (sample, modality) pair.

    Attributes:
        levels: four tensors (B, M, C_j, H_j, W_j); rows of absent pairs are zero and never read.
        present: (B, M) bool.
        modalities: names of the M columns.
    """

    levels: list[Tensor]
    present: Tensor
    modalities: tuple[str, ...]

    def keep(self, subset: Sequence[str]) -> Encoded:
        """The same samples with only ``subset`` of their modalities: no encoding is done again."""
        columns = [self.modalities.index(name) for name in canonical(subset)]
        return Encoded([level[:, columns] for level in self.levels], self.present[:, columns], canonical(subset))


@dataclass(frozen=True)
class Prediction:
    """Output of a model.

    Attributes:
        logits: (B, K, H, W) float, at the size of the input images.
        fused: four fused features f_ma (B, C_j, H_j, W_j).
    """

    logits: Tensor
    fused: list[Tensor]


class Any2Seg(nn.Module):
    """Segments from any non-empty subset of the modalities it was built with.

    Shapes:
        images: per modality (B, 3, H, W) float32 as the InputContract says; H and W multiples of 32.
        present: (B, M) bool, columns in canonical order of ``images``; None means all of them.
        Prediction.logits: (B, K, H, W).

    Cost follows what is present: only present (sample, modality) pairs pass the encoder.
    """

    def __init__(self, config: ModelConfig | None = None, drop_path: float = 0.0) -> None:
        super().__init__()
        config = config or ModelConfig()
        family, _, variant = config.encoder.partition("_")
        if family != "mit":
            raise UserError(f"unknown encoder {config.encoder!r}: known are mit_b0 ... mit_b5")
        self.config = config
        self.modalities = canonical(config.modalities)
        self.encoder = MixTransformer(variant, drop_path)
        self.fusion = MFF()
        self.head = AllMLPHead(self.encoder.widths, config.num_classes, config.head_width)

    def forward(self, images: dict[str, Tensor], present: Tensor | None = None) -> Prediction:
        encoded = self.encode(images, present)
        fused = self.fuse(encoded)
        size = next(iter(images.values())).shape[-2:]
        logits = F.interpolate(self.decode(fused), size, mode="bilinear", align_corners=False)
        return Prediction(logits, fused)

    def encode(self, images: dict[str, Tensor], present: Tensor | None = None) -> Encoded:
        """Images -> per-modality features of the pairs that are present."""
        names = self._check(images, present)
        stacked = torch.stack([images[name] for name in names], dim=1)  # (B, M, C, H, W)
        if present is None:
            present = torch.ones(stacked.shape[:2], dtype=torch.bool, device=stacked.device)
        rows = present.flatten()  # (B * M,)
        batch = stacked.flatten(0, 1)  # (B * M, C, H, W)
        features = self.encoder(batch if bool(rows.all()) else batch[rows])
        return Encoded([self._scatter(level, present, rows) for level in features], present, names)

    def fuse(self, encoded: Encoded) -> list[Tensor]:
        """Per level, MFF over the modalities that are present: four (B, C_j, H_j, W_j)."""
        return [self.fusion(level, encoded.present) for level in encoded.levels]

    def decode(self, fused: list[Tensor]) -> Tensor:
        """Fused features -> logits (B, K, H/4, W/4)."""
        return self.head(fused)

    @staticmethod
    def _scatter(level: Tensor, present: Tensor, rows: Tensor) -> Tensor:
        if level.shape[0] == rows.shape[0]:
            return level.unflatten(0, tuple(present.shape))  # (B, M, C, H, W)
        spread = level.new_zeros((rows.shape[0], *level.shape[1:]))
        spread[rows] = level
        return spread.unflatten(0, tuple(present.shape))  # (B, M, C, H, W)

    def _check(self, images: dict[str, Tensor], present: Tensor | None) -> tuple[str, ...]:
        names = canonical(images)
        strange = set(names) - set(self.modalities)
        if not names or strange:
            raise UserError(
                f"images of {', '.join(names) or 'no modality'}: this model takes any non-empty subset of "
                f"{', '.join(self.modalities)}"
            )
        shapes = {name: tuple(images[name].shape) for name in names}
        batch, channels, height, width = shapes[names[0]]
        if len(set(shapes.values())) > 1 or channels != 3 or height % 32 or width % 32:
            raise UserError(
                f"image shapes {shapes}: expected one shape (B, 3, H, W) with H and W multiples of 32; "
                "planes_to_tensor resizes"
            )
        if present is not None:
            if tuple(present.shape) != (batch, len(names)) or present.dtype != torch.bool:
                raise UserError(
                    f"present is {present.dtype} {tuple(present.shape)}: expected bool {(batch, len(names))}"
                )
            if not bool(present.any(dim=1).all()):
                raise UserError("present has a sample without any modality: at least one must be True per row")
        return names
