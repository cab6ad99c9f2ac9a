"""What a step learns from: truth alone, or also the pseudo labels of a teacher (mean teacher, M3L).

M3L is Maheshwari et al., "Missing Modality Robustness in Semi-Supervised Multi-Modal Semantic Segmentation", WACV 2024,
section 3.3, here for any number of modalities and any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from any2seg_core.data.dropout import sample_present, sample_subsets
from any2seg_core.losses.distillation import SoftTargets
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.models import Any2Seg, Prediction
from any2seg_core.runtime.preprocess import logits_to_labels
from any2seg_core.vocabulary.labels import IGNORE
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.batches import DROPOUT, MASKING, SUBSETS, Frames, ModelBatch, SampleKey
from any2seg_training.config import TrainConfig
from any2seg_training.objective import Objective
from any2seg_training.state import MovingAverage

_AGREEMENT_STRIDE = 4  # every 16th pixel is enough for a figure in the log


@dataclass(frozen=True)
class StudentBatch:
    """What the model sees in one forward pass, and which rows of it learn from what.

    Attributes:
        images: per modality (N, 3, H, W).
        present: (N, M) bool.
        supervised: rows with truth.
        labels: (n, H, W) int64 truth of these rows.
        frames: n numbers of labelled frames.
        taught: rows with pseudo labels; None without a teacher.
        pseudo: (n', H, W) int64 of these rows, 255 where there is nothing to learn.
        lambda_u: what their loss weighs in this step.
        subsets: (S, N, M) bool, what else of each row is decoded from the same encoding; None: nothing.
        soft: what frozen teachers say of all rows; None without them.
    """

    images: dict[str, Tensor]
    present: Tensor
    supervised: slice
    labels: Tensor
    frames: list[int]
    taught: slice | None = None
    pseudo: Tensor | None = None
    lambda_u: float = 0.0
    subsets: Tensor | None = None
    soft: SoftTargets | None = None


class Supervised:
    """Truth alone; sensors are dropped at random as ``modality_dropout`` says.

    Attributes:
        teacher: None here.
        asks_teachers: whether somebody else sees the samples, without the faults that are planted for the model.
    """

    teacher: MovingAverage[Any2Seg] | None = None
    asks_teachers = False

    def __init__(self, config: TrainConfig, suite: SensorSuite):
        self.config, self.suite = config, suite

    def parts(self, parts: Sequence[Frames]) -> Sequence[Frames]:
        """What samples are drawn from, made of the frames of the run."""
        return parts

    @property
    def facts(self) -> dict[str, Any]:
        """What else decides the run, for its state."""
        return {}

    @property
    def origin(self) -> dict[str, Any]:
        """What else a checkpoint says about how it came to be."""
        return {}

    def student_batch(self, batch: ModelBatch, step: int) -> StudentBatch:
        """The batch as the model sees it; ``step`` is for the warm-up of the dropout."""
        present = self._dropout(batch.available, batch.modalities, batch.keys, step)  # (B, M)
        frames, subsets = [key.frame for key in batch.keys], self._subsets(present, batch.keys, step)
        return StudentBatch(
            batch.images, present, slice(0, len(batch.labels)), batch.labels, frames, subsets=subsets
        )

    def loss(
        self, objective: Objective, model: Any2Seg, student: StudentBatch, prediction: Prediction
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a step and what to log; ``prediction`` is that of ``student`` with the graph."""
        return objective(model, student.images, prediction, student.labels, student.frames)

    def after_step(self, model: Any2Seg, step: int) -> None:
        """To be called after optimiser step number ``step``."""

    def _dropout(self, available: Tensor, modalities: tuple[str, ...], keys: Sequence[SampleKey], step: int) -> Tensor:
        """(B, M) bool, what B labelled samples show of what they have; drawn by the number of each sample."""
        config = self.config
        strength = min(1.0, (step + 1) / (config.dropout_warmup_steps + 1))
        draws = self._draws(keys, DROPOUT)
        present = sample_present(draws, modalities, config.modality_dropout, strength, self.suite, available.cpu())
        return present.to(available.device)

    def _subsets(self, present: Tensor, keys: Sequence[SampleKey], step: int) -> Tensor | None:
        """(S, N, M) bool, subsets of what N samples show; drawn by the number of each sample."""
        count = self.config.subset_supervision.count_at(step)
        if count == 0:
            return None
        draws = self._draws(keys, SUBSETS, count).view(len(keys), count, 2)
        return sample_subsets(draws, present, nested=self.config.monotone.weight > 0.0).to(present.device)

    def _draws(self, keys: Sequence[SampleKey], stream: int, pairs: int = 1) -> Tensor:
        """(N, 2 * pairs) float64, uniform: random numbers of each sample."""
        seeds = [(self.config.seed, key.number, stream + key.part) for key in keys]
        return torch.from_numpy(np.stack([np.random.default_rng(seed).random(2 * pairs) for seed in seeds]))


class TeacherStudent(Supervised):
    """L = L_s + lambda_u L_u (Eq. 10): a teacher that sees everything labels what a student sees less of.

    The teacher is the moving average of the student (Eq. 11) with the decay min(1 - 1/(n + 1), 0.99) after step n. The
    paper's code averages parameters only: it has frozen the BatchNorm of pretrained weights. Here BatchNorm learns, so
    its statistics are averaged with the weights that they belong to. The teacher runs in evaluation mode: its labels do
    not depend on what else is in the batch. Pseudo labels are the arg max of its ensemble, with no threshold.

    Rows of the student are, with ``m3l``: B labelled samples, B masked copies of them, U masked unlabelled samples.
    ``m3l.labels=paper``: L_s on the first part, L_u on the other two; ``released``: L_s on the first two, L_u on all.
    With ``mean_teacher``: B labelled and U unlabelled samples, nothing masked, L_s on the former and L_u on both.

    With ``subset_supervision`` (``mean_teacher`` only) the subsets of a row learn from what the row learns from: it is
    M3L from one encoding, where `m3l` encodes the masked copies too.

    With ``m3l.warmup_steps`` lambda_u grows linearly from 0. The paper does not need that: its encoders are pretrained,
    while what a random start labels is noise.
    """

    teacher: MovingAverage[Any2Seg]
    asks_teachers = True

    def __init__(self, config: TrainConfig, suite: SensorSuite, model: Any2Seg):
        super().__init__(config, suite)
        self.teacher = MovingAverage(model, config.m3l.decay, ramp=(0, 1))
        self.unsupervised_loss = CrossEntropy()

    def student_batch(self, batch: ModelBatch, step: int) -> StudentBatch:
        """As in `Supervised`; the teacher labels the batch, B labelled samples and U unlabelled ones."""
        images, labels, available, keys = batch.images, batch.labels, batch.available, batch.keys
        frames = [key.frame for key in keys if key.part == 0]
        B, N = len(frames), len(keys)
        shown = self._dropout(available[:B], batch.modalities, keys[:B], step)  # (B, M)
        pseudo = self.pseudo_labels(batch.undamaged, available, labels)  # (B + U, H, W)
        weight = self.config.m3l.weight(step)
        if self.config.method == "mean_teacher":
            present = torch.cat([shown, available[B:]])  # (B + U, M)
            subsets = self._subsets(present, keys, step)
            return StudentBatch(images, present, slice(0, B), labels[:B], frames, slice(0, N), pseudo, weight, subsets)
        twice = torch.cat([torch.arange(B), torch.arange(N)]).to(labels.device)  # labelled, their copies, unlabelled
        images = {name: image[twice] for name, image in images.items()}  # (2B + U, C, H, W)
        present = torch.cat([shown, self.masked(available, batch.modalities, keys)])  # (2B + U, M)
        if self.config.m3l.labels == "paper":
            return StudentBatch(images, present, slice(0, B), labels[:B], frames, slice(B, B + N), pseudo, weight)
        return StudentBatch(
            images, present, slice(0, 2 * B), labels[twice[: 2 * B]], 2 * frames, slice(0, B + N), pseudo[twice], weight
        )

    @torch.no_grad()
    def pseudo_labels(self, images: dict[str, Tensor], available: Tensor, labels: Tensor) -> Tensor:
        """(N, H, W) int64: arg max of the teacher, which sees all there is; 255 where ``labels`` (N, H, W) has 255."""
        model = self.teacher.model
        coarse = model.decode(model.fuse(model.encode(images, available))).float()  # (N, K, H/4, W/4): no branch
        with torch.autocast(coarse.device.type, enabled=False):  # on a CPU no upsampled map of any class is written
            height, width = labels.shape[1:]
            pseudo, _ = logits_to_labels(coarse, height, width, False, model.config.align_corners)
        return pseudo.to(torch.int64).masked_fill_(labels == IGNORE, IGNORE)

    def masked(self, available: Tensor, modalities: tuple[str, ...], keys: Sequence[SampleKey]) -> Tensor:
        """(N, M) bool: what the student sees of ``available`` (N, M); drawn by the number of each sample."""
        draws = self._draws(keys, MASKING)
        distribution = self.config.m3l.masking
        if distribution == "one_or_none":
            distribution = one_or_none(modalities, self.suite)
        present = sample_present(draws, modalities, distribution, suite=self.suite, available=available.cpu())
        return present.to(available.device)

    def loss(
        self, objective: Objective, model: Any2Seg, student: StudentBatch, prediction: Prediction
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_s with all terms of the objective, and L_u."""
        assert student.taught is not None and student.pseudo is not None  # `student_batch` above gives both
        rows = student.supervised
        shown = {name: image[rows] for name, image in student.images.items()}
        supervised, terms = objective(model, shown, prediction.samples(rows), student.labels, student.frames)
        taught = prediction.samples(student.taught)
        l_u = objective.mean_loss(self.unsupervised_loss, taught, student.pseudo)
        of_subsets = objective.subset_terms(self.unsupervised_loss, taught, student.pseudo)
        terms = {"l_sup": supervised.detach(), **terms, "l_u": l_u.detach(), **pseudo_figures(taught, student.pseudo)}
        terms |= {f"{name}_u": value.detach() for name, value in of_subsets.items()}
        return supervised + student.lambda_u * objective.weighted(l_u, of_subsets), terms

    def after_step(self, model: Any2Seg, step: int) -> None:
        """The teacher follows (Eq. 11)."""
        self.teacher.update(model, step)


def one_or_none(modalities: Sequence[str], suite: SensorSuite) -> dict[str, float]:
    """Weights of subsets by letters: everything, or everything but one modality, all equally likely (M3L, A.3)."""
    names = suite.canonical(modalities)
    hidden = [tuple(other for other in names if other != name) for name in names] if len(names) > 1 else []
    return {suite.subset_letters(subset): 1.0 for subset in (names, *hidden)}


@torch.no_grad()
def pseudo_figures(taught: Prediction, pseudo: Tensor) -> dict[str, Tensor]:
    """Share of pixels with a pseudo label, and how many of these (a regular sample of them) the student gives it."""
    own = taught.logits[..., ::_AGREEMENT_STRIDE, ::_AGREEMENT_STRIDE].argmax(dim=1)  # (N, h, w)
    target = pseudo[:, ::_AGREEMENT_STRIDE, ::_AGREEMENT_STRIDE]
    counted = target != IGNORE
    agreement = (own == target).sum() / counted.sum()  # NaN where nothing counts: left out of the log
    return {"pseudo_share": (pseudo != IGNORE).float().mean(), "agreement": agreement}


def build_method(config: TrainConfig, suite: SensorSuite, model: Any2Seg) -> Supervised:
    """The configured method; its teacher starts as a copy of ``model``."""
    return Supervised(config, suite) if config.method == "supervised" else TeacherStudent(config, suite, model)
