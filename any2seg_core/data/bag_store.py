"""Where the planes of a recording are kept: in memory, or as PNG in a folder that grows whole frame by whole frame."""

from __future__ import annotations

import fcntl
import json
import logging
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json
from any2seg_core.data.images import read_image, read_plane, write_png
from any2seg_core.data.usable_sets import ResumePoint, Tally, UsableSet
from any2seg_core.runtime.legend import write_labels
from any2seg_core.vocabulary.labels import LabelSpace

_LABELS = "labels"
_INDEX, _JOURNAL, _LOCK = "index.json", "sets.jsonl", ".lock"
_WRITERS = 2  # threads; encoding releases Python's lock
_WAITING = 4 * _WRITERS  # frames that may wait for the disk: memory stays bounded

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BagFrame:
    """One set of a recording.

    Attributes:
        name: ``<recording>/<stamp in nanoseconds>``; a stamp that comes again gets ``_2`` and so on.
        time_s: when the set was complete, seconds after the first message of the recording.
        condition: under which heading it is counted. present: modalities that it has, canonical order.
    """

    name: str
    time_s: float
    condition: str
    present: tuple[str, ...]


@dataclass
class RecordingIndex:
    """What a pass over a recording gave.

    Attributes:
        modalities: that the recording has, of those asked for. duration_s: of the recording.
        frames: in order of time. tally: sets, and why some are no frames. warnings: what is worth knowing, by line.
        has_cloud_truth: labels are those of LiDAR points.
    """

    modalities: tuple[str, ...]
    duration_s: float
    frames: list[BagFrame]
    tally: Tally = field(default_factory=Tally)
    warnings: list[str] = field(default_factory=list)
    has_cloud_truth: bool = False

    def as_json(self) -> dict[str, Any]:
        """For `from_json`."""
        document = {"modalities": self.modalities, "duration_s": self.duration_s, "warnings": self.warnings,
                    "has_cloud_truth": self.has_cloud_truth}  # fmt: skip
        return document | {"frames": [asdict(frame) for frame in self.frames], "tally": self.tally.document()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RecordingIndex:
        """What `as_json` gave, through JSON and back."""
        return cls(
            tuple(document["modalities"]), float(document["duration_s"]), [_frame(each) for each in document["frames"]],
            _tally(document["tally"]), list(document["warnings"]), bool(document["has_cloud_truth"]),
        )  # fmt: skip


class MemoryPlanes:
    """Keeps planes and labels as they are; those of frames that nobody wants are dropped."""

    def __init__(self) -> None:
        self._planes: dict[str, dict[str, np.ndarray]] = {}
        self._labels: dict[str, np.ndarray | None] = {}

    def known(self) -> tuple[ResumePoint, list[BagFrame]]:
        """Nothing is known from before."""
        return ResumePoint(), []

    def add(self, usable: UsableSet, frame: BagFrame, tally: Tally) -> None:
        """Keep one frame."""
        self._planes[frame.name], self._labels[frame.name] = usable.planes, usable.labels

    def keep(self, frames: list[BagFrame]) -> None:
        """Drop all others."""
        names = {frame.name for frame in frames}
        self._planes = {name: planes for name, planes in self._planes.items() if name in names}
        self._labels = {name: labels for name, labels in self._labels.items() if name in names}

    def plane(self, frame: BagFrame, name: str) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self._planes[frame.name][name]

    def labels(self, frame: BagFrame) -> np.ndarray:
        """(H, W) uint8 train ids."""
        labels = self._labels[frame.name]
        assert labels is not None  # asked only where the recording has truth
        return labels

    def files(self, frame: BagFrame) -> dict[str, list[Path]]:
        """None."""
        return {}


class PlaneFolder:
    """Planes and labels as PNG files, one folder per modality, and an index that appears when all are there.

    While the folder grows, a journal names each frame whose files are whole: whoever comes after a process that was
    killed goes on behind it.

    Args:
        space: classes of the labels; None: without labels.
    """

    def __init__(self, folder: Path, space: LabelSpace | None) -> None:
        self.folder, self.space = folder, space

    def index(self) -> RecordingIndex | None:
        """Of a folder that is complete; None for any other."""
        if not (self.folder / _INDEX).exists():
            return None
        try:
            index = RecordingIndex.from_json(read_json(self.folder / _INDEX))
        except (ValueError, KeyError, TypeError) as error:
            _LOG.warning("%s: is damaged (%s): the recording is read again", self.folder / _INDEX, error)
            return None
        missing = [path for frame in index.frames for paths in self.files(frame).values() for path in paths
                   if not path.is_file()]  # fmt: skip
        if missing:
            _LOG.warning("%s: missing: the recording is read again", missing[0])
            return None
        return index

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For one process at a time; the lock is released when the process ends. UserError where none can be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / _LOCK).open("w")
        except OSError as error:
            raise UserError(
                f"cannot write below {self.folder.parent} ({error.strerror}): choose another place, bag.planes=FOLDER",
                "output-unwritable",
            ) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _LOG.warning("%s: another process makes these planes; waiting for it", self.folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def files(self, frame: BagFrame) -> dict[str, list[Path]]:
        """Of each modality that the frame has, and of the labels where they are wanted."""
        keys = (*frame.present, _LABELS) if self.space is not None else frame.present
        return {key: [self._path(frame, key)] for key in keys}

    def plane(self, frame: BagFrame, name: str) -> np.ndarray:
        """(H, W, 3) uint8; CorruptFileError."""
        return read_plane(self._path(frame, name))

    def labels(self, frame: BagFrame) -> np.ndarray:
        """(H, W) uint8 train ids; CorruptFileError."""
        return read_image(self._path(frame, _LABELS))

    def _path(self, frame: BagFrame, key: str) -> Path:
        return self.folder / key / f"{frame.name.rpartition('/')[2]}.png"


class FolderWriter:
    """Fills a `PlaneFolder` whose lock this process holds; a context manager."""

    def __init__(self, target: PlaneFolder) -> None:
        self._target = target
        self._pending: deque[tuple[Future, str]] = deque()
        self._entries = _read_journal(target.folder / _JOURNAL)

    def __enter__(self) -> FolderWriter:
        (self._target.folder / _INDEX).unlink(missing_ok=True)
        self._entries = self._whole_entries()
        self._journal = (self._target.folder / _JOURNAL).open("w", encoding="utf-8")
        self._journal.writelines(json.dumps(entry) + "\n" for entry in self._entries)
        self._pool = ThreadPoolExecutor(_WRITERS)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._journal.close()

    def known(self) -> tuple[ResumePoint, list[BagFrame]]:
        """What an interrupted pass has left, for the next one to go on behind it."""
        frames = [_frame(entry["frame"]) for entry in self._entries]
        if not frames:
            return ResumePoint(), []
        readers = {
            entry["index"]: partial(self._target.plane, frame, frame.present[0])
            for entry, frame in zip(self._entries, frames, strict=True)
        }
        return ResumePoint(self._entries[-1]["index"], readers, _tally(self._entries[-1]["tally"])), frames

    def add(self, usable: UsableSet, frame: BagFrame, tally: Tally) -> None:
        """Write one frame, in threads; UserError where an earlier one could not be written."""
        entry = json.dumps({"index": usable.number, "frame": asdict(frame), "tally": tally.document()})
        self._pending.append((self._pool.submit(self._write, usable, frame), entry))
        while len(self._pending) > _WAITING:
            self._settle()

    def finish(self, index: RecordingIndex) -> None:
        """Wait for the last files; then the folder is complete."""
        while self._pending:
            self._settle()
        with replacing(self._target.folder / _INDEX) as partial_path:
            partial_path.write_text(json.dumps(index.as_json()), encoding="utf-8")
        self._journal.close()
        (self._target.folder / _JOURNAL).unlink()

    def _whole_entries(self) -> list[dict[str, Any]]:
        """Of the journal as far as the files of each frame are there."""
        whole = []
        for entry in self._entries:
            files = self._target.files(_frame(entry["frame"]))
            if not all(path.is_file() for paths in files.values() for path in paths):
                break
            whole.append(entry)
        return whole

    def _write(self, usable: UsableSet, frame: BagFrame) -> None:
        for key, paths in self._target.files(frame).items():
            if key == _LABELS:
                assert usable.labels is not None and self._target.space is not None  # `files` names none else
                write_labels(paths[0], usable.labels, self._target.space)
            else:
                write_png(paths[0], usable.planes[key])

    def _settle(self) -> None:
        done, entry = self._pending.popleft()
        done.result()
        self._journal.write(entry + "\n")
        self._journal.flush()


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """Entries up to the first torn one."""
    entries: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                entry = json.loads(line)
                _frame(entry["frame"]), _tally(entry["tally"]), int(entry["index"])
                entries.append(entry)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or its last line was being written
    return entries


def _frame(document: dict[str, Any]) -> BagFrame:
    return BagFrame(
        str(document["name"]), float(document["time_s"]), str(document["condition"]), tuple(document["present"])
    )


def _tally(document: dict[str, Any]) -> Tally:
    return Tally(
        sets=int(document["sets"]), skipped=Counter(document["skipped"]), problems=Counter(document["problems"])
    )
