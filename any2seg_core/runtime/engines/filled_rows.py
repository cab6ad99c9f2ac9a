"""FilledRows: of a plane that is empty above and below, as a LiDAR's is, only the rows between are encoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from any2seg_core.models import Encoded
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.sensor import POINTS

_STEP = 32  # rows of one place of the coarsest level
_ROUNDING = 1e-4  # of a normalised value; one grey level is a hundred times more


class FilledRows:
    """Features of images of sparse sensors, of which only the filled rows are encoded.

    Where nothing is, features are those of an empty image, encoded once for each sensor. The filled rows do not see
    how large the void beside them is, which changes labels a little: see `docs/performance.md`.

    Args:
        contract: normalisation and sensors of the model; those of kind points are meant.
    """

    def __init__(self, contract: InputContract) -> None:
        self._contract = contract
        self._empty: dict[str, tuple[tuple[int, ...], Encoded]] = {}
        self._pixels: dict[str, Tensor] = {}

    def encoded(self, name: str, images: Tensor, encode: Callable[[Tensor], Encoded]) -> Encoded:
        """What `encode` makes of images (B, 3, h, w) of one sensor, or nearly."""
        if self._contract.suite.sensor(name).kind != POINTS:
            return encode(images)
        parts = [self._of_one(name, image[None], encode) for image in images]
        return parts[0] if len(parts) == 1 else _stacked(parts)

    def _of_one(self, name: str, image: Tensor, encode: Callable[[Tensor], Encoded]) -> Encoded:
        """image (1, 3, h, w) -> features of one sample."""
        height = image.shape[2]
        rows = self._filled(name, image)
        if rows == slice(0, height):
            return encode(image)
        empty = self._of_nothing(name, image, encode)
        if rows.stop == 0:
            return empty
        part = encode(image[:, :, rows].contiguous())

        def placed(whole: Tensor, values: Tensor) -> Tensor:
            """(1, 1, C, h_j, w_j) with the rows of the image replaced."""
            first = rows.start * whole.shape[3] // height
            copy = whole.clone()
            copy[:, :, :, first : first + values.shape[3]] = values
            return copy

        levels = [placed(*pair) for pair in zip(empty.levels, part.levels, strict=True)]
        if empty.logits is None or part.logits is None:
            return replace(part, levels=levels)
        return replace(part, levels=levels, logits=placed(empty.logits, part.logits))

    def _filled(self, name: str, image: Tensor) -> slice:
        """The rows of (1, 3, h, w) that hold something, outward to multiples of 32; 0:0 where none does."""
        away = (image - self._nothing(name, image)).abs_()  # (1, 3, h, w)
        is_filled = ~(away.amax(dim=(1, 3))[0] <= _ROUNDING)  # (h,), NaN among it
        found = torch.nonzero(is_filled)[:, 0].tolist()
        if not found:
            return slice(0, 0)
        return slice(found[0] // _STEP * _STEP, min(-(-(found[-1] + 1) // _STEP) * _STEP, image.shape[2]))

    def _of_nothing(self, name: str, like: Tensor, encode: Callable[[Tensor], Encoded]) -> Encoded:
        """Features of an image of the same size without anything in it."""
        shape, kept = self._empty.get(name, ((), None))
        if kept is None or shape != like.shape:
            kept = encode(self._nothing(name, like).expand_as(like).contiguous())
            self._empty[name] = tuple(like.shape), kept
        return kept

    def _nothing(self, name: str, like: Tensor) -> Tensor:
        """(1, 3, 1, 1), what normalisation makes of a pixel of zeros."""
        if name not in self._pixels:
            plane = np.zeros((self._contract.height, self._contract.width, 3), np.uint8)
            whole = planes_to_tensor({name: plane}, self._contract, like.device)[name]
            self._pixels[name] = whole[:, :, :1, :1].clone()
        return self._pixels[name]


def _stacked(parts: list[Encoded]) -> Encoded:
    """Samples of one sensor as a batch."""
    levels = [torch.cat(list(level)) for level in zip(*(part.levels for part in parts), strict=True)]
    logits = [part.logits for part in parts if part.logits is not None]
    present = torch.cat([part.present for part in parts])
    return replace(parts[0], levels=levels, present=present, logits=torch.cat(logits) if logits else None)
