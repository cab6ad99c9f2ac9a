"""The simulated drive: a town, a weather, perhaps a failure, and sensors that can be asked for any time.

Every answer depends on the arguments and on the drive's seed alone, never on what was asked before: same seed, same
bytes, in any order and in any process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.faults.physics import shake_points
from any2seg_core.vocabulary.cases import SPLITS
from any2seg_drive import events as event_sensor
from any2seg_drive import failures, lidar, weather
from any2seg_drive.camera import CameraFrame, camera_rays, render_camera, tonemap
from any2seg_drive.raycast import FrameScene, World
from any2seg_drive.rig import DriveRig

SHORTEST_DRIVE_S = 120
"""Every town offers at least this much, see `World.duration_s`."""

_RGB_EXPOSURE_S = 0.012
_EVENT_EXPOSURE_S = 0.002
_CAMERA, _DEPTH, _LIDAR, _EVENT, _STREAK, _DROPS, _SHAKE = range(7)


def to_ns(t_s: float) -> int:
    """Return seconds as integer nanoseconds."""
    return round(t_s * NS_PER_S)


class _Cache:
    """Remembers the last few results by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[int, Any] = OrderedDict()

    def get(self, key: int, make: Callable[[], Any]) -> Any:
        if key not in self._items:
            self._items[key] = make()
            while len(self._items) > self._size:
                self._items.popitem(last=False)
        return self._items[key]


class Drive:
    """One drive through one town.

    Args:
        seed, split: which town ("train", "val", "test"; their towns differ) and all that is drawn at random.
        weather: cloudy, foggy, night, rainy or sunny.
        failure: motionblur, overexposure, underexposure, lidarjitter, eventlowres, or None.
        rig: sensors; DriveRig() if None.

    Raises:
        UserError: unknown split, weather or failure.
    """

    def __init__(
        self,
        seed: int,
        split: str = "train",
        weather: str = "sunny",
        failure: str | None = None,
        rig: DriveRig | None = None,
    ) -> None:
        if split not in SPLITS:
            raise UserError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}", "value-unknown")
        self.seed, self.split = seed, split
        self._set_conditions(weather, failure, rig or DriveRig())  # before the town: a wrong name is told at once
        self._world = World(seed, split)

    def with_conditions(self, weather: str, failure: str | None = None, rig: DriveRig | None = None) -> Drive:
        """Return the same drive in another weather or with a failure; the town is shared, not rendered anew."""
        other = Drive.__new__(Drive)
        other.seed, other.split, other._world = self.seed, self.split, self._world
        other._set_conditions(weather, failure, rig or self.rig)
        return other

    def _set_conditions(self, weather_name: str, failure: str | None, rig: DriveRig) -> None:
        self.rig, self.failure = rig, failures.checked_failure(failure)
        self.weather = weather.draw_weather(weather_name, self.seed)
        self._lighting = weather.lighting_of(self.weather, self.seed)
        self._airlight = weather.airlight(self._lighting)
        self._event_model = event_sensor.EventModel(noise_hz=self.weather.event_noise_hz)
        if failure == "eventlowres":
            self._event_model = failures.low_resolution(self._event_model)
        size = rig.event_camera.height, rig.event_camera.width
        self._event_view = rig.event_camera.scaled(
            round(size[1] * rig.event_render_scale), round(size[0] * rig.event_render_scale)
        )
        self._thresholds = event_sensor.pixel_thresholds(*size, self._event_model, self.seed)
        self._frames, self._views, self._levels = _Cache(4), _Cache(1), _Cache(2 * rig.event_sub_intervals + 1)
        self._sweeps = _Cache(1)

    @property
    def duration_s(self) -> float:
        """How long the drive lasts; sensors can be asked for 0.1 s to duration_s."""
        return self._world.duration_s

    def _rng(self, stream: int, time_ns: int) -> np.random.Generator:
        condition = sum(self.weather.name.encode()) + 7 * sum((self.failure or "").encode())
        return np.random.default_rng([self.seed, SPLITS.index(self.split), condition, stream, time_ns])

    def _frame(self, time_ns: int) -> FrameScene:
        return self._frames.get(time_ns, lambda: self._world.frame(time_ns / NS_PER_S))

    def _pose(self, time_ns: int, mount: np.ndarray) -> np.ndarray:
        return self._world.ego_pose(time_ns / NS_PER_S) @ mount

    def vehicle_to_world(self, t_s: float) -> np.ndarray:
        """Return the pose of the vehicle at one time, (4,4) float64: x forward, y left, z up, metres."""
        return self._world.ego_pose(self._checked_ns(t_s) / NS_PER_S)

    def _checked_ns(self, t_s: float) -> int:
        if not 0.0 <= t_s <= self.duration_s:
            raise UserError(
                f"t_s {t_s} lies outside this drive; choose a time in 0..{self.duration_s:.1f} s", "value-range"
            )
        return to_ns(t_s)

    def camera(self, t_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rgb (H,W,3) uint8 RGB, depth (H,W) float32 metres along z (1000: nothing seen), labels (H,W) uint8.

        Labels are DELIVER-25 train ids of what the camera pixel shows, 255 unlabelled; depth carries the noise of the
        depth camera, here taken at the stamp of the image.
        """
        time_ns = self._checked_ns(t_s)
        view = self._view(time_ns)
        return self._develop(view, time_ns), self._measured_depth(view.depth_m, time_ns), view.labels

    def depth(self, t_s: float) -> np.ndarray:
        """Return depth (H,W) float32 metres along z of the depth camera alone; 1000 where nothing is seen."""
        time_ns = self._checked_ns(t_s)
        camera, pose = self.rig.depth_camera, self._pose(time_ns, self.rig.depth_to_vehicle)
        origin, directions, ray_z = camera_rays(camera, pose)
        distance = self._frame(time_ns).cast(origin, directions).distance_m
        depth_m = np.where(np.isfinite(distance), distance * ray_z, np.float32(weather.FAR_M))
        return self._measured_depth(depth_m.reshape(camera.height, camera.width), time_ns)

    def lidar(self, t_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return points (N,4) float32 x y z intensity in the LiDAR frame and labels (N,) uint8; see `lidar.scan`."""
        time_ns = self._checked_ns(t_s)
        points, labels = self._sweeps.get(time_ns, lambda: self._sweep(time_ns))
        return points.copy(), labels.copy()

    def _sweep(self, time_ns: int) -> tuple[np.ndarray, np.ndarray]:
        pose = self._pose(time_ns, self.rig.lidar_to_vehicle)
        rng = self._rng(_LIDAR, time_ns)
        points, labels = lidar.scan(self._frame(time_ns), self.rig.lidar, pose, self.weather, rng)
        if self.failure == "lidarjitter":
            points = shake_points(points, self._rng(_SHAKE, time_ns))
        return points, labels

    def events(self, t0_s: float, t1_s: float) -> np.ndarray:
        """Return the events of [t0, t1): structured x, y, t (ns of drive time), p (+1/-1), ordered by time."""
        start_ns, end_ns = self._checked_ns(t0_s), self._checked_ns(t1_s)
        if end_ns <= start_ns:
            raise UserError(f"events: t1_s {t1_s} must be later than t0_s {t0_s}", "value-range")
        times_ns = np.linspace(start_ns, end_ns, self.rig.event_sub_intervals + 1).astype(np.int64)
        levels = np.stack([self._levels.get(t, partial(self._log_luminance, t)) for t in times_ns.tolist()])  # (T,H,W)
        rng = self._rng(_EVENT, start_ns)
        return event_sensor.events_between(levels, times_ns, self._thresholds, self._event_model, rng)

    def sample(self, t_s: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return what all sensors hold when the camera fires at t_s, by modality, and the labels of the image.

        LiDAR at its own phase, events of the window that ends at t_s, depth at the stamp of the image.
        """
        time_ns = self._checked_ns(t_s)
        rgb, depth_m, labels = self.camera(t_s)
        lidar_ns = time_ns + self.rig.lidar_timing.phase_ns
        raw = {
            "rgb": rgb,
            "depth": depth_m,
            "event": self.events((time_ns - self.rig.event_timing.period_ns) / NS_PER_S, t_s),
            "lidar": self.lidar(lidar_ns / NS_PER_S)[0],
        }
        return raw, labels

    def _measured_depth(self, depth_m: np.ndarray, time_ns: int) -> np.ndarray:
        return weather.measure_depth(depth_m, self.weather, self._rng(_DEPTH, time_ns))

    def _view(self, time_ns: int) -> CameraFrame:
        pose = self._pose(time_ns, self.rig.camera_to_vehicle)
        frame = self._frame(time_ns)
        return self._views.get(time_ns, lambda: render_camera(frame, self.rig.camera, pose, self._lighting))

    def _drops(self, time_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Drops on the windscreen: they stay until the wiper passes, every two seconds."""
        swipe = time_ns // (2 * NS_PER_S)
        camera, rng = self.rig.camera, self._rng(_DROPS, swipe)
        count = int(rng.poisson(0.5 * self.weather.rain_mm_h))
        return weather.lens_drops(camera.height, camera.width, count, rng)

    def _develop(self, view: CameraFrame, time_ns: int) -> np.ndarray:
        """Turn a linear rendering into what the RGB camera delivers: air, rain, glare, exposure, noise, tone curve."""
        rays = self.rig.camera.rays()
        norm = np.linalg.norm(rays, axis=-1)
        rng = self._rng(_CAMERA, time_ns)
        radiance = weather.through_air(view.rgb_linear, view.depth_m * norm, self._airlight, self.weather)
        if self.weather.rain_mm_h > 0:
            drops = self._drops(time_ns)
            radiance = weather.apply_rain(radiance, self._airlight, self.weather, drops, _RGB_EXPOSURE_S, rng)
        if self.weather.glare > 0:
            radiance = radiance + self._glare(rays / norm[..., None], time_ns)[..., None]
        if self.failure == "motionblur":
            radiance = failures.motion_blur(radiance, rng)
        gain = weather.auto_exposure(radiance, self.weather)
        gain *= failures.exposure_factor(self.failure, self._rng(_SHAKE, 0))
        return tonemap(weather.sensor_noise(radiance * np.float32(gain), gain, self.weather, rng), 1.0)

    def _glare(self, unit_rays: np.ndarray, time_ns: int) -> np.ndarray:
        pose = self._pose(time_ns, self.rig.camera_to_vehicle)
        sun = np.array(self.weather.sun_direction)
        eye = pose[:3, 3].astype(np.float32)[None]
        behind = bool(self._frame(time_ns).occluded(eye, sun.astype(np.float32))[0])
        return weather.sun_glare(unit_rays, pose[:3, :3].T @ sun, self.weather.glare * (0.15 if behind else 1.0))

    def _log_luminance(self, time_ns: int) -> np.ndarray:
        """Return what the event pixels sense at one time, (H,W) float32."""
        camera, pose = self._event_view, self._pose(time_ns, self.rig.event_to_vehicle)
        view = render_camera(self._frame(time_ns), camera, pose, replace(self._lighting, shadows=False))
        luminance, air = view.rgb_linear @ weather.LUMINANCE, float(self._airlight @ weather.LUMINANCE)
        range_m = view.depth_m * np.linalg.norm(camera.rays(), axis=-1)
        luminance = weather.through_air(luminance, range_m, air, self.weather)
        if self.weather.rain_mm_h > 0:
            rng = self._rng(_STREAK, time_ns)
            cover = weather.rain_streaks(camera.height, camera.width, self.weather, _EVENT_EXPOSURE_S, rng)
            luminance = luminance + (air - luminance) * 0.5 * cover
        size = self.rig.event_camera.width, self.rig.event_camera.height
        sensed = cv2.resize(luminance, size, interpolation=cv2.INTER_LINEAR)  # (H,W) on the grid of the event sensor
        return event_sensor.log_luminance(sensed, self._event_model)
