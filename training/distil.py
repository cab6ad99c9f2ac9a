"""``method=distil``: a student of all sensors learns what frozen teachers make of those that they know.

The teachers see what each sample has of their sensors, a camera for example; the student sees a random subset of all
of its sensors. No label is needed: where there are some, their loss is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import track
from any2seg_core.data.samples import FrameDataset, Sample
from any2seg_core.evaluation.batches import spread
from any2seg_core.evaluation.subsets import PriorStatistics
from any2seg_core.losses.distillation import SoftTargets, soft_cross_entropy
from any2seg_core.losses.pooling import labels_of_cells
from any2seg_core.models import Any2Seg, Prediction
from any2seg_core.runtime.checkpoint_metadata import METADATA_FILE
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import IGNORE
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.batches import Frames, SampleKey
from any2seg_training.config import TrainConfig
from any2seg_training.distil_config import DistilConfig
from any2seg_training.label_folder import CompletedFrames, completed
from any2seg_training.methods import StudentBatch, Supervised
from any2seg_training.objective import Objective
from any2seg_training.teachers import CheckpointTeacher, FolderTeacher, FunctionTeacher, Teacher, Teachers


class Lessons:
    """What of the teachers' word counts.

    Args:
        teachers: that are asked. contract: of the student. config: floors.

    Attributes:
        judged_by: whose labels the val frames have: "truth" or "the teachers".
    """

    def __init__(self, teachers: Teachers, contract: InputContract, config: DistilConfig, device: torch.device) -> None:
        self.teachers, self.contract, self._config, self._device = teachers, contract, config, device
        self.judged_by = "truth"

    def judged(self, frames: FrameDataset) -> FrameDataset:
        """Val frames as they are where they have truth, else with the teachers' word in its place."""
        if not frames.labelled:
            self.judged_by = "the teachers"
            return cast(FrameDataset, TaughtFrames(frames, self))
        if apart := self.contract.label_space.told_apart(frames.label_space):
            told = f"truth of {apart[1]}, and the student learns {apart[0]}: give data of its classes"
            raise UserError(f"{frames.root}: {told}", "label-space-mismatch")
        return frames

    @torch.no_grad()
    def of_batch(
        self, images: dict[str, Tensor], available: Tensor, labels: Tensor, class_weights: Tensor | None
    ) -> SoftTargets:
        """Targets of a batch.

        Args:
            images: per sensor (N, 3, H, W), as the student takes them. available: (N, M) bool.
            labels: (N, H, W) int64; 255 outside of the frame. class_weights: (K,).
        """
        size = tuple(-(-side // 4) for side in labels.shape[1:])
        cells = labels_of_cells(labels, size[0], size[1])  # (N, h, w)
        with torch.autocast(labels.device.type, enabled=False):  # the teachers in float32, whatever the student has
            found = self.teachers.probabilities(images, available, cells)  # (N, K, h, w)
        confidence, winner = found.max(dim=1)  # (N, h, w)
        inside = cells != IGNORE
        counted = inside & (confidence >= self._config.floor) & ~self._blind(confidence, inside)[:, None, None]
        weight = counted.float() if class_weights is None else class_weights[winner] * counted
        return SoftTargets(found, weight)

    def _blind(self, confidence: Tensor, inside: Tensor) -> Tensor:
        """(N,) bool: frames of which the teachers are not sure in the mean, or see nothing."""
        mean = (confidence * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp_min(1)
        return (mean < self._config.frame_floor) | (confidence.amax(dim=(1, 2)) == 0.0)

    def completed(self, sample: Sample) -> Sample:
        """A frame with the labels of teachers that are folders where it has none."""
        return completed(sample, self.teachers.folders, self.contract.num_classes)

    @torch.no_grad()
    def labels(self, sample: Sample) -> np.ndarray:
        """(H, W) uint8 of a whole frame: the most probable class, 255 where the teachers' word does not count."""
        contract = self.contract
        labels = self.completed(sample).labels
        height, width = labels.shape
        known = planes_to_tensor({name: sample.planes[name] for name in sample.planes}, contract, self._device)
        blank = torch.zeros(1, 3, contract.height, contract.width, device=self._device)
        images = {name: known.get(name, blank) for name in contract.modalities}
        available = torch.tensor([[name in known for name in contract.modalities]], device=self._device)
        truth = torch.from_numpy(labels)[None].to(self._device)
        cells = labels_of_cells(truth, contract.height // 4, contract.width // 4)
        found = self.teachers.probabilities(images, available, cells)
        found = F.interpolate(found, (height, width), mode="bilinear", align_corners=False)
        confidence, winner = found.max(dim=1)  # (1, H, W)
        blind = self._blind(confidence, torch.ones_like(winner, dtype=torch.bool))
        counted = (confidence >= self._config.floor) & ~blind[:, None, None]
        return winner.masked_fill(~counted, IGNORE)[0].to(torch.uint8).cpu().numpy()

    def survey(self, frames: Frames, is_shown: bool) -> PriorStatistics:
        """How often each class is in what they say, from a few frames all over the data.

        Raises:
            UserError: nothing of it counts.
        """
        prior = PriorStatistics(self.contract.num_classes)
        chosen = spread(len(frames), self._config.count_frames)
        for index in track(chosen, "ask the teacher", len(chosen), is_shown):
            prior.update(self.labels(frames.next_readable(index)[1]))
        if not prior.class_pixels().any():
            raise UserError(
                f"distil.teachers: of {len(chosen)} frames none has a pixel of which {', '.join(self.teachers.names)} "
                f"is sure (distil.floor={self._config.floor:g}, distil.frame_floor={self._config.frame_floor:g}): "
                "lower them, or take a teacher that knows such pictures",
                "teacher-unsure",
            )
        return prior


class TaughtFrames:
    """Frames without truth, with the teachers' word in its place: what an evaluation then measures is agreement.

    It has what an evaluation asks of a `FrameDataset`.
    """

    def __init__(self, frames: FrameDataset, lessons: Lessons) -> None:
        self.frames, self.root, self._lessons = frames, frames.root, lessons
        self._labels: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def readable(self, index: int) -> Sample | None:
        """The frame of that number; None if it is corrupt and skipped."""
        sample = self.frames.readable(index)
        if sample is None:
            return None
        if index not in self._labels:
            self._labels[index] = self._lessons.labels(sample)
        return sample._replace(labels=self._labels[index])

    def readable_labels(self, indices: Iterable[int] | None = None) -> Iterator[np.ndarray]:
        """Labels of the given frames, None: all."""
        for index in range(len(self)) if indices is None else indices:
            sample = self.readable(index)
            if sample is not None:
                yield sample.labels


class Distillation(Supervised):
    """L = L_s + weight * L_d: truth where there is some, and the teachers' probabilities.

    L_d is `soft_cross_entropy` of all that a row shows, and of the subsets of `subset_supervision`, which are decoded
    from the same encoding; rare classes count more, as ``class_weight_power`` says, by the teachers' own counts.

    Args:
        lessons: of the teachers. class_weights: (K,), of the teachers' classes; None: all alike.
        has_truth: whether any frame of the run has labels.
    """

    def __init__(
        self, config: TrainConfig, suite: SensorSuite, lessons: Lessons, class_weights: Tensor | None, has_truth: bool
    ) -> None:
        super().__init__(config, suite)
        self.lessons, self._class_weights, self._has_truth = lessons, class_weights, has_truth

    def parts(self, parts: Sequence[Frames]) -> Sequence[Frames]:
        folders, classes = self.lessons.teachers.folders, self.lessons.contract.num_classes
        return [CompletedFrames(part, folders, classes) for part in parts] if folders else parts

    @property
    def facts(self) -> dict[str, Any]:
        return {"teachers": self.lessons.teachers.digests}

    @property
    def origin(self) -> dict[str, Any]:
        return {"teachers": self.lessons.teachers.names, "judged_by": self.lessons.judged_by}

    def student_batch(
        self,
        images: dict[str, Tensor],
        labels: Tensor,
        available: Tensor,
        keys: Sequence[SampleKey],
        step: int,
    ) -> StudentBatch:
        """As in `Supervised`; every row is taught, and those of the labelled part have truth beside it."""
        frames = [key.frame for key in keys if key.part == 0]
        rows = slice(0, len(frames))
        present = self._dropout(available, tuple(images), keys, step)  # (N, M)
        subsets = self._subsets(present, keys, step)
        if subsets is None:
            subsets = present.new_zeros(0, *present.shape)  # none, and the logits at the size of the head all the same
        soft = self.lessons.of_batch(images, available, labels, self._class_weights)
        return StudentBatch(images, present, rows, labels[rows], frames, subsets=subsets, soft=soft)

    def loss(
        self, objective: Objective, model: Any2Seg, student: StudentBatch, prediction: Prediction
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Both losses, and how far the student agrees with the teachers."""
        soft, every, config = student.soft, prediction.subset_logits, self.config
        assert soft is not None and every is not None  # `student_batch` above gives both
        losses = [soft_cross_entropy(each, soft, config.distil.temperature, objective.total) for each in every]
        l_d = losses[0]
        terms = {"l_d": l_d.detach(), **taught_figures(every[0], soft)}
        if len(losses) > 1:
            of_subsets = torch.stack(losses[1:]).mean()
            terms["l_subsets_d"] = of_subsets.detach()
            l_d = l_d + config.subset_supervision.weight * of_subsets
        total = config.distil.weight * l_d
        if self._has_truth:
            rows = student.supervised
            shown = {name: image[rows] for name, image in student.images.items()}
            known = prediction.samples(rows)
            if len(losses) == 1:
                known = replace(known, subset_logits=None, shown=None)
            l_s, own = objective(model, shown, known, student.labels, student.frames)
            total, terms = total + l_s, {"l_sup": l_s.detach(), **own, **terms}
        return total, terms


@torch.no_grad()
def taught_figures(logits: Tensor, soft: SoftTargets) -> dict[str, Tensor]:
    """Share of cells that are taught, and how many of these the student gives the teachers' class."""
    taught = soft.weight > 0
    agrees = (logits.argmax(dim=1) == soft.probabilities.argmax(dim=1)) & taught
    return {"taught_share": taught.float().mean(), "agreement": agrees.sum() / taught.sum()}


def open_lessons(
    config: DistilConfig, contract: InputContract, has_truth: bool, device: torch.device
) -> Lessons:
    """The configured teachers and their student, whose classes are, without truth, those of the first teacher.

    Raises:
        UserError: a teacher that is not there or does not fit.
    """
    found: list[Teacher] = []
    for place in config.teachers:
        found.append(_opened(place, config, contract, device))
    known = [teacher.space for teacher in found if teacher.space is not None]
    if not has_truth and known and not config.map:
        contract = contract.model_copy(update={"label_space": known[0]})
    return Lessons(Teachers(found, config.weights, contract, config.map), contract, config, device)


def _opened(place: str, config: DistilConfig, contract: InputContract, device: torch.device) -> Teacher:
    path = Path(place)
    if path.is_dir() and not (path / METADATA_FILE).is_file():
        return FolderTeacher(path, config.floor)
    if ":" in place and not path.exists():
        return FunctionTeacher(place, contract)
    return CheckpointTeacher(path, contract, device)
