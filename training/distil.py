"""``method=distil``: a student of all sensors learns what frozen teachers make of those that they know.

The teachers see what each sample has of their sensors, a camera for example; the student sees a random subset of all
of its sensors. No label is needed: where there are some, their loss is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.data.dropout import sample_nonempty
from any2seg_core.losses.distillation import SoftTargets, soft_cross_entropy
from any2seg_core.models import Any2Seg, Prediction
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.batches import OTHERS, ChangedFrames, Frames, ModelBatch, SampleKey
from any2seg_training.config import TrainConfig
from any2seg_training.distil_config import DistilConfig
from any2seg_training.label_folder import with_said
from any2seg_training.lessons import Lessons
from any2seg_training.methods import StudentBatch, Supervised
from any2seg_training.objective import Objective
from any2seg_training.teachers import (
    CheckpointTeacher,
    FolderTeacher,
    FunctionTeacher,
    Teacher,
    Teachers,
    is_callable,
    is_folder,
)

_OF_TRUTH = (
    "self_distillation.weight", "monotone.weight", "lambda_cr", "lambda_se", "lambda_p", "lambda_f", "agmm.weight",
)  # fmt: skip


class Distillation(Supervised):
    """L = L_s + weight * L_d: truth where there is some, and the teachers' probabilities.

    L_d is `soft_cross_entropy` of all that a row shows, and of the subsets of `subset_supervision`, which are decoded
    from the same encoding; rare classes count more, as ``class_weight_power`` says, by the teachers' own counts.

    With ``distil.keep`` each row is also decoded from the teachers' own sensors alone, as far as it shows them: what
    the student knew of these when it began must not go while it learns the others with the same weights. The first of
    the other subsets then has none of these sensors.

    Args:
        lessons: of the teachers. class_weights: (K,), of the teachers' classes; None: all alike.
        has_truth: whether any frame of the run has labels.
    """

    asks_teachers = True

    def __init__(
        self, config: TrainConfig, suite: SensorSuite, lessons: Lessons, class_weights: Tensor | None, has_truth: bool
    ) -> None:
        super().__init__(config, suite)
        if not has_truth:
            _require_no_terms_of_truth(config)
        self.lessons, self._class_weights, self._has_truth = lessons, class_weights, has_truth
        if config.distil.keep and not self._own(lessons.contract.modalities, torch.device("cpu")).any():
            raise UserError(
                "distil.keep keeps the sensors that teachers look at, and folders look at none: leave it out",
                "value-conflict",
            )

    def parts(self, parts: Sequence[Frames]) -> Sequence[Frames]:
        folders = self.lessons.teachers.folders
        heard = partial(with_said, folders=folders, classes=self.lessons.contract.num_classes)
        return [ChangedFrames(part, heard) for part in parts] if folders else parts

    @property
    def facts(self) -> dict[str, Any]:
        return {"teachers": self.lessons.teachers.digests}

    @property
    def origin(self) -> dict[str, Any]:
        return {"teachers": self.lessons.teachers.names, "judged_by": self.lessons.judged_by}

    def student_batch(self, batch: ModelBatch, step: int) -> StudentBatch:
        """As in `Supervised`; every row is taught, and those of the labelled part have truth beside it."""
        frames = [key.frame for key in batch.keys if key.part == 0]
        rows = slice(0, len(frames))
        present = self._dropout(batch.available, batch.modalities, batch.keys, step)  # (N, M)
        subsets = self._subsets(present, batch.keys, step)
        if subsets is None:
            subsets = present.new_zeros(0, *present.shape)  # none, and the logits at the size of the head all the same
        if self.config.distil.keep:
            subsets = self._with_own(subsets, present, batch.keys)
        soft = self.lessons.of_batch(batch.undamaged, batch.available, batch.labels, self._class_weights, batch.said)
        return StudentBatch(batch.images, present, rows, batch.labels[rows], frames, subsets=subsets, soft=soft)

    def loss(
        self, objective: Objective, model: Any2Seg, student: StudentBatch, prediction: Prediction
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Both losses, and how far the student agrees with the teachers."""
        soft, every, distil = student.soft, prediction.subset_logits, self.config.distil
        assert soft is not None and every is not None  # `student_batch` above gives both
        l_d = self._divergence(every[0], soft, objective)
        terms = {"l_d": l_d.detach(), **taught_figures(every[0], soft)}
        drawn = 1  # number of the first subset that was drawn
        if distil.keep:
            assert prediction.shown is not None  # comes with the logits of subsets
            has_own = (prediction.shown[1] & self._own(prediction.encoded.modalities, every.device)).any(dim=1)  # (N,)
            own = self._divergence(every[1], soft._replace(weight=soft.weight * has_own[:, None, None]), objective)
            terms["l_own_d"], l_d, drawn = own.detach(), l_d + distil.keep * own, 2
        if len(every) > drawn:
            of_subsets = self._of_subsets(prediction, soft, objective, drawn)
            terms["l_subsets_d"] = of_subsets.detach()
            l_d = l_d + self.config.subset_supervision.weight * of_subsets
        total = distil.weight * l_d
        if self._has_truth:
            l_s, known = self._of_truth(objective, model, student, prediction, drawn)
            total, terms = total + l_s, {**known, **terms}
        return total, terms

    def _divergence(self, logits: Tensor, soft: SoftTargets, objective: Objective) -> Tensor:
        return soft_cross_entropy(logits, soft, self.config.distil.temperature, objective.total)

    def _of_subsets(self, prediction: Prediction, soft: SoftTargets, objective: Objective, drawn: int) -> Tensor:
        """Mean of L_d over the subsets from number ``drawn`` on, weighed as truth would be."""
        every, shown = prediction.subset_logits, prediction.shown
        assert every is not None and shown is not None  # there are subsets
        weights = objective.subset_weights(prediction.encoded.modalities, shown)[drawn - 1 :]
        weighed = [soft if w is None else soft._replace(weight=soft.weight * w[:, None, None]) for w in weights]
        losses = [self._divergence(*each, objective) for each in zip(every[drawn:], weighed, strict=True)]
        return torch.stack(losses).mean()

    def _of_truth(
        self, objective: Objective, model: Any2Seg, student: StudentBatch, prediction: Prediction, drawn: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss on rows with labels, and its terms; subsets before number ``drawn`` are the teachers' alone."""
        rows = student.supervised
        shown = {name: image[rows] for name, image in student.images.items()}
        known = prediction.samples(rows)
        assert known.subset_logits is not None and known.shown is not None
        kept = [0, *range(drawn, len(known.subset_logits))]
        subsets = (known.subset_logits[kept], known.shown[kept]) if len(kept) > 1 else (None, None)
        known = replace(known, subset_logits=subsets[0], shown=subsets[1])
        loss, terms = objective(model, shown, known, student.labels, student.frames)
        return loss, {"l_sup": loss.detach(), **terms}

    def _own(self, modalities: Sequence[str], device: torch.device) -> Tensor:
        """(M,) bool: the sensors that a teacher looks at."""
        seen = {name for teacher in self.lessons.teachers.teachers for name in teacher.sensors}
        return torch.tensor([name in seen for name in modalities], device=device)

    def _with_own(self, subsets: Tensor, present: Tensor, keys: Sequence[SampleKey]) -> Tensor:
        """(1 + S, N, M) bool: the teachers' sensors of each row, what else is decoded, first without these sensors.

        All that a row shows stands in where nothing is left.
        """
        own = self._own(self.lessons.contract.modalities, present.device)  # (M,)
        alone = present & own
        others = sample_nonempty(self._draws(keys, OTHERS)[:, 0], present & ~own).to(present.device)
        either = [torch.where(each.any(dim=1, keepdim=True), each, present) for each in (alone, others)]
        return torch.stack([either[0], *([either[1]] if len(subsets) else []), *subsets[1:]])


def _require_no_terms_of_truth(config: TrainConfig) -> None:
    """UserError for a term that is computed with labels alone, as there are none."""
    for name in _OF_TRUTH:
        if reduce(getattr, name.split("."), config):
            raise UserError(
                f"{name} is of a term that learns from labels, and no train frame has one: leave it out",
                "value-conflict",
            )


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
    found: dict[str, Teacher] = {}
    for place in config.teachers:
        if is_folder(place):
            found[place] = FolderTeacher(Path(place))
        elif not is_callable(place):
            found[place] = CheckpointTeacher(Path(place), contract, device)
    known = [teacher.space for teacher in found.values() if teacher.space is not None]
    if not has_truth and known and not config.map:
        contract = contract.model_copy(update={"label_space": known[0]})
    found |= {place: FunctionTeacher(place, contract) for place in config.teachers if place not in found}
    teachers = Teachers([found[place] for place in config.teachers], config.weights, contract, config.map)
    return Lessons(teachers, contract, config, device)
