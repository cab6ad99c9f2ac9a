"""A vehicle with the sensors of the drive at odd, small sizes."""

from __future__ import annotations

from dataclasses import replace

from any2seg_core.sensors.camera import CameraModel
from any2seg_drive.rig import DriveRig, LidarModel


def small_rig(frames: tuple[str, str, str] = ("rgb", "depth", "dvs")) -> DriveRig:
    """``frames``: names of the frames of camera, depth camera and event camera."""
    camera, depth, events = frames
    return replace(
        DriveRig(),
        camera=CameraModel.from_fov(97, 75, 91.0, camera),
        depth_camera=CameraModel.from_fov(97, 75, 91.0, depth),
        event_camera=CameraModel.from_fov(88, 60, 91.0, events),
        lidar=LidarModel(beams=24, azimuths=180),
        event_sub_intervals=2,
    )
