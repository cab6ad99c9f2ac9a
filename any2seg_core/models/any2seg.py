"""Any2Seg: one shared encoder, MFF at all four levels, all-MLP head (Zheng et al., ECCV 2024); other fusions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from any2seg_core.base.errors import UserError
from any2seg_core.models.backbones import make_encoder
from any2seg_core.models.decoder import AllMLPHead
from any2seg_core.models.fusion import MFF, MFFConfig
from any2seg_core.models.linear import LinearFusion, LinearFusionConfig, LinearRows, ModalityNorm
from any2seg_core.vocabulary.modalities import MODALITIES, canonical

FusionName = Literal["mff", "mean_predictions", "early_concat", "linear"]


def require_effect(fusion: FusionName, encoder: str, mff: MFFConfig, linear: LinearFusionConfig) -> None:
    """ValueError where switches are set for another fusion than the model's, or where the encoder cannot fuse so."""
    for name, unset in (("mff", mff == MFFConfig()), ("linear", linear == LinearFusionConfig())):
        if fusion != name and not unset:
            raise ValueError(f"settings of {name} have no effect with fusion={fusion}: leave them out")
    if fusion == "linear" and not encoder.startswith("mit_"):
        raise ValueError(
            f"fusion=linear mixes tokens inside the blocks of a MiT: {encoder} is none, choose mit_b0 ... mit_b5"
        )


class ModelConfig(BaseModel):
    """Everything that fixes the parameters of a model; stored in its checkpoint.

    Attributes:
        encoder: mit_b0 ... mit_b5 or timm/<name>, shared by all modalities.
        head_width: channels of the fused feature in the head.
        num_classes: K.
        modalities: names, canonical order; any non-empty subset of them can be given.
        fusion: where modalities meet. ``mff``: at the features of all four levels. ``mean_predictions``: each is
            segmented alone and p = mean_m p_m over the logits (functional entropy, ICCV 2025). ``early_concat``: at the
            input, all modalities as the channels of one image, absent ones zero (the baseline without any sharing).
            ``linear``: inside every block, then at the predictions (M3L, WACV 2024).
        mff: switches of MFF.
        linear: switches of Linear Fusion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    encoder: str = "mit_b0"
    head_width: int = Field(256, gt=0, le=4096)
    num_classes: int = Field(25, gt=1, lt=65535)
    modalities: tuple[str, ...] = MODALITIES
    fusion: FusionName = "mff"
    mff: MFFConfig = MFFConfig()
    linear: LinearFusionConfig = LinearFusionConfig()

    @model_validator(mode="after")
    def _no_switch_without_effect(self) -> ModelConfig:
        require_effect(self.fusion, self.encoder, self.mff, self.linear)
        return self


@dataclass(frozen=True)
class Encoded:
    """Features of every present (sample, modality) pair.

    Attributes:
        levels: four tensors (B, M, C_j, H_j, W_j); rows of absent pairs are zero and never read. With early_concat and
            linear no modality has features of its own, and this is the one tensor of images (B, M, 3, H, W).
        present: (B, M) bool.
        modalities: names of the M columns.
        logits: (B, M, K, H_1, W_1), each modality segmented alone; with mean_predictions only.
        products: per level (B, M, M), what MFF of all subsets has in common; see :meth:`Any2Seg.for_subsets`.
    """

    levels: list[Tensor]
    present: Tensor
    modalities: tuple[str, ...]
    logits: Tensor | None = None
    products: list[np.ndarray] | None = None

    def keep(self, subset: Sequence[str]) -> Encoded:
        """The same samples with all modalities absent but ``subset``: nothing is encoded again, nothing copied."""
        names = canonical(subset)
        kept = torch.tensor([name in names for name in self.modalities], device=self.present.device)  # (M,)
        return replace(self, present=self.present & kept)

    def samples(self, chosen: slice) -> Encoded:
        """The same for some samples of the batch."""
        logits = None if self.logits is None else self.logits[chosen]
        return Encoded([level[chosen] for level in self.levels], self.present[chosen], self.modalities, logits)

    def replacing_absent(self, subset: Sequence[str], other: Encoded) -> Encoded:
        """The same samples, with what ``other`` has (of equal shapes) for all modalities that are not in ``subset``."""
        kept = torch.tensor([name in subset for name in self.modalities], device=self.present.device)  # (M,)

        def chosen(own: Tensor, stand_in: Tensor) -> Tensor:
            return torch.where(kept.view(1, -1, *[1] * (own.ndim - 2)), own, stand_in)  # (B, M, ...)

        levels = [chosen(own, stand_in) for own, stand_in in zip(self.levels, other.levels, strict=True)]
        logits = None if self.logits is None else chosen(self.logits, other.logits)
        return Encoded(levels, chosen(self.present, other.present), self.modalities, logits)


@dataclass(frozen=True)
class Prediction:
    """Output of a model.

    Attributes:
        logits: (B, K, H, W) float, at the size of the input images.
        fused: four fused features f_ma (B, C_j, H_j, W_j); with mean_predictions and linear the one tensor of
            ensemble logits.
        encoded: what was fused.
        branches: (B, M, K, H, W) float, logits of each branch of Linear Fusion at the size of the input images, columns
            in the order of the model's modalities, zero where there is no such branch; None for other fusions.
        exists: (B, M) bool, which branches there are; None for other fusions.
        hidden: the head's map before its classifier (B, C, H/4, W/4), of which a loss may want to know; only in
            training, and not with mean_predictions, whose head sees every modality alone. With linear the mean of the
            branches' maps with the weights of the ensemble, whose classification the ensemble's logits are.
    """

    logits: Tensor
    fused: list[Tensor]
    encoded: Encoded
    branches: Tensor | None = None
    exists: Tensor | None = None
    hidden: Tensor | None = None

    def samples(self, chosen: slice) -> Prediction:
        """The same for some samples of the batch."""
        return Prediction(
            self.logits[chosen],
            [level[chosen] for level in self.fused],
            self.encoded.samples(chosen),
            None if self.branches is None else self.branches[chosen],
            None if self.exists is None else self.exists[chosen],
            None if self.hidden is None else self.hidden[chosen],
        )


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
        self.config = config
        self.modalities = canonical(config.modalities)
        channels = 3 * len(self.modalities) if config.fusion == "early_concat" else 3
        linear = config.fusion == "linear"
        norm = partial(ModalityNorm, self.modalities) if linear else nn.LayerNorm
        self.encoder = make_encoder(config.encoder, drop_path, channels, norm)
        width = self.encoder.widths[0]
        self.fusion = LinearFusion(config.linear, self.modalities, width) if linear else MFF(config.mff)
        self.head = AllMLPHead(self.encoder.widths, config.num_classes, config.head_width)

    @property
    def encodes_alone(self) -> bool:
        """Whether every modality has features of its own, which do not depend on what else is there."""
        return self.config.fusion in ("mff", "mean_predictions")

    def forward(self, images: dict[str, Tensor], present: Tensor | None = None) -> Prediction:
        encoded = self.encode(images, present)
        size = next(iter(images.values())).shape[-2:]
        resize = partial(F.interpolate, size=size, mode="bilinear", align_corners=False)
        if self.config.fusion == "linear":
            return self._linear(encoded, resize)
        fused = self.fuse(encoded)
        hidden = self.head.hidden(fused) if self.training and self.config.fusion != "mean_predictions" else None
        coarse = self.decode(fused) if hidden is None else self.head.classify(hidden)  # (B, K, H/4, W/4)
        return Prediction(resize(coarse), fused, encoded, hidden=hidden)

    def encode(self, images: dict[str, Tensor], present: Tensor | None = None) -> Encoded:
        """Images -> per-modality features of the pairs that are present."""
        names = self._check(images, present)
        stacked = torch.stack([images[name] for name in names], dim=1)  # (B, M, C, H, W)
        if present is None:
            present = torch.ones(stacked.shape[:2], dtype=torch.bool, device=stacked.device)
        if not self.encodes_alone:
            return Encoded([stacked], present, names)
        rows = present.flatten()  # (B * M,)
        batch = stacked.flatten(0, 1)  # (B * M, C, H, W)
        features = self.encoder(batch if bool(rows.all()) else batch[rows])
        return self._encoded(features, present, names)

    def for_subsets(self, encoded: Encoded) -> Encoded:
        """The same, where many subsets of it will be fused: what they have in common is computed now, once."""
        if self.config.fusion != "mff" or not self.fusion.has_kernel(encoded.levels[0]):
            return encoded
        return replace(encoded, products=[self.fusion.products(level, encoded.present) for level in encoded.levels])

    def fuse(self, encoded: Encoded, anchor: list[Tensor] | None = None) -> list[Tensor]:
        """What :meth:`decode` takes: four fused features (B, C_j, H_j, W_j); with mean_predictions and linear the
        logits of the ensemble.

        Args:
            encoded: features of the present pairs.
            anchor: with MFF, the result of the previous set of a stream (f_ma^{t-1}, same sizes) in place of the mean.
        """
        if self.config.fusion == "early_concat":
            images, _ = self._all_modalities(encoded)
            return self.encoder(images.flatten(1, 2))  # (B, M * C, H, W)
        if self.config.fusion == "linear":
            levels, rows = self._streams(encoded)
            return [self.fusion(rows.spread(self.head(levels)), rows.exists)]
        if self.config.fusion == "mean_predictions":
            share = encoded.present.to(encoded.logits.dtype) / encoded.present.sum(dim=1, keepdim=True)  # (B, M)
            return [torch.einsum("bmkhw,bm->bkhw", encoded.logits, share)]
        if anchor is None:
            products = encoded.products or [None] * len(encoded.levels)
            return [
                self.fusion(level, encoded.present, products=shared)
                for level, shared in zip(encoded.levels, products, strict=True)
            ]
        return [self.fusion(level, encoded.present, f_ma) for level, f_ma in zip(encoded.levels, anchor, strict=True)]

    def decode(self, fused: list[Tensor], folded: tuple[list[Tensor], Tensor] | None = None) -> Tensor:
        """Fused features -> logits (B, K, H/4, W/4); `folded` weights of the head, where many are decoded in a row."""
        decoded = self.config.fusion in ("mean_predictions", "linear")
        return fused[0] if decoded else self.head(fused, folded)

    def modality_logits(self, encoded: Encoded) -> Tensor:
        """Each present modality segmented alone, p(.|x_m): (B, M, K, H/4, W/4), zero where absent.

        Not with early_concat and linear, where no modality has features of its own.
        """
        if encoded.logits is not None:
            return encoded.logits
        rows = encoded.present.flatten()  # (B * M,)
        alone = torch.ones(int(rows.sum()), 1, dtype=torch.bool, device=rows.device)
        levels = [self.fusion(level.flatten(0, 1)[rows][:, None], alone) for level in encoded.levels]  # (R, C, h, w)
        return self._scatter(self.head(levels), encoded.present, rows)

    def with_levels(self, encoded: Encoded, levels: list[Tensor]) -> Encoded:
        """The same pairs with other features (B, M, C_j, H_j, W_j); not with early_concat and linear."""
        rows = encoded.present.flatten()
        return self._encoded([level.flatten(0, 1)[rows] for level in levels], encoded.present, encoded.modalities)

    def _encoded(self, features: list[Tensor], present: Tensor, names: tuple[str, ...]) -> Encoded:
        """Features of the present pairs alone, (R, C_j, H_j, W_j) -> Encoded."""
        rows = present.flatten()
        logits = self._scatter(self.head(features), present, rows) if self.config.fusion == "mean_predictions" else None
        return Encoded([self._scatter(level, present, rows) for level in features], present, names, logits)

    def _linear(self, encoded: Encoded, resize: Callable[[Tensor], Tensor]) -> Prediction:
        """Ensemble and branches of Linear Fusion."""
        levels, rows = self._streams(encoded)
        hidden = self.head.hidden(levels) if self.training else None  # (R, C, H/4, W/4)
        branches = self.head(levels) if hidden is None else self.head.classify(hidden)  # (R, K, H/4, W/4)
        fused = self.fusion(rows.spread(branches), rows.exists)  # (B, K, H/4, W/4)
        if hidden is not None:
            hidden = self.fusion(rows.spread(hidden), rows.exists)  # (B, C, H/4, W/4)
        return Prediction(resize(fused), [fused], encoded, rows.spread(resize(branches)), rows.exists, hidden)

    def _streams(self, encoded: Encoded) -> tuple[list[Tensor], LinearRows]:
        """With linear: four features (R, C_j, H_j, W_j) of every stream, and which streams these are."""
        images, present = self._all_modalities(encoded)
        rows = self.fusion.rows(present)
        return self.encoder(rows.gathered(images), rows), rows

    def _all_modalities(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Images (B, M, C, H, W) of all of the model's modalities, zeros where absent or not given; and (B, M) bool."""
        images = encoded.levels[0]
        slots = [self.modalities.index(name) for name in encoded.modalities]
        canvas = images.new_zeros((len(images), len(self.modalities), *images.shape[2:]))
        canvas[:, slots] = images.masked_fill(~encoded.present[:, :, None, None, None], 0.0)
        present = encoded.present.new_zeros(canvas.shape[:2])
        present[:, slots] = encoded.present
        return canvas, present

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
                f"{', '.join(self.modalities)}",
                "sensor-unknown",
            )
        shapes = {name: tuple(images[name].shape) for name in names}
        batch, channels, height, width = shapes[names[0]]
        if len(set(shapes.values())) > 1 or channels != 3 or height % 32 or width % 32:
            raise UserError(
                f"image shapes {shapes}: expected one shape (B, 3, H, W) with H and W multiples of 32; "
                "planes_to_tensor resizes",
                "array-shape",
            )
        if present is not None:
            if tuple(present.shape) != (batch, len(names)) or present.dtype != torch.bool:
                raise UserError(
                    f"present is {present.dtype} {tuple(present.shape)}: expected bool {(batch, len(names))}",
                    "array-shape",
                )
            if not bool(present.any(dim=1).all()):
                raise UserError(
                    "present has a sample without any modality: at least one must be True per row", "sensor-none"
                )
        return names
