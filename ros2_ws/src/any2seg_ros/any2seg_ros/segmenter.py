"""What happens to one synchronised set: messages -> planes -> labels. No ROS call, no tensor operation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.stream_modes import FILTER
from any2seg_core.messages import Events, stamp_ns
from any2seg_core.messages.readers import has_event_times, read_events
from any2seg_core.messages.transforms import TransformTree, WorldPose
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.geometry import CameraUpdate
from any2seg_core.runtime.reliability import Reliability
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sensors.calibration import Calibration, load_calibration, load_camera_info
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sensors.lidar import label_points
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.sync import Sample, SampleSet
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, POINTS
from any2seg_ros.model_pool import ModelPool
from any2seg_ros.parameters import NodeParameters

if TYPE_CHECKING:
    from any2seg_core.runtime.predictor import Predictor


@dataclass(frozen=True)
class LiveCloud:
    """The cloud of a set, with what it takes to give its points labels.

    Attributes:
        sensor: whose it is. points: (N, 4) float32 x, y, z, intensity. stamp_ns, frame_id: its own header.
        rig: geometry at that moment.
    """

    sensor: str
    points: np.ndarray
    stamp_ns: int
    frame_id: str
    rig: SensorRig


@dataclass(frozen=True)
class LiveResult:
    """One set, segmented.

    Attributes:
        stamp_ns, frame_id: header of every output, that of the reference.
        labels: (H, W) uint8 or uint16 on the grid of the planes, its largest value = unlabelled.
        confidence: (H, W) float32, 0..1; None where nothing needed it.
        planes: the model's input, per used sensor (H, W, 3) uint8; without `with_planes` some are of the model's size.
        used: sensors that were fused. reference: the one whose stamp is `stamp_ns`.
        cloud: that of the first sensor of kind points, if it was fused.
        samples: per used sensor the array that its plane was made of. rig: geometry at that moment, if it is known.
        missing: sensor -> why it was not fused: the synchroniser's word, and what explains it. errors: those of them
            whose message could not be used, or whose sensor is ill. reasons: the same as a key to count by.
        faults: sensor -> what is wrong with its stamps, fused or not.
        stamps_ns: sensor -> stamps of the messages that were used (several for events).
        ages_ns: sensor -> target stamp minus stamp of the newest of them.
        notes: what somebody should know about the geometry, one line each, told once.
        received_ns: when the newest used message came in, steady clock. inference_ms: projection and model.
        invalid_share: pixels whose logits are no finite numbers, 0..1.
        reliability: score of every sensor that was seen. novelty: per used sensor how unlike training it is, see
            `Segmentation`.
    """

    stamp_ns: int
    frame_id: str
    labels: np.ndarray
    confidence: np.ndarray | None
    planes: dict[str, np.ndarray]
    used: tuple[str, ...]
    reference: str
    cloud: LiveCloud | None = None
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    rig: SensorRig | None = None
    missing: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    stamps_ns: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ages_ns: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    received_ns: int = 0
    inference_ms: float = 0.0
    invalid_share: float = 0.0
    reliability: dict[str, Reliability] = field(default_factory=dict)
    novelty: dict[str, float] = field(default_factory=dict)


class UnusableSetError(UserError):
    """No message of a set could be used.

    Attributes:
        errors, reasons: as in LiveResult.
    """

    def __init__(self, errors: dict[str, str], reasons: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()), "sensor-empty")
        self.errors, self.reasons = errors, reasons


class Segmenter:
    """A model with its geometry, fed with sets of received messages.

    Args:
        settings: checked parameters. pool: where the model comes from.

    Attributes:
        transforms: extrinsics by TF; empty as long as nobody fills it.
        extrinsics: sensor -> where its transform to the camera is from: calibration_file, tf, camera_frame (it has the
            camera's frame), assumed (nothing is known: taken as the camera's own), or none (points: they are left out).

    Raises:
        UserError: a file that is missing or wrong, a device that is not there, a checkpoint of other sensors.
    """

    def __init__(self, settings: NodeParameters, pool: ModelPool) -> None:
        self._predictor: Predictor = pool.get(
            settings.checkpoint, settings.device, settings.precision, settings.runtime, settings.filled_rows,
            settings.stream,
        )
        contract = self._predictor.contract
        self._suite = settings.suite
        self._clouds = self._suite.of_kind(POINTS)
        self._windowed = self._suite.of_kind(EVENTS)
        sparse = [name for name in contract.modalities if contract.suite.sensor(name).is_sparse]
        # A stream that moves with the camera reads distances of whole planes, as recordings do.
        self._picked = {} if settings.stream == FILTER else {name: contract.size_of(name) for name in sparse}
        unknown = [name for name in settings.modalities if name not in contract.modalities]
        if unknown:
            raise UserError(
                f"{settings.checkpoint}: was not built for {', '.join(unknown)}; it takes {contract.modalities}",
                "checkpoint-mismatch",
            )
        self.transforms = TransformTree()
        self._settings = settings
        calibration = load_calibration(settings.calibration_file) if settings.calibration_file else None
        self._by_file = _extrinsics_in(calibration, self._suite)
        self.extrinsics = dict.fromkeys(self._by_file, "calibration_file")
        self._frames = FrameBuilder(calibration, contract.event_window_ns, settings.inputs, self._suite)
        self._segmenter = SetSegmenter(self._predictor, settings.sync_for(contract.event_window_ns))
        self._lock = threading.Lock()  # camera_info and questions come in another thread than the sets
        for stream, url in settings.camera_info_urls.items():
            self._frames.set_camera(stream, load_camera_info(url, settings.inputs.rectified))
        self._warm_up()

    @property
    def label_space(self) -> LabelSpace:
        """Classes of the label images."""
        return self._predictor.label_space

    @property
    def encoding_notes(self) -> tuple[str, ...]:
        """One line for each sensor in use whose planes the model was trained on were made by other code."""
        return self._predictor.contract.encoding_notes(self._settings.modalities)

    @property
    def event_window_ns(self) -> int:
        """Length of the event window, from the checkpoint."""
        return self._frames.event_window_ns

    @property
    def engine(self) -> dict[str, str]:
        """What runs the model: its name, version and precision."""
        return self._predictor.engine.facts

    @property
    def event_counts(self) -> dict[str, int]:
        """What the decoder of event packets counted."""
        return dict(self._frames.event_counts)

    def reliability(self) -> dict[str, Reliability]:
        """Scores by now."""
        return self._segmenter.reliability(time.monotonic_ns())

    def encodings(self) -> dict[str, dict[str, int]]:
        """Sensor -> how often it was `encoded`, and `reused` as its plane was that of the set before."""
        return self._segmenter.features.counts()

    def receive(self, name: str, message: Any, shift_ns: int = 0) -> Any:
        """What goes into a set for a message that has just come in; MessageError when it cannot be decoded.

        Args:
            shift_ns: stamp that it gets minus that of its header; the times of its events move with it. A rendered
                picture has none: it stays what it is, and counts as the middle of the window of its set.
        """
        payload = self._frames.receive(name, message)
        if not shift_ns or name not in self._windowed or not has_event_times(message):
            return payload
        if not isinstance(payload, Events):
            payload = read_events(payload, stamp_ns(message.header))
        events = payload.events.copy()
        events["t"] += shift_ns
        return replace(payload, events=events)

    def reset(self) -> None:
        """Time has jumped: forget what moves, and the state of all decoders and checks."""
        self.transforms.clear()
        with self._lock:
            self._frames.reset()
        self._segmenter.reset()

    def set_health(self, config: HealthConfig) -> None:
        """Use other thresholds from now on."""
        with self._lock:
            self._frames.set_health(config)

    def set_camera_info(self, stream: str, message: Any) -> CameraUpdate:
        """Use the intrinsics of a sensor_msgs/CameraInfo from now on, unless a file overrides them."""
        if stream in self._settings.camera_info_urls:
            return CameraUpdate(False, ())
        with self._lock:
            return self._frames.set_camera_info(stream, message)

    def _warm_up(self) -> None:
        """Compile all kernels now, so that the first real set is not the slow one."""
        self._frames.warm_up(self._picked)
        if self._frames.rig is None:
            return
        camera = self._frames.rig.camera()
        points = np.array([[10.0, 0.0, 0.0, 0.5]] * 2, np.float32)
        labels = np.zeros((camera.height, camera.width), np.uint8)
        label_points(points, labels, labels.astype(np.float32), np.eye(4), camera)

    def __call__(
        self,
        sample_set: SampleSet,
        confidence_threshold: float = 0.0,
        with_confidence: bool = True,
        with_planes: bool = True,
    ) -> LiveResult:
        """Segment one set; UnusableSetError when no message of it could be used.

        Args:
            confidence_threshold: labels below it become unlabelled. with_confidence: it is wanted beyond that.
            with_planes: whole planes are wanted; else those of points and events hold what the model reads of them.
        """
        start_ns = time.monotonic_ns()
        samples = sample_set.samples
        messages = {name: [sample.payload.message for sample in found] for name, found in samples.items()}
        with self._lock:
            notes = self._update_extrinsics(samples, sample_set.stamp_ns)
            picked = {} if with_planes else self._picked
            frame = self._frames.build(messages, sample_set.stamp_ns, sample_set.offsets_ns, picked)
        if not frame.planes:
            self._segmenter.rate(sample_set, frame, time.monotonic_ns())
            raise UnusableSetError(frame.errors, frame.reasons)
        segmented = self._segmenter.segment(
            sample_set,
            frame,
            time.monotonic_ns(),
            confidence_threshold=confidence_threshold,
            with_confidence=with_confidence,
            pose=self._pose(sample_set.stamp_ns),
        )
        segmentation = segmented.segmentation
        used = segmentation.used
        return LiveResult(
            stamp_ns=_header_ns(samples[sample_set.reference], sample_set),
            frame_id=frame.frame_id,
            labels=segmentation.labels,
            confidence=segmentation.confidence,
            planes=frame.planes,
            used=used,
            reference=sample_set.reference,
            cloud=self._cloud(frame, samples),
            samples={name: frame.samples[name] for name in used},
            rig=frame.rig,
            missing={**self._why_missing(sample_set), **frame.errors},
            errors=frame.errors,
            reasons=frame.reasons,
            faults=sample_set.faults,
            stamps_ns={name: tuple(sample.stamp_ns for sample in samples[name]) for name in used},
            ages_ns={name: sample_set.age_ns[name] for name in used},
            notes=(*notes, *frame.notes),
            received_ns=max(samples[name][-1].payload.arrived_ns for name in used),
            inference_ms=(time.monotonic_ns() - start_ns) / 1e6,
            invalid_share=segmentation.invalid_share,
            reliability=segmented.reliability,
            novelty=segmentation.novelty,
        )

    def _pose(self, stamp_ns: int) -> WorldPose | None:
        """Where the camera is, for a stream that moves with it."""
        if self._predictor.stream != FILTER:
            return None
        return self.transforms.world_pose(self._frames.camera_frame, stamp_ns, self._settings.fixed_frame)

    def _cloud(self, frame: Frame, samples: dict[str, tuple[Sample, ...]]) -> LiveCloud | None:
        """That of the first sensor of kind points, so that an output is always of one."""
        name = self._clouds[0] if self._clouds else ""
        if frame.rig is None or name not in frame.planes:
            return None
        payload = samples[name][-1].payload
        return LiveCloud(name, frame.samples[name], payload.header_ns, payload.message.header.frame_id, frame.rig)

    def _why_missing(self, sample_set: SampleSet) -> dict[str, str]:
        """Reasons of the synchroniser; where messages come but none is near enough, with the distance and the limit."""
        texts = {name: sample_set.faults.get(name, reason) for name, reason in sample_set.missing.items()}
        for name, gap in sample_set.gaps.items():
            limit = "event window and noise_window_s" if name in self._windowed else "max_age_s"
            texts[name] += ": " + gap.text(limit)
        return texts

    def _update_extrinsics(self, samples: dict[str, tuple[Sample, ...]], stamp_ns: int) -> tuple[str, ...]:
        """Extrinsics of TF at the stamps of the measurements, where no file gave them; what to tell about them."""
        newest = {}
        for name, found in samples.items():
            if name not in self._by_file:
                header = getattr(found[-1].payload.message, "header", None)
                newest[name] = (getattr(header, "frame_id", ""), found[-1].stamp_ns)
        extrinsics = self._frames.find_extrinsics(self.transforms, newest, stamp_ns, self._settings.fixed_frame)
        for name, to_camera in extrinsics.items():
            self._frames.set_extrinsics(name, to_camera)
        mounted = [name for name in self._suite.members if name in newest and name != self._suite.camera]
        notes = [self._note_extrinsics(name, newest[name][0], extrinsics) for name in mounted]
        return tuple(note for note in notes if note)

    def _note_extrinsics(self, name: str, frame: str, extrinsics: dict[str, np.ndarray | None]) -> str:
        """Remember where a pose is from; what to tell about it, empty when there is nothing new."""
        if self._frames.rig is None:
            return ""
        camera_frame = self._frames.camera_frame
        if frame.lstrip("/") == camera_frame.lstrip("/"):
            self.extrinsics[name] = "camera_frame"
        elif extrinsics.get(name) is not None:
            self.extrinsics[name] = "tf"
        elif name not in self.extrinsics or name in extrinsics:  # never connected, or no longer
            self.extrinsics[name] = "none" if name in self._clouds else "assumed"
            if name in self._clouds:
                return ""  # a cloud without a pose is left out, and that is told for every one
            return (
                f"{name}: nothing says where its frame {frame!r} is in the camera's {camera_frame!r}: it is taken as "
                "mounted in the same place; publish the transform on /tf_static or give a calibration_file"
            )
        return ""


def age_ns(samples: Iterable[Sample], steady_ns: int, clock_ns: int) -> int:
    """Age of the newest of these messages, nanoseconds; what it was late on its way counts.

    Where time is simulated, the smaller of its age in wall time and in simulated time: neither a slow simulation nor a
    recording that is played fast makes old.

    Args:
        steady_ns: now, by the clock of `Received.arrived_ns`. clock_ns: now, by that of `Sample.arrival_ns`.
    """
    return min(
        min(steady_ns - sample.payload.arrived_ns, clock_ns - sample.arrival_ns) + sample.payload.late_ns
        for sample in samples
    )


def _extrinsics_in(calibration: Calibration | None, suite: SensorSuite) -> set[str]:
    if calibration is None:
        return set()
    return {name for name in suite.members if calibration.place(name, suite).to_camera is not None}


def _header_ns(reference: tuple[Sample, ...], sample_set: SampleSet) -> int:
    """Stamp in the header of the message that opened the set; its synchroniser stamp may be shifted or an arrival."""
    nearest = min(reference, key=lambda sample: abs(sample.stamp_ns - sample_set.stamp_ns))
    return nearest.payload.header_ns
