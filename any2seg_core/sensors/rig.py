"""SensorRig: the one road from raw sensor arrays to planes; node, bag reader, predictor and drive writer take it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType

import cv2
import numpy as np

from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.sensors.aligned import points_of_cloud, points_of_depth
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel, same_intrinsics
from any2seg_core.sensors.depth import encode_hha, register_depth, resample_depth
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS, render_events
from any2seg_core.sensors.images import image_codes, three_channels, warp_image
from any2seg_core.sensors.lidar import project_points
from any2seg_core.sensors.picks import Picks, picks
from any2seg_core.sensors.places import SensorPlace, place_keys
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS

_WHOLE: Mapping[str, tuple[int, int]] = MappingProxyType({})
_MOST_SIZES = 8  # of one camera; a driver that changes it has few
_SAME_ROTATION = 1e-6
_FOCAL_FACTOR = 2.0  # no lens changes by itself so much; a K of CARLA 0.9.16 is off by four and more


class SensorRig:
    """Geometry of one sensor head, ready to turn raw arrays into planes.

    Args:
        calibration: cameras and transforms; only what the given sensors need must be there.
        event_window_ns: length of the event window that ends at the stamp of a set.
        suite: the sensors that there can be.

    Examples:
        >>> import numpy as np
        >>> from any2seg_core import Calibration, CameraModel, SensorRig
        >>> lidar_to_camera = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
        >>> rig = SensorRig(Calibration(CameraModel.from_fov(161, 97, 90.0), lidar_to_camera=lidar_to_camera))
        >>> points = np.array([[10, 0, 0, 0.5]], np.float32)  # one return, 10 m ahead
        >>> plane = rig.planes({"lidar": points}, stamp_ns=0)["lidar"]
        >>> plane.shape, np.argwhere(plane[..., 0]).mean(axis=0).tolist()  # it is drawn around the middle
        ((97, 161, 3), [48.0, 80.0])
    """

    def __init__(
        self, calibration: Calibration, event_window_ns: int = DEFAULT_WINDOW_NS, suite: SensorSuite = VEHICLE
    ) -> None:
        if event_window_ns <= 0:
            raise UserError(f"event_window_ns: must be positive, got {event_window_ns}", "value-range")
        self.calibration = calibration
        self.event_window_ns = int(event_window_ns)
        self.suite = suite
        self._places = {name: calibration.place(name, suite) for name in suite.members}
        # Look-up tables are kept per camera object, so each size that is in use gets one object.
        self._scaled: dict[str, dict[tuple[int, int], CameraModel]] = {name: {} for name in suite.members}

    def planes(
        self,
        raw: dict[str, np.ndarray],
        stamp_ns: int,
        size: tuple[int, int] | None = None,
        event_size: tuple[int, int] | None = None,
        picked: Mapping[str, tuple[int, int]] = _WHOLE,
    ) -> dict[str, np.ndarray]:
        """Brings samples to the camera plane.

        Args:
            raw: per sensor either a plane, (H, W, 3) uint8, passed on as it is, or the raw array: depth (H', W')
                float metres along the optical axis of the depth camera; points (N, 4) float x, y, z (metres, own
                frame), intensity 0..1; events structured array EVENT_DTYPE (t in nanoseconds); images as
                `image_codes` takes them. What image sensors other than the camera have in 3 channels is their own
                picture, no plane, and brought to the camera's grid like all of theirs.
            stamp_ns: end of the event window.
            size: (H, W) of the planes made here; default: the size of the calibrated camera.
            event_size: (H', W') of the grid that events index; default: the size of the calibrated event camera.
            picked: sensor of points or events -> (h, w) of the network; of raw arrays of it only those pixels of the
                plane are made that `picks` says the network reads.

        Returns:
            Per modality (H, W, 3) uint8, canonical order; (h, w, 3) where pixels were picked.

        Raises:
            UserError: unknown modality, wrong dtype or shape, a plane of another aspect ratio than the camera, or a
                transform that the calibration lacks.
        """
        camera = self.camera(size)
        planes = {}
        for name in self.suite.canonical(raw):
            array, kind = raw[name], self.suite.sensor(name).kind
            if not isinstance(array, np.ndarray):
                raise UserError(f"{name}: expected a NumPy array, got {type(array).__name__}", "array-shape")
            if kind == IMAGE:
                planes[name] = self._image(name, array, camera)
            elif is_plane(array):
                planes[name] = self._plane(name, array)
            elif kind == DEPTH:
                planes[name] = self._depth(name, array, camera)
            elif kind == EVENTS:
                planes[name] = self._events(
                    name, array, stamp_ns, camera, event_size, self._picks(picked, name, camera)
                )
            else:
                planes[name] = self._points(name, array, camera, self._picks(picked, name, camera))
        return planes

    def aligned_points(self, raw: dict[str, np.ndarray], size: tuple[int, int] | None = None) -> np.ndarray | None:
        """The point that each pixel of the camera's grid shows: of a depth image, without one of a cloud.

        Args:
            raw: per sensor the raw array, as `planes` takes it; of several the first in the order of the suite.
            size: (H, W) of the grid; default: the camera's own.

        Returns:
            (H, W, 3) float32 x, y, z in metres, optical frame of the camera, NaN where nothing is known; None where
            neither depth nor a cloud is there.

        Raises:
            UserError: as `planes`.
        """
        camera = self.camera(size)
        for name in self.suite.of_kind(DEPTH):
            if name in raw:
                return points_of_depth(self._depth_on_grid(name, raw[name], camera), camera)
        for name in self.suite.of_kind(POINTS):
            to_camera = self._places[name].to_camera
            if name in raw and to_camera is not None:
                return points_of_cloud(raw[name], to_camera, camera)
        return None

    def place(self, name: str) -> SensorPlace:
        """What is known of one sensor."""
        return self._places[name]

    def with_place(self, name: str, place: SensorPlace) -> SensorRig:
        """The same rig with another place of one sensor; look-up tables are shared where its intrinsics stay."""
        calibration = self.calibration.with_place(name, place, self.suite)
        if place.camera is not self._places[name].camera:
            return SensorRig(calibration, self.event_window_ns, self.suite)
        other = copy(self)
        other.calibration, other._places = calibration, {**self._places, name: place}
        return other

    def camera(self, size: tuple[int, int] | None = None) -> CameraModel:
        """The calibrated camera on a grid of `size` = (H, W); default: its own."""
        own = self.calibration.camera
        return own if size is None else _cached_scale(self._scaled[self.suite.camera], own, size)

    def _plane(self, name: str, plane: np.ndarray) -> np.ndarray:
        camera = self.calibration.camera
        if not same_view(plane.shape[:2], camera):
            raise UserError(
                f"{name}: plane is {_w_x_h(plane.shape)} (W x H), the camera is {camera.width}x{camera.height} by "
                "its calibration: give an image of that size or the calibration of this camera",
                "calibration-size",
            )
        return plane

    def _image(self, name: str, array: np.ndarray, camera: CameraModel) -> np.ndarray:
        sensor = self.suite.sensor(name)
        codes = image_codes(array, sensor)
        if name == self.suite.camera:
            return self._plane(name, three_channels(codes))
        source, to_camera = self._own_camera(name, codes.shape), self._places[name].to_camera
        rotation = np.eye(3) if to_camera is None else to_camera[:3, :3]
        if not (same_intrinsics(source, camera) and np.allclose(rotation, np.eye(3), atol=_SAME_ROTATION)):
            shrink = int(source.K[0, 0] / camera.K[0, 0])
            if shrink > 1:  # finer than the plane: pixels between those that are looked up count too
                small = max(codes.shape[1] // shrink, 1), max(codes.shape[0] // shrink, 1)
                codes = cv2.resize(codes, small, interpolation=cv2.INTER_AREA)
                source = self._own_camera(name, codes.shape)
            codes = warp_image(codes, source, camera, rotation)
        return three_channels(codes)

    def _depth(self, name: str, array: np.ndarray, camera: CameraModel) -> np.ndarray:
        if array.ndim != 2 or array.dtype.kind != "f" or array.size == 0:
            raise UserError(
                f"{name}: expected (H, W) float32 in metres, got {array.shape} {array.dtype}; "
                "divide 16-bit millimetres by 1000",
                "array-shape",
            )
        return encode_hha(self._depth_on_grid(name, array, camera), camera)

    def _depth_on_grid(self, name: str, array: np.ndarray, camera: CameraModel) -> np.ndarray:
        source = self._own_camera(name, array.shape)
        to_camera = self._places[name].to_camera
        if to_camera is not None and not np.allclose(to_camera, np.eye(4), atol=1e-6):
            return register_depth(array, source, to_camera, camera)
        return array if same_intrinsics(source, camera) else resample_depth(array, source, camera)

    def _own_camera(self, name: str, shape: tuple[int, ...]) -> CameraModel:
        """Intrinsics of a sensor for pictures of `shape`; those of the camera where it has none."""
        own, key = self._places[name].camera, place_keys(name, self.suite).camera
        camera = own or self.calibration.camera
        if not same_view(shape, camera):
            said = key if own is not None else f"{place_keys(self.suite.camera, self.suite).camera} (there is no {key})"
            raise UserError(
                f"{name}: image is {_w_x_h(shape)} (W x H), the calibration says {camera.width}x{camera.height} for "
                f"{said}: add or correct {key} in the calibration",
                "calibration-size",
            )
        return _cached_scale(self._scaled[name], camera, (shape[0], shape[1]))

    @staticmethod
    def _picks(picked: Mapping[str, tuple[int, int]], name: str, camera: CameraModel) -> Picks | None:
        return picks((camera.height, camera.width), picked[name]) if name in picked else None

    def _events(
        self,
        name: str,
        array: np.ndarray,
        stamp_ns: int,
        camera: CameraModel,
        size: tuple[int, int] | None,
        picked: Picks | None,
    ) -> np.ndarray:
        event_camera = self._places[name].camera or self.calibration.camera
        if size is not None and size != (event_camera.height, event_camera.width):
            if not same_view(size, event_camera):
                raise UserError(
                    f"{name}: sensor is {_w_x_h(size)} (W x H), the calibration says {event_camera.width}x"
                    f"{event_camera.height}: add or correct {place_keys(name, self.suite).camera} in the calibration",
                    "calibration-size",
                )
            event_camera = _cached_scale(self._scaled[name], event_camera, size)
        to_camera = self._places[name].to_camera
        rotation = np.eye(3) if to_camera is None else to_camera[:3, :3]
        return render_events(array, stamp_ns, self.event_window_ns, event_camera, camera, rotation, picked)

    def _points(self, name: str, array: np.ndarray, camera: CameraModel, picked: Picks | None) -> np.ndarray:
        if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind != "f":
            raise UserError(
                f"{name}: expected (N, 4) float32 x, y, z in metres and intensity 0..1, got {array.shape} "
                f"{array.dtype}",
                "array-shape",
            )
        to_camera = self._places[name].to_camera
        if to_camera is None:
            key = place_keys(name, self.suite).to_camera
            raise UserError(
                f"{name}: the calibration has no {key}: add this 4x4 transform to the file", "extrinsics-missing"
            )
        return project_points(array, to_camera, camera, picked)


def is_plane(array: np.ndarray) -> bool:
    """Whether an array already is a plane, (H, W, 3) uint8."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3


def _cached_scale(cache: dict[tuple[int, int], CameraModel], camera: CameraModel, size: tuple[int, int]) -> CameraModel:
    key = (int(size[0]), int(size[1]))
    scaled = cache.pop(key, None) or camera.scaled(width=key[1], height=key[0])
    cache[key] = scaled  # the newest last
    if len(cache) > _MOST_SIZES:
        del cache[next(iter(cache))]
    return scaled


def same_view(shape: tuple[int, ...], camera: CameraModel) -> bool:
    """Whether an image of `shape` can be this camera's picture at some scale: same aspect up to one pixel."""
    height, width = shape[:2]
    if height == 0 or width == 0:
        return False
    return abs(width * camera.height - height * camera.width) <= max(camera.width, camera.height)


def check_focal_lengths(said: CameraModel, known: CameraModel | None) -> None:
    """MessageError when a camera_info contradicts the calibration; another size may be scaled or cut out."""
    if known is None:
        return
    scales = (1.0, said.width / known.width, said.height / known.height)
    for axis in range(2):
        focal, expected = said.K[axis, axis], known.K[axis, axis]
        low, high = min(scales) * expected / _FOCAL_FACTOR, max(scales) * expected * _FOCAL_FACTOR
        if not low <= focal <= high:
            raise MessageError(
                f"camera_info: focal length {focal:.0f} px contradicts the calibration's {expected:.0f} px at "
                f"{known.width}x{known.height} (CARLA 0.9.16 publishes a wrong K): correct the publisher or the file",
                "geometry",
            )


def _w_x_h(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
