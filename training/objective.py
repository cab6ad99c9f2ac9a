"""The training objective: L_sup + L_cr + L_se (Any2Seg, Eq. 8), + R_p + R_f (functional entropy, Eq. 9), + AGMM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from any2seg_core.losses.branches import PixelLoss, branch_loss
from any2seg_core.losses.functional_entropy import balance_penalty, feature_information, prediction_information
from any2seg_core.losses.gaussian_mixture import MIXTURE_TERMS, GaussianMixtureLoss
from any2seg_core.losses.lscd import ClassGeometryLoss, ModalityCorrelationLoss
from any2seg_core.losses.whole_batch import Total, alone
from any2seg_core.models import Any2Seg, Prediction
from any2seg_core.teachers.cached import CachedEmbeddings
from any2seg_training.config import TrainConfig


class Objective(nn.Module):
    """Supervised loss plus the terms whose weight is not zero; with none of them it is the supervised loss itself.

    Args:
        supervised: (logits (B, K, H, W), labels (B, H, W)) -> scalar; of a model with branches, mean over all of them.
        config: weights and settings of the terms.
        teacher: embeddings of the training frames; needed by L_cr and L_se.
        total: sum over the processes that share a batch: what the terms average, they average over all of it.
    """

    def __init__(
        self,
        supervised: PixelLoss,
        config: TrainConfig,
        teacher: CachedEmbeddings | None = None,
        total: Total = alone,
    ) -> None:
        super().__init__()
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
        weights = {"l_cr": config.lambda_cr, "l_se": config.lambda_se, "r_p": config.lambda_p, "r_f": config.lambda_f}
        weights |= dict.fromkeys(MIXTURE_TERMS, config.agmm.weight)
        total = loss + sum(weights[name] * value for name, value in terms.items() if name in weights) if terms else loss
        if terms:
            terms["l_sup"] = loss
        return total, {name: value.detach() for name, value in terms.items()}

    def mean_loss(self, pixel_loss: PixelLoss, prediction: Prediction, labels: Tensor) -> Tensor:
        """Scalar mean of a loss over ensemble and branches of a prediction, and over the batch of all processes.

        Args:
            pixel_loss: as ``supervised``, with ``batch_weight``.
            labels: (B, H, W) int64, truth or pseudo labels.
        """
        return branch_loss(pixel_loss, prediction, labels, self.total)

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
