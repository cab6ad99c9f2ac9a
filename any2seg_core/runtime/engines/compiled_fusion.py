"""What follows the encoder of an exported model, in compiled code: MFF and the head, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.kernels.fusion import Products, global_weights, inner_products, weigh_and_select
from any2seg_core.kernels.head import add_upsampled

_STRIP_VALUES = 1 << 17  # hidden values that are worked on at a time: half a megabyte stays in the cache
HEAD = ("weight_0", "weight_1", "weight_2", "weight_3", "bias", "classes", "offset")
"""Arrays of the folded head: (C_j, C) of each level, (C,), (C, K) and (K,)."""

Places = Mapping[str, tuple[int, list[int]]]
"""Array -> its first byte in a file of float32, and its shape."""


def is_compiled(model: Mapping[str, Any]) -> bool:
    """Whether this configuration of a model, plain JSON types, has compiled code."""
    switches = model.get("mff", {})
    is_global = switches.get("select", True) and switches.get("weight", "global") == "global"
    is_plain = model["fusion"] == "mff" and not model.get("content_masks", False)
    return is_plain and model.get("head", "mlp") == "mlp" and is_global


@dataclass(frozen=True)
class CompiledFusion:
    """MFF with global weights and selection, and the head, of which products are NumPy's.

    Args:
        head: arrays of `HEAD`. switches: of MFF, as its configuration has them.
    """

    head: Mapping[str, np.ndarray]
    switches: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path, places: Places, model: Mapping[str, Any]) -> CompiledFusion:
        """The head's arrays, which lie in the file of the whole graph; UserError where they do not."""
        head = {}
        try:
            for name in HEAD:
                start, shape = places[name]
                head[name] = np.fromfile(file, "<f4", int(np.prod(shape)), offset=start).reshape(shape)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise UserError(
                f"{file}: does not hold the head where it should ({error}): export the checkpoint again",
                "checkpoint-damaged",
            ) from None
        return cls(head, model.get("mff", {}))

    def values(self, features: Sequence[np.ndarray]) -> int:
        """How many of the hidden map one subset is, with features (C_j, H_j, W_j)."""
        return len(self.head["bias"]) * features[0][0].size

    def subsets(
        self, features: Mapping[str, Sequence[np.ndarray]], subsets: Iterable[Sequence[str]]
    ) -> Iterator[np.ndarray]:
        """Logits (1, K, H_1, W_1) of each subset; what they have in common is computed once.

        Args:
            features: sensor -> four arrays (C_j, H_j, W_j) float32.
        """
        sizes = [level.shape[1:] for level in next(iter(features.values()))]
        levels = [_tokens(each) for each in zip(*features.values(), strict=True)]  # 4 x (1, M, N_j, C_j)
        every = np.ones((1, len(features)), bool)
        products = [inner_products(level, every) for level in levels]
        for subset in subsets:
            present = np.array([[name in subset for name in features]])  # (1, M)
            fused = [self._fused(*pair, present)[0] for pair in zip(levels, products, strict=True)]
            yield self._logits(fused, sizes)

    def _fused(self, tokens: np.ndarray, products: Products, present: np.ndarray) -> np.ndarray:
        """(1, N, C)."""
        unit_scale, residual = self.switches.get("unit_scale", False), self.switches.get("residual", True)
        if self.switches.get("reweight", True):
            weights = global_weights(products.whole, present, unit_scale)
        else:
            weights = (present / present.sum()).astype(np.float32)  # (1, M)
        scale = 0.5 if residual and unit_scale else 1.0
        temperature = self.switches.get("select_temperature", 0.0)
        factors = (scale if residual else 0.0), scale
        return weigh_and_select(tokens, present, weights, products.local, *factors, temperature)

    def _logits(self, tokens: list[np.ndarray], sizes: list[tuple[int, ...]]) -> np.ndarray:
        """Four fused levels (N_j, C_j) -> (1, K, H_1, W_1), strip by strip of the finest."""
        head, (height, width) = self.head, sizes[0]
        maps = [level @ head[f"weight_{j}"] for j, level in enumerate(tokens) if j > 0]  # (N_j, C)
        maps[-1] += head["bias"]  # with the smallest map: what is upsampled is a mean, so it arrives everywhere
        coarser = [each.reshape(*size, -1) for each, size in zip(maps, sizes[1:], strict=True)]  # (H_j, W_j, C)
        logits = np.empty((height * width, len(head["offset"])), np.float32)  # (N, K)
        rows = max(1, _STRIP_VALUES // (width * len(head["bias"])))
        strip = np.empty((rows * width, len(head["bias"])), np.float32)  # (n, C)
        for row in range(0, height, rows):
            part = slice(row * width, min(row + rows, height) * width)
            hidden = strip[: part.stop - part.start]
            np.matmul(tokens[0][part], head["weight_0"], out=hidden)
            add_upsampled(hidden, row, (height, width), coarser)
            np.matmul(hidden, head["classes"], out=logits[part])
        logits += head["offset"]
        return logits.T.reshape(1, -1, height, width)


def _tokens(levels: Sequence[np.ndarray]) -> np.ndarray:
    """M x (C, H, W) -> (1, M, N, C) in C order, whatever M is: for another order kernels are compiled once more."""
    channels, height, width = levels[0].shape
    tokens = np.empty((1, len(levels), height * width, channels), np.float32)
    for m, level in enumerate(levels):
        tokens[0, m] = level.reshape(channels, -1).T
    return tokens
