"""DELIVER's folder layout: frames, conditions, failure cases, planes and labels. The drive writes the same layout.

    root/{img,depth,hha,lidar,event,semantic}/{cloud,fog,night,rain,sun}/{train,val,test}/MAP_<x>_point<y>[_<case>]/
        <NNNNNN>_{rgb,depth,depth,lidar,event,semantic}_front.png

Another suite has other folders and endings: those of its sensors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import held_by, listed
from any2seg_core.base.text_files import read_json
from any2seg_core.data.deliver_files import ENCODING_FILE, LIDAR_LABELS
from any2seg_core.data.deliver_labels import label_space_of, read_labels
from any2seg_core.data.images import CorruptFileError, read_image, read_plane, three_channels
from any2seg_core.data.plane_cache import PlaneCache
from any2seg_core.data.samples import LABELS, Cache, FrameDataset, Source
from any2seg_core.data.sparse import where_points_fell
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.depth import decode_carla_depth, encode_hha, whole_depth_m
from any2seg_core.sensors.images import image_codes
from any2seg_core.vocabulary.cases import CONDITIONS, FAILURES, SPLITS
from any2seg_core.vocabulary.labels import DELIVER, IGNORE, LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, THERMAL16, Sensor

HFOV_DEG = 91.0
"""Horizontal field of view of DELIVER's cameras; HHA needs it."""

_LABEL_FOLDER, _LABEL_SUFFIX = "semantic", "semantic"
# What any2seg extracts from a recording ends with _bag.
_SEQUENCE = re.compile(rf".+_bag|MAP_.+_point\d+(_({'|'.join(FAILURES)}))?")
_RAW_DEPTH_FOLDER = "depth"


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


def failure_of(sequence: str) -> str | None:
    """Failure from the last part of a sequence name; never a substring, so ``rain`` cannot match ``train``."""
    suffix = sequence.rsplit("_", 1)[-1]
    return suffix if suffix in FAILURES else None


def frame_path(root: Path, split: str, frame: Frame, folder: str, suffix: str) -> Path:
    """File of a frame in one of the top folders."""
    return root / folder / frame.condition / split / frame.sequence / f"{frame.stem}_{suffix}_front.png"


def find_frames(root: Path, split: str, folder: str, suffix: str) -> list[Frame]:
    """All frames of a split that a top folder has, sorted by condition, sequence and frame."""
    ending = f"_{suffix}_front.png"
    frames = []
    for condition in CONDITIONS:
        for path in listed(root / folder / condition / split, f"*/*{ending}"):
            sequence = path.parent.name
            frames.append(Frame(condition, failure_of(sequence), sequence, path.name[: -len(ending)]))
    return frames


def read_depth_m(path: Path) -> np.ndarray:
    """Depth PNG -> (H, W) float32 metres: CARLA's 24 bits in three or four channels, or 16-bit millimetres in one."""
    image = read_image(path, (np.uint8, np.uint16))
    if image.ndim == 2 and image.dtype == np.uint16:
        return whole_depth_m(image)
    if image.ndim == 3 and image.dtype == np.uint8:
        opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
        return decode_carla_depth(np.concatenate([image[..., ::-1], opaque], axis=2))  # RGB -> BGRA
    raise CorruptFileError(
        f"{path}: {image.dtype} {image.shape} is neither CARLA's packed depth nor 16-bit millimetres; use hha",
        "file-content",
    )


class DeliverDataset(FrameDataset):
    """DELIVER, or a simulated drive in its layout. The first modality (canonical order) decides which frames there are.

    Cases are the five weathers (folder names) and the five sensor failures (last part of the sequence's name).
    A tree of other sensors is read with their ``suite``: folders and endings are those of its sensors.
    ``source``: "projected" reads the HHA images of ``hha``, "raw" makes HHA from ``depth`` by this program's own
    encoding, which is also the live node's; "auto": ``hha`` if there is such a folder.
    """

    kind = "deliver"
    splits = SPLITS
    cases = CONDITIONS + FAILURES
    label_space = DELIVER
    suite = VEHICLE
    takes_suite = True
    options = MappingProxyType({"source": "auto"})
    source: Source

    @classmethod
    def label_space_of(cls, root: Path) -> LabelSpace:
        """As `label_space_of`."""
        return label_space_of(root)

    def files(self, frame: Frame) -> dict[str, list[Path]]:
        """One PNG per modality and one for the labels."""
        entries = {name: (self._folder(name), self.suite.sensor(name).suffix) for name in self.modalities}
        entries[LABELS] = (_LABEL_FOLDER, _LABEL_SUFFIX)
        return {key: [frame_path(self.root, self.split, frame, *entry)] for key, entry in entries.items()}

    def read_plane(self, frame: Frame, name: str) -> np.ndarray:
        """(H, W, 3) uint8."""
        path = self.files(frame)[name][0]
        if name in self.computed:
            return self.planes_on_disk.plane(self._kept_as(frame, name), lambda: _hha(path))
        sensor = self.suite.sensor(name)
        return _thermal(path, sensor) if sensor.format == THERMAL16 else read_plane(path)

    def read_labels(self, frame: Frame) -> np.ndarray:
        """(H, W) uint8 train ids."""
        return read_labels(self.files(frame)[LABELS][0], self.label_space)

    @property
    def has_lidar_labels(self) -> bool:
        """The simulated drive knows what each LiDAR point has hit."""
        return (self.root / LIDAR_LABELS).is_dir()

    def read_lidar_labels(self, frame: Frame) -> np.ndarray:
        """(H, W) uint8: what the point that falls on a pixel has hit, else 254; or as all other data sets do it."""
        if not self.has_lidar_labels:
            return super().read_lidar_labels(frame)
        path = frame_path(self.root, self.split, frame, LIDAR_LABELS, LIDAR_LABELS)
        labels = read_labels(path, self.label_space)
        return where_points_fell(labels, labels != IGNORE)

    def condition(self, frame: Frame) -> str:
        """Weather folder, and the failure where there is one: ``night`` or ``night, motionblur``."""
        return frame.condition if frame.failure is None else f"{frame.condition}, {frame.failure}"

    def recording(self, frame: Frame) -> str:
        """Sequence folder."""
        return frame.sequence

    @classmethod
    def on_disk(cls, root: Path, suite: SensorSuite | None = None) -> tuple[str, ...]:
        """By the top folders; depth may be there as HHA or raw."""
        return tuple(
            sensor.name
            for sensor in (suite or cls.suite).sensors
            if (root / sensor.folder).is_dir() or (_may_be_raw(sensor) and (root / _RAW_DEPTH_FOLDER).is_dir())
        )

    @property
    def why_unlabelled(self) -> str:
        """Recordings may be extracted without truth."""
        return "" if (self.root / _LABEL_FOLDER).is_dir() else f"there is no folder {_LABEL_FOLDER}"

    @property
    def computed(self) -> tuple[str, ...]:
        """Depth, from raw files."""
        may_be = (name for name in self.modalities if _may_be_raw(self.suite.sensor(name)))
        return tuple(may_be) if self.source == "raw" else ()

    @cached_property
    def planes_on_disk(self) -> PlaneCache:
        """HHA of this program."""
        recipe = {"encoding": VEHICLE.sensor(DEPTH).encodings[0], "hfov_deg": HFOV_DEG}
        return PlaneCache(self.root, recipe, self._keep)

    def strays(self) -> list[str]:
        """Frames without a partner in the folder that decides, and folders with names that DELIVER does not have."""
        lines = []
        known = set(self.frames)
        for key in (*self.modalities[1:], LABELS):  # no glob finds anything where a folder is missing
            folder = _LABEL_FOLDER if key == LABELS else self._folder(key)
            suffix = _LABEL_SUFFIX if key == LABELS else self.suite.sensor(key).suffix
            for frame in find_frames(self.root, self.split, folder, suffix):
                if frame not in known:
                    lines.append(
                        f"{frame_path(self.root, self.split, frame, folder, suffix)}: has no partner in "
                        f"{self._folder(self.modalities[0])}, so this frame is not used"
                    )
        for place in listed(self.root / self._folder(self.modalities[0]), f"*/{self.split}"):
            if place.parent.name not in CONDITIONS:
                lines.append(f"{place}: {place.parent.name!r} is no condition of DELIVER ({', '.join(CONDITIONS)})")
        for sequence in sorted({frame.sequence for frame in self.frames}):
            if not _SEQUENCE.fullmatch(sequence):
                lines.append(f"sequence {sequence}: is not named MAP_<x>_point<y>[_<case>], so it counts as healthy")
        return lines

    def _prepare(self, cache: Cache) -> None:
        self.label_space = label_space_of(self.root)
        if self.source == "auto":
            has_hha = (self.root / VEHICLE.sensor(DEPTH).folder).is_dir()
            self.source = "projected" if has_hha or not (self.root / _RAW_DEPTH_FOLDER).is_dir() else "raw"
        self._keep = cache == "disk"
        super()._prepare(cache)

    def _folder(self, name: str) -> str:
        return _RAW_DEPTH_FOLDER if name in self.computed else self.suite.sensor(name).folder

    def _kept_as(self, frame: Frame, name: str) -> Path:
        entry = self.suite.sensor(name)
        return frame_path(Path(), self.split, frame, entry.folder, entry.suffix)

    def _matches(self, frame: Frame, cases: Sequence[str]) -> bool:
        return frame.condition in cases or frame.failure in cases

    def _find(self) -> list[Frame]:
        first = self.modalities[0]
        return find_frames(self.root, self.split, self._folder(first), self.suite.sensor(first).suffix)

    def _expected(self) -> str:
        first = self.modalities[0]
        file = f"*_{self.suite.sensor(first).suffix}_front.png"
        place = f"{self._folder(first)}/<condition>/{self.split}/<sequence>/{file}"
        return f"{place}, the folder holds {held_by(self.root)}"

    def _encoding(self, name: str) -> str:
        """The drive writes this program's own planes; DELIVER's published ones were made by other code."""
        sensor = self.suite.sensor(name)
        own = sensor.encodings[0]
        marker = self.root / self._folder(name) / ENCODING_FILE
        if marker.is_file():
            return _marked_encoding(marker)
        if name in self.computed or sensor not in VEHICLE.sensors or any(self.root.glob("drive_*.json")):
            return own
        return next((version for version in sensor.encodings if version.startswith("deliver-")), own)


def _may_be_raw(sensor: Sensor) -> bool:
    """DELIVER has depth in metres beside the HHA of one sensor."""
    return sensor.kind == DEPTH and sensor.folder == VEHICLE.sensor(DEPTH).folder


def _marked_encoding(path: Path) -> str:
    try:
        return str(read_json(path)["encoding"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path}: expected {{"encoding": ...}} ({error}); write this folder again', "file-content"
        ) from None


def _thermal(path: Path, sensor: Sensor) -> np.ndarray:
    """(H, W, 3) uint8: a plane as it is, raw counts of 16 bits by the range of the sensor."""
    image = read_image(path, (np.uint8, np.uint16))
    if image.dtype == np.uint16 and image.ndim == 3:
        raise CorruptFileError(f"{path}: 16 bits of colour are no thermal counts; expected one channel", "file-content")
    return three_channels(image_codes(image, sensor) if image.dtype == np.uint16 else image)


def _hha(path: Path) -> np.ndarray:
    depth_m = read_depth_m(path)
    height, width = depth_m.shape
    return encode_hha(depth_m, _camera(width, height))


@lru_cache(maxsize=4)  # its table of rays is kept with the camera
def _camera(width: int, height: int) -> CameraModel:
    return CameraModel.from_fov(width, height, HFOV_DEG)
