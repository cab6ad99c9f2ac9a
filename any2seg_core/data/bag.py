"""A recording as a data set: the sets that the node would have made of it, planes and labels at random access.

A bag can only be read from its start to its end. So it is read once, through the node's own synchroniser, projection
and encodings, and what comes of it is kept: in memory, or as PNG files that later runs find again.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from any2seg_core.bags.conditions import UNKNOWN, Conditions
from any2seg_core.bags.opened import OpenBag, open_bag
from any2seg_core.bags.reader import is_recording
from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import listed
from any2seg_core.base.progress import Progress
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag_settings import SETTINGS_FILE, BagSettings, read_settings
from any2seg_core.data.bag_store import BagFrame, FolderWriter, MemoryPlanes, PlaneFolder, RecordingIndex
from any2seg_core.data.plane_cache import PlaneCache
from any2seg_core.data.samples import Cache, FrameDataset
from any2seg_core.data.sparse import where_points_fell
from any2seg_core.data.suites import point_sensor
from any2seg_core.data.usable_sets import StampNames, UsableSets
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.vocabulary.cases import CONDITIONS
from any2seg_core.vocabulary.contract import default_encodings
from any2seg_core.vocabulary.labels import DELIVER, IGNORE, NOT_ANNOTATED, LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

_SHOWN_PROBLEMS = 3
_BESIDE = ("calibration.yaml", "drive.json")  # of a single storage file
_TEMPORARY: weakref.WeakValueDictionary[Path, PlaneFolder] = weakref.WeakValueDictionary()

_LOG = logging.getLogger(__name__)


def read_recording(
    root: Path,
    settings: BagSettings,
    modalities: tuple[str, ...],
    labelled: bool,
    sink: MemoryPlanes | FolderWriter,
    suite: SensorSuite,
) -> RecordingIndex:
    """One pass over a recording, with a progress bar on a terminal; goes on behind what the sink has already.

    Args:
        modalities: sensors of the suite to use; empty: all that it has. labelled: only sets with truth, and that truth.

    Raises:
        UserError: nothing readable, no sensor that was asked for, no label topic, or not a single usable set (the
            reasons are counted in the message).
    """
    conditions = Conditions(root)
    options = settings.bag_options(modalities, labelled, suite)
    with open_bag(root, options) as opened, Progress(f"read {root.name}") as progress:
        if labelled:
            require_truth(opened)
        total = opened.message_total
        known, frames = sink.known()
        found = UsableSets(opened, settings.selection(), None, lambda: progress.step(total), known)
        names = StampNames(frame.name.rpartition("/")[2] for frame in frames)
        start_ns, end_ns = opened.bag.start_ns or 0, opened.bag.end_ns or 0
        for usable in found:
            time_s = (usable.bag_set.time_ns - start_ns) / NS_PER_S
            name = f"{root.resolve().stem}/{names.name(usable.bag_set.stamp_ns)}"
            frames.append(BagFrame(name, time_s, conditions.at(time_s), tuple(usable.planes)))
            sink.add(usable, frames[-1], found.tally)
        if not frames:
            raise UserError(found.why_nothing(), "bag-no-sets")
        warnings = [*opened.bag.warnings, *opened.notes, *_lacking(opened, modalities, found, len(frames))]
        duration_s, is_cloud = (end_ns - start_ns) / NS_PER_S, found.has_cloud_truth
        return RecordingIndex(opened.modalities, duration_s, frames, found.tally, warnings, is_cloud)


def split_of(time_s: float, duration_s: float, val_share: float) -> str:
    """Split of what was complete so many seconds after the first message of a recording."""
    return "val" if val_share and time_s >= (1.0 - val_share) * duration_s else "train"


def require_truth(opened: OpenBag) -> None:
    """UserError for a recording without a label topic."""
    if not opened.choice.map.truth:
        raise UserError(
            f"{opened.bag.path}: has no label topic (mono8 train ids): name one, bag.topics={{truth: /...}}, and if it "
            "is CARLA's its coding, bag.truth_coding; or go without labels: data.unlabelled=... in training, "
            "labelled=False in Python",
            "truth-missing",
        )


def _lacking(opened: OpenBag, modalities: tuple[str, ...], found: UsableSets, frames: int) -> list[str]:
    absent = [name for name in modalities if name not in opened.modalities]
    lines = [f"no topic for {', '.join(absent)}: no frame has that sensor"] if absent else []
    problems = found.tally.problems.most_common(_SHOWN_PROBLEMS)
    return lines + [f"{count} times {problem}" for problem, count in problems]


class BagDataset(FrameDataset):
    """A recording: rosbag2 (folder, .mcap, .db3) or ROS 1 (.bag), with a topic of truth or without labels.

    Frames are the synchronised sets of the live node. Sets that lack a sensor are kept with what they have
    (`FrameDataset.present`), unless ``complete`` is set. ``root`` is the folder or the file.

    - ``split``: a recording has none. train is all of it; with ``val_share`` its end is val instead. test has no frame.
    - ``cache``: "ram" keeps the planes, uncompressed; "disk" keeps them as PNG in ``any2seg_planes`` in the folder of
      the recording, or beside the file, named after its files, the settings and the encodings: a later run finds them,
      one that was killed goes on, and processes that come at the same time wait for the first. "none" does the same in
      a temporary folder that goes with the data set. Planes that are on disk already are used whatever the cache; with
      ``keep`` they are made there whatever the cache.

    Options:
        bag: `BagSettings` or a mapping of them; they go over those in ``any2seg.yaml`` beside the recording.

    Cases are DELIVER's weathers where the recording or the settings say one, else "bag".
    """

    kind = "bag"
    splits = ("train", "val", "test")
    cases = (*CONDITIONS, UNKNOWN)
    label_space = DELIVER
    suite = VEHICLE
    takes_suite = True
    options = MappingProxyType({"bag": None})
    bag: BagSettings
    _store: MemoryPlanes | PlaneFolder

    @property
    def index(self) -> RecordingIndex:
        """All frames of the recording, whatever the split, and what became of the other sets."""
        return self._index

    def present(self, frame: BagFrame) -> tuple[str, ...]:
        """The sensors of that set."""
        return frame.present

    def files(self, frame: BagFrame) -> dict[str, list[Path]]:
        """PNG per modality that the set has, and of the labels; none with cache=ram."""
        return self._store.files(frame)

    def read_plane(self, frame: BagFrame, name: str) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self._store.plane(frame, name)

    def read_labels(self, frame: BagFrame) -> np.ndarray:
        """(H, W) uint8 train ids."""
        return self._store.labels(frame)

    def recording(self, _frame: BagFrame) -> str:
        """The whole data set is one."""
        return self.root.resolve().stem

    @property
    def has_lidar_labels(self) -> bool:
        """Where the truth topic is a semantic LiDAR."""
        return self._index.has_cloud_truth

    def read_lidar_labels(self, frame: BagFrame) -> np.ndarray:
        """(H, W) uint8: what the point that falls on a pixel has hit, else 254; or as all other data sets do it.

        Without a semantic LiDAR a frame that lacks the LiDAR has no label at all.
        """
        labels = self.read_labels(frame)
        if not self.has_lidar_labels:
            has_points = point_sensor(self.suite) in frame.present
            return super().read_lidar_labels(frame) if has_points else np.full_like(labels, NOT_ANNOTATED)
        return where_points_fell(labels, labels != IGNORE)

    def condition(self, frame: BagFrame) -> str:
        """As the settings say, else the recording, else "bag"."""
        return frame.condition

    @classmethod
    def label_space_of(cls, root: Path) -> LabelSpace:
        """As the settings beside the recording say."""
        return read_settings(root).space

    @classmethod
    def on_disk(cls, root: Path, suite: SensorSuite | None = None) -> tuple[str, ...]:
        """Sensors that have a topic."""
        with open_bag(root, read_settings(root).bag_options((), False, suite)) as opened:
            return opened.modalities

    @classmethod
    def suite_of(cls, root: Path) -> SensorSuite:
        """As its ``any2seg.yaml`` says."""
        return read_settings(root).sensors

    def _require_root(self) -> None:
        if not self.root.exists() or not is_recording(self.root):
            state = "is no recording (.mcap, .db3, .bag or a folder of them)" if self.root.exists() else "no such bag"
            raise UserError(f"{self.root}: {state}; record one, or `any2seg drive bag` renders one", "data-missing")

    def _prepare(self, cache: Cache) -> None:
        self.bag = read_settings(self.root, self.bag)
        self.label_space = self.bag.space
        asked = self.modalities if self.is_choice else ()
        place = self.bag.planes or (self.root if self.root.is_dir() else self.root.parent)
        recipe = _recipe(self.root, self.bag, asked, self.labelled, self.suite)
        kept = PlaneFolder(PlaneCache(place, recipe, keep=True).folder, self.label_space if self.labelled else None)
        index = kept.index()
        is_kept = index is not None or cache == "disk" or self.bag.keep
        if cache == "ram" and not is_kept:
            self._store = memory = MemoryPlanes()
            index = read_recording(self.root, self.bag, asked, self.labelled, memory, self.suite)
        else:
            self._store = folder = kept if is_kept else _temporary(kept)
            index = index or self._filled(folder, asked)
        if self.bag.condition:
            index.frames = [replace(frame, condition=self.bag.condition) for frame in index.frames]
        for line in index.warnings:
            _LOG.warning("%s: %s", self.root, line)
        self._index = index
        self.modalities = asked or index.modalities

    def _filled(self, target: PlaneFolder, asked: tuple[str, ...]) -> RecordingIndex:
        with target.locked():
            index = target.index()  # another process may have been faster
            if index is None:
                with FolderWriter(target) as writer:
                    index = read_recording(self.root, self.bag, asked, self.labelled, writer, self.suite)
                    writer.finish(index)
        return index

    def _find(self) -> list[BagFrame]:
        length_s, share = self._index.duration_s, self.bag.val_share
        frames = [frame for frame in self._index.frames if split_of(frame.time_s, length_s, share) == self.split]
        if isinstance(self._store, MemoryPlanes):
            self._store.keep(frames)
        return frames

    def _expected(self) -> str:
        if self.split == "val":
            return "the end of the recording: bag.val_share says how much of it; else all of it is the split train"
        return f"{self.split} frames: a recording is train alone, or train and val with bag.val_share"

    def _encoding(self, name: str) -> str:
        return default_encodings(self.suite)[name]


def _recipe(
    root: Path, settings: BagSettings, asked: tuple[str, ...], labelled: bool, suite: SensorSuite
) -> dict[str, Any]:
    """All that decides planes and labels; the bytes of the recording by name, size and time of change."""
    inside = listed(root) if root.is_dir() else [root, *(root.with_name(name) for name in _BESIDE)]
    stats = {path.name: path.stat() for path in inside if path.is_file() and path.name != SETTINGS_FILE}
    return {
        "recording": root.resolve().stem,
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()],
        "settings": settings.facts(),
        "modalities": asked,
        "labelled": labelled,
        "encodings": default_encodings(suite),
        "event_window_ns": DEFAULT_WINDOW_NS,
    } | ({} if suite == VEHICLE else {"suite": suite.to_document()})


def _temporary(instead_of: PlaneFolder) -> PlaneFolder:
    """A folder that goes with the last data set that reads it: train and val of one recording share it."""
    store = _TEMPORARY.get(instead_of.folder)
    if store is None:
        store = PlaneFolder(Path(tempfile.mkdtemp(prefix="any2seg-bag-")), instead_of.space)
        weakref.finalize(store, _remove, store.folder, os.getpid())
        _TEMPORARY[instead_of.folder] = store
    return store


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # worker processes have a copy of the data set, and of this duty
        shutil.rmtree(folder, ignore_errors=True)
