"""The interface of all engines. Importing it brings no PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.runtimes import TAKES_ANY_ROWS
from any2seg_core.vocabulary.contract import InputContract

POOLED_LEVEL = 1
"""Of the features that `Engine.pooled` gives: the second, which tells damaged sensors from whole ones best."""


class Engine(ABC):
    """Runs a trained model. Call it within `computing`; it may be shared by threads.

    What `images`, `encode`, `fuse` and `decode` return is for the engine that made it: tensors or arrays. Of what is
    encoded a caller may keep a subset (`Encoded.keep`), and the levels of an anchor.

    Attributes:
        name: how logs and reports call it, one of `RUNTIMES`. version: of the package that computes.
        device: where it runs. precision: of the encoder.
        encodes_alone: whether every modality has features of its own, which do not depend on what else is there.
        takes_anchor: whether `fuse` takes the fused features of the previous set of a stream.
    """

    name: str
    version: str
    device: Any
    precision: str = "float32"
    encodes_alone: bool = True
    takes_anchor: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """What computed, for reports."""
        return {"name": self.name, "version": self.version, "precision": self.precision}

    def computing(self) -> AbstractContextManager[Any]:
        """Around all calls."""
        return nullcontext()

    @abstractmethod
    def images(self, planes: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, Any]:
        """Planes (H, W, 3) of one frame -> images (1, 3, h, w) float32, as `planes_to_images` has them."""

    def given(self, images: Mapping[str, Any]) -> dict[str, Any]:
        """Images (B, 3, h, w) float32, arrays or tensors of the processor, as this engine takes them."""
        return {name: np.asarray(image) for name, image in images.items()}

    @abstractmethod
    def encode(self, images: Mapping[str, Any]) -> Any:
        """Images (B, 3, h, w) float32 of any non-empty subset of the modalities, each encoded once if that can be.

        Where `encodes_alone`, this is `encode_sensors` and then `together`.
        """

    @abstractmethod
    def encode_sensor(self, name: str, image: Any) -> Any:
        """The features of one sensor, image (B, 3, h, w) float32; only where `encodes_alone`.

        They are the same bits whatever else is encoded, and nothing changes them afterwards: they may be kept, and
        put `together` with others as often as wanted.
        """

    def encode_filled_rows(self, contract: InputContract) -> None:
        """From now on encode only the filled rows of sensors of kind points; UserError where this engine cannot."""
        raise UserError(
            f"filled_rows: {self.name} takes whole images only: take runtime {' or '.join(TAKES_ANY_ROWS)}",
            "runtime-unsuitable",
        )

    def encode_sensors(self, images: Mapping[str, Any]) -> dict[str, Any]:
        """`encode_sensor` of each, the same bits, in whatever order is fastest."""
        return {name: self.encode_sensor(name, image) for name, image in images.items()}

    @abstractmethod
    def together(self, features: Mapping[str, Any]) -> Any:
        """What `encode_sensor` returned -> what `fuse` takes; at least one sensor, canonical order, one shape."""

    def pooled(self, encoded: Any) -> dict[str, np.ndarray]:
        """Sensor -> (B, C) float32, means over the picture of the features that it has of its own.

        Those of the second level, which every model has that encodes sensors alone; empty where not `encodes_alone`.
        """
        return {}

    @abstractmethod
    def fuse(self, encoded: Any, anchor: Any = None) -> Any:
        """The modalities of each sample in one; ``anchor`` as in `Any2Seg.fuse`."""

    @abstractmethod
    def fuse_subsets(self, encoded: Any, subsets: Iterable[Sequence[str]]) -> Iterator[Any]:
        """`fuse` of several non-empty subsets of what was encoded; what they have in common is computed once.

        Each is what `fuse` makes of the sensors of the subset alone, bit for bit.
        """

    @abstractmethod
    def decode(self, fused: Any) -> Any:
        """Logits (B, K, h/4, w/4) float."""

    def array(self, logits: Any) -> np.ndarray:
        """What `decode` returned as NumPy has it."""
        return np.asarray(logits)

    @abstractmethod
    def winners(self, logits: Any) -> np.ndarray:
        """(B, h/4, w/4): the class with the largest logit."""

    @abstractmethod
    def labels(
        self, logits: Any, size: tuple[int, int], with_confidence: bool = True, temperature: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits of one sample -> labels (H, W) and confidence, of this size, as `label_maps` gives them."""
