"""Make the computed planes of a data set once: HHA from DELIVER's depth, projections from MUSES' raw sensor files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2

from any2seg_core.base.errors import UserError
from any2seg_core.base.parallel import ordered_map
from any2seg_core.data.catalogue import layout
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.samples import FrameDataset, NoFramesError

_COMPUTED = {"deliver": ("depth",), "muses": ("event", "lidar")}
_FRAMES_PER_JOB = 4


@dataclass
class Conversion:
    """What was done.

    Attributes:
        folder: where the planes lie.
        frames: frames looked at. made: planes written now. skipped: corrupt frames, one line each.
    """

    folder: Path
    frames: int = 0
    made: int = 0
    skipped: list[str] = field(default_factory=list)


def convert_tree(
    root: str | Path,
    kind: str = "auto",
    splits: Sequence[str] | None = None,
    workers: int = 1,
    skip_corrupt: bool = False,
    progress: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> Conversion:
    """Write all planes that are not there yet, below ``root/any2seg_planes``; the readers find them there.

    Each file appears whole or not at all, so that an interrupted run is continued by the same command.

    Args:
        root: folder. kind: see `open_dataset`. splits: None: all that have frames. workers: processes.
        skip_corrupt: go on past raw files that cannot be read; they are listed in the result.
        progress: called with the split, frames done and frames of the split.

    Raises:
        UserError: nothing to convert, a folder that cannot be written, or a corrupt file.
    """
    found = layout(kind, root)
    if found.kind not in _COMPUTED and found.recipe is None:
        known = ", ".join(_COMPUTED)
        raise UserError(
            f"{root}: {found.kind} has no planes to compute; `any2seg data convert` is for {known} and recipes",
            "option-unsupported",
        )
    result: Conversion | None = None
    reasons = []
    for split in splits or found.splits:
        try:
            dataset = _opened(str(root), kind, split)
        except NoFramesError as error:
            reasons.append(str(error))
            continue
        result = result or Conversion(dataset.planes_on_disk.folder)
        total = len(dataset)
        starts = range(0, total, _FRAMES_PER_JOB)
        jobs = ((str(root), kind, split, start, skip_corrupt) for start in starts)
        for start, (made, skipped) in zip(starts, ordered_map(_convert_some, jobs, workers), strict=True):
            result.made += made
            result.skipped += skipped
            progress(split, min(start + _FRAMES_PER_JOB, total), total)
        result.frames += total
    if result is None:
        raise UserError(reasons[0], "data-empty")
    return result


@lru_cache(maxsize=1)  # a worker lists the frames of a split once
def _opened(root: str, kind: str, split: str) -> FrameDataset:
    found = layout(kind, root)
    options = {"source": "raw"} if found.kind in _COMPUTED else {}
    return found.open(split, _COMPUTED.get(found.kind), cache="disk", verify=False, **options)


def _convert_some(job: tuple[str, str, str, int, bool]) -> tuple[int, list[str]]:
    root, kind, split, start, skip_corrupt = job
    cv2.setNumThreads(1)
    dataset = _opened(root, kind, split)
    made, skipped = 0, []
    for index in range(start, min(start + _FRAMES_PER_JOB, len(dataset))):
        try:
            made += dataset.make_planes(index)
        except CorruptFileError as error:
            if not skip_corrupt:
                raise
            skipped.append(error.with_code)
    return made, skipped
