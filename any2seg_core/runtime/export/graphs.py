"""What is exported: a trained model as functions of the rows that are there, R of its M sensors.

Whichever sensors are alive, their images are the rows of one array: one graph takes every subset, and a row more is a
sensor more. Runtimes differ in what they make of NaN, of ties and of casts; here only comparisons decide on those, and
labels leave a graph as whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.models import Any2Seg
from any2seg_core.models.content import content_masks, taking_part
from any2seg_core.models.decoder import AllMLPHead, folded
from any2seg_core.models.mean_predictions import MeanOfPredictions
from any2seg_core.models.mff import MFF
from any2seg_core.models.mff_early import APART, TOGETHER, MFFEarly
from any2seg_core.models.mit import EVERY_STAGE, to_map, to_tokens
from any2seg_core.models.outputs import Encoded
from any2seg_core.runtime.array_io import LARGEST_LOGIT


class SoundHead(nn.Module):
    """The head of a trained model, folded once; places whose sums are not finite have NaN as all of their logits.

    Asked before the rectifier, which in some runtimes makes zero of NaN. Channels stay last and upsampling is a product
    of matrices: runtimes have fast ones on every machine, and of resizing, adding and transposing maps they do not.

    Shapes:
        levels 4 x (B, C_j, H_j, W_j) -> logits (B, K, H_1, W_1).
    """

    @torch.no_grad()
    def __init__(self, head: AllMLPHead) -> None:
        super().__init__()
        assert head.classifier.bias is not None  # Conv2d has one unless told otherwise
        self.projections = head.projections if head.is_rectified else None
        weights, bias = folded(head)
        for number, weight in enumerate(weights):
            self.register_buffer(f"weight_{number}", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("classes", head.classifier.weight[:, :, 0, 0].clone())
        self.register_buffer("offset", head.classifier.bias.clone())

    def _rectified(self, levels: list[Tensor]) -> list[Tensor]:
        """4 x (B, width, H_j, W_j), NaN where a projection is not finite; the levels where the head rectifies none."""
        if self.projections is None:
            return levels
        pairs = zip(levels, self.projections, strict=True)
        found = [(layer(to_tokens(level)), level.shape[-2:]) for level, layer in pairs]  # (B, N_j, C)
        sound = [(torch.where(part.abs() <= LARGEST_LOGIT, F.relu(part), torch.nan), size) for part, size in found]
        return [to_map(part, *size) for part, size in sound]

    def forward(self, levels: list[Tensor]) -> Tensor:
        levels = self._rectified(levels)
        # The bias goes along with the smallest map: what is upsampled is a mean, so it arrives everywhere.
        offsets = [*[None] * (len(levels) - 1), self.get_buffer("bias")]
        finest, *coarser = [
            F.linear(to_tokens(level), self.get_buffer(f"weight_{number}"), offset).unflatten(1, level.shape[-2:])
            for number, (level, offset) in enumerate(zip(levels, offsets, strict=True))
        ]  # (B, H_j, W_j, C)
        height, width = finest.shape[1:3]
        across = [(_upsampling(level.shape[2], width) @ level).flatten(2) for level in coarser]  # (B, H_j, W_1 * C)
        down = torch.cat([_upsampling(level.shape[1], height) for level in coarser], dim=1)  # (H_1, H_2 + H_3 + H_4)
        hidden = finest + (down @ torch.cat(across, dim=1)).unflatten(2, (width, -1))
        is_sound = hidden.sum(dim=3, keepdim=True).abs() <= LARGEST_LOGIT  # (B, H_1, W_1, 1)
        logits = F.linear(F.relu(hidden), self.get_buffer("classes"), self.get_buffer("offset"))
        return torch.where(is_sound, logits, torch.nan).permute(0, 3, 1, 2)  # (B, K, H_1, W_1)


def _upsampling(source: int, wanted: int) -> Tensor:
    """(wanted, source): bilinear weights of one axis."""
    return F.interpolate(torch.eye(source)[None], wanted, mode="linear", align_corners=False)[0].t()


class EncoderGraph(nn.Module):
    """The encoder, up to where sensors meet; an image that is not finite in one place makes all features NaN.

    Args:
        model: trained. share: of the sides of its input that these images have.

    Shapes:
        images (R, 3, share * H, share * W) -> features (R, C_j, H_j, W_j), two of early MFF, else four. Where the model
        asks for content, with empty (R, 3), what normalisation makes of a pixel of zeros of each row's sensor, also
        content (R, H_j, W_j) of each: 1 where the row says something, else 0.
    """

    def __init__(self, model: Any2Seg, share: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.share = model.encoder, share
        self.stages = APART if isinstance(model.fusion, MFFEarly) else EVERY_STAGE

    def forward(self, images: Tensor, empty: Tensor | None = None) -> tuple[Tensor, ...]:
        levels = self.encoder(images) if self.stages == EVERY_STAGE else self.encoder(images, self.stages)
        features = [_enlarged(level, self.share) for level in _sound(images, levels)]
        if empty is None:
            return tuple(features)
        masks = content_masks(images, empty, [(level.shape[-2], level.shape[-1]) for level in features])
        return (*features, *(mask.to(images.dtype) for mask in masks))


class FusionGraph(nn.Module):
    """What follows when every sensor is encoded: the features of any of them to logits.

    Shapes:
        features (R, C_j, H_j, W_j), and content (R, H_j, W_j) where the model asks for it, all as of `EncoderGraph` ->
        logits (1, K, H_1, W_1) float32.
    """

    def __init__(self, model: Any2Seg) -> None:
        super().__init__()
        self.head, self.fusion = SoundHead(model.head), model.fusion
        if isinstance(model.fusion, MFFEarly):
            self.encoder = model.encoder

    def forward(self, *rows: Tensor) -> Tensor:
        encoded = self._encoded(rows)
        if isinstance(self.fusion, MFFEarly):
            level_1, level_2 = self.fusion.mff.fused_levels(encoded)
            later = _sound(level_2, self.encoder(level_2, TOGETHER))
            return self.head([level_1, level_2, *later])
        if isinstance(self.fusion, MFF):
            return self.head(self.fusion.fused_levels(encoded))
        logits = self.head([level[0] for level in encoded.levels])  # (R, K, H_1, W_1)
        if not encoded.content:
            return logits.mean(dim=0, keepdim=True)  # (1, K, H_1, W_1)
        there = taking_part(encoded.present, encoded.content[0])[0, :, None].to(logits.dtype)  # (R, 1, H_1, W_1)
        return (logits * there).sum(dim=0, keepdim=True) / there.sum(dim=0, keepdim=True)

    def _encoded(self, rows: Sequence[Tensor]) -> Encoded:
        """The rows as the sensors of one sample: (B=1, M=R, ...)."""
        levels = [part[None] for part in rows if part.ndim == 4]  # (1, R, C_j, H_j, W_j)
        content = [part[None] > 0.5 for part in rows if part.ndim == 3]  # (1, R, H_j, W_j)
        present = torch.ones(1, rows[0].shape[0], dtype=torch.bool)
        return Encoded(levels, present, (), content=content)


class LabelGraph(nn.Module):
    """Logits (B, K, h, w) -> (B, h, w) int32: the first of the largest, 255 (65535) where a logit is not finite."""

    def forward(self, logits: Tensor) -> Tensor:
        K = logits.shape[1]
        ids = torch.arange(K, dtype=torch.int32).view(1, K, 1, 1)
        first = torch.where(logits == logits.amax(dim=1, keepdim=True), ids, K).amin(dim=1)  # (B, h, w)
        is_sound = (logits.abs() <= LARGEST_LOGIT).all(dim=1)  # (B, h, w)
        return torch.where(is_sound, first, 255 if K <= 255 else 65535).to(torch.int32)


def can_export(model: Any2Seg) -> bool:
    """Whether each sensor is encoded alone, at least for a part, so that sensors can be the rows of a graph."""
    return isinstance(model.fusion, MFF | MFFEarly | MeanOfPredictions)


def _sound(given: Tensor, levels: Sequence[Tensor]) -> list[Tensor]:
    """Features, all of them NaN where what they were made of is not finite in one place."""
    is_sound = (given.abs() <= LARGEST_LOGIT).all()
    return [torch.where(is_sound, level, torch.nan) for level in levels]


def _enlarged(level: Tensor, share: float) -> Tensor:
    """(R, C, h, w) -> (R, C, h / share, w / share), bilinear; as a product of matrices, see `SoundHead`."""
    if share == 1.0:
        return level
    height, width = level.shape[-2:]
    down, across = (_upsampling(side, round(side / share)) for side in (height, width))
    return down @ level @ across.t()
