"""The engine that is the measure of the others: PyTorch, operation by operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.base.runtimes import TAKES_ANY_ROWS
from any2seg_core.models import Any2Seg, Encoded, Fused
from any2seg_core.runtime.engines.engine import POOLED_LEVEL, Engine
from any2seg_core.runtime.engines.filled_rows import FilledRows
from any2seg_core.runtime.preprocess import logits_to_labels, planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract


class EagerEngine(Engine):
    """The model itself, wherever it is and whatever its precision."""

    name = "eager"
    version = f"torch {torch.__version__}"

    def __init__(self, model: Any2Seg, precision: str = "float32") -> None:
        self.model, self.precision = model, precision
        self.device = next(model.parameters()).device
        self._filled_rows: FilledRows | None = None
        self.encodes_alone, self.takes_anchor = model.encodes_alone, model.fusion.takes_anchor

    def computing(self) -> AbstractContextManager[None]:
        return torch.inference_mode()

    def images(self, planes: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, Tensor]:
        return planes_to_tensor(dict(planes), contract, self.device)

    def given(self, images: Mapping[str, np.ndarray | Tensor]) -> dict[str, Tensor]:
        return {name: torch.as_tensor(image, device=self.device) for name, image in images.items()}

    def encode(self, images: Mapping[str, Tensor]) -> Encoded:
        if not self.encodes_alone:
            return self.model.encode(dict(images))
        # One by one: in a batch of other size the last bits of a product may be others.
        return self.together(self.encode_sensors(images))

    def encode_sensor(self, name: str, image: Tensor) -> Encoded:
        if self._filled_rows is None:
            return self.model.encode({name: image})
        rows = self._filled_rows.encoded(name, image, lambda part: self.model.encode({name: part}))
        return self.model.with_content(rows, {name: image})

    def encode_filled_rows(self, contract: InputContract) -> None:
        if self.name not in TAKES_ANY_ROWS:
            super().encode_filled_rows(contract)
        if not self.encodes_alone:
            raise UserError(
                f"filled_rows: fusion={self.model.config.fusion} encodes its sensors together: leave it out",
                "model-unsuitable",
            )
        self._filled_rows = FilledRows(contract)

    def together(self, features: Mapping[str, Encoded]) -> Encoded:
        return Encoded.joined([features[name] for name in self.model.modalities if name in features])

    def pooled(self, encoded: Encoded) -> dict[str, np.ndarray]:
        if not self.encodes_alone:
            return {}
        means = encoded.levels[POOLED_LEVEL].float().mean(dim=(3, 4)).cpu()  # (B, M, C)
        return {name: means[:, m].numpy() for m, name in enumerate(encoded.modalities)}

    def fuse(self, encoded: Encoded, anchor: list[Tensor] | None = None) -> Fused:
        return self.model.fuse(encoded, anchor)

    def fuse_subsets(self, encoded: Encoded, subsets: Iterable[Sequence[str]]) -> Iterator[Fused]:
        for subset in subsets:
            yield self.fuse(encoded.only(subset))

    def decode(self, fused: Fused) -> Tensor:
        return self.model.decode(fused)

    def array(self, logits: Tensor) -> np.ndarray:
        return logits.cpu().numpy()

    def winners(self, logits: Tensor) -> np.ndarray:
        return logits.argmax(dim=1).cpu().numpy()

    def labels(
        self, logits: Tensor, size: tuple[int, int], with_confidence: bool = True, temperature: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        align_corners = self.model.config.align_corners
        labels, confidence = logits_to_labels(logits, *size, with_confidence, align_corners, temperature)
        return labels[0].cpu().numpy(), None if confidence is None else confidence[0].cpu().numpy()
