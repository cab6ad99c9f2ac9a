"""DELIVER's folder layout: frames, conditions, failure cases, planes and labels. The drive writes the same layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from torch.utils.data import Dataset

from any2seg_core.cases import CONDITIONS, FAILURES, SPLITS
from any2seg_core.errors import UserError
from any2seg_core.labels import DELIVER_PNG_TO_TRAIN
from any2seg_core.modalities import MODALITIES, canonical, modality

_LABEL_FOLDER, _LABEL_SUFFIX = "semantic", "semantic"


@dataclass(frozen=True)
class Frame:
    """Where one frame lies.

    Attributes:
        condition: one of CONDITIONS.
        failure: one of FAILURES, or None for a healthy sequence.
        sequence: name of the sequence folder.
        stem: frame name, the part before ``_<suffix>_front.png``.
    """

    condition: str
    failure: str | None
    sequence: str
    stem: str

    @property
    def name(self) -> str:
        """``condition/sequence/stem``, unique within a split."""
        return f"{self.condition}/{self.sequence}/{self.stem}"


class Sample(NamedTuple):
    """One frame in memory.

    Attributes:
        planes: per modality (H, W, 3) uint8; rgb in RGB order.
        labels: (H, W) uint8 train ids, 255 unlabelled.
        frame: where it came from.
    """

    planes: dict[str, np.ndarray]
    labels: np.ndarray
    frame: Frame


def read_plane(path: Path) -> np.ndarray:
    """PNG -> (H, W, 3) uint8: alpha dropped, one channel repeated; UserError if it is no 8-bit image."""
    image = _read_image(path)
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)  # (H, W) -> (H, W, 3)
    code = cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB
    return cv2.cvtColor(image, code)


def read_labels(path: Path) -> np.ndarray:
    """Semantic PNG -> (H, W) uint8 train ids: its first (red) channel holds train id + 1; 0 and 255 become 255."""
    image = _read_image(path)
    ids = image if image.ndim == 2 else image[:, :, 2]  # OpenCV stores BGR
    return DELIVER_PNG_TO_TRAIN[ids]


def _read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UserError(f"{path}: not a readable image; write this frame again or remove the frame from all folders")
    if image.dtype != np.uint8 or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise UserError(f"{path}: expected 8-bit with 1, 3 or 4 channels, got {image.dtype} {image.shape}")
    return image


def _failure_of(sequence: str) -> str | None:
    """Failure from the last part of a sequence name; never a substring, so ``rain`` cannot match ``train``."""
    suffix = sequence.rsplit("_", 1)[-1]
    return suffix if suffix in FAILURES else None


def find_frames(root: Path, split: str, index_by: str) -> list[Frame]:
    """All frames of a split that modality ``index_by`` has, sorted by condition, sequence and frame."""
    entry = modality(index_by)
    ending = f"_{entry.suffix}_front.png"
    frames = []
    for condition in CONDITIONS:
        for path in sorted((root / entry.folder / condition / split).glob(f"*/*{ending}")):
            sequence = path.parent.name
            frames.append(Frame(condition, _failure_of(sequence), sequence, path.name[: -len(ending)]))
    return frames


class DeliverDataset(Dataset):
    """Frames of one split as planes and labels on one grid, that of the label image (which is the camera's).

    Args:
        root: folder that holds ``img``, ``hha``, ``lidar``, ``event`` and ``semantic``.
        split: ``train``, ``val`` or ``test``.
        modalities: which to read; the first one (canonical order) decides which frames there are.
        cases: keep only frames whose condition or failure is named; None keeps all.
        cache: ``"ram"`` decodes everything now and keeps the uint8 arrays; PNG decoding is what limits small machines.

    Raises:
        UserError: no such folder, no frame, an unknown case, or a partner file that is missing (it is named).
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        modalities: Iterable[str] = MODALITIES,
        cases: Sequence[str] | None = None,
        cache: Literal["none", "ram"] = "none",
    ):
        self.root = Path(root)
        self.split = split
        self.modalities = canonical(modalities)
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such data folder; write one with `any2seg drive` or point to DELIVER")
        self.frames = self._select(find_frames(self.root, split, self.modalities[0]), cases)
        self._require_partners()
        self._samples: list[Sample] | None = None
        if cache == "ram":
            with ThreadPoolExecutor(max_workers=4) as pool:
                self._samples = list(pool.map(self._read, self.frames))

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        """The frame with that number; with the RAM cache the arrays are shared, so treat them as read-only."""
        return self._samples[index] if self._samples is not None else self._read(self.frames[index])

    def labels(self, index: int) -> np.ndarray:
        """(H, W) uint8 train ids of one frame without reading its planes."""
        if self._samples is not None:
            return self._samples[index].labels
        return read_labels(self._path(self.frames[index], _LABEL_FOLDER, _LABEL_SUFFIX))

    def _select(self, frames: list[Frame], cases: Sequence[str] | None) -> list[Frame]:
        if cases is not None:
            unknown = sorted(set(cases) - {*CONDITIONS, *FAILURES})
            if unknown:
                raise UserError(f"unknown case {unknown[0]!r}: expected some of {', '.join(CONDITIONS + FAILURES)}")
            frames = [frame for frame in frames if frame.condition in cases or frame.failure in cases]
        if not frames:
            entry = modality(self.modalities[0])
            pattern = f"{entry.folder}/<condition>/{self.split}/<sequence>/*_{entry.suffix}_front.png"
            chosen = "" if cases is None else f" of the cases {', '.join(cases)}"
            raise UserError(f"{self.root}: no {self.split} frame{chosen}: looked for {pattern}")
        return frames

    def _path(self, frame: Frame, folder: str, suffix: str) -> Path:
        return self.root / folder / frame.condition / self.split / frame.sequence / f"{frame.stem}_{suffix}_front.png"

    def _partners(self, frame: Frame) -> list[Path]:
        entries = [modality(name) for name in self.modalities]
        wanted = [(entry.folder, entry.suffix) for entry in entries] + [(_LABEL_FOLDER, _LABEL_SUFFIX)]
        return [self._path(frame, folder, suffix) for folder, suffix in wanted]

    def _require_partners(self) -> None:
        for frame in self.frames:
            for path in self._partners(frame):
                if not path.is_file():
                    raise UserError(f"{path}: missing, although frame {frame.name} exists in other folders; restore it")

    def _read(self, frame: Frame) -> Sample:
        *plane_paths, label_path = self._partners(frame)
        labels = read_labels(label_path)
        height, width = labels.shape
        planes = {}
        for name, path in zip(self.modalities, plane_paths, strict=True):
            plane = read_plane(path)
            if plane.shape[:2] != (height, width):  # DELIVER's low-resolution events
                plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
            planes[name] = plane
        return Sample(planes, labels, frame)
