"""The interface of all engines, and the engine that is the measure of the others: PyTorch, operation by operation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from any2seg_core.models import Any2Seg, Encoded, Fused


class Engine(ABC):
    """Runs a trained model. Call it under ``torch.no_grad`` or ``torch.inference_mode``; it may be shared by threads.

    What `encode` and `fuse` return is for the engine that made it: of it a caller may keep a subset (`Encoded.keep`),
    and the levels of an anchor.

    Attributes:
        name: how logs and reports call it.
    """

    name: str

    @abstractmethod
    def encode(self, images: dict[str, Tensor]) -> Encoded:
        """Images (B, 3, H, W) float32 of any non-empty subset of the modalities, each encoded once if that can be."""

    @abstractmethod
    def fuse(self, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        """The modalities of each sample in one; ``anchor`` as in `Any2Seg.fuse`."""

    def fuse_subsets(self, encoded: Encoded, subsets: Iterable[Sequence[str]]) -> Iterator[Fused]:
        """`fuse` of several non-empty subsets of what was encoded; what they have in common is computed once."""
        for subset in subsets:
            yield self.fuse(encoded.keep(subset))

    @abstractmethod
    def decode(self, fused: Fused) -> Tensor:
        """Logits (B, K, H/4, W/4) float."""


class EagerEngine(Engine):
    """The model itself, wherever it is and whatever its precision."""

    name = "eager"

    def __init__(self, model: Any2Seg) -> None:
        self.model = model

    def encode(self, images: dict[str, Tensor]) -> Encoded:
        return self.model.encode(images)

    def fuse(self, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        return self.model.fuse(encoded, anchor)

    def decode(self, fused: Fused) -> Tensor:
        return self.model.decode(fused)
