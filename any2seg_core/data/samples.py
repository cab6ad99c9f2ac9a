"""What all data sets have in common: frames of one split, planes and labels on one grid, corrupt files counted."""

from __future__ import annotations

import copy
import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from any2seg_core.base.errors import UserError
from any2seg_core.base.prefetch import mapped_ahead
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.plane_cache import PlaneCache
from any2seg_core.data.pseudo import PseudoLabels
from any2seg_core.data.sample import Sample
from any2seg_core.data.sparse import SparseConfig, sparse_labels, where_points_fell
from any2seg_core.data.suites import HasClassesAndSuite, chosen_suite, point_sensor, require_point_labels
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sensors.lidar import footprint_centres
from any2seg_core.vocabulary.contract import Normalisation, default_normalisation
from any2seg_core.vocabulary.labels import NOT_ANNOTATED
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.subsets import parse_suite

LABELS = "labels"
"""Key of the label file beside the modality names in `FrameDataset.files`."""

Cache = Literal["none", "ram", "disk"]
Source = Literal["auto", "raw", "projected"]

_READERS = 4  # threads; decoding releases Python's lock

_LOG = logging.getLogger(__name__)


class NoFramesError(UserError):
    """A split that has no frames at all."""


class FrameDataset(HasClassesAndSuite, Dataset):
    """Frames of one split as planes and labels on one grid, that of the label image (which is the camera's).

    Subclasses say where the files lie and how to read them.

    Args:
        root: folder of the data set.
        split: one of ``splits``.
        modalities: which to read, see `parse_suite`; None: all that the data set has.
        cases: keep only frames of these conditions; None keeps all.
        cache: "ram" decodes everything now and keeps the arrays; PNG decoding is what limits small machines. "disk"
            keeps the planes that are computed from raw sensor files (`PlaneCache`); those found there are used whatever
            the cache.
        skip_corrupt: leave frames with an unreadable file out, log each and count it in ``skipped``, instead of
            raising an error.
        verify: every file of every frame must exist (only a tool that lists what is missing sets it to False).
        labelled: False: no label file is looked for, and every pixel is unlabelled (254); for recordings that were
            extracted without truth.
        sparse: which labels of a frame to keep; None: all.
        pseudo: folder of labels that a model has made (`PseudoLabels`), for the pixels that keep none.
        suite: the sensors there can be, where one may choose (``takes_suite``); None: those of the data set.
        options: what only some data sets can be told; each names its own in ``options`` and explains them.

    Attributes:
        frames: what there is, sorted.
        modalities: canonical order. is_choice: whether somebody asked for just these.

    Raises:
        UserError: no such folder, no frame, an unknown split, case, modality or option, a suite where there is no
            choice, or a missing file (named).
    """

    kind: str
    splits: tuple[str, ...]
    cases: tuple[str, ...]
    suite: SensorSuite
    options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Name of each option of this data set and its default; they become attributes."""
    _whole: FrameDataset

    def __init__(
        self,
        root: str | Path,
        split: str,
        modalities: str | Iterable[str] | None = None,
        cases: Sequence[str] | None = None,
        cache: Cache = "none",
        skip_corrupt: bool = False,
        verify: bool = True,
        labelled: bool = True,
        sparse: SparseConfig | None = None,
        pseudo: Path | None = None,
        suite: SensorSuite | None = None,
        **options: Any,
    ):
        self.suite = chosen_suite(self.suite_of(Path(root)), suite, self.kind, self.takes_suite)
        self.root, self.split, self.skip_corrupt = Path(root), split, skip_corrupt
        self.labelled, self.sparse = labelled, sparse
        strange = sorted(set(options) - set(self.options))
        if strange:
            why = f"{root} is {self.kind}, which has no such choice"
            raise UserError(f"{strange[0]}={options[strange[0]]}: {why}", "option-unsupported")
        for name, default in self.options.items():
            setattr(self, name, options.get(name, default))
        self.is_choice = modalities is not None
        self.modalities = self.suite.members if modalities is None else parse_suite(modalities, self.suite)
        if split not in self.splits:
            raise UserError(f"unknown split {split!r}: expected one of {', '.join(self.splits)}", "value-unknown")
        self._require_root()
        self._prepare(cache)
        self.pseudo = None if pseudo is None else PseudoLabels(pseudo, split, self.label_space)
        if sparse is not None and sparse.kind == "lidar":
            require_point_labels(self.root, self.kind, self.suite, self.modalities, self.has_lidar_labels)
        self.frames = self._select(self._find(), cases)
        if verify:
            self._require_files()
        self._begin(cache)

    def __len__(self) -> int:
        return len(self.frames)

    def part(self, indices: Sequence[int], cache: Cache = "none", labelled: bool = True) -> FrameDataset:
        """Frames of these numbers, in this order, as a data set of their own.

        Args:
            indices: at least one.
            cache: "ram" decodes these frames, and no others, now.
            labelled: False: their label files are never opened, every pixel is unlabelled (254).
        """
        part = copy.copy(self)
        part.frames = [self.frames[index] for index in indices]
        part.labelled = self.labelled and labelled
        part._whole = self  # its files may be temporary and go with it
        part._begin(cache)
        return part

    def __getitem__(self, index: int) -> Sample:
        """The frame with that number; with the RAM cache the arrays are shared, so treat them as read-only.

        Raises:
            CorruptFileError: a file cannot be read or holds what it must not; whatever ``skip_corrupt`` says.
        """
        cached = self._samples[index] if self._samples is not None else None
        return cached if cached is not None else self._read(self.frames[index])

    @property
    def is_in_memory(self) -> bool:
        """Whether all frames have been decoded."""
        return self._samples is not None

    def readable(self, index: int) -> Sample | None:
        """The frame with that number; None, logged and counted, if it is corrupt and ``skip_corrupt`` is set."""
        return self._or_skip(index, lambda: self[index])

    def name(self, index: int) -> str:
        """Name of the frame with that number, unique within the split."""
        return self.frames[index].name

    def next_readable(self, index: int) -> tuple[int, Sample]:
        """The frame with that number or the next one that can be read, and its number; UserError if there is none."""
        for step in range(len(self.frames)):
            number = (index + step) % len(self.frames)
            sample = self.readable(number)
            if sample is not None:
                return number, sample
        all_of_them = f"{len(self.frames)} {self.split} frames"
        raise UserError(f"{self.root}: none of the {all_of_them} can be read", "data-unreadable")

    def labels(self, index: int) -> np.ndarray:
        """(H, W) uint8 train ids of one frame without reading its planes; CorruptFileError as above."""
        cached = self._samples[index] if self._samples is not None else None
        if cached is None and not self.labelled:
            cached = self[index]
        return cached.labels if cached is not None else self._labels(self.frames[index])

    def readable_labels(self, indices: Iterable[int] | None = None) -> Iterator[np.ndarray]:
        """Labels of the given frames (None: all), those of corrupt ones left out if ``skip_corrupt`` is set.

        A few are read ahead by threads: going once through the thousands of a data set decides when training begins.
        """
        numbers = range(len(self.frames)) if indices is None else indices

        def read(index: int) -> np.ndarray | None:
            return self._or_skip(index, lambda: self.labels(index))

        yield from (labels for labels in mapped_ahead(read, numbers, _READERS) if labels is not None)

    def make_planes(self, index: int) -> int:
        """Makes those computed planes of a frame that the disk does not hold yet; returns how many."""
        frame, made = self.frames[index], 0
        for name in (name for name in self.present(frame) if name in self.computed):
            if not self.planes_on_disk.holds(self._kept_as(frame, name)):
                self.read_plane(frame, name)
                made += 1
        return made

    @property
    def computed(self) -> tuple[str, ...]:
        """Modalities whose planes are computed from raw files."""
        return ()

    @property
    def planes_on_disk(self) -> PlaneCache:
        """Where computed planes are kept; only where ``computed`` names some."""
        raise NotImplementedError(f"{self.kind} computes no planes")

    @classmethod
    @abstractmethod
    def on_disk(cls, root: Path, suite: SensorSuite | None = None) -> tuple[str, ...]:
        """Sensors of a suite (None: the data set's own) that a folder has at least a place for.

        Parts of a data set may have been downloaded.
        """

    def present(self, frame: Any) -> tuple[str, ...]:
        """Which of ``modalities`` a frame has; all of them, unless the data set says otherwise."""
        return self.modalities

    @property
    def why_unlabelled(self) -> str:
        """Why this split has no labels at all; empty where it has some."""
        return ""

    def strays(self) -> list[str]:
        """What lies in the folder and does not belong to any frame, one line each."""
        return []

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the frames that were found corrupt and skipped so far, by any worker process."""
        return tuple(self.frames[index].name for index in torch.nonzero(self._marks).flatten().tolist())

    @property
    def encodings(self) -> dict[str, str]:
        """Per modality the version of the plane encoding that these files have."""
        return {name: self._encoding(name) for name in self.modalities}

    @property
    def event_window_ns(self) -> int:
        """Length of the event window behind the planes, where they are made by this program."""
        return DEFAULT_WINDOW_NS

    @property
    def normalisation(self) -> dict[str, Normalisation]:
        """Per sensor of the suite what the recipe of this data set does to its planes."""
        return default_normalisation(self.suite)

    @abstractmethod
    def files(self, frame: Any) -> dict[str, list[Path]]:
        """Files of a frame: per modality, and under LABELS; a modality that is computed needs several or others."""

    @abstractmethod
    def read_plane(self, frame: Any, name: str) -> np.ndarray:
        """One plane at its own size, as in `Sample`; CorruptFileError."""

    @abstractmethod
    def read_labels(self, frame: Any) -> np.ndarray:
        """(H, W) uint8 train ids, 255 ignored; CorruptFileError."""

    @abstractmethod
    def condition(self, frame: Any) -> str:
        """Under which heading a frame is counted."""

    def recording(self, _frame: Any) -> str:
        """Which drive or sequence a frame was taken from, unique within its condition: such frames resemble each other.

        Empty where a data set does not say.
        """
        return ""

    @abstractmethod
    def _find(self) -> list[Any]:
        """All frames of the split, sorted."""

    @abstractmethod
    def _expected(self) -> str:
        """What is looked for and what is there instead, for the error message."""

    @abstractmethod
    def _encoding(self, name: str) -> str: ...

    def _matches(self, frame: Any, cases: Sequence[str]) -> bool:
        return self.condition(frame) in cases

    def _require_root(self) -> None:
        if not self.root.is_dir():
            way_out = f"write one with `any2seg drive` or point to {self.kind}"
            raise UserError(f"{self.root}: no such data folder; {way_out}", "data-missing")

    def _begin(self, cache: Cache) -> None:
        """Nothing skipped yet; all frames decoded if ``cache`` is "ram"."""
        self._marks = torch.zeros(len(self.frames), dtype=torch.uint8).share_memory_()  # seen by all workers
        self._samples: list[Sample | None] | None = None
        if cache == "ram":
            with ThreadPoolExecutor(_READERS) as pool:
                self._samples = list(pool.map(self.readable, range(len(self.frames))))

    def _prepare(self, cache: Cache) -> None:
        """Read what the whole data set shares, before any frame is looked for."""
        if cache == "disk" and not self.computed:
            source = f" from {vars(self)['source']} files" if "source" in self.options else ""
            raise UserError(
                f"cache=disk: {self.kind}{source} has nothing to compute; use ram or none", "option-unsupported"
            )

    def _kept_as(self, frame: Any, name: str) -> Path:
        """Place of a computed plane in ``planes_on_disk``."""
        raise NotImplementedError(f"{self.kind} computes no planes")

    def _select(self, frames: list[Any], cases: Sequence[str] | None) -> list[Any]:
        if cases is not None:
            unknown = sorted(set(cases) - set(self.cases))
            if unknown:
                known = ", ".join(self.cases) or f"none ({self.kind} has no conditions)"
                raise UserError(f"unknown case {unknown[0]!r}: expected some of {known}", "value-unknown")
            frames = [frame for frame in frames if self._matches(frame, cases)]
        if not frames:
            chosen = "" if cases is None else f" of the cases {', '.join(cases)}"
            raise NoFramesError(
                f"{self.root}: no {self.split} frame{chosen}: looked for {self._expected()}", "data-empty"
            )
        return frames

    def _require_files(self) -> None:
        if self.pseudo is not None:
            self.pseudo.require(frame.name for frame in self.frames)
        if self.labelled and self.why_unlabelled:
            why = f"{self.why_unlabelled}; nothing can be trained or judged on it"
            raise UserError(f"{self.root}: {self.split}: {why}", "data-unlabelled")
        for frame in self.frames:
            for key, paths in self.files(frame).items():
                for path in paths if self.labelled or key != LABELS else ():
                    if not path.exists():
                        raise UserError(
                            f"{path}: missing, although frame {frame.name} exists in other folders; restore it "
                            f"(`any2seg data check {self.root}` lists all that is missing)",
                            "frame-incomplete",
                        )

    @property
    def has_lidar_labels(self) -> bool:
        """Whether there are labels of the LiDAR's own points."""
        return False

    def read_lidar_labels(self, frame: Any) -> np.ndarray:
        """(H, W) uint8: the label of each pixel that a LiDAR point falls on, else 254.

        Here: the label image in the middle of each point that the LiDAR plane shows. About as many as there were
        points, but better than a LiDAR would give: none is ever on the wrong thing, and scatter from fog counts too.
        """
        labels = self.read_labels(frame)
        height, width = labels.shape
        plane = self.read_plane(frame, point_sensor(self.suite))
        if plane.shape[:2] != labels.shape:
            plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return where_points_fell(labels, footprint_centres(plane))

    def _labels(self, frame: Any) -> np.ndarray:
        """Labels of a frame, as many of them as there shall be."""
        if self.sparse is None:
            labels = self.read_labels(frame)
        elif self.sparse.kind == "lidar":
            labels = self.read_lidar_labels(frame)
        else:
            labels = sparse_labels(self.read_labels(frame), frame.name, self.sparse)
        return labels if self.pseudo is None else self.pseudo.complete(labels, frame.name)

    def _read(self, frame: Any) -> Sample:
        planes = {name: self.read_plane(frame, name) for name in self.present(frame)}
        if self.labelled:
            labels = self._labels(frame)
        else:
            labels = np.full(next(iter(planes.values())).shape[:2], NOT_ANNOTATED, np.uint8)  # (H, W)
        height, width = labels.shape
        for name, plane in planes.items():
            if plane.shape[:2] != (height, width):  # DELIVER's low-resolution events
                self._require_same_view(frame, name, plane.shape, labels.shape)
                planes[name] = cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return Sample(planes, labels, frame)

    def _require_same_view(self, frame: Any, name: str, plane: tuple[int, ...], grid: tuple[int, ...]) -> None:
        """CorruptFileError where a plane cannot be the picture of its labels at another scale."""
        (rows, columns), (height, width) = plane[:2], grid
        if abs(columns * height - rows * width) > max(columns, rows, width, height):
            raise CorruptFileError(
                f"{self.root}: frame {frame.name}: {name} is {columns}x{rows}, its labels {width}x{height}: another "
                "view; restore the pair",
                "size-mismatch",
            )

    def _or_skip(self, index: int, read: Any) -> Any:
        try:
            return read()
        except CorruptFileError as error:
            if not self.skip_corrupt:
                raise
            if not self._marks[index]:
                self._marks[index] = 1
                _LOG.warning("skipped frame %s: %s", self.frames[index].name, error)
            return None
