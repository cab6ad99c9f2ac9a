"""The training objective: L_sup + L_cr + L_se (Any2Seg, Eq. 8), + R_p + R_f (functional entropy, Eq. 9), + AGMM.

Beside them the terms of subsets from one encoding: subset supervision, self-distillation and monotonicity.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.losses.branches import PixelLoss, branch_loss
from any2seg_core.losses.functional_entropy import balance_penalty, feature_information, prediction_information
from any2seg_core.losses.gaussian_mixture import MIXTURE_TERMS, GaussianMixtureLoss
from any2seg_core.losses.lscd import ClassGeometryLoss, ModalityCorrelationLoss
from any2seg_core.losses.pooling import labels_of_cells
from any2seg_core.losses.segmentation import pixel_cross_entropy
from any2seg_core.losses.subsets import monotone_hinge, self_distillation
from any2seg_core.losses.whole_batch import Total, alone, whole_mean
from any2seg_core.models import Any2Seg, Prediction
from any2seg_core.teachers.cached import CachedEmbeddings
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.subsets import parse_subset
from any2seg_training.config import TrainConfig


class Objective(nn.Module):
    """Supervised loss plus the terms whose weight is not zero; with none of them it is the supervised loss itself.

    Args:
        supervised: (logits (B, K, H, W), labels (B, H, W)) -> scalar; of a model with branches, mean over all of them.
        config: weights and settings of the terms.
        teacher: embeddings of the training frames; needed by L_cr and L_se.
        total: sum over the processes that share a batch: what the terms average, they average over all of it.
        suite: whose letters name subsets.
    """

    def __init__(
        self,
        supervised: PixelLoss,
        config: TrainConfig,
        teacher: CachedEmbeddings | None = None,
        total: Total = alone,
        suite: SensorSuite = VEHICLE,
    ) -> None:
        super().__init__()
        self.suite = suite
        self.total = total
        self.supervised = supervised
        self.config = config
        self.teacher = teacher
        self.correlation = ModalityCorrelationLoss(config.lscd_temperature, total)
        self.geometry = ClassGeometryLoss(config.lscd_temperature, total)
        self.mixture = GaussianMixtureLoss(config.agmm, total)

    def forward(
        self, model: Any2Seg, images: dict[str, Tensor], prediction: Prediction, labels: Tensor, frames: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One step's loss.

        Args:
            model: the model itself, not wrapped for several processes.
            images: its input, per modality (B, 3, H, W).
            prediction: its output, with the graph.
            labels: (B, H, W) int64, 254 unlabelled, 255 ignored.
            frames: B numbers of training frames, to look the teacher up.

        Returns:
            The loss, and what to log: the terms before weighting, and the Fisher information of each modality
            (``fisher_p_rgb``: of the prediction, ``fisher_f_rgb``: mean over the levels).
        """
        config = self.config
        loss = self.mean_loss(self.supervised, prediction, labels)
        terms: dict[str, Tensor] = {}
        if config.lambda_cr > 0.0 or config.lambda_se > 0.0:
            terms |= self._lscd(prediction, labels, frames)
        names = prediction.encoded.modalities
        if config.lambda_p > 0.0:
            information = prediction_information(model, images, prediction.encoded, labels, config.fisher, self.total)
            terms["r_p"] = balance_penalty(information, config.fisher)
            terms |= {f"fisher_p_{name}": value for name, value in zip(names, information, strict=True)}
        if config.lambda_f > 0.0:
            encoded = prediction.encoded
            present = encoded.present
            levels = [feature_information(level, present, config.fisher, self.total) for level in encoded.levels]
            terms["r_f"] = torch.stack([balance_penalty(information, config.fisher) for information in levels]).sum()
            mean = torch.stack(levels).mean(dim=0)  # (M,)
            terms |= {f"fisher_f_{name}": value for name, value in zip(names, mean, strict=True)}
        if config.agmm.weight > 0.0:
            terms |= self._mixture(prediction, labels)
        terms |= self.subset_terms(self.supervised, prediction, labels)
        total = self.weighted(loss, terms)
        if terms:
            terms["l_sup"] = loss
        return total, {name: value.detach() for name, value in terms.items()}

    def weighted(self, loss: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """A loss and the terms that have a weight, added up."""
        config = self.config
        weights = {"l_cr": config.lambda_cr, "l_se": config.lambda_se, "r_p": config.lambda_p, "r_f": config.lambda_f}
        weights |= dict.fromkeys(MIXTURE_TERMS, config.agmm.weight)
        weights |= {"l_subsets": config.subset_supervision.weight, "l_distilled": config.self_distillation.weight}
        weights["l_monotone"] = config.monotone.weight
        return loss + sum(weights[name] * value for name, value in terms.items() if name in weights) if terms else loss

    def mean_loss(self, pixel_loss: PixelLoss, prediction: Prediction, labels: Tensor) -> Tensor:
        """Scalar mean of a loss over ensemble and branches of a prediction, and over the batch of all processes.

        Args:
            pixel_loss: as ``supervised``, with ``batch_weight``.
            labels: (B, H, W) int64, truth or pseudo labels.
        """
        return branch_loss(pixel_loss, prediction, labels, self.total)

    def subset_terms(self, pixel_loss: PixelLoss, prediction: Prediction, labels: Tensor) -> dict[str, Tensor]:
        """Terms of the subsets that were decoded beside what is present; none where there are no such subsets.

        Args:
            pixel_loss: as ``supervised``.
            labels: (B, H, W) int64, truth or pseudo labels.

        Returns:
            ``l_subsets``: mean of the loss over the subsets. Where their weight is not zero ``l_distilled`` with
            ``distilled_share`` (of the pixels), and ``l_monotone`` with ``raised_share`` (of the pairs).
        """
        config, every, shown = self.config, prediction.subset_logits, prediction.shown
        if every is None or shown is None:
            return {}
        cells = labels_of_cells(labels, *every.shape[-2:])  # (B, H/4, W/4)
        truth, logits = cells, list(every.unbind())
        if config.subset_supervision.enlarge:
            truth = labels
            enlarged = partial(
                F.interpolate, size=labels.shape[1:], mode="bilinear", align_corners=config.align_corners
            )
            logits = [prediction.logits, *map(enlarged, every[1:])]
        weights = self.subset_weights(prediction.encoded.modalities, shown)
        own = [self._slot_loss(pixel_loss, *each, truth) for each in zip(logits[1:], weights, strict=True)]
        terms = {"l_subsets": torch.stack(own).mean()}
        if config.self_distillation.weight > 0.0:
            terms["l_distilled"], terms["distilled_share"] = self_distillation(
                every[1:], every[0], cells, config.self_distillation, self.total
            )
        if config.monotone.weight > 0.0:
            losses = [pixel_cross_entropy(each, truth) for each in logits]
            terms["l_monotone"], terms["raised_share"] = monotone_hinge(
                losses, shown.unbind(), pixel_loss.pixel_weight(truth), config.monotone.margin, self.total
            )
        return terms

    def _slot_loss(self, pixel_loss: PixelLoss, logits: Tensor, weight: Tensor | None, labels: Tensor) -> Tensor:
        """Mean over the batch of all processes of the loss of one subset per sample; weight (B,)."""
        count = pixel_loss.batch_weight(labels, weight)
        return whole_mean(pixel_loss(logits, labels, weight) * count, count, self.total)

    def subset_weights(self, names: tuple[str, ...], shown: Tensor) -> list[Tensor | None]:
        """Per subset beside the whole the weights (B,) of its samples; None: all weigh the same.

        Args:
            shown: (1 + S, B, M) bool, the whole first, columns in the order of ``names``.
        """
        given = self.config.subset_supervision.weights
        if not given:
            return [None] * (len(shown) - 1)
        weights = torch.ones(len(shown) - 1, shown.shape[1], device=shown.device)  # (S, B)
        for letters, weight in given.items():
            subset = parse_subset(letters, self.suite, names)
            columns = torch.tensor([name in subset for name in names], device=shown.device)  # (M,)
            weights[(shown[1:] == columns).all(dim=2)] = weight
        return list(weights.unbind())

    def _mixture(self, prediction: Prediction, labels: Tensor) -> dict[str, Tensor]:
        agmm = self.config.agmm
        features = prediction.hidden if agmm.features == "hidden" else prediction.fused.levels[agmm.level - 1]
        return self.mixture(features, prediction.logits, labels)

    def _lscd(self, prediction: Prediction, labels: Tensor, frames: Sequence[int]) -> dict[str, Tensor]:
        level = self.config.lscd_level - 1
        encoded, fused = prediction.encoded, prediction.fused.levels[level]
        terms = {}
        assert self.teacher is not None  # `read_teacher` gives one where a term needs it
        if self.config.lambda_cr > 0.0:
            scene, modality = self.teacher.rows(frames, fused.device)
            terms["l_cr"] = self.correlation(encoded.levels[level], fused, encoded.present, modality, scene)
        if self.config.lambda_se > 0.0:
            terms["l_se"] = self.geometry(fused, labels, self.teacher.class_names.to(fused.device))
        return terms


def mean_terms(steps: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of each term over the steps that had it; NaN, a modality without samples, counts as not having it."""
    names = list(dict.fromkeys(name for step in steps for name in step))
    means = {name: float(torch.stack([step[name] for step in steps if name in step]).nanmean()) for name in names}
    return {name: value for name, value in means.items() if value == value}
