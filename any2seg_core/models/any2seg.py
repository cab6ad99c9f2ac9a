"""Any2Seg: one encoder, one head, and between them a fusion that takes any subset of the modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.base.errors import UserError
from any2seg_core.models.config import FusionName, ModelConfig
from any2seg_core.models.content import content_masks
from any2seg_core.models.decoder import AllMLPHead
from any2seg_core.models.early_concat import EarlyConcat
from any2seg_core.models.fusion import EncodedApart, Fusion, Network, gathered
from any2seg_core.models.linear import LinearFusion
from any2seg_core.models.mean_predictions import MeanOfPredictions
from any2seg_core.models.mff import MFF
from any2seg_core.models.mff_early import MFFEarly
from any2seg_core.models.mff_gated import MFFGated
from any2seg_core.models.outputs import Encoded, Fused, Prediction
from any2seg_core.vocabulary.contract import Pixel

FUSIONS: Mapping[FusionName, type[Fusion]] = MappingProxyType(
    {
        "mff": MFF,
        "mff_early": MFFEarly,
        "mff_gated": MFFGated,
        "mean_predictions": MeanOfPredictions,
        "early_concat": EarlyConcat,
        "linear": LinearFusion,
    }
)
"""What `ModelConfig.fusion` chooses."""


class Any2Seg(nn.Module):
    """Segments from any non-empty subset of the modalities it was built with.

    Shapes:
        images: per modality (B, 3, H, W) float32 as the InputContract says; H and W multiples of 32. Of a modality with
            a scale, `mff_early.scale`, (B, 3, scale * H, scale * W), also multiples of 32.
        present: (B, M) bool, columns in the order of `modalities`, those that ``images`` has; None means all of them.
        subsets: (S, B, M) bool, columns as ``present``: further non-empty subsets of what is present, each decoded from
            the same encoding; not with early_concat and linear.
        Prediction.logits: (B, K, H, W). Prediction.subset_logits: (1 + S, B, K, H/4, W/4), of what
            is present first.

    Cost follows what is present: only present (sample, modality) pairs pass the encoder.

    Args:
        empty: per modality what a pixel of zeros is in its images, as `InputContract.empty_pixels`; default: zeros.
            Only `content_masks` asks for it.
    """

    def __init__(
        self, config: ModelConfig | None = None, drop_path: float = 0.0, empty: Mapping[str, Pixel] | None = None
    ) -> None:
        super().__init__()
        config = config or ModelConfig()
        self.config = config
        self.modalities = config.modalities
        self.empty = dict.fromkeys(config.modalities, (0.0, 0.0, 0.0)) | dict(empty or {})
        kind = FUSIONS[config.fusion]
        self.encoder = kind.make_encoder(config, drop_path)
        self.fusion = kind.of(config, self.encoder.widths)
        widths, is_rectified = self.encoder.widths, config.head == "mlp_relu"
        self.head = AllMLPHead(widths, config.num_classes, config.head_width, is_rectified=is_rectified)

    @property
    def encodes_alone(self) -> bool:
        """Whether every modality has features of its own, which do not depend on what else is there."""
        return self.fusion.encodes_alone

    @property
    def asks_for_content(self) -> bool:
        """Whether what is encoded holds where each modality says something."""
        return self.config.content_masks or self.fusion.asks_for_content

    def forward(
        self, images: dict[str, Tensor], present: Tensor | None = None, subsets: Tensor | None = None
    ) -> Prediction:
        encoded = self.encode(images, present)
        size = self.input_size(*next(iter(images.items())))
        resize = partial(F.interpolate, size=size, mode="bilinear", align_corners=self.config.align_corners)
        if subsets is None:
            return self.fusion.predict(self._network, encoded, resize)
        self._check_subsets(subsets, encoded.present)
        return self._fused_apart.predict(self._network, encoded, resize, subsets)

    def encode(self, images: dict[str, Tensor], present: Tensor | None = None) -> Encoded:
        """Images -> what is known of the pairs that are present, before it is known which of them will be fused."""
        names = self._check(images, present)
        given = [images[name] for name in names]  # M x (B, C, H, W)
        if present is None:
            present = torch.ones(len(given[0]), len(names), dtype=torch.bool, device=given[0].device)
        return self.with_content(self.fusion.encode(self._network, given, present, names), images)

    def with_content(self, encoded: Encoded, images: dict[str, Tensor]) -> Encoded:
        """The same with where each modality says something, by its image (B, 3, h, w), if the fusion is to know it."""
        if not self.asks_for_content:
            return encoded
        sizes = [(level.shape[3], level.shape[4]) for level in encoded.levels]
        each = [content_masks(images[name], self.empty[name], sizes) for name in encoded.modalities]
        return replace(encoded, content=[torch.stack(masks, dim=1) for masks in zip(*each, strict=True)])

    def image_size(self, name: str, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of a modality's image where the model's input has this size."""
        share = self.config.mff_early.scale.get(name, 1.0)
        return round(share * size[0]), round(share * size[1])

    def input_size(self, name: str, image: Tensor) -> tuple[int, int]:
        """(H, W) of the model's input, where a modality's image is (B, 3, h, w): what `image_size` was given."""
        share = self.config.mff_early.scale.get(name, 1.0)
        return round(image.shape[-2] / share), round(image.shape[-1] / share)

    def fuse(self, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        """What :meth:`decode` takes.

        Args:
            encoded: the present pairs.
            anchor: with MFF, levels of the previous set of a stream (f_ma^{t-1}, same sizes) in place of the mean.
        """
        return self.fusion.fuse(self._network, encoded, anchor)

    def finished(self, joined: Fused) -> Fused:
        """Levels that MFF fused -> what :meth:`decode` takes; early MFF has the rest of the encoder between them."""
        return self.fusion.finished(self._network, joined)

    def decode(self, fused: Fused) -> Tensor:
        """Fused features -> logits (B, K, H/4, W/4)."""
        return self.fusion.decode(self._network, fused)

    def modality_logits(self, encoded: Encoded) -> Tensor:
        """Each present modality segmented alone, p(.|x_m): (B, M, K, H/4, W/4), zero where absent.

        Not with early_concat and linear, where no modality has features of its own.
        """
        return self._fused_apart.modality_logits(self._network, encoded)

    def with_levels(self, encoded: Encoded, levels: list[Tensor]) -> Encoded:
        """The same pairs with other features (B, M, C_j, H_j, W_j); not with early_concat and linear."""
        features = [gathered(level, encoded.present) for level in levels]
        moved = self._fused_apart.encoded(self._network, features, encoded.present, encoded.modalities)
        return replace(moved, content=encoded.content)

    @property
    def _fused_apart(self) -> EncodedApart:
        assert isinstance(self.fusion, EncodedApart)
        return self.fusion

    @property
    def _network(self) -> Network:
        return Network(self.encoder, self.head)

    def _check_subsets(self, subsets: Tensor, present: Tensor) -> None:
        if not self.encodes_alone:
            raise UserError(
                f"subsets of one encoding: fusion={self.config.fusion} encodes the sensors of a subset together; "
                "choose a fusion that encodes each alone, such as mff",
                "model-unsuitable",
            )
        if subsets.ndim != 3 or subsets.shape[1:] != present.shape or subsets.dtype != torch.bool:
            raise UserError(
                f"subsets are {subsets.dtype} {tuple(subsets.shape)}: expected bool (S, *{tuple(present.shape)})",
                "array-shape",
            )
        if bool((subsets & ~present).any()) or not bool(subsets.any(dim=2).all()):
            raise UserError(
                "subsets name a sensor that is not present, or none: give non-empty subsets of present", "sensor-absent"
            )

    def _check(self, images: dict[str, Tensor], present: Tensor | None) -> tuple[str, ...]:
        names = tuple(name for name in self.modalities if name in images)
        if not names or len(names) < len(images):
            raise UserError(
                f"images of {', '.join(map(str, images)) or 'no modality'}: this model takes any non-empty subset of "
                f"{', '.join(self.modalities)}",
                "sensor-absent" if images else "sensor-none",
            )
        shapes = {name: tuple(images[name].shape) for name in names}
        batch = shapes[names[0]][0]
        fits = all(len(s) == 4 and s[:2] == (batch, 3) and s[2] % 32 == s[3] % 32 == 0 for s in shapes.values())
        if not fits or len({self.input_size(name, images[name]) for name in names}) > 1:
            scaled = f", times {self.config.mff_early.scale}" if self.config.mff_early.scale else ""
            raise UserError(
                f"image shapes {shapes}: expected one shape (B, 3, H, W){scaled} with H and W multiples of 32; "
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
