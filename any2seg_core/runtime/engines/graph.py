"""The engine of exported models: NumPy in, NumPy out, no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.runtime.array_io import label_maps, planes_to_images
from any2seg_core.runtime.engines.engine import POOLED_LEVEL, Engine
from any2seg_core.vocabulary.contract import InputContract

LEVELS = ("level_1", "level_2", "level_3", "level_4")
"""Names of the features in all graphs; of early MFF there are two."""


class Graph(Protocol):
    """An exported function under some runtime."""

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Named arrays in, the outputs of these names out."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it takes."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""


@dataclass(frozen=True)
class Rows:
    """The features of sensors; those of one frame are the rows of a graph.

    Attributes:
        features: sensor -> four arrays (B, C_j, H_j, W_j) float32, of early MFF two.
    """

    features: Mapping[str, list[np.ndarray]]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the sensors."""
        return tuple(self.features)

    def replacing_absent(self, subset: Sequence[str], other: Rows) -> Rows:
        """The same frames, with what ``other`` has for all sensors that are not in ``subset``."""
        return Rows({name: (self if name in subset else other).features[name] for name in self.features})


class GraphEngine(Engine):
    """Runs an exported model, one frame after the other. Sensors come in the order of the contract.

    Args:
        name: of the runtime. version: of its package.
        encoders: sensor -> images (R, 3, H, W) to features. fusion: features of R rows -> logits (1, K, h, w).
        align_corners: how logits are enlarged.
    """

    device = "cpu"

    def __init__(
        self, name: str, version: str, encoders: Mapping[str, Graph], fusion: Graph, align_corners: bool = False
    ) -> None:
        self.name, self.version, self._align_corners = name, version, align_corners
        self._encoders, self._fusion = encoders, fusion

    def images(self, planes: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, np.ndarray]:
        return planes_to_images(planes, contract)

    def encode(self, images: Mapping[str, np.ndarray]) -> Rows:
        return self.together(self.encode_sensors(images))

    def encode_sensor(self, name: str, image: np.ndarray) -> list[np.ndarray]:
        graph = self._encoders[name]
        (given,) = graph.inputs
        frames = [self._run(graph, graph.outputs, {given: image[b : b + 1]}) for b in range(len(image))]
        return frames[0] if len(frames) == 1 else [np.concatenate(levels) for levels in zip(*frames, strict=True)]

    def together(self, features: Mapping[str, list[np.ndarray]]) -> Rows:
        return Rows(dict(features))

    def pooled(self, encoded: Rows) -> dict[str, np.ndarray]:
        return {name: levels[POOLED_LEVEL].mean(axis=(2, 3)) for name, levels in encoded.features.items()}

    def fuse(self, encoded: Rows, anchor: None = None) -> np.ndarray:
        return next(self.fuse_subsets(encoded, [encoded.modalities]))

    def fuse_subsets(self, encoded: Rows, subsets: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Logits (B, K, h, w) float32."""
        for subset in subsets:
            kept = [levels for name, levels in encoded.features.items() if name in subset]
            yield np.concatenate([self._logits(kept, b) for b in range(len(kept[0][0]))])

    def _logits(self, kept: list[list[np.ndarray]], b: int) -> np.ndarray:
        """(1, K, h, w) of one frame, whose sensors' features these are."""
        rows = [np.stack([level[b] for level in levels]) for levels in zip(*kept, strict=True)]  # 4 x (R, C, H, W)
        return self._run(self._fusion, ("logits",), dict(zip(self._fusion.inputs, rows, strict=True)))[0]

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

    def _run(self, graph: Graph, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """UserError where the graph is another one than this engine's: other names, or other sizes."""
        try:
            return graph(outputs, inputs)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # those of runtimes have no class in common but this one
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"{self.version} cannot run the graph ({reason}): export the checkpoint again", "checkpoint-damaged"
            ) from None
