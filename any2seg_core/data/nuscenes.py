"""nuScenes' tables: which camera image, cloud and point labels belong together, and where the LiDAR was for the camera.

A camera and the LiDAR of one key frame have stamps up to 50 ms apart, and the vehicle drives on between them: a point
goes through the vehicle's pose at the time of each, as the devkit takes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import limits, raising
from any2seg_core.messages.transforms import pose_matrix
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel

LIDAR_CHANNEL = "LIDAR_TOP"
_CHUNK = 1 << 20
_QUATERNION_TOLERANCE = 0.1
_KINDS = {"timestamp": int, "is_key_frame": bool, "translation": list, "rotation": list}
"""Types of those values that are no text."""

_Row = dict[str, Any]


class KeyFrame(NamedTuple):
    """One image of a camera with the sweep that belongs to it.

    Attributes:
        sample: token of the key frame. scene: name, as scene-0061. camera: channel, as CAM_FRONT.
        image, lidar, lidarseg: file names below the root; the last one also where no table names point labels.
        calibration: the camera and lidar_to_camera of this moment.
    """

    sample: str
    scene: str
    camera: str
    image: str
    lidar: str
    lidarseg: str
    calibration: Calibration


def read_key_frames(tables: Path, cameras: Collection[str]) -> list[KeyFrame]:
    """Key frames of a folder of tables (``v1.0-trainval``), by scene and time.

    Args:
        cameras: channels; each gives frames of its own.

    Raises:
        UserError: a table is missing, is none, lacks a key, or names a record that is not there.
    """
    scene_of = {row["token"]: row["name"] for row in _rows(tables / "scene.json", ("token", "name"))}
    samples = {  # scene and time of each key frame
        row["token"]: (scene_of.get(row["scene_token"], ""), row["timestamp"])
        for row in _rows(tables / "sample.json", ("token", "scene_token", "timestamp"))
    }
    mounted = _Sensors(tables)
    shots = _shots(tables / "sample_data.json", samples, mounted.channels, {LIDAR_CHANNEL, *cameras})
    pairs = []
    for token in sorted(samples, key=samples.__getitem__):
        for camera in cameras:
            absent = [channel for channel in (camera, LIDAR_CHANNEL) if (token, channel) not in shots]
            if absent:
                path = tables / "sample_data.json"
                raise UserError(f"{path}: key frame {token} has no {absent[0]}; restore the table", "frame-incomplete")
            pairs.append((camera, shots[token, camera], shots[token, LIDAR_CHANNEL]))
    vehicle = _vehicle_poses(tables / "ego_pose.json", {row["ego_pose_token"] for row in shots.values()})
    labels = _point_labels(tables / "lidarseg.json")
    frames = []
    for camera, image, cloud in pairs:
        usual = f"lidarseg/{tables.name}/{cloud['token']}_lidarseg.bin"
        files = image["filename"], cloud["filename"], labels.get(cloud["token"], usual)
        sample = image["sample_token"]
        calibration = mounted.calibration(image, cloud, vehicle)
        frames.append(KeyFrame(sample, samples[sample][0], camera, *files, calibration))
    return frames


class _Sensors:
    """What is mounted where on each vehicle and day.

    Attributes:
        channels: token of a record -> channel of the sensor.
    """

    def __init__(self, tables: Path) -> None:
        self._path = tables / "calibrated_sensor.json"
        keys = ("token", "sensor_token", "translation", "rotation")
        self._rows = {row["token"]: row for row in _rows(self._path, keys)}
        names = {row["token"]: row["channel"] for row in _rows(tables / "sensor.json", ("token", "channel"))}
        self.channels = {token: names.get(row["sensor_token"], "") for token, row in self._rows.items()}
        self._poses: dict[str, np.ndarray] = {}
        self._cameras: dict[tuple[str, int, int], CameraModel] = {}

    def calibration(self, image: _Row, cloud: _Row, vehicle: dict[str, np.ndarray]) -> Calibration:
        """LiDAR -> vehicle at the sweep -> world -> vehicle at the image -> camera."""
        then = vehicle[cloud["ego_pose_token"]] @ self._pose(cloud["calibrated_sensor_token"])
        now = vehicle[image["ego_pose_token"]] @ self._pose(image["calibrated_sensor_token"])
        return Calibration(self._camera(image), lidar_to_camera=np.linalg.inv(now) @ then)

    def _pose(self, token: str) -> np.ndarray:
        if token not in self._poses:
            self._poses[token] = _pose(self._path, self._rows[token])
        return self._poses[token]

    def _camera(self, image: _Row) -> CameraModel:
        """One object for all images of a camera: look-up tables are kept with it."""
        token = image["calibrated_sensor_token"]
        try:
            key = token, int(image["width"]), int(image["height"])
            if key not in self._cameras:
                self._cameras[key] = CameraModel(*key[1:], self._rows[token]["camera_intrinsic"])
            return self._cameras[key]
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{self._path}: {token}: camera_intrinsic or the size of the image is missing or wrong ({error})",
                "key-missing",
            ) from None


def _shots(
    path: Path, samples: Collection[str], channel_of: Mapping[str, str], channels: Collection[str]
) -> dict[tuple[str, str], _Row]:
    """(key frame, channel) -> row; sweeps between key frames are left out."""
    keys = ("token", "sample_token", "calibrated_sensor_token", "ego_pose_token", "filename", "is_key_frame")
    rows: dict[tuple[str, str], _Row] = {}
    for row in _rows(path, keys):
        channel = channel_of.get(row["calibrated_sensor_token"], "")
        if row["is_key_frame"] and channel in channels and row["sample_token"] in samples:
            rows[row["sample_token"], channel] = {key: row.get(key) for key in (*keys, "width", "height")}
    return rows


def _vehicle_poses(path: Path, tokens: Collection[str]) -> dict[str, np.ndarray]:
    keys = ("token", "translation", "rotation")
    poses = {row["token"]: _pose(path, row) for row in _rows(path, keys) if row["token"] in tokens}
    absent = sorted(set(tokens) - set(poses))
    if absent:
        raise UserError(f"{path}: has no {absent[0]}, which sample_data.json names; restore it", "frame-incomplete")
    return poses


def _point_labels(path: Path) -> dict[str, str]:
    """sample_data token of a sweep -> file of its labels; nothing where nuScenes-lidarseg is not installed."""
    if not path.is_file():
        return {}
    return {row["sample_data_token"]: row["filename"] for row in _rows(path, ("sample_data_token", "filename"))}


def _pose(file: Path, row: _Row) -> np.ndarray:
    """(4, 4) sensor to vehicle, or vehicle to world: translation in metres, rotation as a quaternion w x y z."""
    try:
        w, x, y, z = (float(value) for value in row["rotation"])
        translation_m = [float(value) for value in row["translation"]]
    except (TypeError, ValueError):
        translation_m, w, x, y, z = [], 0.0, 0.0, 0.0, 0.0
    if len(translation_m) != 3 or abs(float(np.linalg.norm([w, x, y, z])) - 1.0) > _QUATERNION_TOLERANCE:
        raise UserError(
            f"{file}: {row['token']}: rotation must be a unit quaternion w x y z, translation x y z", "file-content"
        )
    return pose_matrix(translation_m, (x, y, z, w))


def _rows(path: Path, keys: tuple[str, ...]) -> Iterator[_Row]:
    """Records of a table one by one: sample_data.json and ego_pose.json of the whole data set have more than 1 GB."""
    for record in _objects(path):
        wrong = next((key for key in keys if not isinstance(record.get(key), _KINDS.get(key, str))), "")
        if wrong:
            found = repr(record[wrong])[:40] if wrong in record else "nothing"
            raise UserError(f"{path}: {wrong} of a record is {found}: is this a table of nuScenes?", "key-missing")
        yield record


def _objects(path: Path) -> Iterator[_Row]:
    decode, text, is_open = json.JSONDecoder().raw_decode, "", False
    try:
        with path.open(encoding="utf-8-sig") as file:
            for chunk in iter(lambda: file.read(_CHUNK), ""):
                text = text + chunk
                if not is_open:
                    text = text.lstrip()
                    if text and not text.startswith("["):
                        raise UserError(f"{path}: is no table of nuScenes, a list of records", "file-content")
                    text, is_open = text[1:], bool(text)
                text = yield from _complete(path, text, decode)
                if len(text) > limits().text_bytes:
                    raise UserError(f"{path}: a record without end; {raising('text_kib')}", "limit-exceeded")
    except FileNotFoundError:
        raise UserError(f"{path}: no such table; unpack the metadata of nuScenes", "file-missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it", "file-unreadable") from None
    if text.strip() != "]":
        raise UserError(f"{path}: is cut off or no JSON; restore it", "text-syntax")


def _complete(path: Path, text: str, decode: Callable[[str, int], tuple[Any, int]]) -> Generator[_Row, None, str]:
    """The whole records at the beginning of a text; returns what is left of it."""
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at == len(text) or text[at] != "{":
            return text[at:]
        try:
            record, at = decode(text, at)
        except (ValueError, RecursionError):  # not whole yet, or broken: the end of the file tells
            return text[at:]
        yield record
