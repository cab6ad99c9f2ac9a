"""A folder of labels or probabilities as a teacher: what a program of any kind has said of the frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from any2seg_core.base.array_files import read_array
from any2seg_core.base.errors import UserError
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.label_images import read_ids
from any2seg_core.data.sample import Sample, Word
from any2seg_core.vocabulary.labels import IGNORE, label_space

SUM_TOLERANCE = 0.02
"""Of the sum of probabilities that another program gives, which may come from half precision."""
SPACE_FILE = "label_space.yaml"
"""Says the classes of a folder; without it they are those of the data."""
_END = 1 << 16  # bytes at both ends of a file that tell it from another: probabilities of two models differ everywhere


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
                f"distil.teachers: {path} holds no label image (<frame>.png) and no probabilities (<frame>.npy); of a "
                "folder of transformers `any2seg import segformer` makes a checkpoint that teaches",
                "file-missing",
            )
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode() + _ends(file))
        self.digest = digest.hexdigest()
        own = path / SPACE_FILE
        self.space = label_space(own) if own.is_file() else None

    def _files(self) -> Iterator[Path]:
        yield from sorted([*self.path.rglob("*.png"), *self.path.rglob("*.npy")])

    def said(self, sample: Sample, classes: int) -> np.ndarray | None:
        """What it says of a frame, as in `Word`; None: nothing. CorruptFileError."""
        name, shape = sample.frame.name, sample.labels.shape
        image, array = self.path / f"{name}.png", self.path / f"{name}.npy"
        if not image.is_file():
            return _probabilities(array, classes) if array.is_file() else None
        found = read_ids(image)
        if found.shape != shape or bool(((found >= classes) & (found != IGNORE)).any()):
            told = f"{found.shape} with ids up to {int(found[found != IGNORE].max(initial=0))}"
            raise CorruptFileError(f"{image}: {told}: expected {shape} and ids below {classes}", "size-mismatch")
        return found


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        first = file.read(_END)
        file.seek(max(len(first), path.stat().st_size - _END))
        return first + file.read(_END)


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


def with_said(sample: Sample, folders: Sequence[tuple[LabelFolder, float]], classes: int) -> Sample:
    """A frame with what folders, each of some weight, say of it."""
    found = [(folder.said(sample, classes), weight) for folder, weight in folders]
    return sample._replace(said=tuple(Word(values, classes, weight) for values, weight in found if values is not None))
