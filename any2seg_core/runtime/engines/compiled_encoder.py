"""A Mix Transformer in compiled code: products by MKL on contiguous weights, all between them in one pass each.

Tokens stay (N, C) in C order from the first convolution to the fusion, and what is wide (hidden features, scores) is
made in strips that stay in the cache. Biases are not added where they arise: those before a LayerNorm are added by it,
that of fc1 goes into the depthwise convolution, that of a key changes no softmax, and that of a value is a constant.
"""

from __future__ import annotations

import math
import threading
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.kernels.tokens import depthwise_gelu, layer_norm, patches, softmax
from any2seg_core.models.mit import (
    EVERY_STAGE,
    Block,
    EfficientAttention,
    MixFFN,
    MixTransformer,
    OverlapPatchEmbed,
    Stage,
    to_map,
)

_STRIP_VALUES = 1 << 17  # that are worked on at a time: half a megabyte stays in the cache
_MOST_VIEWS = 256  # remembered: one size of images makes about 50


class Workspace(threading.local):
    """Memory that is used again by the next call of the same thread: fresh pages cost as much as the work in them."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self._views: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def room(self, name: str, *shape: int) -> Tensor:
        """Float32 of this shape with any values, valid until the thread asks for the same name again."""
        view = self._views.get((name, shape))
        return self._view(name, shape) if view is None else view

    def _view(self, name: str, shape: tuple[int, ...]) -> Tensor:
        size = math.prod(shape)
        held = self._held.get(name)
        with torch.inference_mode(False):  # memory of that mode could not be written outside of it
            if held is None or held.numel() < size or len(self._views) >= _MOST_VIEWS:
                self._views.clear()  # so that no view keeps memory that is replaced
            if held is None or held.numel() < size:
                held = self._held[name] = torch.empty(size)
            view = self._views[name, shape] = held[:size].view(shape)
        return view


class Norm:
    """LayerNorm of tokens that still lack the bias of the layers before."""

    def __init__(self, norm: nn.Module, offset: Tensor) -> None:
        assert isinstance(norm, nn.LayerNorm)  # see `CompiledEncoder.knows`
        self._affine = offset.numpy(), norm.weight.detach().numpy(), norm.bias.detach().numpy()
        self._eps = norm.eps

    def __call__(self, tokens: Tensor, out: Tensor) -> Tensor:
        """Tokens and out (N, C), which may be the same."""
        layer_norm(tokens.numpy(), *self._affine, self._eps, out.numpy())
        return out


class Convolution:
    """A strided convolution of tokens as a matrix product, without its bias."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.kernel, self.stride, self.padding = conv.kernel_size[0], conv.stride[0], cast(int, conv.padding[0])
        self._weight = _columns(conv.weight.detach().permute(0, 2, 3, 1).flatten(1))

    def __call__(self, feature: Tensor, space: Workspace, name: str) -> tuple[Tensor, tuple[int, int]]:
        """Map (C, H, W), fastest with channels last -> tokens (N', C') in room ``name`` and their (H', W')."""
        pixels = feature.permute(1, 2, 0).contiguous().numpy()  # (H, W, C)
        height, width = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in pixels.shape[:2])
        out = space.room(name, height * width, self._weight.shape[1])
        rows = max(1, _STRIP_VALUES // (width * len(self._weight)))
        for row in range(0, height, rows):
            count = min(rows, height - row)
            read = space.room("patches", count, width, len(self._weight))
            patches(pixels, self.kernel, self.stride, self.padding, row, read.numpy())
            torch.mm(read.view(count * width, -1), self._weight, out=out[row * width : (row + count) * width])
        return out, (height, width)


class ImageConvolution:
    """The same for planar images, whose few channels PyTorch's own convolution reads faster."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self._conv = conv

    def __call__(self, image: Tensor, space: Workspace, name: str) -> tuple[Tensor, tuple[int, int]]:
        """Image (C, H, W) -> tokens (N', C') in room ``name`` and their (H', W')."""
        stride, padding = self._conv.stride, self._conv.padding
        feature = F.conv2d(image[None], self._conv.weight, None, stride, padding)[0]  # (C', H', W')
        channels, height, width = feature.shape
        tokens = space.room(name, height * width, channels)
        return tokens.copy_(feature.flatten(1).t()), (height, width)


class CompiledAttention:
    """EfficientAttention, added to the tokens that it is given.

    With one head two products are left out: those of q and k, and of v and proj, are one each with few keys.

    Attributes:
        offset: (C,) what is still to be added to every token.
    """

    def __init__(self, attention: EfficientAttention) -> None:
        self._heads = attention.heads
        width = attention.q.in_features
        scale = (width // self._heads) ** -0.5
        query, query_bias = scale * attention.q.weight.detach(), scale * attention.q.bias.detach()
        key, value = attention.kv.weight.detach().chunk(2)
        project, value_bias = attention.proj.weight.detach(), attention.kv.bias.detach()[width:]
        self.offset = project @ value_bias + attention.proj.bias.detach()
        by_head = (self._heads, width // self._heads)
        of_bias = (query_bias[:, None] * key).unflatten(0, by_head).sum(1)  # (heads, C): what its keys get of q's bias
        self._query = self._project = None
        if self._heads == 1:
            key, value = query.t() @ key, project @ value
        else:
            self._query, self._project = _columns(query), _columns(project)
        self._keys = _columns(torch.cat([key, value, of_bias]))
        self._reduce = Convolution(attention.sr) if attention.reduction > 1 else None
        if self._reduce is not None:
            self._norm = Norm(attention.norm, _bias(attention.sr))

    def __call__(self, normed: Tensor, size: tuple[int, int], tokens: Tensor, space: Workspace) -> None:
        """Normed tokens (N, C); tokens (N, C) get the result added."""
        reduced = normed
        if self._reduce is not None:
            feature = normed.unflatten(0, size).permute(2, 0, 1)  # (C, H, W)
            reduced, _ = self._reduce(feature, space, "reduced")  # (N', C)
            self._norm(reduced, reduced)
        (count, width), heads = reduced.shape, self._heads
        made = torch.mm(reduced, self._keys, out=space.room("keys", count, self._keys.shape[1]))
        offset = made[:, 2 * width :].t().contiguous().numpy()  # (heads, N')
        keys, values = (_by_head(made[:, start : start + width], heads) for start in (0, width))  # (heads, N', c)
        rows = max(1, _STRIP_VALUES // (heads * count))
        for row in range(0, len(tokens), rows):
            strip = slice(row, min(row + rows, len(tokens)))
            query = normed[strip]  # (n, C)
            if self._query is not None:
                query = torch.mm(query, self._query, out=space.room("query", *query.shape))
            scores = space.room("scores", heads, len(query), count)
            torch.bmm(_by_head(query, heads), keys.transpose(1, 2), out=scores)
            softmax(scores.numpy(), offset)
            if self._project is None:
                tokens[strip].addmm_(scores[0], values[0])
            else:
                mixed = space.room("mixed", *query.shape)
                torch.bmm(scores, values, out=_by_head(mixed, heads))
                tokens[strip].addmm_(mixed, self._project)


class CompiledFFN:
    """MixFFN, added to the tokens that it is given; its hidden features are made in strips of rows.

    Attributes:
        offset: (C,) what is still to be added to every token.
    """

    def __init__(self, ffn: MixFFN) -> None:
        self._first, self._last = _columns(ffn.fc1.weight.detach()), _columns(ffn.fc2.weight.detach())
        self.offset = ffn.fc2.bias.detach()
        filters = ffn.dwconv.weight.detach()[:, 0]  # (C, 3, 3)
        self._filters = filters.flatten(1).t().contiguous().numpy()  # (9, C)
        self._bias = _biases(filters, ffn.fc1.bias.detach(), _bias(ffn.dwconv)).numpy()

    def __call__(self, normed: Tensor, size: tuple[int, int], tokens: Tensor, space: Workspace) -> None:
        """Normed tokens (N, C); tokens (N, C) get the result added."""
        (height, width), hidden = size, self._first.shape[1]
        rows = max(1, _STRIP_VALUES // (width * hidden))
        ring = space.room("ring", 3 * rows, width, hidden)  # a strip needs the last row before it and the first behind
        self._fill(ring, rows, 0, normed, size)
        for row in range(0, height, rows):
            count = min(rows, height - row)
            self._fill(ring, rows, row + rows, normed, size)
            active = space.room("active", count, width, hidden)
            depthwise_gelu(ring.numpy(), self._filters, self._bias, row, height, active.numpy())
            strip = tokens[row * width : (row + count) * width]
            strip.addmm_(active.view(len(strip), hidden), self._last)

    def _fill(self, ring: Tensor, rows: int, row: int, normed: Tensor, size: tuple[int, int]) -> None:
        """fc1 of some rows of the map into their places in the ring."""
        height, width = size
        count = min(rows, height - row)
        if count > 0:
            place = row % len(ring)
            out = ring[place : place + count].view(count * width, -1)
            torch.mm(normed[row * width : (row + count) * width], self._first, out=out)


class CompiledBlock:
    """Block of a trained model.

    Args:
        offset: (C,) what its tokens lack; of the result, `offset` is.
    """

    def __init__(self, block: Block, offset: Tensor) -> None:
        self._attention, self._ffn = CompiledAttention(block.attn), CompiledFFN(block.mlp)
        self._before_attention = Norm(block.norm1, offset)
        self._before_ffn = Norm(block.norm2, offset + self._attention.offset)
        self.offset = offset + self._attention.offset + self._ffn.offset

    def __call__(self, tokens: Tensor, size: tuple[int, int], space: Workspace) -> None:
        """Tokens (N, C) in place."""
        normed = space.room("normed", *tokens.shape)
        self._attention(self._before_attention(tokens, normed), size, tokens, space)
        self._ffn(self._before_ffn(tokens, normed), size, tokens, space)


class CompiledStage(nn.Module):
    """Stage of a trained model: (B, Cin, H, W) -> (B, C, H/stride, W/stride), channels last in memory."""

    def __init__(self, stage: Stage, space: Workspace, takes_images: bool) -> None:
        super().__init__()
        embed: OverlapPatchEmbed = stage.embed
        kind = ImageConvolution if takes_images else Convolution
        self._embed: ImageConvolution | Convolution = kind(embed.proj)
        self._space = space
        self._embed_norm = Norm(embed.norm, _bias(embed.proj))
        offset = torch.zeros(embed.proj.out_channels)
        self._blocks = []
        for block in stage.blocks:
            self._blocks.append(CompiledBlock(block, offset))
            offset = self._blocks[-1].offset
        self._norm = Norm(stage.norm, offset)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self._one(x[0]) if len(x) == 1 else torch.cat([self._one(each) for each in x])

    def _one(self, feature: Tensor) -> Tensor:
        """One sample (C, H, W) -> (1, C', H', W')."""
        tokens, size = self._embed(feature, self._space, "tokens")
        self._embed_norm(tokens, tokens)
        for block in self._blocks:
            block(tokens, size, self._space)
        return to_map(self._norm(tokens, torch.empty_like(tokens))[None], *size)


class CompiledEncoder(nn.Module):
    """MixTransformer of a trained model; later changes of its weights are not seen.

    Shapes:
        As of MixTransformer, with some of the stages too; features are channels last in memory.
    """

    @torch.no_grad()
    def __init__(self, encoder: MixTransformer) -> None:
        super().__init__()
        self.widths = encoder.widths
        space = Workspace()
        self.stages = nn.ModuleList(CompiledStage(stage, space, j == 0) for j, stage in enumerate(encoder.stages))

    @staticmethod
    def knows(encoder: nn.Module) -> bool:
        """Whether it has compiled code."""
        return type(encoder) is MixTransformer and type(encoder.stages[0].norm) is nn.LayerNorm

    def forward(self, images: Tensor, stages: slice = EVERY_STAGE) -> list[Tensor]:
        features, x = [], images
        for stage in list(self.stages)[stages]:
            x = stage(x)  # (B, C_j, H_j, W_j)
            features.append(x)
        return features


def _columns(weight: Tensor) -> Tensor:
    """(out, in) -> (in, out) in C order, which MKL multiplies fastest."""
    return weight.t().contiguous()


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """(N, heads * c) -> (heads, N, c), a view."""
    return tokens.unflatten(1, (heads, -1)).transpose(0, 1)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # every convolution of a MiT has one
    return conv.bias.detach()


def _biases(filters: Tensor, before: Tensor, own: Tensor) -> Tensor:
    """(4, 4, C) for `depthwise_gelu`: a bias ``before`` the filters (C, 3, 3) counts where there is a neighbour."""
    counts = torch.ones(4, 3)  # of the three neighbours in one direction
    counts[[1, 3], 0] = 0.0
    counts[[2, 3], 2] = 0.0
    return (own + before * torch.einsum("yi,cij,xj->yxc", counts, filters, counts)).contiguous()
