"""A folder of labels or probabilities as a teacher: what a program of any kind has said of the frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.base.array_files import read_array
from any2seg_core.base.errors import UserError
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.label_images import read_ids
from any2seg_core.data.samples import Sample
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED, is_labelled, label_space
from any2seg_training.batches import Frames

SUM_TOLERANCE = 0.02
"""Of the sum of probabilities that another program gives, which may come from half precision."""
SPACE_FILE = "label_space.yaml"
"""Says the classes of a folder; without it they are those of the data."""


class LabelFolder:
    """``FOLDER/<frame>.png``, 8-bit train ids on the grid of the frame, 255 for none, or ``FOLDER/<frame>.npy``,
    (K, h, w) probabilities of any size. Frames without a file are not taught.

    Raises:
        UserError: no such folder, or no file of a frame in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        files = [file for file in self._files() if file.is_file()]
        if not files:
            raise UserError(
                f"distil.teachers: {path} holds no label image (<frame>.png) and no probabilities (<frame>.npy)",
                "file-missing",
            )
        listed = "\n".join(f"{file.relative_to(path)} {file.stat().st_size}" for file in files)
        self.digest = hashlib.sha256(listed.encode()).hexdigest()
        own = path / SPACE_FILE
        self.space = label_space(own) if own.is_file() else None

    def _files(self) -> Iterator[Path]:
        yield from sorted([*self.path.rglob("*.png"), *self.path.rglob("*.npy")])

    def completed(self, sample: Sample, classes: int) -> Sample:
        """A frame with the labels of the folder in place of 254, or with its probabilities; CorruptFileError."""
        name, labels = sample.frame.name, sample.labels
        image, array = self.path / f"{name}.png", self.path / f"{name}.npy"
        if not image.is_file():
            return sample._replace(said=_probabilities(array, classes)) if array.is_file() else sample
        found = read_ids(image)
        if found.shape != labels.shape or bool(((found >= classes) & (found != IGNORE)).any()):
            told = f"{found.shape} with ids up to {int(found[found != IGNORE].max(initial=0))}"
            raise CorruptFileError(f"{image}: {told}: expected {labels.shape} and ids below {classes}", "size-mismatch")
        return sample._replace(labels=np.where((labels == NOT_ANNOTATED) & (found != IGNORE), found, labels))


def _probabilities(path: Path, classes: int) -> np.ndarray:
    found = read_array(path)
    if found.ndim != 3 or len(found) != classes or found.dtype.kind != "f":
        raise CorruptFileError(
            f"{path}: {found.dtype} {found.shape}: expected probabilities ({classes}, h, w)", "array-shape"
        )
    maps = np.asarray(found, np.float32)
    if not (np.abs(maps.sum(axis=0) - 1.0) < SUM_TOLERANCE).all() or bool((maps < 0).any()):  # NaN among it
        raise CorruptFileError(f"{path}: no probabilities: expected 0..1, of sum 1 over the classes", "value-range")
    return maps


def certainties(cells: Tensor, classes: int) -> Tensor:
    """Labels (N, h, w) int64 -> (N, K, h, w) float32, 1 for the class of a cell; 0 where there is none."""
    known = is_labelled(cells)
    return F.one_hot(cells.masked_fill(~known, 0), classes).permute(0, 3, 1, 2).float() * known[:, None]


class CompletedFrames:
    """Frames with what folders say of them."""

    def __init__(self, frames: Frames, folders: Sequence[LabelFolder], classes: int) -> None:
        self.frames, self._folders, self._classes = frames, folders, classes

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, index: int) -> str:
        """Of the frame with that number."""
        return self.frames.name(index)

    def next_readable(self, index: int) -> tuple[int, Sample]:
        """As of a `FrameDataset`."""
        number, sample = self.frames.next_readable(index)
        return number, completed(sample, self._folders, self._classes)


def completed(sample: Sample, folders: Sequence[LabelFolder], classes: int) -> Sample:
    """A frame with what the first folder says that knows it, in labels and in probabilities."""
    for folder in folders:
        found = folder.completed(sample, classes)
        sample = found if sample.said is None else found._replace(said=sample.said)
    return sample
