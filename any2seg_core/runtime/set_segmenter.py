"""SetSegmenter: planes of a synchronised set -> labels, and how far each sensor can be relied on. One road for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from any2seg_core.messages.transforms import WorldPose
from any2seg_core.runtime.camera_motion import CameraView
from any2seg_core.runtime.feature_memory import FeatureMemory
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.reliability import Observation, Reliability, ReliabilityMonitor, observations
from any2seg_core.sync import SampleSet, SyncConfig

if TYPE_CHECKING:  # the node loads without torch and says how to install it
    from torch import Tensor

    from any2seg_core.runtime.predictor import Predictor, Segmentation


@dataclass(frozen=True)
class SegmentedSet:
    """Labels of one set, on the grid of its planes.

    Attributes:
        segmentation: of all sensors that could be used.
        subsets: per subset that was asked for its own, None where nothing of it could be used.
        reliability: score of every sensor that was seen.
        observed: what the set says of each sensor, of which `ReliabilityMonitor.update` makes these scores.
    """

    segmentation: Segmentation
    subsets: dict[tuple[str, ...], Segmentation | None]
    reliability: dict[str, Reliability]
    observed: dict[str, Observation | None]


class SetSegmenter:
    """The last stage of the road that the node, recordings and demonstrations share.

    messages of a set -> `FrameBuilder.build` -> Frame -> `SetSegmenter.segment` -> SegmentedSet

    One thread segments; `reliability` and `reset` may be called from another.

    Args:
        predictor: the model; where it has a stream, each segmenter continues its own. sync: of the synchroniser that
            makes the sets.
        with_pooled: results of `segment` with subsets hold `Segmentation.pooled`.

    Attributes:
        features: of the newest planes, so that a sensor is encoded once though its message is in several sets.

    Examples:
        >>> frame = frames.build(messages, sample_set.stamp_ns)
        >>> labels = SetSegmenter(predictor, sync).segment(sample_set, frame, now_ns).segmentation.labels
    """

    def __init__(self, predictor: Predictor, sync: SyncConfig, with_pooled: bool = False) -> None:
        self.predictor, self.features = predictor, FeatureMemory()
        self._with_pooled = with_pooled
        self._memory = predictor.new_memory()
        self._suite = predictor.contract.suite
        self._monitor = ReliabilityMonitor.of(sync, self._suite)
        self._lock = threading.Lock()

    def segment(
        self,
        sample_set: SampleSet,
        frame: Frame,
        now_ns: int,
        subsets: Sequence[tuple[str, ...]] = (),
        confidence_threshold: float = 0.0,
        with_confidence: bool = True,
        change: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
        pose: WorldPose | None = None,
    ) -> SegmentedSet:
        """Labels of a set.

        Args:
            sample_set: as the synchroniser made it. frame: its planes, at least one.
            now_ns: time on a clock that only goes forward: of the set, not of the machine, where results must repeat.
            subsets: sensors to segment apart, from the same encoding; what a set lacks is left out of them.
            confidence_threshold: labels below it become unlabelled. with_confidence: it is wanted beyond that.
            change: applied to the model's input, see `Predictor.subsets`.
            pose: of the camera at the stamp of the set; None: not known.

        Returns:
            Labels (H, W) on the grid of the planes, see `Segmentation`.

        Raises:
            UserError: no plane, or one of a sensor that the checkpoint does not take.
        """
        used = self._suite.canonical(frame.planes)
        with self._lock:
            compared = self._monitor.turn(used)
        camera = None if frame.rig is None else CameraView(frame.rig.calibration.camera, pose)
        of_stream: dict[str, Any] = {
            "stamp_ns": frame.stamp_ns,
            "size": frame.size,
            "compared": compared,
            "features": self.features,
            "memory": self._memory,
            "camera": camera,
        }
        if subsets or change is not None:
            everything = self.predictor.contract.modalities
            found = self.predictor.subsets(
                frame.planes, (everything, *subsets), change=change, with_pooled=self._with_pooled, **of_stream
            )
            full, apart = found[everything], {subset: found.get(subset) for subset in subsets}
        else:
            is_needed = with_confidence or confidence_threshold > 0.0
            full = self.predictor(frame.planes, with_confidence=is_needed, **of_stream)
            apart = {}
        observed = observations(sample_set, frame, self._suite, compared, full.agreement)
        with self._lock:
            reliability = self._monitor.update(now_ns, observed)
        return SegmentedSet(_reject(full, confidence_threshold), apart, reliability, observed)

    def pass_by(self, frame: Frame) -> None:
        """Count a set that is not segmented, so that those after it are compared as if it had been."""
        with self._lock:
            self._monitor.turn(frame.planes)

    def rate(self, sample_set: SampleSet | None, frame: Frame | None, now_ns: int) -> dict[str, Reliability]:
        """Scores after a set that has no labels: nothing of it could be used, or, with None, it did not come."""
        observed = None
        if sample_set is not None and frame is not None:
            observed = observations(sample_set, frame, self._suite)
        with self._lock:
            return self._monitor.update(now_ns, observed)

    def reliability(self, now_ns: int) -> dict[str, Reliability]:
        """Scores by now."""
        with self._lock:
            return self._monitor.scores(now_ns)

    def reset(self) -> None:
        """Time has jumped: what was usual of the sensors is forgotten."""
        self.features.reset()
        if self._memory is not None:
            self._memory.reset()
        with self._lock:
            self._monitor.reset()


def _reject(segmentation: Segmentation, threshold: float) -> Segmentation:
    """Labels of too little confidence become unlabelled."""
    if threshold <= 0.0:
        return segmentation
    labels, confidence = segmentation.labels, segmentation.confidence
    assert confidence is not None  # `segment` asks for it where there is a threshold
    kept = np.where(confidence < threshold, np.iinfo(labels.dtype).max, labels).astype(labels.dtype)
    return replace(segmentation, labels=kept)
