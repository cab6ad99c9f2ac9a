"""FrameBuilder: message-like payloads of one set -> planes. The live node and the offline bag reader both take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from any2seg_core.errors import UserError
from any2seg_core.messages import cloud_to_events, cloud_to_points, image_to_depth_m, image_to_rgb
from any2seg_core.modalities import MODALITIES, canonical
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sensors.rig import SensorRig


def _newest(read: Callable[[Any], np.ndarray]) -> Callable[[Sequence[Any]], np.ndarray]:
    return lambda messages: read(messages[-1])


def _all_events(packets: Sequence[Any]) -> np.ndarray:
    arrays = [cloud_to_events(packet) for packet in packets]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


_READERS: dict[str, Callable[[Sequence[Any]], np.ndarray]] = {
    "rgb": _newest(image_to_rgb),
    "depth": _newest(image_to_depth_m),
    "event": _all_events,
    "lidar": _newest(cloud_to_points),
}
_CAMERA_FIELDS = {"rgb": "camera", "depth": "depth_camera", "event": "event_camera"}
_MOUNT_FIELDS = {"depth": "depth_to_camera", "event": "event_to_camera", "lidar": "lidar_to_camera"}
_SAME_MOUNT = 1e-6  # metres and radians: the noise of an interpolated transform must not cost new look-up tables
WINDOWED = ("event",)
"""Modalities of which all messages that reach into the event window count, not only the nearest."""
CAMERA_STREAMS: tuple[str, ...] = canonical(_CAMERA_FIELDS)
"""Modalities whose intrinsics may come as a sensor_msgs/CameraInfo."""
MOUNTED_STREAMS: tuple[str, ...] = canonical(_MOUNT_FIELDS)
"""Modalities that have a transform to the camera."""


@dataclass(frozen=True)
class Frame:
    """One set on the camera plane.

    Attributes:
        stamp_ns: stamp of the set, end of the event window.
        planes: per usable modality (H, W, 3) uint8, canonical order; empty when nothing could be read.
        errors: per unusable modality the reason, one line.
        samples: per usable modality the array that its plane was made of, as `SensorRig.planes` takes it.
    """

    stamp_ns: int
    planes: dict[str, np.ndarray]
    errors: dict[str, str]
    samples: dict[str, np.ndarray] = field(default_factory=dict)


class FrameBuilder:
    """Reads the payloads of a set and brings them to the camera plane, through the one SensorRig.

    A payload that cannot be read costs its own modality only: it is named in ``Frame.errors``.

    Args:
        calibration: intrinsics and extrinsics; intrinsics are replaced by `set_camera`. None: only the camera image
            can be used, and only after `set_camera` or an image of any size.
        event_window_ns: length of the event window that ends at the stamp of the set.
    """

    def __init__(self, calibration: Calibration | None, event_window_ns: int = DEFAULT_WINDOW_NS) -> None:
        self.event_window_ns = event_window_ns
        self._rig = None if calibration is None else SensorRig(calibration, event_window_ns)

    @property
    def rig(self) -> SensorRig | None:
        """The geometry in use; None as long as no camera is known."""
        return self._rig

    def set_camera(self, stream: str, camera: CameraModel) -> bool:
        """Use other intrinsics for one of CAMERA_STREAMS; returns whether they differ from the present ones."""
        key = _CAMERA_FIELDS[stream]
        if self._rig is None:
            if key != _CAMERA_FIELDS[CAMERA_STREAMS[0]]:
                return False
            self._rig = SensorRig(Calibration(camera), self.event_window_ns)
            return True
        calibration = self._rig.calibration
        if _same_camera(getattr(calibration, key), camera):
            return False
        self._rig = SensorRig(replace(calibration, **{key: camera}), self.event_window_ns)
        return True

    def set_mount(self, stream: str, to_camera: np.ndarray) -> bool:
        """Use another (4, 4) transform of one of MOUNTED_STREAMS; returns whether it differs from the present one."""
        key = _MOUNT_FIELDS[stream]
        if self._rig is None:
            return False
        present = getattr(self._rig.calibration, key)
        if present is not None and np.allclose(present, to_camera, rtol=0.0, atol=_SAME_MOUNT):
            return False
        self._rig = self._rig.remounted(**{key: to_camera})
        return True

    def build(self, payloads: Mapping[str, Sequence[Any]], stamp_ns: int) -> Frame:
        """Read and project one set.

        Args:
            payloads: modality -> its message-like objects in order of stamp; of events all count, else the newest.
            stamp_ns: stamp of the set.

        Returns:
            Frame with what could be used; never raises for a bad message.
        """
        frame = Frame(stamp_ns, {}, {})
        for name in canonical(payloads, within=MODALITIES):
            try:
                sample = _READERS[name](payloads[name])
                frame.planes.update(self._project(name, sample, stamp_ns))
                frame.samples[name] = sample
            except UserError as error:
                frame.errors[name] = str(error)
        return frame

    def _project(self, name: str, array: np.ndarray, stamp_ns: int) -> dict[str, np.ndarray]:
        if self._rig is not None:
            return self._rig.planes({name: array}, stamp_ns)
        if name == CAMERA_STREAMS[0]:
            return {name: array}
        raise UserError(f"{name}: no camera geometry yet: give a calibration file or publish the camera's camera_info")


def _same_camera(present: CameraModel | None, new: CameraModel) -> bool:
    return (
        present is not None
        and (present.width, present.height, present.distortion_model) == (new.width, new.height, new.distortion_model)
        and np.array_equal(present.K, new.K)
        and np.array_equal(present.D, new.D)
        and present.frame_id == new.frame_id
    )
