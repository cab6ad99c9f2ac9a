"""Mix Transformer (MiT), the encoder of SegFormer (Xie et al., NeurIPS 2021), written from the paper.

One encoder serves all modalities: its weights are shared, and (sample, modality) pairs stand on the batch axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.base.errors import UserError


@dataclass(frozen=True)
class MiTConfig:
    """Widths and depths of the four stages."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)
    mlp_ratio: int = 4


VARIANTS = {
    "b0": MiTConfig((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": MiTConfig((64, 128, 320, 512), (2, 2, 2, 2)),
    "b2": MiTConfig((64, 128, 320, 512), (3, 4, 6, 3)),
    "b3": MiTConfig((64, 128, 320, 512), (3, 4, 18, 3)),
    "b4": MiTConfig((64, 128, 320, 512), (3, 8, 27, 3)),
    "b5": MiTConfig((64, 128, 320, 512), (3, 6, 40, 3)),
}

EVERY_STAGE = slice(0, 4)

NormFactory = Callable[[int], nn.Module]
"""Width -> a norm over the channels of tokens."""


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, N, C) -> (B, C, H, W) without a copy, channels last in memory, which convolutions and resizing like.

    Split before permuting: at B = 1 the other order leaves a batch stride that PyTorch takes for another memory
    format, and then every convolution and upsampling falls back to its slow kernel.
    """
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)  # (B, C, H, W)


def to_tokens(feature: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, N, C), N = H * W."""
    return feature.flatten(2).transpose(1, 2)  # (B, N, C)


class DropPath(nn.Module):
    """Stochastic depth: leaves a residual branch out per sample, in training only (Huang et al., ECCV 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep)


class OverlapPatchEmbed(nn.Module):
    """Strided overlapping convolution that makes tokens: (B, Cin, H, W) -> (B, C, H/stride, W/stride)."""

    def __init__(self, in_channels: int, width: int, kernel: int, stride: int, norm: NormFactory) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2)
        self.norm = norm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.proj(x)
        height, width = x.shape[-2:]
        return self.norm(to_tokens(x)), height, width


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values are spatially reduced by a strided convolution."""

    def __init__(self, width: int, heads: int, reduction: int, norm: NormFactory) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, reduction)
            self.norm = norm(width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        reduced = self.norm(self.reduced(x, height, width)) if self.reduction > 1 else x
        return self.attend(x, reduced)

    def reduced(self, x: Tensor, height: int, width: int) -> Tensor:
        """Tokens (B, N, C) of a map -> (B, N / reduction^2, C), before their norm; for reductions above 1."""
        return to_tokens(self.sr(to_map(x, height, width)))

    def attend(self, x: Tensor, reduced: Tensor) -> Tensor:
        """Queries of x (B, N, C) to keys and values of reduced (B, N', C) -> (B, N, C)."""
        query = self.q(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, C/heads)
        key, value = self.kv(reduced).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # 2 x (B, heads, N', c)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)  # (B, N, C)
        if torch.is_grad_enabled():
            return self.proj(mixed)
        # On a CPU attention makes zeros of a query that is not finite: it must not pass for a good one.
        return F.linear(mixed, self.proj.weight, self.proj.bias + 0.0 * query.sum(dtype=torch.float32))


class MixFFN(nn.Module):
    """Feed-forward layer with a 3x3 depthwise convolution, which stands in for a position code."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = to_tokens(self.dwconv(to_map(self.fc1(x), height, width)))
        return self.fc2(F.gelu(x))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(
        self, width: int, heads: int, reduction: int, mlp_ratio: int, drop_path: float, norm: NormFactory
    ) -> None:
        super().__init__()
        self.norm1 = norm(width)
        self.attn = EfficientAttention(width, heads, reduction, norm)
        self.norm2 = norm(width)
        self.mlp = MixFFN(width, width * mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), height, width))  # (B, N, C)
        return x + self.drop_path(self.mlp(self.norm2(x), height, width))  # (B, N, C)


class Stage(nn.Module):
    """Patch embedding, blocks and the closing norm: (B, Cin, H, W) -> (B, C, H/stride, W/stride)."""

    def __init__(self, embed: OverlapPatchEmbed, blocks: list[Block], norm: nn.Module) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = cast(Sequence[Block], nn.ModuleList(blocks))
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        tokens, height, width = self.embed(x)  # (B, N, C)
        for block in self.blocks:
            tokens = block(tokens, height, width)
        return to_map(self.norm(tokens), height, width)


class MixTransformer(nn.Module):
    """MiT-B0 ... B5.

    Args:
        variant: "b0" ... "b5".
        drop_path: stochastic depth rate of the last block; grows linearly from 0.
        in_channels: of the images.
        norm: width -> a norm over the channels of tokens; makes every norm of the encoder.

    Shapes:
        images (B, 3, H, W) float32 -> four features (B, C_j, H / 2^(j+1), W / 2^(j+1)), j = 1..4, layer-normed.
        With ``stages``: what the first of these stages takes -> the features of these alone.
    """

    def __init__(
        self, variant: str = "b0", drop_path: float = 0.0, in_channels: int = 3, norm: NormFactory = nn.LayerNorm
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise UserError(f"unknown MiT variant {variant!r}: known are {', '.join(VARIANTS)}", "encoder-unknown")
        config = VARIANTS[variant]
        self.widths = config.widths
        rates = torch.linspace(0.0, drop_path, sum(config.depths), device="cpu").tolist()
        stages = []
        for j, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            first = j == 0
            incoming = in_channels if first else config.widths[j - 1]
            embed = OverlapPatchEmbed(incoming, width, 7 if first else 3, 4 if first else 2, norm)
            blocks = [
                Block(width, config.heads[j], config.reductions[j], config.mlp_ratio, rates.pop(0), norm)
                for _ in range(depth)
            ]
            stages.append(Stage(embed, blocks, norm(width)))
        self.stages = cast(Sequence[Stage], nn.ModuleList(stages))
        entry = self.stages[0].embed.proj
        if entry.weight.is_meta:
            return  # nothing to fill, and for random numbers there torch loads its compiler: two seconds
        self.apply(_init_weights)
        # An empty plane (a crop without a LiDAR point) must not be tokens of zeros: there every LayerNorm multiplies
        # the gradient by 1 / sqrt(eps), and the first step of an untrained encoder is NaN. Its own generator leaves
        # the other first weights what a seed makes them.
        assert entry.bias is not None
        nn.init.normal_(entry.bias, std=0.02, generator=torch.Generator().manual_seed(0))

    def forward(self, images: Tensor, stages: slice = EVERY_STAGE) -> list[Tensor]:
        features = []
        x = images
        for stage in list(self.stages)[stages]:
            x = stage(x)  # (B, C_j, H_j, W_j)
            features.append(x)
        return features


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
