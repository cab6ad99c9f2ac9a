"""Calibration of a sensor head, and its YAML file (docs/calibration.md; an example: calibration_example.yaml).

version: 1
camera:                      # the plane that all modalities are brought to
  width: 1042
  height: 1042
  hfov_deg: 91               # or K: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
  D: [0, 0, 0, 0, 0]         # optional, with distortion_model
  frame_id: ego_vehicle/rgb_front  # optional; without it the frame of the images
event_camera: {...}          # optional, as camera; likewise depth_camera
lidar_to_camera:             # optional 4x4: p_camera = lidar_to_camera @ p_lidar (camera frame is optical)
  - [0, -1, 0, 0.0]
  - [0, 0, -1, -0.1]
  - [1, 0, 0, -0.3]
  - [0, 0, 0, 1]
lidar_frame: velodyne        # optional frame_id that lidar_to_camera holds for; clouds of another are left out
event_to_camera: [...]       # optional 4x4; likewise depth_to_camera
sensors:                     # optional: all further sensors of the suite, by name
  thermal: {camera: {...}, to_camera: [...]}
  radar: {to_camera: [...], frame: radar_front}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from any2seg_core.base.atomic import replacing
from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_yaml
from any2seg_core.sensors.camera import UNNAMED_FRAME, CameraModel
from any2seg_core.sensors.places import SensorPlace, checked_place, place_keys, rigid_transform
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

CAMERA_FIELDS = {"rgb": "camera", "depth": "depth_camera", "event": "event_camera"}
"""Intrinsics at the top of a file: sensor of the vehicle -> field of `Calibration`."""

EXTRINSICS_FIELDS = {"depth": "depth_to_camera", "event": "event_to_camera", "lidar": "lidar_to_camera"}
"""Transforms at the top of a file: sensor of the vehicle -> field of `Calibration`."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Intrinsics and extrinsics of one sensor head; what is not known is None.

    Attributes:
        camera: the camera of the suite; its pixel grid is the plane of every sensor.
        depth_camera, event_camera: their own intrinsics; None means "same as camera".
        lidar_to_camera: (4, 4) float64, LiDAR frame (x forward, y left, z up) to the optical frame, metres.
        event_to_camera, depth_to_camera: (4, 4) float64 optical to optical; None: at the same place.
        lidar_frame: name of the LiDAR frame; None where nothing names it.
        sensors: name -> place of all other sensors; `place` finds any.

    Raises:
        UserError: a transform that is not a rigid (4, 4) matrix.

    Examples:
        >>> from any2seg_core import Calibration, CameraModel
        >>> Calibration(CameraModel.from_fov(161, 97, 90.0), lidar_to_camera=[[2, 0, 0, 0]] * 4)
        Traceback (most recent call last):
        any2seg_core.base.errors.UserError: lidar_to_camera: the last row must be [0, 0, 0, 1]; a transposed matrix ...
    """

    camera: CameraModel
    depth_camera: CameraModel | None = None
    event_camera: CameraModel | None = None
    lidar_to_camera: np.ndarray | None = None
    event_to_camera: np.ndarray | None = None
    depth_to_camera: np.ndarray | None = None
    lidar_frame: str | None = None
    sensors: Mapping[str, SensorPlace] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in EXTRINSICS_FIELDS.values():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, rigid_transform(value, name))
        checked = {name: checked_place(place, name) for name, place in self.sensors.items()}
        object.__setattr__(self, "sensors", MappingProxyType(checked))

    def place(self, name: str, suite: SensorSuite = VEHICLE) -> SensorPlace:
        """What is known of one sensor of a suite, whichever keys of the file say it.

        UserError where an entry below ``sensors`` is that of the camera of the suite.
        """
        own = self.sensors.get(name)
        if name == suite.camera:
            if own is not None:
                raise UserError(
                    f"calibration: sensors.{name} is the camera of the suite: write it as camera, at the top",
                    "value-conflict",
                )
            return SensorPlace(self.camera)
        keys = place_keys(name, suite)
        given = [None if not key or "." in key else getattr(self, key) for key in keys]
        if own is not None:
            given = [old if new is None else new
                     for old, new in zip(given, (own.camera, own.to_camera, own.frame), strict=True)]  # fmt: skip
        return SensorPlace(*given)

    def with_place(self, name: str, place: SensorPlace, suite: SensorSuite = VEHICLE) -> Calibration:
        """The same calibration with another place of one sensor."""
        if name == suite.camera:
            assert place.camera is not None  # there is no plane without it
            return replace(self, camera=place.camera)
        keys = place_keys(name, suite)
        parts: dict[str, Any] = dict(zip(keys, (place.camera, place.to_camera, place.frame), strict=True))
        at_top = {key: value for key, value in parts.items() if key and "." not in key}
        if name not in self.sensors and at_top and all(value is None for key, value in parts.items() if not key):
            return replace(self, **at_top)
        cleared: dict[str, Any] = dict.fromkeys(at_top)
        return replace(self, **cleared, sensors={**self.sensors, name: place})


def load_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Reads a calibration file.

    Raises:
        UserError: one line naming the file, the key and the fix, for every defect (missing, unreadable, not YAML,
            missing or unknown key, wrong shape, not a number, not a rotation).

    Examples:
        >>> from any2seg_core import load_calibration
        >>> calibration = load_calibration("calibration.yaml")
        >>> calibration.camera.width, calibration.camera.height
        (161, 97)
    """
    path = Path(path)
    data = read_yaml(path, "calibration file")
    kind, command = _foreign(data)
    if kind:
        raise UserError(
            f"{path}: is {kind}, not a calibration of this program: convert it with any2seg calib {command} {path} "
            "OUT.yaml (docs/calibration.md)",
            "calibration-foreign",
        )
    data = _mapping(path, data)
    try:
        file = _CalibrationFile.model_validate(data)
        parts: dict[str, Any] = {name: _camera(getattr(file, name), name) for name in CAMERA_FIELDS.values()}
        parts |= {name: getattr(file, name) for name in EXTRINSICS_FIELDS.values()}
        parts["sensors"] = {name: entry.place(name) for name, entry in file.sensors.items()}
        return Calibration(**parts, lidar_frame=file.lidar_frame)
    except (ValidationError, UserError) as error:
        raise UserError(f"{path}: {_first_line(error)}", code_of(error)) from None


def load_camera_info(url: str, rectified: bool = False) -> CameraModel:
    """Reads one camera in the YAML format of ROS camera drivers (`camera_calibration`, `camera_info_manager`).

    Args:
        url: a path, or ``file://`` and a path.
        rectified: images are rectified: take the projection matrix instead of camera matrix and distortion.

    Returns:
        Intrinsics of an unnamed frame: ``camera_name`` is the name of a device, and the driver names the frame.

    Raises:
        UserError: one line naming the file and the key.
    """
    path = Path(url.removeprefix("file://"))
    data = _mapping(path, read_yaml(path, "camera_info file"))
    try:
        file = _CameraInfoFile.model_validate(data)
        if rectified and file.projection_matrix is not None:
            matrix = file.projection_matrix.rows_of(3, 4)[:, :3]
            return CameraModel(file.image_width, file.image_height, matrix, np.zeros(0), "")
        matrix, lens = file.camera_matrix.rows_of(3, 3), file.distortion_coefficients
        coefficients, model = (np.array(lens.data), file.distortion_model) if lens else (np.zeros(0), "")
        return CameraModel(file.image_width, file.image_height, matrix, coefficients, model)
    except (ValidationError, UserError) as error:
        raise UserError(f"{path}: {_first_line(error)}", code_of(error)) from None


def save_calibration(path: str | os.PathLike[str], calibration: Calibration) -> None:
    """Writes a calibration file; an existing one is replaced in one step, so a reader never sees half of it."""
    path = Path(path)
    data: dict[str, Any] = {"version": 1} | _known_parts(calibration)
    if calibration.sensors:
        data["sensors"] = {name: _known_parts(place) for name, place in calibration.sensors.items()}
    with replacing(path) as partial:
        partial.write_text(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120))


class _CameraEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int
    height: int
    K: list[list[float]] | None = None
    hfov_deg: float | None = None
    D: list[float] = []
    distortion_model: str = "plumb_bob"
    frame_id: str = UNNAMED_FRAME

    @model_validator(mode="after")
    def _one_focal_length(self) -> _CameraEntry:
        if (self.K is None) == (self.hfov_deg is None):
            raise ValueError("give either K (three rows of three numbers) or hfov_deg")
        return self


class _SensorEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    camera: _CameraEntry | None = None
    to_camera: list[list[float]] | None = None
    frame: str | None = None

    def place(self, name: str) -> SensorPlace:
        matrix: Any = self.to_camera  # rows of numbers; the calibration checks their shape
        return SensorPlace(_camera(self.camera, f"sensors.{name}.camera"), matrix, self.frame)


class _CalibrationFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    version: int = 1
    camera: _CameraEntry
    depth_camera: _CameraEntry | None = None
    event_camera: _CameraEntry | None = None
    lidar_to_camera: list[list[float]] | None = None
    event_to_camera: list[list[float]] | None = None
    depth_to_camera: list[list[float]] | None = None
    lidar_frame: str | None = None
    sensors: dict[str, _SensorEntry] = {}

    @model_validator(mode="after")
    def _known_version(self) -> _CalibrationFile:
        if self.version != 1:
            raise ValueError(f"this program reads version 1, the file says {self.version}")
        return self


class _Matrix(BaseModel):
    rows: int
    cols: int
    data: list[float]

    def rows_of(self, rows: int, cols: int) -> np.ndarray:
        if (self.rows, self.cols, len(self.data)) != (rows, cols, rows * cols):
            raise UserError(
                f"a matrix must be {rows} x {cols}, got {self.rows} x {self.cols} with {len(self.data)}", "array-shape"
            )
        return np.array(self.data).reshape(rows, cols)


class _CameraInfoFile(BaseModel):
    image_width: int
    image_height: int
    camera_matrix: _Matrix
    distortion_model: str = "plumb_bob"
    distortion_coefficients: _Matrix | None = None
    projection_matrix: _Matrix | None = None


def _first_line(error: ValidationError | UserError) -> str:
    if isinstance(error, UserError):
        return str(error)
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "file"
    hint = {
        "missing": "add this key",
        "extra_forbidden": "unknown key; correct the spelling or remove it",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"{key}: {hint}"


def _foreign(document: Any) -> tuple[str, str]:
    """(format of another program, command that converts it); empty where nothing is recognised."""
    if isinstance(document, list):
        is_nuscenes = bool(document) and isinstance(document[0], dict) and "camera_intrinsic" in document[0]
        return ("nuScenes' calibrated_sensor.json", "from-nuscenes") if is_nuscenes else ("", "")
    keys = {str(key) for key in document} if isinstance(document, dict) else set()
    if {"image_width", "camera_matrix"} & keys:
        return "the camera_info YAML of ROS", "from-camera-info"
    if keys & {"P0", "P2", "P_rect_02", "S_rect_02", "Tr_velo_to_cam", "delta_f", "corner_dist"}:
        return "a calibration of KITTI", "from-kitti"
    if any(isinstance(document[key], dict) and "intrinsics" in document[key] for key in keys & {"cam0", "cam1"}):
        return "a camchain of Kalibr", "from-kalibr"
    return "", ""


def _mapping(path: Path, data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UserError(f"{path}: must hold keys such as 'camera:', got {type(data).__name__}", "file-content")
    return data


def _camera(entry: _CameraEntry | None, name: str) -> CameraModel | None:
    if entry is None:
        return None
    try:
        K: Any = entry.K  # rows of numbers; the camera checks their shape
        if entry.hfov_deg is not None:
            K = CameraModel.from_fov(entry.width, entry.height, entry.hfov_deg).K
        return CameraModel(entry.width, entry.height, K, np.array(entry.D), entry.distortion_model, entry.frame_id)
    except UserError as error:
        raise UserError(f"{name}: {str(error).removeprefix('camera: ')}", error.code) from None


def _known_parts(entry: Calibration | SensorPlace) -> dict[str, Any]:
    """Fields that are no None as a file has them; not the sensors."""
    data: dict[str, Any] = {}
    for part in fields(entry):
        value = getattr(entry, part.name)
        if isinstance(value, CameraModel):
            data[part.name] = _camera_to_dict(value)
        elif isinstance(value, str | np.ndarray):
            data[part.name] = value if isinstance(value, str) else value.tolist()
    return data


def _camera_to_dict(camera: CameraModel) -> dict[str, Any]:
    return {
        "width": camera.width,
        "height": camera.height,
        "K": camera.K.tolist(),
        "D": camera.D.tolist(),
        "distortion_model": camera.distortion_model,
        "frame_id": camera.frame_id,
    }
