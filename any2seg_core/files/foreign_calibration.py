"""Calibrations of other programs: ROS camera_info YAML, KITTI text, Kalibr camchain, nuScenes JSON -> `Calibration`.

Each reader checks what it takes; what our format cannot say is a UserError that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json, read_text, read_yaml
from any2seg_core.messages.transforms import pose_matrix
from any2seg_core.sensors.calibration import CAMERA_FIELDS, EXTRINSICS_FIELDS, Calibration, load_camera_info
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rigid import rigid

KITTI_SIZE = (1242, 375)
NUSCENES_SIZE = (1600, 900)
_KALIBR_LENSES = {"radtan": "plumb_bob", "plumb_bob": "plumb_bob", "equidistant": "equidistant", "none": "plumb_bob"}


def from_camera_info(files: Mapping[str, Path], rectified: bool = False) -> Calibration:
    """Camera_info YAML of the sensors in ``files`` (rgb, and depth, event) -> their intrinsics; no extrinsics."""
    if "rgb" not in files:
        raise UserError("give the camera_info of the colour camera, on whose grid all sensors are drawn", "sensor-none")
    cameras: dict[str, Any] = {
        CAMERA_FIELDS[name]: load_camera_info(str(path), rectified) for name, path in files.items()
    }
    return Calibration(**cameras)


def from_kitti(path: Path, camera: int = 2, size: tuple[int, int] | None = None) -> Calibration:
    """KITTI's text -> intrinsics of the rectified camera and lidar_to_camera.

    Raw data: the folder of calib_cam_to_cam.txt and calib_velo_to_cam.txt. Object and odometry: one file with P2 and
    Tr_velo_to_cam or Tr. A pixel is P @ R_rect @ Tr @ p, as the devkits say.

    Args:
        camera: 0 to 3; 2 and 3 are the colour cameras.
        size: (width, height); needed for object and odometry, whose files do not say it.
    """
    names = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt")
    is_raw = path.is_dir() or path.name in names
    table = _kitti_tables([(path if path.is_dir() else path.parent) / name for name in names] if is_raw else [path])
    if is_raw:
        projection, turn = _kitti(path, table, f"P_rect_0{camera}", 12), _kitti(path, table, "R_rect_00", 9)
        lidar = rigid(_kitti(path, table, "R", 9, "velo").reshape(3, 3), tuple(_kitti(path, table, "T", 3, "velo")))
        width, height = _kitti(path, table, f"S_rect_0{camera}", 2)
        size = size or (int(width), int(height))
    else:
        projection = _kitti(path, table, f"P{camera}", 12)
        turn = _kitti(path, table, "R0_rect", 9) if "R0_rect" in table else np.eye(3).reshape(-1)
        name = "Tr_velo_to_cam" if "Tr_velo_to_cam" in table else "Tr"
        lidar = np.vstack([_kitti(path, table, name, 12).reshape(3, 4), [0, 0, 0, 1]])
        if size is None:
            raise UserError(f"{path}: does not say the size of the images: give --size {KITTI_SIZE[0]}x{KITTI_SIZE[1]} "
                            "or what they have", "key-missing")  # fmt: skip
    P = projection.reshape(3, 4)
    offset = np.linalg.solve(P[:, :3], P[:, 3])  # of this camera from camera 0, in the rectified frame
    to_camera = rigid(np.eye(3), tuple(offset)) @ rigid(turn.reshape(3, 3), (0.0, 0.0, 0.0)) @ lidar
    return Calibration(CameraModel(*size, P[:, :3]), lidar_to_camera=to_camera)


def from_kalibr(path: Path, names: Mapping[str, str]) -> Calibration:
    """A camchain YAML of Kalibr -> intrinsics and transforms of its cameras; ``names``: rgb -> "cam0", event -> "cam1".

    T_cn_cnm1 takes points of the camera before to this one.
    """
    document = read_yaml(path, "Kalibr camchain")
    chain = [name for name in document if re.fullmatch(r"cam\d+", str(name))] if isinstance(document, dict) else []
    chain.sort(key=lambda name: int(name[3:]))
    absent = [name for name in names.values() if name not in chain]
    if absent or "rgb" not in names:
        held = ", ".join(chain) or "no camera"
        raise UserError(f"{path}: has no {', '.join(absent) or 'camera for rgb'}: it holds {held}", "key-missing")
    from_first = [np.eye(4)]
    for name in chain[1:]:
        step = document[name].get("T_cn_cnm1") if isinstance(document[name], dict) else None
        try:
            from_first.append(np.asarray(step, np.float64).reshape(4, 4) @ from_first[-1])
        except (TypeError, ValueError):
            raise UserError(f"{path}: {name}.T_cn_cnm1: expected four rows of four numbers", "key-missing") from None
    parts: dict[str, Any] = {}
    to_colour = from_first[chain.index(names["rgb"])]
    for sensor, name in names.items():
        parts[CAMERA_FIELDS[sensor]] = _kalibr_camera(path, name, document[name])
        if sensor != "rgb":
            parts[EXTRINSICS_FIELDS[sensor]] = to_colour @ np.linalg.inv(from_first[chain.index(name)])
    return _named(path, lambda: Calibration(**parts))


def from_nuscenes(path: Path, tokens: Mapping[str, str], size: tuple[int, int] = NUSCENES_SIZE) -> Calibration:
    """nuScenes' calibrated_sensor.json -> one camera and one LiDAR of it; the vehicle stands still between them.

    Args:
        path: that file, or its folder, in which sensor.json may tell channels.
        tokens: "camera" and "lidar" -> channel, as CAM_FRONT and LIDAR_TOP, or token of the record.
    """
    file = path / "calibrated_sensor.json" if path.is_dir() else path
    channels = _channels(file.parent / "sensor.json")
    records = [entry for entry in _records(file) if "translation" in entry and "rotation" in entry]
    camera = _nuscenes_record(file, records, channels, tokens["camera"])
    lidar = _nuscenes_record(file, records, channels, tokens["lidar"])
    if not camera.get("camera_intrinsic"):
        raise UserError(f"{file}: {tokens['camera']} has no camera_intrinsic: it is no camera", "file-content")
    to_camera = np.linalg.inv(_pose(file, camera)) @ _pose(file, lidar)
    return _named(file, lambda: Calibration(CameraModel(*size, camera["camera_intrinsic"]), lidar_to_camera=to_camera))


def _named(path: Path, make: Any) -> Calibration:
    try:
        return make()
    except UserError as error:
        raise UserError(f"{path}: {error}", error.code) from None


def _kitti_tables(files: list[Path]) -> dict[str, np.ndarray]:
    """Keys -> numbers of all files; those of calib_velo_to_cam with "velo " before them."""
    table: dict[str, np.ndarray] = {}
    for file in files:
        before = "velo " if "velo" in file.name else ""
        for line in read_text(file, "KITTI calibration").splitlines():
            key, colon, numbers = line.partition(":")
            try:
                table[before + key.strip()] = np.array(numbers.split(), np.float64)
            except ValueError:  # calib_time
                continue
    return table


def _kitti(path: Path, table: Mapping[str, np.ndarray], key: str, count: int, before: str = "") -> np.ndarray:
    values = table.get(f"{before} {key}".strip(), np.empty(0))
    if values.size != count:
        raise UserError(f"{path}: {key} has {values.size} numbers, KITTI's has {count}", "key-missing")
    return values


def _kalibr_camera(path: Path, name: str, entry: Any) -> CameraModel:
    try:
        model, lens = str(entry["camera_model"]), str(entry.get("distortion_model", "none"))
        fx, fy, cx, cy = (float(value) for value in entry["intrinsics"])
        width, height = (int(value) for value in entry["resolution"])
        D = np.array([float(value) for value in entry.get("distortion_coeffs", ())])
    except (KeyError, TypeError, ValueError, AttributeError):
        wanted = "camera_model, four intrinsics, resolution and distortion_coeffs"
        raise UserError(f"{path}: {name}: expected {wanted} of a pinhole camera", "key-missing") from None
    if model != "pinhole" or lens not in _KALIBR_LENSES:
        raise UserError(
            f"{path}: {name}: {model}-{lens}: pinhole with radtan or equidistant is read; calibrate with such a model",
            "camera-distortion",
        )
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    try:
        return CameraModel(width, height, K, D if lens != "none" else np.zeros(0), _KALIBR_LENSES[lens])
    except UserError as error:
        raise UserError(f"{path}: {name}: {error}", error.code) from None


def _records(file: Path) -> list[Any]:
    document = read_json(file, "nuScenes calibrated_sensor.json")
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise UserError(f"{file}: is no list of records: give nuScenes' calibrated_sensor.json", "file-content")
    return document


def _channels(file: Path) -> dict[str, str]:
    """sensor_token -> channel."""
    if not file.is_file():
        return {}
    return {str(entry.get("token")): str(entry.get("channel")) for entry in _records(file)}


def _nuscenes_record(file: Path, records: list[Any], channels: Mapping[str, str], wanted: str) -> Any:
    found = [entry for entry in records if entry.get("token") == wanted]
    found = found or [entry for entry in records if channels.get(entry.get("sensor_token", "")) == wanted]
    if not found:
        held = ", ".join(sorted(set(channels.values()))) or "sensor.json beside it would name channels"
        raise UserError(f"{file}: has no {wanted}: give a channel or a token of a record ({held})", "value-unknown")
    first = found[0]
    same = [entry for entry in found if all(entry.get(k) == first.get(k) for k in ("translation", "rotation"))]
    if len(same) < len(found):
        tokens = ", ".join(str(entry.get("token")) for entry in found[:3])
        raise UserError(
            f"{file}: {wanted} was calibrated in {len(found)} ways, one per vehicle and day: give the token of the "
            f"record that sample_data.json names for your frame ({tokens}, ...)",
            "value-conflict",
        )
    return first


def _pose(file: Path, record: Any) -> np.ndarray:
    """(4, 4) sensor to vehicle of a record: translation in metres, rotation as a quaternion w x y z."""
    try:
        w, x, y, z = (float(value) for value in record["rotation"])
        translation_m = [float(value) for value in record["translation"]]
    except (TypeError, ValueError):
        translation_m = []
    if len(translation_m) != 3 or not 0.9 < float(np.linalg.norm([w, x, y, z])) < 1.1:
        raise UserError(f"{file}: rotation must be a unit quaternion w x y z, translation x y z", "file-content")
    return pose_matrix(translation_m, (x, y, z, w))
