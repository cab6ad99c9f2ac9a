"""The engine of exported models: NumPy in, NumPy out, no PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, TypeVar

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.runtime.array_io import label_maps, planes_to_images
from any2seg_core.runtime.engines.compiled_fusion import CompiledFusion
from any2seg_core.runtime.engines.engine import POOLED_LEVEL, Engine
from any2seg_core.runtime.engines.parity import LIMIT, mean_difference
from any2seg_core.vocabulary.contract import InputContract, Pixel

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")
LEVELS = ("level_1", "level_2", "level_3", "level_4")
"""Names of the features in all graphs; of early MFF there are two."""
CONTENT = ("content_1", "content_2", "content_3", "content_4")
"""Names of where a row says something, in graphs of models that ask for it; beside every level one."""


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


class _Fusion(Protocol):
    """What follows the encoder."""

    def subsets(
        self, features: Mapping[str, Sequence[np.ndarray]], subsets: Iterable[Sequence[str]]
    ) -> Iterator[np.ndarray]:
        """Features of one frame, sensor -> arrays (C_j, H_j, W_j), to the logits (1, K, h, w) of each subset."""


class _GraphFusion:
    """As the exported graph computes it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def subsets(
        self, features: Mapping[str, Sequence[np.ndarray]], subsets: Iterable[Sequence[str]]
    ) -> Iterator[np.ndarray]:
        for subset in subsets:
            kept = [levels for name, levels in features.items() if name in subset]
            rows = [np.stack(levels) for levels in zip(*kept, strict=True)]  # 4 x (R, C_j, H_j, W_j)
            yield self._graph(("logits",), dict(zip(self._graph.inputs, rows, strict=True)))[0]


def _inputs_of(graph: Graph, image: np.ndarray, empty: Pixel) -> dict[str, np.ndarray]:
    """What an encoder takes of an image (1, 3, H, W): that, and its empty pixel if it asks; ValueError if it is none.
    """
    given = (image, np.array([empty], np.float32))  # (R=1, 3)
    if len(graph.inputs) > len(given):
        raise ValueError(f"it takes {', '.join(graph.inputs)}, an encoder images and their empty pixels")
    return dict(zip(graph.inputs, given, strict=False))


@dataclass(frozen=True)
class Rows:
    """The features of sensors; those of one frame are the rows of a graph.

    Attributes:
        features: sensor -> four arrays (B, C_j, H_j, W_j) float32, of early MFF two; behind them as many (B, H_j, W_j)
            float32, 1 where it says something, of models that ask for it.
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
        empty: sensor -> what normalisation makes of a pixel of zeros, for encoders that ask for it.
        compiled: the same as ``fusion``, where there is such code. It is loaded where there is much to fuse, and takes
            the place of the graph if it gives the same labels; which of the two runs is settled by the first set.
        align_corners: how logits are enlarged.
    """

    device = "cpu"

    def __init__(
        self,
        name: str,
        version: str,
        encoders: Mapping[str, Graph],
        fusion: Graph,
        empty: Mapping[str, Pixel],
        align_corners: bool = False,
        compiled: CompiledFusion | None = None,
    ) -> None:
        self.name, self.version, self._align_corners = name, version, align_corners
        self._encoders, self._graph_fusion, self._compiled = encoders, _GraphFusion(fusion), compiled
        self._empty = empty
        self._settled: _Fusion | None = None if compiled is not None else self._graph_fusion
        self._lock = Lock()

    def images(self, planes: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, np.ndarray]:
        return planes_to_images(planes, contract)

    def encode(self, images: Mapping[str, np.ndarray]) -> Rows:
        return self.together(self.encode_sensors(images))

    def encode_sensor(self, name: str, image: np.ndarray) -> list[np.ndarray]:
        graph = self._encoders[name]
        parts = (image[b : b + 1] for b in range(len(image)))
        empty = self._empty[name]
        frames = self._ran(lambda: [graph(graph.outputs, _inputs_of(graph, part, empty)) for part in parts])
        return frames[0] if len(frames) == 1 else [np.concatenate(levels) for levels in zip(*frames, strict=True)]

    def together(self, features: Mapping[str, list[np.ndarray]]) -> Rows:
        return Rows(dict(features))

    def pooled(self, encoded: Rows) -> dict[str, np.ndarray]:
        return {name: levels[POOLED_LEVEL].mean(axis=(2, 3)) for name, levels in encoded.features.items()}

    def fuse(self, encoded: Rows, anchor: None = None) -> np.ndarray:
        return next(self.fuse_subsets(encoded, [encoded.modalities]))

    def fuse_subsets(self, encoded: Rows, subsets: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """Logits (B, K, h, w) float32."""
        wanted = list(subsets)
        batch = len(next(iter(encoded.features.values()))[0])
        frames = [
            {name: [level[b] for level in levels] for name, levels in encoded.features.items()} for b in range(batch)
        ]
        fusion = self._fusion_for(frames[0], len(wanted))
        of_frames = [fusion.subsets(frame, wanted) for frame in frames]
        for _ in wanted:
            logits = self._ran(lambda: [next(each) for each in of_frames])
            yield logits[0] if batch == 1 else np.concatenate(logits)

    def _fusion_for(self, features: Mapping[str, Sequence[np.ndarray]], count: int) -> _Fusion:
        """What runs from now on; the same for all sets, as the last bits of the two differ."""
        with self._lock:
            if self._settled is None:
                assert self._compiled is not None  # else the graph is settled from the beginning
                values = self._compiled.values(next(iter(features.values())))
                is_worth_it = WORKLOAD.is_for_kernels((count - 1) * values)
                agrees = is_worth_it and self._agrees(self._compiled, features)
                self._settled = self._compiled if agrees else self._graph_fusion
            return self._settled

    def _agrees(self, compiled: CompiledFusion, features: Mapping[str, Sequence[np.ndarray]]) -> bool:
        """Whether it gives the labels of the graph on noise of these shapes: all sensors, and one alone."""
        rng = np.random.default_rng(0)
        noise = {
            name: [rng.normal(size=level.shape).astype(np.float32) for level in levels]
            for name, levels in features.items()
        }
        subsets = [tuple(noise), tuple(noise)[:1]]
        ways = [fusion.subsets(noise, subsets) for fusion in (compiled, self._graph_fusion)]
        share = self._ran(lambda: mean_difference(*ways))
        if share > LIMIT:
            _LOG.warning("%.2f %% of the labels of compiled code are not those of the graph, which runs", 100 * share)
        return share <= LIMIT

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

    def _ran(self, work: Callable[[], _Result]) -> _Result:
        """UserError where a graph is another one than this engine's: other names, or other sizes."""
        try:
            return work()
        except (UserError, MemoryError):
            raise
        except Exception as error:  # those of runtimes have no class in common but this one
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"{self.version} cannot run the graph ({reason}): export the checkpoint again", "checkpoint-damaged"
            ) from None
