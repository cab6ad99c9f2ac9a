"""Where the sensors of a vehicle are: what a calibration file, camera_info and TF say, and what images have shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.messages.transforms import TransformTree
from any2seg_core.runtime.decoding import Reading
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.camera_info import UNNAMED_FRAME, camera_info_notes
from any2seg_core.sensors.images import image_codes, three_channels
from any2seg_core.sensors.places import SensorPlace, place_keys
from any2seg_core.sensors.rig import SensorRig, check_focal_lengths, same_intrinsics, same_view
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, POINTS

_SAME_EXTRINSICS = 1e-6  # metres and radians: the noise of an interpolated transform must not cost new look-up tables


class CameraUpdate(NamedTuple):
    """Whether a camera_info changed the geometry, and what somebody should know about it (told once)."""

    changed: bool
    notes: tuple[str, ...]


class PlaneSource(NamedTuple):
    """All of the geometry that the plane of one sensor is made with; equal: nothing of it has changed.

    Attributes:
        camera, place: of the rig, the very objects; None without a rig. grid: (H, W) of the plane, None as of the
            camera. size: (H, W) of an event sensor. picked: (h, w) of the network that its pixels are picked for.
    """

    camera: CameraModel | None
    place: SensorPlace | None
    grid: tuple[int, int] | None
    size: tuple[int, int] | None
    picked: tuple[int, int] | None = None


class VehicleGeometry:
    """Intrinsics, extrinsics, names of frames and the size of the camera image, as they are by now.

    Args:
        calibration, event_window_ns, suite: as of `FrameBuilder`. rectified: images are rectified.

    Attributes:
        rig: what projects; None as long as no camera is known. image_frame: frame of the newest camera image.
    """

    def __init__(
        self, calibration: Calibration | None, event_window_ns: int, rectified: bool, suite: SensorSuite = VEHICLE
    ) -> None:
        self.rig = None if calibration is None else SensorRig(calibration, event_window_ns, suite)
        self._suite = suite
        self._kinds = {sensor.name: sensor.kind for sensor in suite.sensors}
        self.image_frame = ""
        self._event_window_ns = event_window_ns
        self._rectified = rectified
        self._given = calibration
        self._cameras: dict[str, CameraModel] = {}  # those that wait for the camera plane
        self._connected: dict[str, tuple[str, str]] = {}  # sensor -> frames of its last transform by TF
        self._image_size: tuple[int, int] | None = None  # (H, W) of the newest camera image
        self._sizes: dict[str, tuple[int, int]] = {}  # (H, W) of the newest image of each camera
        self._warned_once: set[str] = set()

    @property
    def camera_frame(self) -> str:
        """Frame of the camera plane: that of the intrinsics, or of the newest image where they name none."""
        camera = None if self.rig is None else self.rig.calibration.camera
        if camera is None or camera.frame_id == UNNAMED_FRAME:
            return self.image_frame or UNNAMED_FRAME
        return camera.frame_id

    @property
    def grid(self) -> tuple[int, int] | None:
        """(H, W) of all planes: that of the camera image, also while it is away; None: that of the intrinsics."""
        if self.rig is None or self._image_size is None:
            return None
        return self._image_size if same_view(self._image_size, self.rig.calibration.camera) else None

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of all planes; None as long as no camera is known: the picture of the camera says it."""
        if self.rig is None:
            return None
        return self.grid or (self.rig.calibration.camera.height, self.rig.calibration.camera.width)

    def forget_image_size(self) -> None:
        """Time has jumped: the next image may have another size."""
        self._image_size = None

    def set_camera_info(self, stream: str, message: Any) -> CameraUpdate:
        """As `FrameBuilder.set_camera_info`."""
        camera = CameraModel.from_camera_info(message, self._rectified, self._size_of(stream))
        known = None if self._given is None else self._given.place(stream, self._suite).camera
        check_focal_lengths(camera, known)
        found = {f"{stream}: {note}": note for note in camera_info_notes(message, self._rectified)}
        notes = tuple(note for key, note in found.items() if key not in self._warned_once)
        self._warned_once |= set(found)
        return CameraUpdate(self.set_camera(stream, camera), notes)

    def set_camera(self, stream: str, camera: CameraModel) -> bool:
        """As `FrameBuilder.set_camera`."""
        if self.rig is None:
            self._cameras[stream] = camera
            if stream != self._suite.camera:
                return False
            calibration = Calibration(self._cameras.pop(stream))
            for name, waiting in self._cameras.items():
                calibration = calibration.with_place(name, SensorPlace(waiting), self._suite)
            self.rig = SensorRig(calibration, self._event_window_ns, self._suite)
            return True
        place = self.rig.place(stream)
        if _same_camera(place.camera, camera):
            return False
        self.rig = self.rig.with_place(stream, replace(place, camera=camera))
        return True

    def set_extrinsics(self, stream: str, to_camera: np.ndarray | None) -> bool:
        """As `FrameBuilder.set_extrinsics`."""
        if self.rig is None:
            return False
        place = self.rig.place(stream)
        if place.to_camera is None or to_camera is None:
            is_same = place.to_camera is to_camera
        else:
            is_same = np.allclose(place.to_camera, to_camera, rtol=0.0, atol=_SAME_EXTRINSICS)
        if is_same:
            return False
        self.rig = self.rig.with_place(stream, replace(place, to_camera=to_camera))
        return True

    def find_extrinsics(
        self, transforms: TransformTree, newest: Mapping[str, tuple[str, int]], stamp_ns: int, fixed_frame: str = ""
    ) -> dict[str, np.ndarray | None]:
        """As `FrameBuilder.find_extrinsics`."""
        found: dict[str, np.ndarray | None] = {}
        image_frame, _ = newest.get(self._suite.camera, ("", 0))
        self.image_frame = image_frame or self.image_frame
        if self.rig is None:
            return found
        for name in (name for name in self._suite.members if name in newest and name != self._suite.camera):
            frame_id, taken_ns = newest[name]
            # Only a cloud is as old as its stamp: images and events are warped by their extrinsics alone.
            source_ns = taken_ns if self._kinds[name] == POINTS else stamp_ns
            to_camera = transforms.lookup(self.camera_frame, stamp_ns, frame_id, source_ns, fixed_frame)
            if to_camera is not None:
                found[name], self._connected[name] = to_camera, (self.camera_frame, frame_id)
            elif self._connected.get(name, (self.camera_frame, frame_id)) != (self.camera_frame, frame_id):
                found[name] = None
                del self._connected[name]
        return found

    def check_frame(self, name: str, said: str) -> None:
        """MessageError for a message whose frame_id is not that of its intrinsics or of its pose."""
        place = SensorPlace() if self.rig is None else self.rig.place(name)
        camera = place.camera
        known = place.frame if camera is None or camera.frame_id == UNNAMED_FRAME else camera.frame_id
        if not said or known in (None, UNNAMED_FRAME) or said.lstrip("/") == known.lstrip("/"):
            return
        geometry = "intrinsics are those" if camera is not None else "pose in the calibration is that"
        raise MessageError(
            f"{name}: frame_id is {said[:60]!r}, the {geometry} of {known!r}: correct the publisher or the "
            "calibration, or set check_frames to false",
            "frame",
        )

    def note_size(self, name: str, reading: Reading) -> None:
        """Remember how large the images of a sensor are; those of the camera say how large planes are."""
        kind = self._kinds[name]
        size = reading.size if kind == EVENTS else reading.array.shape[:2]
        if kind != POINTS and size is not None:
            self._sizes[name] = size
        camera = None if self.rig is None else self.rig.calibration.camera
        if name == self._suite.camera and size is not None and (camera is None or same_view(size, camera)):
            self._image_size = size

    def pixels(self, name: str, size: tuple[int, int] | None) -> int:
        """How many pixels an event sensor has; `size` is what its messages say."""
        if size is None and self.rig is not None:
            camera = self.rig.place(name).camera or self.rig.calibration.camera
            size = (camera.height, camera.width)
        return size[0] * size[1] if size is not None else 1 << 20

    def require_pose(self, name: str, frame_id: str) -> None:
        """MessageError for a cloud of which nobody says where it is; other sensors are taken as the camera's own."""
        if self._kinds[name] == POINTS and self.rig is not None and self.rig.place(name).to_camera is None:
            raise MessageError(
                f"{name}: no transform from its frame {frame_id[:60]!r} to the camera's "
                f"{self.camera_frame!r} is known: it must be in TF or, as "
                f"{place_keys(name, self._suite).to_camera}, in the calibration file",
                "transform",
            )

    def source(self, name: str, reading: Reading, picked: tuple[int, int] | None = None) -> PlaneSource:
        """What `project` makes a plane with, beside the message and the stamp."""
        if self.rig is None:
            return PlaneSource(None, None, None, reading.size)
        return PlaneSource(self.rig.calibration.camera, self.rig.place(name), self.grid, reading.size, picked)

    def project(self, name: str, reading: Reading, stamp_ns: int, picked: tuple[int, int] | None = None) -> np.ndarray:
        """Plane (H, W, 3) uint8 of one sensor, on `grid`; UserError or MessageError where the geometry does not fit.

        ``picked``: (h, w) of a network for whose pixels alone a plane of points or events is made, see `rig.planes`.
        """
        if self.rig is not None:
            parts = {} if picked is None else {name: picked}
            return self.rig.planes({name: reading.array}, stamp_ns, self.grid, reading.size, parts)[name]
        if name == self._suite.camera:
            return three_channels(image_codes(reading.array, self._suite.sensor(name)))
        way_out = "give a calibration file or publish the camera's camera_info"
        raise MessageError(f"{name}: no camera geometry yet: {way_out}", "intrinsics")

    def _size_of(self, stream: str) -> tuple[int, int] | None:
        """(H, W) of the images of a stream, for intrinsics that do not say it: of the last one, else as calibrated."""
        camera = None if self.rig is None else self.rig.place(stream).camera
        return self._sizes.get(stream) or (None if camera is None else (camera.height, camera.width))


def _same_camera(present: CameraModel | None, new: CameraModel) -> bool:
    return present is not None and same_intrinsics(present, new) and present.frame_id == new.frame_id
