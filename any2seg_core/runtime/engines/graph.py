"""The engine of exported models: NumPy in, NumPy out, no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from any2seg_core.runtime.array_io import label_maps, planes_to_images
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.vocabulary.contract import InputContract

LEVELS = ("level_1", "level_2", "level_3", "level_4")
"""Names of the features in both graphs."""


class Graph(Protocol):
    """An exported function under some runtime."""

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Named arrays in, the outputs of these names out."""


@dataclass(frozen=True)
class Rows:
    """The features of the sensors of one set, each a row.

    Attributes:
        levels: four arrays (R, C_j, H_j, W_j) float32. modalities: names of the R rows.
    """

    levels: list[np.ndarray]
    modalities: tuple[str, ...]


class GraphEngine(Engine):
    """Runs an exported model. Images are those of one frame, (1, 3, H, W) each, in the order of the contract.

    Args:
        name: of the runtime.
        whole: images (R, 3, H, W) -> labels, logits (1, K, h, w), and features.
        rest: features of R rows -> labels and logits.
        align_corners: how logits are enlarged.
    """

    device = "cpu"

    def __init__(self, name: str, whole: Graph, rest: Graph, align_corners: bool = False) -> None:
        self.name, self._whole, self._rest, self._align_corners = name, whole, rest, align_corners

    def images(self, planes: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, np.ndarray]:
        return planes_to_images(planes, contract)

    def encode(self, images: Mapping[str, np.ndarray]) -> Rows:
        return self.together({name: self.encode_sensor(name, image) for name, image in images.items()})

    def encode_sensor(self, name: str, image: np.ndarray) -> list[np.ndarray]:
        return self._whole(LEVELS, {"images": image})

    def together(self, features: Mapping[str, list[np.ndarray]]) -> Rows:
        return Rows([np.concatenate(level) for level in zip(*features.values(), strict=True)], tuple(features))

    def fuse(self, encoded: Rows, anchor: None = None) -> np.ndarray:
        return next(self.fuse_subsets(encoded, [encoded.modalities]))

    def fuse_subsets(self, encoded: Rows, subsets: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Logits (1, K, h, w) float32."""
        for subset in subsets:
            rows = [row for row, name in enumerate(encoded.modalities) if name in subset]
            levels = [level[rows] for level in encoded.levels]
            yield self._rest(("logits",), dict(zip(LEVELS, levels, strict=True)))[0]

    def decode(self, fused: np.ndarray) -> np.ndarray:
        """What `fuse_subsets` gives is decoded already."""
        return fused

    def winners(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1)

    def labels(
        self, logits: np.ndarray, size: tuple[int, int], with_confidence: bool = True, temperature: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        labels, confidence = label_maps(logits, *size, with_confidence, self._align_corners, temperature)
        return labels[0], None if confidence is None else confidence[0]

    def outputs(self, images: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Labels (1, h, w) int32 and logits (1, K, h, w) float32 of all rows, both as the graph gives them."""
        rows = np.concatenate(list(images.values()))
        labels, logits = self._whole(("labels", "logits"), {"images": rows})
        return labels, logits
