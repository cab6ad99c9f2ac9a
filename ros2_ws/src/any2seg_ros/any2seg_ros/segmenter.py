"""What happens to one synchronised set: messages -> planes -> labels. No ROS call, no tensor operation."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.errors import UserError
from any2seg_core.frames import FrameBuilder
from any2seg_core.labels import LabelSpace
from any2seg_core.modalities import MODALITIES
from any2seg_core.sensors.calibration import Calibration, load_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.sync import Sample, SampleSet


@dataclass(frozen=True)
class LiveResult:
    """One set, segmented.

    Attributes:
        stamp_ns, frame_id: header of every output.
        labels: (H, W) uint8, 255 = unlabelled. confidence: (H, W) float32, 0..1.
        planes: the model's input, per used modality (H, W, 3) uint8.
        used: modalities that were fused. reference: the one whose stamp is `stamp_ns`.
        missing: modality -> why it was not fused. errors: those of them whose message could not be read.
        stamps_ns: modality -> stamps of the messages that were used (several for events).
        ages_ns: modality -> target stamp minus stamp of the newest of them.
        received_ns: when the newest used message came in. inference_ms: projection and model.
    """

    stamp_ns: int
    frame_id: str
    labels: np.ndarray
    confidence: np.ndarray
    planes: dict[str, np.ndarray]
    used: tuple[str, ...]
    reference: str
    missing: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    stamps_ns: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ages_ns: dict[str, int] = field(default_factory=dict)
    received_ns: int = 0
    inference_ms: float = 0.0


class Segmenter:
    """A loaded model with its geometry, fed with sets of messages.

    Args:
        checkpoint: .safetensors file.
        calibration_file: YAML, or "" when only the camera is used.
        device: where the model runs.
        modalities: which of the checkpoint's modalities may be used.

    Raises:
        UserError: a file that is missing or wrong, a device that is not there, a modality the checkpoint lacks.
    """

    def __init__(self, checkpoint: str, calibration_file: str, device: str, modalities: tuple[str, ...]) -> None:
        from any2seg_core.predictor import Predictor  # torch is loaded with the model, not with the node

        self._predictor = Predictor.load(Path(checkpoint), device)
        contract = self._predictor.contract
        unknown = [name for name in modalities if name not in contract.modalities]
        if unknown:
            raise UserError(f"{checkpoint}: was not built for {', '.join(unknown)}; it takes {contract.modalities}")
        calibration = load_calibration(calibration_file) if calibration_file else None
        self._frames = FrameBuilder(calibration, contract.event_window_ns)
        self._lock = threading.Lock()  # camera_info arrives in another thread than the sets
        self._warm_up(calibration)

    @property
    def label_space(self) -> LabelSpace:
        """Classes of the label images."""
        return self._predictor.label_space

    @property
    def event_window_ns(self) -> int:
        """Length of the event window, from the checkpoint."""
        return self._frames.event_window_ns

    def set_camera_info(self, stream: str, message: Any) -> bool:
        """Use the intrinsics of a sensor_msgs/CameraInfo from now on; returns whether they are new."""
        camera = CameraModel.from_camera_info(message)
        with self._lock:
            return self._frames.set_camera(stream, camera)

    def _warm_up(self, calibration: Calibration | None) -> None:
        """Load kernels and allocate memory now, so that the first real set is not the slow one."""
        self._predictor.warm_up()
        if calibration is None:
            return
        depth_camera = calibration.depth_camera or calibration.camera
        samples = {
            "depth": np.full((depth_camera.height, depth_camera.width), 10.0, np.float32),
            "event": np.array([(0, 0, 0, 1)], EVENT_DTYPE),
            "lidar": np.array([[10.0, 0.0, 0.0, 0.5]], np.float32),
        }
        for name, sample in samples.items():
            with suppress(UserError):  # a calibration may lack what this sensor needs; its first message will say so
                self._frames.rig.planes({name: sample}, stamp_ns=0)

    def __call__(self, sample_set: SampleSet) -> LiveResult:
        """Segment one set; UserError when no message of it could be used."""
        start_ns = time.monotonic_ns()
        samples = {name: as_tuple(found) for name, found in sample_set.samples.items()}
        messages = {name: [sample.payload for sample in found] for name, found in samples.items()}
        with self._lock:
            frame = self._frames.build(messages, sample_set.stamp_ns)
            rig = self._frames.rig
        if not frame.planes:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in frame.errors.items())
            raise UserError(f"set at {sample_set.stamp_ns} ns has no usable message: {reasons}")
        camera = rig.camera() if rig is not None else None
        size = next(iter(frame.planes.values())).shape[:2] if camera is None else (camera.height, camera.width)
        segmentation = self._predictor(frame.planes, rig, sample_set.stamp_ns, size)
        return LiveResult(
            stamp_ns=sample_set.stamp_ns,
            frame_id=_frame_id(messages, camera),
            labels=segmentation.labels,
            confidence=segmentation.confidence,
            planes=frame.planes,
            used=segmentation.used,
            reference=sample_set.reference,
            missing={**sample_set.missing, **frame.errors},
            errors=frame.errors,
            stamps_ns={name: tuple(sample.stamp_ns for sample in samples[name]) for name in segmentation.used},
            ages_ns={name: sample_set.age_ns[name] for name in segmentation.used},
            received_ns=max(samples[name][-1].arrival_ns for name in segmentation.used),
            inference_ms=(time.monotonic_ns() - start_ns) / 1e6,
        )


def as_tuple(found: Sample | tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The samples that a set holds of one stream, always as a tuple."""
    return found if isinstance(found, tuple) else (found,)


def _frame_id(messages: dict[str, list[Any]], camera: CameraModel | None) -> str:
    if MODALITIES[0] in messages:
        return messages[MODALITIES[0]][0].header.frame_id
    return camera.frame_id if camera is not None else ""
