"""Look through the folder of a data set before time is spent on it: what is there, what is missing, what is odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.bag_check import check_recording
from any2seg_core.data.catalogue import layout
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.samples import LABELS, FrameDataset, NoFramesError
from any2seg_core.vocabulary.labels import NOT_ANNOTATED, LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.subsets import parse_suite

PUBLISHED = {
    "deliver": {"train": 3983, "val": 2005, "test": 1897},
    "muses": {"train": 1500, "val": 250, "test": 750},
    "mcubes": {"train": 302, "val": 96, "test": 102},
}
"""Frames per split as published; a part of a data set has fewer."""

_RARE_FILES = 3
_HINT_SHARE = 0.01


@dataclass
class TreeReport:
    """What a look through a data set found.

    Attributes:
        root, kind: which folder, which data set.
        encodings: modality -> version of its planes.
        frames: split -> condition -> number of frames.
        class_pixels: class name -> labelled pixels, all splits.
        unlabelled: share of the pixels that have no label, 0..1; NaN if no label was read.
        sizes: modality or "labels" -> "WxH" -> number of files.
        problems: split -> lines, each names a file and says what is wrong with it.
        notes: what is worth knowing and wrong with nothing.
    """

    root: Path
    kind: str
    encodings: dict[str, str] = field(default_factory=dict)
    frames: dict[str, dict[str, int]] = field(default_factory=dict)
    class_pixels: dict[str, int] = field(default_factory=dict)
    unlabelled: float = float("nan")
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of problems."""
        return sum(map(len, self.problems.values()))

    def as_json(self) -> dict[str, Any]:
        """The same, ready for `json.dumps`; a share that is not known is None."""
        document: dict[str, Any] = {"root": str(self.root), "kind": self.kind}
        document |= {"encodings": self.encodings, "frames": self.frames}
        unlabelled = None if np.isnan(self.unlabelled) else round(self.unlabelled, 6)
        document |= {"class_pixels": self.class_pixels, "unlabelled": unlabelled, "sizes": self.sizes}
        return document | {"problems": self.problems, "notes": self.notes, "ok": self.count == 0}


@dataclass
class _FrameFinding:
    condition: str
    problems: list[str]
    pixels: np.ndarray | None
    sizes: dict[str, str]


def check_tree(
    root: str | Path,
    kind: str = "auto",
    modalities: str | Sequence[str] | None = None,
    read: bool = True,
    workers: int = 2,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
    suite: SensorSuite | None = None,
) -> TreeReport:
    """Look through all splits of a data set, or once through a recording.

    Args:
        root: folder, or file of a recording. kind: see `open_dataset`.
        modalities: which sensors must be there (`parse_suite`); None: those of the data set that the folder has a
            place for.
        read: decode every file; False only looks whether it is there.
        workers: threads.
        progress: called with the split, frames done and frames of the split.
        suite: see `open_dataset`.

    Raises:
        UserError: no such folder, unknown layout, or no frame in any split.
    """
    root = Path(root)
    found = layout(kind, root, suite=suite)
    report = TreeReport(root, found.name)
    if modalities is not None:
        modalities = parse_suite(modalities, found.suite)
    if found.kind == BagDataset.kind:
        pixels = check_recording(report, modalities, read, progress)
        next(iter(report.problems.values())).extend(_problems_of(found.label_space, pixels))
        _conclude(report, found.label_space, pixels)
        return report
    if modalities is None:
        modalities = found.sensors or None
        absent = [name for name in found.suite.members if modalities and name not in modalities and not found.recipe]
        if absent:
            report.notes.append(f"there is no folder for {', '.join(absent)}: not looked for")
    reasons = []
    pixels = np.zeros(256, np.int64)
    for split in found.splits:
        try:
            dataset = found.open(split, modalities, verify=False)
        except NoFramesError as error:
            reasons.append(str(error))
            report.notes.append(f"{split}: no frames")
            continue
        _check_split(dataset, report, pixels, read, workers, progress)
    if not report.frames:
        raise UserError(reasons[0], "data-empty")
    _conclude(report, found.label_space, pixels)
    return report


def _check_split(
    dataset: FrameDataset,
    report: TreeReport,
    pixels: np.ndarray,
    read: bool,
    workers: int,
    progress: Callable[[str, int, int], None],
) -> None:
    report.encodings = dataset.encodings
    counts: Counter[str] = Counter()
    problems: list[str] = []
    own_pixels = np.zeros(256, np.int64)
    skip_labels = bool(dataset.why_unlabelled)
    if skip_labels:
        report.notes.append(f"{dataset.split}: no labels: {dataset.why_unlabelled}")
    with ThreadPoolExecutor(workers) as pool:
        findings = pool.map(lambda frame: _check_frame(dataset, frame, read, skip_labels), dataset.frames)
        for done, finding in enumerate(findings, start=1):
            counts[finding.condition] += 1
            problems += finding.problems
            if finding.pixels is not None:
                own_pixels += finding.pixels
            for key, size in finding.sizes.items():
                table = report.sizes.setdefault(key, {})
                table[size] = table.get(size, 0) + 1
            progress(dataset.split, done, len(dataset))
    pixels += own_pixels
    report.frames[dataset.split] = dict(counts)
    report.problems[dataset.split] = problems + _problems_of(dataset.label_space, own_pixels) + dataset.strays()
    published = PUBLISHED.get(dataset.kind, {}).get(dataset.split)
    is_simulated = (dataset.root / f"drive_{dataset.split}.json").is_file()
    if published is not None and len(dataset) != published and not is_simulated:
        report.notes.append(f"{dataset.split}: {len(dataset)} frames; {dataset.kind} as published has {published}")


def _check_frame(dataset: FrameDataset, frame: Any, read: bool, skip_labels: bool) -> _FrameFinding:
    finding = _FrameFinding(dataset.condition(frame), [], None, {})
    for key, paths in dataset.files(frame).items():
        if key == LABELS and skip_labels:
            continue
        missing = [f"{path}: missing" for path in paths if not path.exists()]
        finding.problems += missing
        if missing or not read:
            continue
        try:
            array = dataset.read_labels(frame) if key == LABELS else dataset.read_plane(frame, key)
        except CorruptFileError as error:
            finding.problems.append(error.with_code)
            continue
        finding.sizes[key] = f"{array.shape[1]}x{array.shape[0]}"
        if key == LABELS:
            finding.pixels = np.bincount(array.ravel(), minlength=256)
    return finding


def _problems_of(space: LabelSpace, pixels: np.ndarray) -> list[str]:
    """What the (256,) counts of the ids of a whole split show to be wrong."""
    if not pixels.any() or pixels[: len(space)].any():
        return []
    return ["no pixel of any label image has a label: are they pictures of colours, or ids of another data set?"]


def _conclude(report: TreeReport, space: LabelSpace, pixels: np.ndarray) -> None:
    total = int(pixels.sum())
    if total:
        report.class_pixels = {name: int(pixels[k]) for k, name in enumerate(space.classes)}
        report.unlabelled = float(pixels[NOT_ANNOTATED:].sum() / total)  # nor where no point fell
        absent = [name for name, count in report.class_pixels.items() if not count]
        if absent:
            report.notes.append(f"classes without any pixel: {', '.join(absent)}")
    for key, table in report.sizes.items():
        usual = max(table, key=table.__getitem__)
        for size, count in table.items():
            if size != usual and count <= max(_RARE_FILES, _HINT_SHARE * sum(table.values())):
                report.notes.append(f"{key}: {count} file(s) of {size}, the others have {usual}")
