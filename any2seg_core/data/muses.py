"""MUSES (Broedermann et al., ECCV 2024): frame camera, event camera and LiDAR, 19 Cityscapes classes.

    root/{frame_camera,event_camera,lidar,gt_semantic}/{train,val,test}/{clear,fog,rain,snow}/{day,night}/<id>_<ending>
    root/{calib.json,meta.json}             endings: frame_camera.png event_camera.h5 lidar.bin gt_labelTrainIds.png
    root/projected_to_rgb/{event_camera,lidar}/...      what the SDK's projection script has written

"raw" takes the sensor files through `SensorRig`, the same road as the live node; "projected" takes the SDK's images.
The labels of the test split are withheld by its authors.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import held_by, listed
from any2seg_core.base.pictures import picture_head
from any2seg_core.data import muses_files
from any2seg_core.data.images import CorruptFileError, map_ids, read_plane
from any2seg_core.data.label_images import read_ids
from any2seg_core.data.muses_parity import hkust_labels, hkust_plane
from any2seg_core.data.plane_cache import PlaneCache
from any2seg_core.data.samples import LABELS, Cache, FrameDataset, Source
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.contract import Normalisation
from any2seg_core.vocabulary.labels import IGNORE, MUSES, lookup_table
from any2seg_core.vocabulary.modalities import MUSES as MUSES_SENSORS
from any2seg_core.vocabulary.modalities import SensorSuite

WEATHERS = ("clear", "fog", "rain", "snow")
TIMES = ("day", "night")
EVENT_WINDOW_NS = 30_000_000
"""The SDK accumulates the last 30 ms of each recording."""

_SENSOR_FOLDERS = {"rgb": "frame_camera", "event": "event_camera", "lidar": "lidar"}
_LABEL_FOLDER, _LABEL_ENDING = "gt_semantic", "gt_labelTrainIds.png"
_RAW_ENDINGS = {"event": "event_camera.h5", "lidar": "lidar.bin"}
_PROJECTED_SUFFIXES = (".npz", ".npy", ".png")
_TRAIN_IDS = lookup_table({train: train for train in range(len(MUSES))})
_KNOWN_IDS = (_TRAIN_IDS != IGNORE) | (np.arange(256) == IGNORE)
_SDK_ENCODINGS = {"event": "muses-sdk-counts-1", "lidar": "muses-sdk-range-1"}
_HKUST_ENCODING = "muses-hkust-1"

Parity = Literal["none", "hkust"]


@dataclass(frozen=True)
class MusesFrame:
    """One scene: weather and time of day are folder names, ``stem`` is the part of the file names before the sensor."""

    weather: str
    time_of_day: str
    stem: str

    @property
    def name(self) -> str:
        """``weather/time/stem``, unique within a split."""
        return f"{self.weather}/{self.time_of_day}/{self.stem}"


class MusesDataset(FrameDataset):
    """MUSES from raw or projected files; pixels labelled 255 stay ignored.

    Cases are weathers (fog), times of day (night) or both (fog/night).

    Options:
        source: "raw" (`.bin` and `.h5` files with calib.json), "projected" (`.npz`, `.npy` or 16-bit `.png` of the SDK
            under ``projected_to_rgb``), "auto": raw if its folders are there, else projected.
        parity: "hkust" repeats what the published loader of AnySeg does, defects included (see `muses_parity`), to
            compare with numbers made by it. A warning says so.
    """

    kind = "muses"
    splits = ("train", "val", "test")
    cases = WEATHERS + TIMES + tuple(f"{weather}/{time}" for weather in WEATHERS for time in TIMES)
    label_space = MUSES
    suite = MUSES_SENSORS
    options = MappingProxyType({"source": "auto", "parity": "none"})
    source: Source
    parity: Parity

    def files(self, frame: MusesFrame) -> dict[str, list[Path]]:
        """Per modality one file (of raw sensors also calib.json), and one for the labels."""
        found = {name: [self._sensor_file(frame, name)] for name in self.modalities}
        found[LABELS] = [self._path(_LABEL_FOLDER, frame, _LABEL_ENDING)]
        return found

    def read_plane(self, frame: MusesFrame, name: str) -> np.ndarray:
        """(H, W, 3) uint8 at the size of the frame camera (parity: 1024 x 1024)."""
        path = self._sensor_file(frame, name)
        if self.parity == "hkust":
            return hkust_plane(path)
        if name == "rgb":
            return read_plane(path)
        if self.source == "projected":
            return muses_files.read_projection(path, name)
        return self.planes_on_disk.plane(self._kept_as(frame, name), lambda: self._project(path, name))

    def read_labels(self, frame: MusesFrame) -> np.ndarray:
        """(H, W) uint8 Cityscapes train ids."""
        path = self._path(_LABEL_FOLDER, frame, _LABEL_ENDING)
        labels = map_ids(read_ids(path, space=MUSES, to_train=_TRAIN_IDS), _TRAIN_IDS, _KNOWN_IDS, path)
        return hkust_labels(labels) if self.parity == "hkust" else labels

    def condition(self, frame: MusesFrame) -> str:
        """``fog/night``."""
        return f"{frame.weather}/{frame.time_of_day}"

    def recording(self, frame: MusesFrame) -> str:
        """``REC0006`` of ``REC0006_frame_029843``."""
        return frame.stem.partition("_frame_")[0]

    @property
    def computed(self) -> tuple[str, ...]:
        """Events and LiDAR, from raw files."""
        return tuple(name for name in self.modalities if name in _RAW_ENDINGS and self.source == "raw")

    @cached_property
    def planes_on_disk(self) -> PlaneCache:
        """Projections by this program."""
        return PlaneCache(self.root, _recipe(self._rig.calibration, self._size), self._keep)

    @classmethod
    def on_disk(cls, root: Path, suite: SensorSuite | None = None) -> tuple[str, ...]:
        """By the folders of the sensors, raw or projected."""
        places = (root, root / muses_files.PROJECTED_FOLDER)
        names = (suite or cls.suite).members
        return tuple(name for name in names if any((p / _SENSOR_FOLDERS[name]).is_dir() for p in places))

    @property
    def why_unlabelled(self) -> str:
        """The test split is scored on Codabench."""
        if self.split == "test" and not self.files(self.frames[0])[LABELS][0].is_file():
            return "its labels are withheld by the authors of MUSES (scored on Codabench)"
        return ""

    def strays(self) -> list[str]:
        """Sensor and label files without a camera image."""
        known = {(frame.weather, frame.time_of_day, frame.stem) for frame in self.frames}
        lines = []
        for key in (*self.modalities, LABELS):
            for frame in self.frames[:1]:
                example = self.files(frame)[key][0]
                ending = example.name.removeprefix(f"{frame.stem}_")
                for path in listed(example.parents[2], f"*/*/*_{ending}"):
                    place = (path.parts[-3], path.parts[-2], path.name.removesuffix(f"_{ending}"))
                    if place not in known:
                        lines.append(f"{path}: has no camera image, so this scene is not used")
        return lines

    @property
    def event_window_ns(self) -> int:
        """Length of the event window behind the planes."""
        return EVENT_WINDOW_NS

    @property
    def normalisation(self) -> dict[str, Normalisation]:
        """ImageNet and 0..1 as usual; in parity none at all, so that planes go in as 0..255."""
        if self.parity == "hkust":
            return dict.fromkeys(self.modalities, Normalisation(mean=(0.0,) * 3, std=(1.0 / 255.0,) * 3))
        return super().normalisation

    def _prepare(self, cache: Cache) -> None:
        self._keep = cache == "disk"
        sensors = [name for name in self.modalities if name in _RAW_ENDINGS]
        if self.source == "auto":
            raw = all((self.root / _SENSOR_FOLDERS[name]).is_dir() for name in sensors)
            self.source = "raw" if raw and (self.root / muses_files.CALIBRATION_FILE).is_file() else "projected"
        if self.parity == "hkust":
            warnings.warn(
                "parity=hkust: unlabelled pixels count as road, 16-bit planes lose their low byte, images are squashed "
                "to 1024x1024 and not normalised; for comparison with published numbers only",
                stacklevel=4,  # whoever opens the data set
            )
            self.source = "projected"
        super()._prepare(cache)
        if self.computed:
            self._rig = SensorRig(muses_files.read_calibration(self.root), EVENT_WINDOW_NS)

    def _find(self) -> list[MusesFrame]:
        ending = f"_{_SENSOR_FOLDERS['rgb']}.png"
        frames = []
        for weather in WEATHERS:
            for time in TIMES:
                folder = self.root / _SENSOR_FOLDERS["rgb"] / self.split / weather / time
                frames += [
                    MusesFrame(weather, time, path.name[: -len(ending)]) for path in listed(folder, f"*{ending}")
                ]
        return sorted(frames, key=lambda frame: (frame.weather, frame.time_of_day, frame.stem))

    def _expected(self) -> str:
        place = f"frame_camera/{self.split}/<weather>/<day or night>/<id>_frame_camera.png"
        return f"{place}, the folder holds {held_by(self.root)}"

    def _matches(self, frame: MusesFrame, cases: Sequence[str]) -> bool:
        return bool({frame.weather, frame.time_of_day, self.condition(frame)} & set(cases))

    def _encoding(self, name: str) -> str:
        if name == "rgb" or self.source == "raw":
            return self.suite.sensor(name).encodings[0]
        return _HKUST_ENCODING if self.parity == "hkust" else _SDK_ENCODINGS[name]

    def _path(self, folder: str, frame: MusesFrame, ending: str) -> Path:
        return self.root / folder / self.split / frame.weather / frame.time_of_day / f"{frame.stem}_{ending}"

    def _sensor_file(self, frame: MusesFrame, name: str) -> Path:
        folder = _SENSOR_FOLDERS[name]
        if name == "rgb":
            return self._path(folder, frame, f"{folder}.png")
        if self.source == "raw":
            return self._path(folder, frame, _RAW_ENDINGS[name])
        projected = self._path(f"{muses_files.PROJECTED_FOLDER}/{folder}", frame, folder)
        if self.parity == "hkust":  # that loader replaces the name of the sensor in the path of the camera image
            beside = self._path(folder, frame, f"{folder}.png")
            return beside if beside.is_file() else projected.with_suffix(".png")
        candidates = [projected.with_suffix(suffix) for suffix in _PROJECTED_SUFFIXES]
        return next((path for path in candidates if path.is_file()), candidates[0])

    @cached_property
    def _size(self) -> tuple[int, int]:
        """(H, W) of the camera images: 1080 x 1920, or what somebody has scaled them to."""
        path = self._sensor_file(self.frames[0], "rgb")
        try:
            head = picture_head(path.read_bytes())
            return head.height, head.width
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a readable image ({error}); restore it", "file-format") from None

    def _kept_as(self, frame: MusesFrame, name: str) -> Path:
        folder = _SENSOR_FOLDERS[name]
        return self._path(folder, frame, f"{folder}.png").relative_to(self.root)

    def _project(self, path: Path, name: str) -> np.ndarray:
        if name == "lidar":
            return self._rig.planes({name: muses_files.read_points(path)}, 0, self._size)[name]
        events = muses_files.read_events(path, EVENT_WINDOW_NS)
        if not len(events):
            raise CorruptFileError(
                f"{path}: holds no events; download this file again or remove the scene", "file-content"
            )
        return self._rig.planes({name: events}, int(events["t"].max()), self._size)[name]


def _recipe(calibration: Calibration, size: tuple[int, int]) -> dict[str, Any]:
    """All that decides the planes: encodings, event window, size, cameras and transforms."""
    document: dict[str, Any] = {name: MUSES_SENSORS.sensor(name).encodings[0] for name in _RAW_ENDINGS}
    document |= {"window_ns": EVENT_WINDOW_NS, "size": size}
    for key in ("camera", "event_camera"):
        camera = getattr(calibration, key)
        document[key] = [camera.width, camera.height, camera.K.tolist()]
    for key in ("lidar_to_camera", "event_to_camera"):
        document[key] = getattr(calibration, key).tolist()
    return document
