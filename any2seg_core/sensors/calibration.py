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
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_yaml
from any2seg_core.sensors.camera import UNNAMED_FRAME, CameraModel
from any2seg_core.vocabulary.modalities import DEPTH, EVENT, LIDAR, RGB

CAMERA_FIELDS = {RGB: "camera", DEPTH: "depth_camera", EVENT: "event_camera"}
"""Per modality that has intrinsics their field of `Calibration`."""

EXTRINSICS_FIELDS = {DEPTH: "depth_to_camera", EVENT: "event_to_camera", LIDAR: "lidar_to_camera"}
"""Per modality that has a transform to the camera its field of `Calibration`."""

_ORTHONORMAL_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Calibration:
    """Intrinsics and extrinsics of one sensor head; what is not known is None.

    Attributes:
        camera: the RGB camera; its pixel grid is the plane of every modality.
        depth_camera, event_camera: their own intrinsics; None means "same as camera".
        lidar_to_camera: (4, 4) float64, LiDAR frame (x forward, y left, z up) to the optical frame, metres.
        event_to_camera, depth_to_camera: (4, 4) float64 optical to optical; None: at the same place.
        lidar_frame: name of the LiDAR frame; None where nothing names it.

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

    def __post_init__(self) -> None:
        for name in EXTRINSICS_FIELDS.values():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, rigid_transform(value, name))


def rigid_transform(values: Any, name: str) -> np.ndarray:
    """Checks that `values` is a rigid transform; returns it as a read-only (4, 4) float64 array or raises UserError."""
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name}: must be four rows of four numbers", "transform-invalid") from None
    if matrix.shape != (4, 4):
        raise UserError(f"{name}: must be four rows of four numbers, got shape {matrix.shape}", "transform-invalid")
    if not np.isfinite(matrix).all():
        raise UserError(f"{name}: holds NaN or infinity; write the measured numbers", "not-finite")
    if not np.allclose(matrix[3], [0.0, 0.0, 0.0, 1.0]):
        raise UserError(
            f"{name}: the last row must be [0, 0, 0, 1]; a transposed matrix has the translation there",
            "transform-invalid",
        )
    rotation = matrix[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > _ORTHONORMAL_TOLERANCE:
        raise UserError(
            f"{name}: the rotation is not orthonormal (error {error:.2g}); give a rotation with unit axes",
            "transform-invalid",
        )
    if np.linalg.det(rotation) < 0.0:
        raise UserError(
            f"{name}: the rotation mirrors (determinant -1); flip the sign of one axis", "transform-invalid"
        )
    matrix.setflags(write=False)
    return matrix


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
    data: dict[str, Any] = {"version": 1}
    for part in fields(calibration):
        value = getattr(calibration, part.name)
        if isinstance(value, CameraModel):
            data[part.name] = _camera_to_dict(value)
        elif value is not None:
            data[part.name] = value if isinstance(value, str) else value.tolist()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120))
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot write the calibration ({error.strerror}); choose a writable folder", "output-unwritable"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


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


def _camera_to_dict(camera: CameraModel) -> dict[str, Any]:
    return {
        "width": camera.width,
        "height": camera.height,
        "K": camera.K.tolist(),
        "D": camera.D.tolist(),
        "distortion_model": camera.distortion_model,
        "frame_id": camera.frame_id,
    }
