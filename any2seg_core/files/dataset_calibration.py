"""Calibrations as data sets store them beside their frames: KITTI-360, Cityscapes, Stanford 2D-3D-S and SUN RGB-D."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json, read_text
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rigid import rigid


def from_kitti360(folder: Path, size: tuple[int, int], camera: int = 0) -> Calibration:
    """KITTI-360's folder ``calibration`` -> one of the two rectified perspective cameras, and lidar_to_camera.

    A pixel is P_rect @ R_rect @ p_camera; calib_cam_to_velo.txt takes points of camera 0 to the Velodyne, and
    calib_cam_to_pose.txt tells where camera 1 is beside it.

    Args:
        size: (width, height) of the images. camera: 0 or 1.
    """
    rectified = _named_numbers(folder / "perspective.txt")
    projection = _matrix(folder / "perspective.txt", rectified, f"P_rect_0{camera}", (3, 4))
    turn = _matrix(folder / "perspective.txt", rectified, f"R_rect_0{camera}", (3, 3))
    poses_file = folder / "calib_cam_to_pose.txt"
    poses = _named_numbers(poses_file) if camera else {}
    lidar_file = folder / "calib_cam_to_velo.txt"
    first_to_lidar = _rigid_rows(lidar_file, _numbers(lidar_file, read_text(lidar_file, "KITTI-360 calibration")))
    own_to_first = np.eye(4)
    if camera:
        first, own = (_rigid_rows(poses_file, poses.get(f"image_0{number}", np.empty(0))) for number in (0, camera))
        own_to_first = np.linalg.inv(first) @ own
    lidar_to_own = np.linalg.inv(first_to_lidar @ own_to_first)
    to_camera = rigid(turn, (0.0, 0.0, 0.0)) @ lidar_to_own
    return _named(folder, lambda: Calibration(CameraModel(*size, projection[:, :3]), lidar_to_camera=to_camera))


def from_cityscapes(path: Path, size: tuple[int, int]) -> tuple[Calibration, float]:
    """``*_camera.json`` -> the left camera, and the baseline of the stereo pair in metres."""
    document = read_json(path, "Cityscapes camera file")
    fx, fy, cx, cy = (_number(path, document, "intrinsic", key) for key in ("fx", "fy", "u0", "v0"))
    baseline_m = _number(path, document, "extrinsic", "baseline")
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return _named(path, lambda: Calibration(CameraModel(*size, K))), baseline_m


def from_stanford(path: Path, size: tuple[int, int]) -> Calibration:
    """``*_pose.json`` of Stanford 2D-3D-S -> the camera of its picture; depth is on the same grid."""
    document = read_json(path, "Stanford pose file")
    rows = document.get("camera_k_matrix") if isinstance(document, dict) else None
    try:
        K = np.array(rows, np.float64).reshape(3, 3)
    except (TypeError, ValueError):
        raise UserError(f"{path}: camera_k_matrix: expected three rows of three numbers", "key-missing") from None
    return _named(path, lambda: Calibration(CameraModel(*size, K)))


def from_k_matrix(path: Path, size: tuple[int, int]) -> Calibration:
    """Text of the nine numbers of K, row by row, as ``intrinsics.txt`` of SUN RGB-D -> the camera."""
    numbers = _numbers(path, read_text(path, "camera matrix"))
    if numbers.size != 9:
        raise UserError(f"{path}: has {numbers.size} numbers, a camera matrix has 9", "file-content")
    return _named(path, lambda: Calibration(CameraModel(*size, numbers.reshape(3, 3))))


def _named(path: Path, make: Any) -> Calibration:
    try:
        return make()
    except UserError as error:
        raise UserError(f"{path}: {error}", error.code) from None


def _named_numbers(path: Path) -> dict[str, np.ndarray]:
    """``KEY: number number ...``, one a line; lines whose values are no numbers are passed over."""
    table = {}
    for line in read_text(path, "KITTI-360 calibration").splitlines():
        key, _, values = line.partition(":")
        try:
            table[key.strip()] = np.array(values.split(), np.float64)
        except ValueError:  # the time of the calibration
            continue
    return table


def _numbers(path: Path, text: str) -> np.ndarray:
    try:
        return np.array(text.split(), np.float64)
    except ValueError as error:
        raise UserError(f"{path}: {error}; it holds numbers alone", "file-content") from None


def _matrix(path: Path, table: Mapping[str, np.ndarray], key: str, shape: tuple[int, int]) -> np.ndarray:
    values = table.get(key, np.empty(0))
    if values.size != shape[0] * shape[1]:
        raise UserError(f"{path}: {key} has {values.size} numbers, it needs {shape[0] * shape[1]}", "key-missing")
    return values.reshape(shape)


def _rigid_rows(path: Path, values: np.ndarray) -> np.ndarray:
    """(4, 4) of the first three rows."""
    if values.size != 12:
        raise UserError(f"{path}: a transform has 12 numbers, three rows of four; found {values.size}", "file-content")
    return np.vstack([values.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])


def _number(path: Path, document: Any, part: str, key: str) -> float:
    section = document.get(part) if isinstance(document, dict) else None
    value = section.get(key) if isinstance(section, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: {part}.{key}: expected a number", "key-missing")
    return float(value)
