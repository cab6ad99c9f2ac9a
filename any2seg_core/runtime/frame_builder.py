"""FrameBuilder: message-like payloads of one set -> planes. The live node and the offline bag reader both take it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.messages.event_stream import Events, EventStream
from any2seg_core.messages.readers import StreamReader, needs_event_stream, read_events
from any2seg_core.messages.transforms import TransformTree
from any2seg_core.messages.typical import typical_messages
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.sensors.calibration import CAMERA_FIELDS, EXTRINSICS_FIELDS, Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.camera_info import UNNAMED_FRAME, camera_info_notes
from any2seg_core.sensors.emptiness import is_empty, why_empty
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sensors.health import Fault, HealthMonitor
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sensors.rig import SensorRig, check_focal_lengths, same_intrinsics, same_view
from any2seg_core.vocabulary.modalities import LIDAR, MODALITIES, RGB, WINDOWED, canonical

_SAME_MOUNT = 1e-6  # metres and radians: the noise of an interpolated transform must not cost new look-up tables
_REMEMBERED_PACKETS = 256
_TELLING_EVENTS = 100  # so many around an empty window are no still scene


@dataclass(frozen=True)
class Frame:
    """One set on the camera plane.

    Attributes:
        stamp_ns: stamp of the set, end of the event window.
        planes: per usable modality (H, W, 3) uint8, canonical order, all of one size: that of the camera image of the
            set, else of the last one since the last reset, else of the camera's intrinsics. Empty when nothing could be
            read.
        errors: per unusable modality why, one line; unusable is also one without a single pixel in its plane.
        reasons: per unusable modality a stable key to count by, of MESSAGE_REASONS (the message is bad) or of
            HEALTH_REASONS (the sensor is ill).
        samples: per usable modality the array that its plane was made of, as `SensorRig.planes` takes it; times of
            events in the clock of the stamp.
        notes: what somebody should know about the streams, one line each, told once.
        repeats: per modality that repeats itself, how near it is to frozen, 0..1 (`HealthMonitor.repetition`).
        rig: geometry that the planes were made with; None as long as no camera is known.
        frame_id: frame of the planes: that of the camera image of the set, else of the camera.
    """

    stamp_ns: int
    planes: dict[str, np.ndarray]
    errors: dict[str, str]
    reasons: dict[str, str]
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    repeats: dict[str, float] = field(default_factory=dict)
    rig: SensorRig | None = None
    frame_id: str = ""


class CameraUpdate(NamedTuple):
    """Whether a camera_info changed the geometry, and what somebody should know about it (told once)."""

    changed: bool
    notes: tuple[str, ...]


class FrameBuilder:
    """Reads the payloads of a set and brings them to the camera plane, through the one SensorRig.

    A payload that cannot be read, or whose sensor is ill, costs its own modality only: it is named in ``Frame.errors``.

    Args:
        calibration: intrinsics and extrinsics; intrinsics are replaced by `set_camera`. None: only the camera image
            can be used, and only after `set_camera` or an image of any size.
        event_window_ns: length of the event window that ends at the stamp of the set.
        options: how messages are read and when a sensor is ill.
    """

    def __init__(
        self,
        calibration: Calibration | None,
        event_window_ns: int = DEFAULT_WINDOW_NS,
        options: InputOptions | None = None,
    ) -> None:
        self.event_window_ns = event_window_ns
        self.options = options or InputOptions()
        self._rig = None if calibration is None else SensorRig(calibration, event_window_ns)
        self._given = calibration
        self._cameras: dict[str, CameraModel] = {}  # those that wait for the camera plane
        self._image_frame = ""
        self._connected: dict[str, tuple[str, str]] = {}  # modality -> frames of its last transform by TF
        self._image_size: tuple[int, int] | None = None  # (H, W) of the newest camera image
        self._sizes: dict[str, tuple[int, int]] = {}  # (H, W) of the newest image of each camera
        self._event_streams: dict[str, EventStream] = {}
        self._decoded: OrderedDict[int, tuple[Any, Events]] = OrderedDict()
        self._reader = StreamReader(self.options.intensity_max, self.options.image_bits)
        self._health = HealthMonitor(self.options.health)
        self._warned_once: set[str] = set()

    @property
    def rig(self) -> SensorRig | None:
        """The geometry in use; None as long as no camera is known."""
        return self._rig

    @property
    def camera_frame(self) -> str:
        """Frame of the camera plane: that of the intrinsics, or of the newest image where they name none."""
        camera = None if self._rig is None else self._rig.calibration.camera
        if camera is None or camera.frame_id == UNNAMED_FRAME:
            return self._image_frame or UNNAMED_FRAME
        return camera.frame_id

    @property
    def event_counts(self) -> Counter[str]:
        """What the decoders of event packets counted, see `EventStream.counts`."""
        return sum((stream.counts for stream in self._event_streams.values()), Counter())

    def set_health(self, config: HealthConfig) -> None:
        """Use other thresholds from now on; what was seen so far is kept."""
        self.options = replace(self.options, health=config)
        self._health.config = config

    def reset(self) -> None:
        """Forget decoder states, the size of the image and what freezing and silence need: time has jumped."""
        for stream in self._event_streams.values():
            stream.reset()
        self._decoded.clear()
        self._health.reset()
        self._image_size = None

    def warm_up(self) -> None:
        """Compile the kernels of common messages and of the projection, so that the first real set is not the slow one.

        Without a calibration there is no projection yet, and nothing is done.
        """
        if self._rig is None:
            return
        calibration = self._rig.calibration
        depth_camera = calibration.depth_camera or calibration.camera
        for name, message in typical_messages((depth_camera.height, depth_camera.width)).items():
            with suppress(UserError):  # a calibration may lack what this sensor needs; its first message will say so
                sample, size, _ = self._read(name, [message], stamp_ns=1)
                self._project(name, sample, 1, size)
        self._reader.forget()
        self.reset()

    def receive(self, stream: str, message: Any) -> Any:
        """Takes a message as it arrives and returns the payload for `build`.

        EventPacket and EventArray are decoded here, because the decoder must see every message once and in order,
        also those that no set will use. Everything else comes back as it is. May run in another thread than `build`.

        Raises:
            MessageError: an event message that cannot be decoded.
        """
        if stream not in WINDOWED or not needs_event_stream(message):
            return message
        return self._event_streams.setdefault(stream, EventStream()).decode(message)

    def set_camera_info(self, stream: str, message: Any) -> CameraUpdate:
        """Use the intrinsics of a sensor_msgs/CameraInfo for one of CAMERA_FIELDS.

        Raises:
            MessageError: uncalibrated, malformed, implausible (CARLA 0.9.16), or a focal length more than twofold off
                that of the given calibration; the present intrinsics stay in use.
        """
        camera = CameraModel.from_camera_info(message, self.options.rectified, self._size_of(stream))
        check_focal_lengths(camera, getattr(self._given, CAMERA_FIELDS[stream], None))
        found = {f"{stream}: {note}": note for note in camera_info_notes(message, self.options.rectified)}
        notes = tuple(note for key, note in found.items() if key not in self._warned_once)
        self._warned_once |= set(found)
        return CameraUpdate(self.set_camera(stream, camera), notes)

    def _size_of(self, stream: str) -> tuple[int, int] | None:
        """(H, W) of the images of a stream, for intrinsics that do not say it: of the last one, else as calibrated."""
        camera = None if self._rig is None else getattr(self._rig.calibration, CAMERA_FIELDS[stream])
        return self._sizes.get(stream) or (None if camera is None else (camera.height, camera.width))

    def set_camera(self, stream: str, camera: CameraModel) -> bool:
        """Use other intrinsics for one of CAMERA_FIELDS; returns whether that changed the geometry in use.

        Before the first ones of the camera there is no geometry: those of other sensors wait for them.
        """
        key = CAMERA_FIELDS[stream]
        if self._rig is None:
            self._cameras[key] = camera
            if stream == RGB:
                self._rig = SensorRig(Calibration(**self._cameras), self.event_window_ns)
            return self._rig is not None
        calibration = self._rig.calibration
        if _same_camera(getattr(calibration, key), camera):
            return False
        self._rig = SensorRig(replace(calibration, **{key: camera}), self.event_window_ns)
        return True

    def set_extrinsics(self, stream: str, to_camera: np.ndarray | None) -> bool:
        """Use another (4, 4) transform of one of EXTRINSICS_FIELDS, None: none; returns whether it is another one."""
        key = EXTRINSICS_FIELDS[stream]
        if self._rig is None:
            return False
        present = getattr(self._rig.calibration, key)
        if present is None or to_camera is None:
            is_same = present is to_camera
        else:
            is_same = np.allclose(present, to_camera, rtol=0.0, atol=_SAME_MOUNT)
        if is_same:
            return False
        self._rig = self._rig.with_extrinsics(**{key: to_camera})
        return True

    def find_extrinsics(
        self, transforms: TransformTree, newest: Mapping[str, tuple[str, int]], stamp_ns: int, fixed_frame: str = ""
    ) -> dict[str, np.ndarray | None]:
        """Extrinsics of one set by TF, for `set_extrinsics`.

        Args:
            newest: modality -> frame_id and stamp of its newest message; that of the camera image is the camera's where
                the intrinsics name none. stamp_ns: stamp of the set.
            fixed_frame: see `TransformTree.lookup`.

        Returns:
            Modality -> (4, 4) to the camera, for those of EXTRINSICS_FIELDS that are connected to it; None for one
            whose last transform was between other frames.
        """
        found: dict[str, np.ndarray | None] = {}
        image_frame, _ = newest.get(RGB, ("", 0))
        self._image_frame = image_frame or self._image_frame
        if self._rig is None:
            return found
        for name in (name for name in EXTRINSICS_FIELDS if name in newest):
            frame_id, taken_ns = newest[name]
            # Only a cloud is as old as its stamp: images and events are warped by their extrinsics alone.
            source_ns = taken_ns if name == LIDAR else stamp_ns
            to_camera = transforms.lookup(self.camera_frame, stamp_ns, frame_id, source_ns, fixed_frame)
            if to_camera is not None:
                found[name], self._connected[name] = to_camera, (self.camera_frame, frame_id)
            elif self._connected.get(name, (self.camera_frame, frame_id)) != (self.camera_frame, frame_id):
                found[name] = None
                del self._connected[name]
        return found

    def build(self, payloads: Mapping[str, Sequence[Any]], stamp_ns: int, event_offset_ns: int = 0) -> Frame:
        """Read and project one set.

        Args:
            payloads: modality -> its payloads (messages, or what `receive` returned) in order of stamp; of events all
                count, else the newest.
            stamp_ns: stamp of the set.
            event_offset_ns: how far the clock of the events is ahead of that of the stamp: their window ends at
                stamp plus offset.

        Returns:
            Frame with what could be used; never raises for a bad message.
        """
        frame = Frame(stamp_ns, {}, {}, {}, rig=self._rig)
        for name in canonical(payloads, within=MODALITIES):
            try:
                sample, size, fault = self._judged(name, payloads[name], stamp_ns, event_offset_ns)
                if fault is None:
                    self._check_pose(name, payloads[name][-1])
                    plane = self._project(name, sample, stamp_ns, size)
                    if is_empty(plane):
                        fault = Fault("empty", why_empty(name, sample, self._rig, stamp_ns))
                        frame.notes.extend(self._note_empty(name, sample, stamp_ns))
                if fault is None:
                    frame.planes[name], frame.samples[name] = plane, sample
                else:
                    frame.reasons[name], frame.errors[name] = fault
            except UserError as error:
                frame.errors[name] = error.with_code
                frame.reasons[name] = getattr(error, "reason", "geometry")
            if repeated := self._health.repetition(name):
                frame.repeats[name] = repeated
        frame.notes.extend(self._reader.take_notes())
        return replace(frame, frame_id=(self._image_frame if RGB in payloads else "") or self.camera_frame)

    def notice(self, payloads: Mapping[str, Sequence[Any]], stamp_ns: int, event_offset_ns: int = 0) -> None:
        """Take a set in without projecting it: later sets are then judged as if it had been built."""
        for name in canonical(payloads, within=MODALITIES):
            with suppress(UserError):
                self._judged(name, payloads[name], stamp_ns, event_offset_ns)

    def _judged(
        self, name: str, payloads: Sequence[Any], stamp_ns: int, event_offset_ns: int
    ) -> tuple[np.ndarray, tuple[int, int] | None, Fault | None]:
        """As `_read`, after a look at the frame_id."""
        if name == RGB:
            self._image_frame = _frame_of(payloads[-1]) or self._image_frame
        if self.options.check_frames:
            self._check_frame(name, payloads[-1])
        return self._read(name, payloads, stamp_ns, event_offset_ns)

    def _read(
        self, name: str, payloads: Sequence[Any], stamp_ns: int, event_offset_ns: int = 0
    ) -> tuple[np.ndarray, tuple[int, int] | None, Fault | None]:
        """Array of a modality, size of its sensor where the message says it, and its fault, if any."""
        if name in WINDOWED:
            events, size, total = self._read_events(name, payloads, stamp_ns, event_offset_ns)
            if size is not None:
                self._sizes[name] = size
            fault = self._health.check_events(events, stamp_ns, self.event_window_ns, self._pixels(size), total)
            return events, size, fault
        message = payloads[-1]
        array = self._reader.read(name, message)
        if name in CAMERA_FIELDS:
            self._sizes[name] = array.shape[:2]
        if name == RGB and (self._rig is None or same_view(array.shape, self._rig.calibration.camera)):
            self._image_size = array.shape[:2]
        fault = self._health.check(name, array, _stamp_key(message, stamp_ns))
        if fault is not None and fault.reason == "black":
            fault = fault._replace(text=fault.text + self._reader.why_black())
        return array, None, fault

    def _read_events(
        self, name: str, payloads: Sequence[Any], stamp_ns: int, offset_ns: int
    ) -> tuple[np.ndarray, tuple[int, int] | None, int]:
        """Events of all payloads of the newest sensor size, that size, and how many events its stream had so far.

        Times are brought to the clock of the stamp; a rendered picture counts as the middle of the window.
        """
        parts = [self._events_of(name, payload, stamp_ns + offset_ns) for payload in payloads]
        size = (parts[-1].height, parts[-1].width)
        arrays = [part.events for part in parts if (part.height, part.width) == size]
        events = arrays[0] if len(arrays) == 1 and not offset_ns else np.concatenate(arrays)  # a copy: t changes
        if offset_ns:
            events["t"] -= offset_ns
        return events, size if all(size) else None, parts[-1].total

    def _note_empty(self, name: str, sample: np.ndarray, stamp_ns: int) -> list[str]:
        """What to tell, once, about a window that no event fell into although the messages around it hold many."""
        if name not in WINDOWED:
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

    def _events_of(self, name: str, payload: Any, stamp_ns: int) -> Events:
        if isinstance(payload, Events):
            return payload
        if not needs_event_stream(payload):
            return read_events(payload, stamp_ns - self.event_window_ns // 2)
        if id(payload) not in self._decoded:  # a packet reaches into several windows and is decoded once
            self._decoded[id(payload)] = (payload, self.receive(name, payload))
            while len(self._decoded) > _REMEMBERED_PACKETS:
                self._decoded.popitem(last=False)
        return self._decoded[id(payload)][1]

    def _pixels(self, size: tuple[int, int] | None) -> int:
        if size is None and self._rig is not None:
            camera = self._rig.calibration.event_camera or self._rig.calibration.camera
            size = (camera.height, camera.width)
        return size[0] * size[1] if size is not None else 1 << 20

    def _check_frame(self, name: str, message: Any) -> None:
        calibration, said = None if self._rig is None else self._rig.calibration, _frame_of(message)
        camera = getattr(calibration, CAMERA_FIELDS.get(name, ""), None)
        known = camera.frame_id if camera is not None else getattr(calibration, f"{name}_frame", None)
        if not said or known in (None, UNNAMED_FRAME) or said.lstrip("/") == known.lstrip("/"):
            return
        geometry = "intrinsics are those" if camera is not None else "pose in the calibration is that"
        raise MessageError(
            f"{name}: frame_id is {said[:60]!r}, the {geometry} of {known!r}: correct the publisher or the "
            "calibration, or set check_frames to false",
            "frame",
        )

    def _check_pose(self, name: str, message: Any) -> None:
        if name == LIDAR and self._rig is not None and self._rig.calibration.lidar_to_camera is None:
            raise UserError(
                f"{name}: no transform from its frame {_frame_of(message)[:60]!r} to the camera's "
                f"{self.camera_frame!r} is known: it must be in TF or, as lidar_to_camera, in the calibration file",
                "transform-unknown",
            )

    def _grid(self) -> tuple[int, int] | None:
        """(H, W) of all planes: that of the camera image, also while it is away; None: that of the intrinsics."""
        size, camera = self._image_size, self._rig.calibration.camera
        return size if size is not None and same_view(size, camera) else None

    def _project(self, name: str, array: np.ndarray, stamp_ns: int, size: tuple[int, int] | None) -> np.ndarray:
        if self._rig is not None:
            return self._rig.planes({name: array}, stamp_ns, self._grid(), size)[name]
        if name == RGB:
            return array
        way_out = "give a calibration file or publish the camera's camera_info"
        raise UserError(f"{name}: no camera geometry yet: {way_out}", "calibration-missing")


def _stamp_key(message: Any, stamp_ns: int) -> int:
    """Tells one message from the next; the stamp of the set where the header says none."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    try:
        return int(stamp.sec) * 10**9 + int(stamp.nanosec)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return stamp_ns


def _frame_of(message: Any) -> str:
    said = getattr(getattr(message, "header", None), "frame_id", "")
    return said if isinstance(said, str) else ""


def _same_camera(present: CameraModel | None, new: CameraModel) -> bool:
    return present is not None and same_intrinsics(present, new) and present.frame_id == new.frame_id
