"""How far a taught model agrees with its teacher on what was held out, and how far both are right by labels."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch

from any2seg_core.data.samples import FrameDataset, Sample
from any2seg_core.evaluation.batches import evaluation_batches, spread
from any2seg_core.evaluation.dataset import EvaluationTarget
from any2seg_core.evaluation.fault_table import GONE, Trial, faulty_plane, frame_labeller
from any2seg_core.evaluation.metrics import as_array
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.evaluation.settings import EvaluateSettings, Progress
from any2seg_core.evaluation.subsets import subset_predictions
from any2seg_core.evaluation.temperatures import Calibrated, calibrated
from any2seg_core.faults.planes import PLANE_FAULTS, plane_faults
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.engines.choice import engine_of
from any2seg_core.vocabulary.class_mapping import Comparison
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import IGNORE, is_labelled
from any2seg_training.lessons import Lessons, TaughtFrames

MOST_FRAMES, MOST_FAULTY, SHOWN, MOST_APART = 120, 10, 4, 6
"""Frames that are judged, that faults are planted into, in the contact sheet, and among those most apart."""
_SEVERITY = 1.0

Say = Callable[[str], None]
"""Shows a line."""


def silent(*_: object) -> None:
    """Progress of what is too short to be shown."""


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass
class Verdict:
    """What was found on the frames held out.

    Attributes:
        agreement: subset letters -> score against the teachers' word. truth: the same against labels; empty without.
        teacher_truth: score of the teachers' word against labels.
        apart: (share of the frame's taught pixels, number) of the frames on which student and teachers are most apart.
        faults: one entry per fault of a sensor: agreement in 0..1 of the student, and of the teachers under the same.
        calibrated: subset letters -> temperature and errors.
        untaught: share of pixels where the teachers' word does not count. frames: how many were judged.
    """

    agreement: dict[str, SubsetScore] = field(default_factory=dict)
    truth: dict[str, SubsetScore] = field(default_factory=dict)
    teacher_truth: SubsetScore | None = None
    apart: list[tuple[float, int]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    calibrated: dict[str, Calibrated] = field(default_factory=dict)
    untaught: float = 0.0
    frames: int = 0


class DrawnFrames(TaughtFrames):
    """Frames whose labels are drawn from the teachers' probabilities, by the number of each frame."""

    def _label(self, index: int, sample: Sample) -> np.ndarray:
        return self._lessons.drawn(sample, np.random.default_rng(index))


class Judge:
    """A student and its teachers on the frames held out.

    Args:
        model: in evaluation mode; changed in place. contract: of the model. frames: held out.
        lessons: of the teachers, for the same contract. seed: of the faults.
    """

    def __init__(
        self, model: Any2Seg, contract: InputContract, frames: FrameDataset, lessons: Lessons, device: torch.device,
        seed: int,
    ) -> None:  # fmt: skip
        engine = engine_of(model, (contract.height, contract.width), device)
        space = contract.label_space
        settings = EvaluateSettings(checkpoint=frames.root, data=frames.root, seed=seed)
        self.frames, self.lessons, self.seed, self._device = frames, lessons, seed, device
        self._taught = cast(FrameDataset, TaughtFrames(frames, lessons))
        indices = spread(len(frames), MOST_FRAMES)
        comparison = Comparison.between(space, space, None, lambda own, _: own)
        self.target = EvaluationTarget(model, engine, contract, comparison, self._taught, indices, settings)

    @property
    def letters(self) -> list[str]:
        """Subsets that are judged, all sensors last."""
        return [self.target.suite.subset_letters(subset) for subset in self.target.subsets]

    def calibrate(self, progress: Progress) -> dict[str, Calibrated]:
        """Temperatures from every second frame, their errors on the others; from then on the target has them.

        By labels where there are some, else by classes drawn from the teachers' probabilities: by their most probable
        class a student would become surer than they are.
        """
        indices = self.target.indices
        frames = self.frames if self.frames.labelled else cast(FrameDataset, DrawnFrames(self.frames, self.lessons))
        parts = (indices[::2], indices[1::2] or indices)
        fitted, others = (replace(self.target, frames=frames, indices=part) for part in parts)
        contract, found = calibrated(fitted, progress, others)
        self.target = replace(self.target, contract=contract)
        return found

    def verdict(self, progress: Progress) -> Verdict:
        """All but the calibration, which `calibrate` gives."""
        found, space = Verdict(), self.target.space
        has_truth = self.frames.labelled
        found.agreement = {letters: SubsetScore.of(space) for letters in self.letters}
        found.truth = {letters: SubsetScore.of(space) for letters in self.letters} if has_truth else {}
        found.teacher_truth = SubsetScore.of(space) if has_truth else None
        for done, (index, labels, confidences) in enumerate(self._predictions(self.target.indices), start=1):
            sample = self.frames.readable(index)
            assert sample is not None  # it has just been read
            said, counted = self.lessons.word(sample)
            taught = np.where(counted, said, IGNORE).astype(np.uint8)
            for letters, own in labels.items():
                found.agreement[letters].add(own, taught, confidences[letters], calibration_stride=2)
                if has_truth:
                    found.truth[letters].add(own, sample.labels)
            if found.teacher_truth is not None:
                found.teacher_truth.add(said, sample.labels)
            apart = self._apart(labels[self.letters[-1]], taught, confidences[self.letters[-1]])
            found.apart = heapq.nlargest(MOST_APART, [*found.apart, (apart, index)])
            found.untaught += float((~counted).mean())
            found.frames = done
            progress("agreement", done, len(self.target.indices))
        found.untaught /= max(1, found.frames)
        found.faults = self.faults(self.target.indices, progress)
        return found

    def labels_of(self, index: int) -> tuple[Sample, dict[str, np.ndarray], np.ndarray]:
        """One frame, its labels per subset, and the teachers' word, 255 where that does not count."""
        _, labels, _ = next(self._predictions([index]))
        sample = self.frames.readable(index)
        assert sample is not None  # its labels have just been made
        return sample, labels, self.lessons.labels(sample)

    def faults(self, indices: Sequence[int], progress: Progress) -> list[dict[str, Any]]:
        """Agreement with the teachers' word on the whole picture, when one sensor is ill or gone."""
        chosen = [indices[number] for number in spread(len(indices), MOST_FAULTY)]
        sums = {trial: np.zeros(4, np.int64) for trial in self._trials()}  # right, compared: student; teachers
        for done, index in enumerate(chosen, start=1):
            sample = self.frames.readable(index)
            if sample is None:
                continue
            word = self.lessons.labels(sample)
            counted = is_labelled(word)
            labels_of = frame_labeller(self.target, sample, self.seed, index)
            for trial, sum_of in sums.items():
                own = labels_of(trial)
                sum_of[:2] += int(((own == word) & counted).sum()), int(counted.sum())
                if trial.sensor in self._teachers_sensors and trial.sensor in sample.planes:
                    sum_of[2:] += self._teachers_under(trial, sample, index, word)
            progress("faults", done, len(chosen))
        return [
            {"sensor": trial.sensor, "fault": trial.fault, "agreement": _share(right, of),
             "teacher_agreement": _share(own, own_of)}
            for trial, (right, of, own, own_of) in ((trial, found.tolist()) for trial, found in sums.items())
        ]  # fmt: skip

    @property
    def _teachers_sensors(self) -> set[str]:
        return {name for teacher in self.lessons.teachers.teachers for name in teacher.sensors}

    def _teachers_under(self, trial: Trial, sample: Sample, index: int, word: np.ndarray) -> tuple[int, int]:
        """Pixels that the teachers label as they did without the fault, of so many."""
        counted = is_labelled(word)
        planes = {name: plane for name, plane in sample.planes.items() if name != trial.sensor}
        if trial.severity is not None:
            planes[trial.sensor] = faulty_plane(sample, trial, self.target.suite, self.seed, index)
        said, _ = self.lessons.word(sample._replace(planes=planes))
        return int(((said == word) & counted).sum()), int(counted.sum())

    def _trials(self) -> list[Trial]:
        """No fault first, then all that a sensor can have, and each sensor gone."""
        trials = []
        for name in self.target.model.modalities:
            kinds = [kind for kind in PLANE_FAULTS if kind in plane_faults(self.target.suite.sensor(name))]
            trials += [Trial(kind, name, _SEVERITY) for kind in kinds] + [Trial(GONE, name, None)]
        return trials

    def _apart(self, own: np.ndarray, word: np.ndarray, confidence: np.ndarray) -> float:
        """Share of the taught pixels that have another label, each as much as the student is sure of it."""
        counted = is_labelled(word)
        return float(confidence[counted & (own != word)].sum()) / max(1, int(counted.sum()))

    def _predictions(
        self, indices: Sequence[int]
    ) -> Iterator[tuple[int, dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """Per frame its number, labels (H, W) and confidences (H, W) per subset, one frame at a time."""
        target = self.target
        batches = evaluation_batches(self.frames, indices, target.contract, self._device, 1)
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        predictions = subset_predictions(
            target.model, batches, target.subsets, None, target.suite, target.contract.temperature, target.engine
        )
        for batch, letters, labels, confidence in predictions:
            found[letters] = as_array(labels[0]), as_array(confidence[0])
            if len(found) == len(target.subsets):
                yield batch.indices[0], {n: each[0] for n, each in found.items()}, {n: c for n, (_, c) in found.items()}
                found = {}
