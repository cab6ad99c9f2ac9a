"""Rotations and rigid transforms. A transform `a_to_b` is (4,4) float64 with p_b = a_to_b @ p_a."""

from __future__ import annotations

import numpy as np


def rotation_xyz(roll_deg: float, pitch_deg: float, yaw_deg: float) -> np.ndarray:
    """Return the (3,3) rotation Rz(yaw) @ Ry(pitch) @ Rx(roll), angles in degrees."""
    (cr, cp, cy), (sr, sp, sy) = (f(np.radians([roll_deg, pitch_deg, yaw_deg])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def rigid(rotation: np.ndarray, translation_m: tuple[float, float, float]) -> np.ndarray:
    """Return the (4,4) float64 transform of a (3,3) rotation and a translation in metres."""
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = translation_m
    return transform
