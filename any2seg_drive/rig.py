"""The sensors of the simulated car: what they are, where they sit and when they fire.

Frames: vehicle and LiDAR are REP 103 (x forward, y left, z up), vehicle origin on the ground under the rear axle;
cameras are optical (x right, y down, z forward). A transform `a_to_b` is (4,4) float64 with p_b = a_to_b @ p_a.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rigid import rigid, rotation_xyz

# Columns: the optical x, y, z axes (right, down, forward) written in the vehicle frame.
LIDAR_FRAME = "ego_vehicle/lidar"
OPTICAL_TO_VEHICLE_ROTATION = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class StreamTiming:
    """When one sensor fires: at `phase_ns + k * period_ns` for every integer k."""

    rate_hz: int
    phase_ns: int = 0

    @property
    def period_ns(self) -> int:
        return NS_PER_S // self.rate_hz

    def stamps_ns(self, start_ns: int, end_ns: int) -> range:
        """Return the firing times within [start_ns, end_ns), integer nanoseconds."""
        first = start_ns + (self.phase_ns - start_ns) % self.period_ns
        return range(first, end_ns, self.period_ns)


@dataclass(frozen=True)
class LidarModel:
    """A spinning LiDAR: `beams` elevations, linear from `top_deg` to `bottom_deg`, times `azimuths` over 360 deg."""

    beams: int = 64
    azimuths: int = 512
    top_deg: float = 10.0
    bottom_deg: float = -25.0
    min_range_m: float = 1.0
    max_range_m: float = 100.0
    range_noise_m: float = 0.02

    def directions(self) -> np.ndarray:
        """Return unit ray directions (beams * azimuths, 3) float32 in the LiDAR frame, beam by beam."""
        elevation = np.radians(np.linspace(self.top_deg, self.bottom_deg, self.beams))[:, None]
        azimuth = (np.arange(self.azimuths)[None, :] + 0.5) * (2 * np.pi / self.azimuths) - np.pi
        x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
        z = np.broadcast_to(np.sin(elevation), x.shape)
        return np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)  # (beams,azimuths,3) -> (N,3)


def _camera(width: int, height: int, name: str) -> CameraModel:
    return CameraModel.from_fov(width, height, 91.0, f"ego_vehicle/{name}")


def _camera_to_vehicle() -> np.ndarray:
    return rigid(OPTICAL_TO_VEHICLE_ROTATION, (1.6, 0.0, 1.7))


def _event_to_vehicle() -> np.ndarray:
    # Same place as the camera (a shared lens or a beam splitter), turned a little: rotation alone relates the two.
    return _camera_to_vehicle() @ rigid(rotation_xyz(0.3, 0.8, -0.2), (0.0, 0.0, 0.0))


def _lidar_to_vehicle() -> np.ndarray:
    return rigid(rotation_xyz(0.0, 0.8, 1.5), (0.8, 0.05, 2.1))


@dataclass(frozen=True, eq=False)
class DriveRig:
    """The sensor rig of the simulated drive; every figure is a parameter.

    RGB and depth camera share one pixel grid and place; the event camera sits there too with its own K and a small
    rotation; the LiDAR is on the roof, 0.8 m behind, yawed and pitched. LiDAR sweeps 15 ms before and depth fires 3 ms
    after the camera; event packets cover the 50 ms up to their stamp. Mounts are (4,4) float64 sensor -> vehicle.
    Brightness for the event camera is rendered `event_sub_intervals` + 1 times per packet, at `event_render_scale` of
    its resolution: a lens that is a little softer than the pixels.
    """

    camera: CameraModel = field(default_factory=lambda: _camera(256, 256, "rgb_front"))
    depth_camera: CameraModel = field(default_factory=lambda: _camera(256, 256, "depth_front"))
    event_camera: CameraModel = field(default_factory=lambda: _camera(304, 240, "dvs_front"))
    lidar: LidarModel = field(default_factory=LidarModel)
    camera_to_vehicle: np.ndarray = field(default_factory=_camera_to_vehicle)
    depth_to_vehicle: np.ndarray = field(default_factory=_camera_to_vehicle)
    event_to_vehicle: np.ndarray = field(default_factory=_event_to_vehicle)
    lidar_to_vehicle: np.ndarray = field(default_factory=_lidar_to_vehicle)
    camera_timing: StreamTiming = StreamTiming(10)
    depth_timing: StreamTiming = StreamTiming(10, 3_000_000)
    event_timing: StreamTiming = StreamTiming(20)
    lidar_timing: StreamTiming = StreamTiming(10, -15_000_000)
    event_sub_intervals: int = 4
    event_render_scale: float = 0.75

    def __post_init__(self) -> None:
        if (self.depth_camera.width, self.depth_camera.height) != (self.camera.width, self.camera.height):
            raise UserError(
                "DriveRig: depth_camera and camera differ in size; give both one pixel grid", "value-conflict"
            )
        if not np.array_equal(self.depth_to_vehicle, self.camera_to_vehicle):
            raise UserError(
                "DriveRig: depth_to_vehicle and camera_to_vehicle differ; mount both in one place", "value-conflict"
            )

    def calibration(self) -> Calibration:
        """Return what a user of the recorded data needs to know: cameras and sensor -> camera transforms."""
        vehicle_to_camera = np.linalg.inv(self.camera_to_vehicle)
        return Calibration(
            camera=self.camera,
            depth_camera=self.depth_camera,
            event_camera=self.event_camera,
            lidar_to_camera=vehicle_to_camera @ self.lidar_to_vehicle,
            event_to_camera=vehicle_to_camera @ self.event_to_vehicle,
            depth_to_camera=vehicle_to_camera @ self.depth_to_vehicle,
            lidar_frame=LIDAR_FRAME,
        )
