"""The engine of exported models: NumPy in, NumPy out, no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

LEVELS = ("level_1", "level_2", "level_3", "level_4")
"""Names of the features in both graphs."""


class Graph(Protocol):
    """An exported function under some runtime."""

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Named arrays in, the outputs of these names out."""


@dataclass(frozen=True)
class Rows:
    """The sensors of one set, each a row. Encoded when it is known which subsets are asked for.

    Attributes:
        images: (R, 3, H, W) float32. modalities: names of the R rows.
    """

    images: np.ndarray
    modalities: tuple[str, ...]


class GraphEngine:
    """Runs an exported model; may be shared by threads.

    Args:
        name: of the runtime.
        whole: images (R, 3, H, W) -> labels, logits (1, K, h, w), and features.
        rest: features of R rows -> labels and logits.
    """

    def __init__(self, name: str, whole: Graph, rest: Graph) -> None:
        self.name, self._whole, self._rest = name, whole, rest

    def encode(self, images: Mapping[str, np.ndarray]) -> Rows:
        """Images (1, 3, H, W) float32 of any non-empty subset of the modalities, in the order of the contract."""
        return Rows(np.concatenate(list(images.values())), tuple(images))

    def fuse_subsets(self, encoded: Rows, subsets: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Logits (1, K, h, w) float32 of several non-empty subsets of the rows; each row is encoded once for all."""
        wanted = [tuple(name for name in encoded.modalities if name in subset) for subset in subsets]
        needs_parts = any(subset != encoded.modalities for subset in wanted)
        logits, *levels = self._whole(("logits", *(LEVELS if needs_parts else ())), {"images": encoded.images})
        for subset in wanted:
            if subset == encoded.modalities:
                yield logits
                continue
            rows = [encoded.modalities.index(name) for name in subset]
            yield self._rest(("logits",), {name: level[rows] for name, level in zip(LEVELS, levels, strict=True)})[0]

    def decode(self, fused: np.ndarray) -> np.ndarray:
        """What `fuse_subsets` gives is decoded already."""
        return fused

    def labels(self, images: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Labels (1, h, w) int32 and logits (1, K, h, w) float32 of all rows, both as the graph gives them."""
        labels, logits = self._whole(("labels", "logits"), {"images": self.encode(images).images})
        return labels, logits
