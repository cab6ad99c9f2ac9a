"""FrameBuilder: message-like payloads of one set -> planes. The live node, recordings and files all take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.messages.transforms import TransformTree
from any2seg_core.messages.typical import typical_messages
from any2seg_core.runtime.decoding import Reading, SetDecoder, frame_of
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.geometry import CameraUpdate, VehicleGeometry
from any2seg_core.runtime.input_options import InputOptions, input_options
from any2seg_core.runtime.plane_memory import PlaneMemory
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.emptiness import is_empty, why_empty
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sensors.health import Fault, HealthMonitor
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sensors.pixel_counts import count_pixels
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS

_NO_OFFSETS: Mapping[str, int] = MappingProxyType({})
_WHOLE: Mapping[str, tuple[int, int]] = MappingProxyType({})
_TELLING_EVENTS = 100  # so many around an empty window are no still scene

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class FrameBuilder:
    """Reads the payloads of a set and brings them to the camera plane, through the one SensorRig.

    Each set goes once through the stages read, health, pose, projection and emptiness, all its sensors through one
    stage before the next. A sensor that fails a stage costs itself only: it is named in ``Frame.errors``.

    Args:
        calibration: intrinsics and extrinsics; intrinsics are replaced by `set_camera`. None: only the camera image
            can be used, and only after `set_camera` or an image of any size.
        event_window_ns: length of the event window that ends at the stamp of the set.
        options: how messages are read and when a sensor is ill.
        suite: the sensors that there can be.
    """

    def __init__(
        self,
        calibration: Calibration | None,
        event_window_ns: int = DEFAULT_WINDOW_NS,
        options: InputOptions | None = None,
        suite: SensorSuite = VEHICLE,
    ) -> None:
        self.event_window_ns = event_window_ns
        self.options = options or input_options({}, suite)
        self.suite = suite
        self._geometry = VehicleGeometry(calibration, event_window_ns, self.options.rectified, suite)
        self._decoder = SetDecoder(self.options, event_window_ns, suite)
        self._health = HealthMonitor(self.options.health)
        self._planes = PlaneMemory()
        self._warned_once: set[str] = set()

    @property
    def rig(self) -> SensorRig | None:
        """The geometry in use; None as long as no camera is known."""
        return self._geometry.rig

    @property
    def camera_frame(self) -> str:
        """Frame of the camera plane: that of the intrinsics, or of the newest image where they name none."""
        return self._geometry.camera_frame

    @property
    def event_counts(self) -> Counter[str]:
        """What the decoders of event packets counted, see `EventStream.counts`."""
        return self._decoder.event_counts

    def set_health(self, config: HealthConfig) -> None:
        """Use other thresholds from now on; what was seen so far is kept."""
        self.options = replace(self.options, health=config)
        self._health.config = config

    def reset(self) -> None:
        """Forget decoder states, the size of the image and what freezing and silence need: time has jumped."""
        self._decoder.reset()
        self._health.reset()
        self._geometry.forget_image_size()
        self._planes.forget()

    def warm_up(self, picked: Mapping[str, tuple[int, int]] = _WHOLE) -> None:
        """Compile the kernels of common messages and of the projection, so that the first real set is not the slow one.

        Without a calibration there is no projection yet, and nothing is done. ``picked``: as `build` will be given it.
        """
        if self.rig is None:
            return
        cameras = {name: self.rig.place(name).camera or self.rig.calibration.camera for name in self.suite.members}
        sizes = {name: (camera.height, camera.width) for name, camera in cameras.items()}
        for name, message in typical_messages(self.suite, sizes).items():
            with suppress(UserError):  # a calibration may lack what this sensor needs; its first message will say so
                reading = self._decoder.decode(name, [message], stamp_ns=1)
                self._geometry.note_size(name, reading)
                self._fault_of(name, reading, stamp_ns=1)
                plane = self._geometry.project(name, reading, stamp_ns=1)
                count_pixels(plane[::2, ::2], above=0, below=256)  # as health checks and scores do
                self._geometry.project(name, reading, 1, picked.get(name))
                if self.suite.sensor(name).kind == EVENTS:  # few and many take different kernels
                    pixels = self._geometry.pixels(name, reading.size)
                    many = replace(reading, array=np.resize(reading.array, pixels))
                    self._geometry.project(name, many, stamp_ns=1)
        self._decoder.forget_scales()
        self.reset()

    def receive(self, stream: str, message: Any) -> Any:
        """Takes a message as it arrives and returns the payload for `build`.

        EventPacket and EventArray are decoded here, because the decoder must see every message once and in order,
        also those that no set will use. Everything else comes back as it is. May run in another thread than `build`.

        Raises:
            MessageError: an event message that cannot be decoded.
        """
        return self._decoder.receive(stream, message)

    def set_camera_info(self, stream: str, message: Any) -> CameraUpdate:
        """Use the intrinsics of a sensor_msgs/CameraInfo for a sensor that is no point cloud.

        Raises:
            MessageError: uncalibrated, malformed, implausible (CARLA 0.9.16), or a focal length more than twofold off
                that of the given calibration; the present intrinsics stay in use.
        """
        return self._geometry.set_camera_info(stream, message)

    def set_camera(self, stream: str, camera: CameraModel) -> bool:
        """Use other intrinsics for a sensor that is no point cloud; returns whether that changed the geometry in use.

        Before the first ones of the camera there is no geometry: those of other sensors wait for them.
        """
        return self._geometry.set_camera(stream, camera)

    def set_extrinsics(self, stream: str, to_camera: np.ndarray | None) -> bool:
        """Use another (4, 4) transform of a sensor to the camera, None: none; returns whether it is another one."""
        return self._geometry.set_extrinsics(stream, to_camera)

    def find_extrinsics(
        self, transforms: TransformTree, newest: Mapping[str, tuple[str, int]], stamp_ns: int, fixed_frame: str = ""
    ) -> dict[str, np.ndarray | None]:
        """Extrinsics of one set by TF, for `set_extrinsics`.

        Args:
            newest: modality -> frame_id and stamp of its newest message; that of the camera image is the camera's where
                the intrinsics name none. stamp_ns: stamp of the set.
            fixed_frame: see `TransformTree.lookup`.

        Returns:
            Sensor -> (4, 4) to the camera, for those that are connected to it; None for one whose last transform was
            between other frames.
        """
        return self._geometry.find_extrinsics(transforms, newest, stamp_ns, fixed_frame)

    def build(
        self,
        payloads: Mapping[str, Sequence[Any]],
        stamp_ns: int,
        offsets_ns: Mapping[str, int] = _NO_OFFSETS,
        picked: Mapping[str, tuple[int, int]] = _WHOLE,
    ) -> Frame:
        """Read and project one set.

        Args:
            payloads: modality -> its payloads (messages, what `receive` returned, or `FileArray`) in order of stamp;
                of events all count, else the newest.
            stamp_ns: stamp of the set.
            offsets_ns: sensor -> how far its clock is ahead of that of the stamp: the window of events ends at stamp
                plus offset.
            picked: sensor of points or events -> (h, w) of the network; its plane is made for the pixels alone that
                this reads, where nobody wants to see the rest.

        Returns:
            Frame with what could be used; never raises for a bad message.
        """
        faults: dict[str, Fault] = {}
        notes: list[str] = []
        readings = self._read(payloads, stamp_ns, offsets_ns, faults)
        healthy = _each(readings, faults, lambda name, reading: self._fault_of(name, reading, stamp_ns) or reading)
        posed = _each(healthy, faults, self._with_pose)
        projected = _each(posed, faults, lambda name, reading: self._plane(name, reading, stamp_ns, picked.get(name)))
        planes = _each(
            projected, faults, lambda name, plane: self._filled(name, plane, readings[name], stamp_ns, notes)
        )
        samples = {name: readings[name].array for name in planes}
        frame = self._frame(payloads, stamp_ns, planes, samples, faults, notes)
        return replace(frame, size=self._geometry.size) if picked else frame

    def notice(
        self, payloads: Mapping[str, Sequence[Any]], stamp_ns: int, offsets_ns: Mapping[str, int] = _NO_OFFSETS
    ) -> None:
        """Take a set in without projecting it: later sets are then judged as if it had been built."""
        for name, reading in self._read(payloads, stamp_ns, offsets_ns, {}).items():
            self._fault_of(name, reading, stamp_ns)

    def _read(
        self,
        payloads: Mapping[str, Sequence[Any]],
        stamp_ns: int,
        offsets_ns: Mapping[str, int],
        faults: dict[str, Fault],
    ) -> dict[str, Reading]:
        """First stage; a message of a wrong frame is not decoded."""

        def read(name: str, given: Sequence[Any]) -> Reading:
            frame_id = frame_of(given[-1])
            if name == self.suite.camera:
                self._geometry.image_frame = frame_id or self._geometry.image_frame
            if self.options.check_frames:
                self._geometry.check_frame(name, frame_id)
            reading = self._decoder.decode(name, given, stamp_ns, offsets_ns.get(name, 0))
            self._geometry.note_size(name, reading)
            return reading

        return _each({name: payloads[name] for name in self.suite.canonical(payloads)}, faults, read)

    def _fault_of(self, name: str, reading: Reading, stamp_ns: int) -> Fault | None:
        """Second stage: whether the sensor is ill."""
        sensor = self.suite.sensor(name)
        if sensor.kind == EVENTS:
            pixels = self._geometry.pixels(name, reading.size)
            window = stamp_ns, self.event_window_ns
            return self._health.check_events(name, reading.array, *window, pixels, reading.total)
        fault = self._health.check(sensor, reading.array, reading.message_ns)
        if fault is not None and fault.reason == "black":
            return fault._replace(text=fault.text + self._decoder.why_black(name))
        return fault

    def _with_pose(self, name: str, reading: Reading) -> Reading:
        """Third stage: whether it is known where the sensor is."""
        if reading.frame_id is not None:  # of files the calibration alone says it, and the projection misses it
            self._geometry.require_pose(name, reading.frame_id)
        return reading

    def _plane(self, name: str, reading: Reading, stamp_ns: int, picked: tuple[int, int] | None) -> np.ndarray:
        """Fourth stage: its plane; a message that comes again is not projected again."""
        make = partial(self._geometry.project, name, reading, stamp_ns, picked)
        return self._planes.plane(name, reading, self._geometry.source(name, reading, picked), make)

    def _filled(
        self, name: str, plane: np.ndarray, reading: Reading, stamp_ns: int, notes: list[str]
    ) -> np.ndarray | Fault:
        """Last stage: a plane without a pixel is none; what lies between picked pixels counts."""
        if not is_empty(plane):
            return plane
        if plane.shape[:2] != self._geometry.size and self._geometry.size is not None:
            plane = self._geometry.project(name, reading, stamp_ns)
            if not is_empty(plane):
                return plane
        sample = reading.array
        notes.extend(self._note_empty(name, sample, stamp_ns))
        return Fault("empty", why_empty(self.suite.sensor(name), sample, self.rig, stamp_ns))

    def _note_empty(self, name: str, sample: np.ndarray, stamp_ns: int) -> list[str]:
        """What to tell, once, about a window that no event fell into although the messages around it hold many."""
        if self.suite.sensor(name).kind != EVENTS:
            return []
        times_ns = sample["t"]
        start_ns = stamp_ns - self.event_window_ns
        is_inside = bool(np.any((times_ns > start_ns) & (times_ns <= stamp_ns)))
        if is_inside or len(times_ns) < _TELLING_EVENTS or name in self._warned_once:
            return []
        self._warned_once.add(name)
        distances_ns = np.where(times_ns > stamp_ns, times_ns - stamp_ns, times_ns - start_ns)
        nearest_ms = distances_ns[np.argmin(np.abs(distances_ns))] / 1e6
        side = "after" if nearest_ms > 0 else "before"
        return [
            f"{name}: its messages hold {len(times_ns)} events, none of them within the window of the set; the nearest "
            f"is {abs(nearest_ms):.1f} ms {side} it: the times of the events and the stamps of their messages differ"
        ]

    def _frame(
        self,
        payloads: Mapping[str, Sequence[Any]],
        stamp_ns: int,
        planes: dict[str, np.ndarray],
        samples: dict[str, np.ndarray],
        faults: dict[str, Fault],
        notes: list[str],
    ) -> Frame:
        """The account of all stages."""
        left_out = self.suite.canonical(faults)
        repeats = {name: self._health.repetition(name) for name in self.suite.canonical(payloads)}
        return Frame(
            stamp_ns,
            planes,
            errors={name: faults[name].text for name in left_out},
            reasons={name: faults[name].reason for name in left_out},
            samples=samples,
            notes=[*notes, *self._decoder.take_notes()],
            repeats={name: share for name, share in repeats.items() if share},
            codes={name: faults[name].code for name in left_out if faults[name].code},
            rig=self.rig,
            frame_id=(self._geometry.image_frame if self.suite.camera in payloads else "") or self.camera_frame,
        )


def _each(
    given: Mapping[str, _Given], faults: dict[str, Fault], stage: Callable[[str, _Given], _Made | Fault]
) -> dict[str, _Made]:
    """What one stage makes of each sensor; one that it refuses gets an entry in `faults` and goes no further."""
    made: dict[str, _Made] = {}
    for name, value in given.items():
        try:
            result = stage(name, value)
        except UserError as error:
            result = Fault(getattr(error, "reason", "geometry"), error.with_code, error.code)
        if isinstance(result, Fault):
            faults[name] = result
        else:
            made[name] = result
    return made
