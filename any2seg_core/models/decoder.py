"""All-MLP head of SegFormer, computed in its folded form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.models.mit import to_map, to_tokens


class AllMLPHead(nn.Module):
    """Four levels -> logits at the size of the first level.

    The published head projects each level to ``width`` channels, upsamples, concatenates (coarsest first), fuses with
    a 1x1 convolution, BatchNorm, ReLU, dropout and a 1x1 classifier. A 1x1 convolution commutes with bilinear
    upsampling, so here the projection and its slice of the fusion become one 1x1 convolution at the level's own size,
    and the sum replaces the concatenation: the same function of the same parameters at a third of the cost. In
    evaluation BatchNorm is folded in as well.

    Args:
        in_channels: widths of the four levels, finest first.
        num_classes: K.
        width: channels of the fused feature; 256 gives the papers' 24.73 M with MiT-B2.
        dropout: channel dropout before the classifier, training only.

    Shapes:
        levels 4 x (B, C_j, H_j, W_j) -> logits (B, K, H_1, W_1).
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        num_classes: int,
        width: int = 256,
        dropout: float = 0.1,
        is_rectified: bool = False,
    ) -> None:
        super().__init__()
        self.is_rectified = is_rectified
        self.projections = nn.ModuleList(nn.Linear(channels, width) for channels in in_channels)
        self.fuse = nn.Conv2d(width * len(in_channels), width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        return self.classify(self.hidden(levels))

    def hidden(self, levels: list[Tensor]) -> Tensor:
        """First half of `forward`: the map (B, width, H_1, W_1) that `classify` takes, after ReLU, before dropout."""
        fused = mixed(self.rectified(levels), *folded(self))
        if self.training:
            fused = self.norm(fused)
        return F.relu(fused, inplace=not torch.is_grad_enabled())

    def rectified(self, levels: list[Tensor]) -> list[Tensor]:
        """What the weights of `folded` are for: the levels, or 4 x (B, width, H_j, W_j) after projection and ReLU."""
        if not self.is_rectified:
            return levels
        pairs = zip(levels, self.projections, strict=True)
        return [to_map(F.relu(layer(to_tokens(level))), *level.shape[-2:]) for level, layer in pairs]

    def classify(self, hidden: Tensor) -> Tensor:
        """Second half of `forward`: (B, width, H_1, W_1) -> logits (B, K, H_1, W_1)."""
        tokens = to_tokens(self.dropout(hidden))  # (B, N, C)
        logits = F.linear(tokens, self.classifier.weight[:, :, 0, 0], self.classifier.bias)  # (B, N, K)
        return to_map(logits, *hidden.shape[-2:])  # (B, K, H, W)


def mixed(levels: list[Tensor], weights: list[Tensor], bias: Tensor) -> Tensor:
    """Levels 4 x (B, C_j, H_j, W_j), each under its (C, C_j) weights, at the size of the first: (B, C, H_1, W_1)."""
    height, width = levels[0].shape[-2:]
    fused = None
    for level, weight in zip(levels, weights, strict=True):
        # As a matrix product on tokens: the result is channels last, like the levels, so nothing is copied over.
        part = F.linear(to_tokens(level), weight, bias if fused is None else None)  # (B, N, C)
        part = to_map(part, *level.shape[-2:])  # (B, C, H_j, W_j)
        if part.shape[-2:] != (height, width):
            part = F.interpolate(part, (height, width), mode="bilinear", align_corners=False)
        # In place where no gradient needs the parts: fresh memory for every sum takes longer than the sum.
        fused = part if fused is None else fused + part if torch.is_grad_enabled() else fused.add_(part)
    assert fused is not None  # there are four levels
    return fused


def folded(head: AllMLPHead) -> tuple[list[Tensor], Tensor]:
    """Per level (C, C_j) weights and one (C,) bias that equal projection, fusion and, in evaluation, BatchNorm.

    Of a rectified head (C, C) weights, which equal all that follows its projections.
    """
    slices = head.fuse.weight[:, :, 0, 0].chunk(len(head.projections), dim=1)[::-1]  # finest first, (C, C) each
    layers = [layer for layer in head.projections if isinstance(layer, nn.Linear)]
    if head.is_rectified:
        weights, bias = list(slices), head.fuse.weight.new_zeros(len(head.fuse.weight))
    else:
        weights = [part @ layer.weight for part, layer in zip(slices, layers, strict=True)]
        bias = torch.stack([part @ layer.bias for part, layer in zip(slices, layers, strict=True)]).sum(0)
    if not head.training:
        mean, variance = head.norm.running_mean, head.norm.running_var
        assert mean is not None and variance is not None  # BatchNorm2d has them unless told otherwise
        scale = head.norm.weight * torch.rsqrt(variance + head.norm.eps)
        weights = [scale[:, None] * weight for weight in weights]
        bias = scale * (bias - mean) + head.norm.bias
    return weights, bias
