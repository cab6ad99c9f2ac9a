"""Functional entropy regularisation R_p and R_f (Zheng et al., ICCV 2025; Gat et al., NeurIPS 2020).

The functional Fisher information of a modality, E[|grad f|^2 / f] under a Gaussian measure around its input, bounds
its functional entropy (log-Sobolev, Eq. 2); the regulariser is the sum of the reciprocals (Eq. 4, 6, 7), which
for a given total is smallest when the modalities share the information evenly.

What the paper leaves open is decided so. f is a loss per pixel (and per location of a feature map), so the information
does not depend on the image size. For gradients with respect to scores under a softmax the integrand has a closed form,
|softmax(z) - t|^2 / CE(t, z): no second differentiation, nothing that DistributedDataParallel must know of. With
gradients with respect to logits, f of a modality is the loss of its own prediction p(.|x_m) (Eq. 3 and 4 split the
entropy like that): with the mean of the logits the gradient of every modality would be one and the same. Everything is
computed in float32, outside autocast. Samples with fewer than two present modalities have nothing to balance. Where
several processes share a batch, ``total`` sums over them and the information is that of all of it: the reciprocal of a
mean is not the mean of reciprocals. What is drawn at random, and the standard deviation of the noise, is each
process's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from any2seg_core.losses.pooling import labels_of_cells
from any2seg_core.losses.segmentation import pixel_cross_entropy
from any2seg_core.losses.whole_batch import Total, alone
from any2seg_core.models import Any2Seg, Encoded
from any2seg_core.vocabulary.labels import is_labelled

_EPS = 1e-6


class FisherConfig(BaseModel):
    """How the information of a modality is estimated.

    Attributes:
        wrt: R_p differentiates with respect to the logits of each modality (closed form, cheap), its stage features
            (one backward pass through fusion and head) or its input (one more forward and backward of everything).
        samples: n draws from the Gaussian measure per step.
        sigma: its standard deviation, in standard deviations of each channel over batch and image; 0 = no noise.
        norm: ``sum`` of the reciprocals (the paper) or their Euclidean norm ``l2`` (Gat et al.).
        locations: so many random locations per map stand for all of them in the closed form; None = all.
        limit: largest reciprocal: 1 / (I + 1 / limit), so a dead modality is pushed but cannot explode.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    wrt: Literal["logits", "features", "input"] = "logits"
    samples: int = Field(1, ge=1)
    sigma: float = Field(1.0, ge=0)
    norm: Literal["sum", "l2"] = "sum"
    locations: int | None = Field(128, ge=1)
    limit: float = Field(100.0, gt=0)


def balance_penalty(information: Tensor, config: FisherConfig) -> Tensor:
    """Information (M,) of each modality -> scalar; NaN marks one that took no part; 0 with fewer than two others."""
    used = ~information.isnan()
    if int(used.sum()) < 2:
        return information.new_zeros(())
    reciprocal = 1.0 / (information[used] + 1.0 / config.limit)
    return reciprocal.sum() if config.norm == "sum" else torch.linalg.vector_norm(reciprocal)


def softmax_information(scores: Tensor, target: Tensor) -> Tensor:
    """|grad_z f|^2 / f of f(z) = CE(t, softmax(z)), in closed form.

    Shapes:
        scores z (..., K) float32, target t (..., K) probabilities -> (...).
    """
    log_probability = F.log_softmax(scores, dim=-1)
    cross_entropy = -(target * log_probability).sum(dim=-1)
    squared = (log_probability.exp() - target).square().sum(dim=-1)
    return squared / (cross_entropy + _EPS)


def eligible(present: Tensor) -> Tensor:
    """(B, M) bool -> (B, M) float32: 1 for the present modalities of samples that have at least two."""
    return (present & (present.sum(dim=1, keepdim=True) >= 2)).float()


def _modality_mean(values: Tensor, weight: Tensor, total: Total) -> Tensor:
    """values (B, M, ...), weight alike -> weighted mean per modality (M,); NaN where all weights are 0."""
    axes = (0, *range(2, values.ndim))
    sums, weights = total(torch.stack([(values * weight).sum(dim=axes), weight.sum(dim=axes)]))  # (M,), (M,)
    unused = weights == 0
    return (sums / weights.masked_fill(unused, 1.0)).masked_fill(unused, torch.nan)  # 0 / 0 has a gradient of NaN too


def _channel_std(tokens: Tensor, weight: Tensor) -> Tensor:
    """tokens (B, M, N, C), weight (B, M) -> standard deviation of each channel of each modality, (1, M, 1, C)."""
    with torch.no_grad():
        share = (weight / (weight.sum(dim=0) * tokens.shape[2]).clamp_min(1.0))[:, :, None, None]
        mean = (tokens * share).sum(dim=(0, 2), keepdim=True)
        return ((tokens - mean).square() * share).sum(dim=(0, 2), keepdim=True).sqrt()


def _perturbed(tokens: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """One draw from the Gaussian measure around tokens (B, M, N, C)."""
    if sigma == 0.0:
        return tokens
    return tokens + sigma * _channel_std(tokens, weight) * torch.randn_like(tokens)


def _tokens_at(maps: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """maps (B, M, C, h, w) -> float32 tokens (B, M, n, C) at n random locations, and their numbers (n,)."""
    tokens = maps.flatten(3).transpose(2, 3)  # (B, M, N, C)
    total = tokens.shape[2]
    if count is None or count >= total:
        return tokens.float(), torch.arange(total, device=maps.device)
    where = torch.randperm(total, device=maps.device)[:count]
    return tokens[:, :, where].float(), where


def logit_information(
    logits: Tensor, labels: Tensor, present: Tensor, config: FisherConfig, total: Total = alone
) -> Tensor:
    """Information of each modality's own prediction: (B, M, K, h, w), (B, H, W), (B, M) -> (M,), NaN if unused."""
    scores, where = _tokens_at(logits, config.locations)  # (B, M, n, K)
    truth = labels_of_cells(labels, *logits.shape[3:]).flatten(1)[:, None, where]  # (B, 1, n)
    labelled = is_labelled(truth)
    target = F.one_hot(truth.masked_fill(~labelled, 0), logits.shape[2]).float()  # (B, 1, n, K)
    pairs = eligible(present)
    draws = [softmax_information(_perturbed(scores, pairs, config.sigma), target) for _ in range(config.samples)]
    return _modality_mean(torch.stack(draws).mean(dim=0), pairs[:, :, None] * labelled, total)


def feature_information(level: Tensor, present: Tensor, config: FisherConfig, total: Total = alone) -> Tensor:
    """Information of each modality at one level, f = CE(softmax(mean feature), softmax(feature)), Eq. 7.

    Shapes:
        level (B, M, C, h, w), present (B, M) bool -> (M,), NaN if unused.
    """
    tokens, _ = _tokens_at(level, config.locations)  # (B, M, n, C)
    pairs = eligible(present)
    share = pairs / pairs.sum(dim=1, keepdim=True).clamp_min(1.0)
    target = torch.einsum("bmnc,bm->bnc", tokens, share).detach().softmax(dim=2)[:, None]  # (B, 1, n, C)
    draws = [softmax_information(_perturbed(tokens, pairs, config.sigma), target) for _ in range(config.samples)]
    return _modality_mean(torch.stack(draws).mean(dim=0), pairs[:, :, None].expand(draws[0].shape), total)


def gradient_information(
    logits: Tensor, labels: Tensor, inputs: list[Tensor], present: Tensor, total: Total = alone
) -> Tensor:
    """Information of the fused prediction with respect to tensors that it was computed from.

    With F the cross entropy summed over the pixels of an image: |grad_x F|^2 / F. Only gradients with respect
    to tensors are taken, never to parameters, so one backward pass at the end serves all.

    Shapes:
        logits (B, K, h, w), labels (B, H, W), inputs each (B, M, ...) -> (M,), NaN if unused.
    """
    truth = labels_of_cells(labels, *logits.shape[2:])
    loss = pixel_cross_entropy(logits, truth).sum(dim=(1, 2))  # (B,)
    gradients = torch.autograd.grad(loss.sum(), inputs, create_graph=True)
    squared = torch.stack([g.float().flatten(2).square().sum(dim=2) for g in gradients]).sum(dim=0)  # (B, M)
    labelled = is_labelled(truth).flatten(1).any(dim=1)
    return _modality_mean(squared / (loss[:, None] + _EPS), eligible(present) * labelled[:, None], total)


def _perturbed_maps(maps: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """One draw around (B, M, C, h, w)."""
    tokens = maps.float().flatten(3).transpose(2, 3)  # (B, M, N, C)
    return _perturbed(tokens, weight, sigma).transpose(2, 3).unflatten(3, maps.shape[3:])  # (B, M, C, h, w)


def prediction_information(
    model: Any2Seg,
    images: dict[str, Tensor],
    encoded: Encoded,
    labels: Tensor,
    config: FisherConfig,
    total: Total = alone,
) -> Tensor:
    """Information of each modality about the prediction (Eq. 6), by the estimator of the config.

    Parts of the model run again; the running statistics of its BatchNorms do not follow what they see then.

    Args:
        model: the model itself, not wrapped for several processes.
        images: what was encoded, per modality (B, 3, H, W).
        encoded: of the training step, with its graph.
        labels: (B, H, W) integer, 254 unlabelled, 255 ignored.

    Returns:
        (M,) float32 with a graph, in the order of ``encoded.modalities``; NaN for a modality without any sample.
    """
    with _kept_statistics(model):
        if config.wrt == "logits":
            whole = encoded if encoded.logits is not None else _in_float(encoded)
            return logit_information(model.modality_logits(whole), labels, encoded.present, config, total)
        of_one_draw = _information_in_features if config.wrt == "features" else _information_in_input
        draws = [of_one_draw(model, images, encoded, labels, config, total) for _ in range(config.samples)]
        return torch.stack(draws).mean(dim=0)


@contextmanager
def _kept_statistics(model: nn.Module) -> Iterator[None]:
    """Lets BatchNorm normalise by the batch without learning from it."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _information_in_features(
    model: Any2Seg, _: dict[str, Tensor], encoded: Encoded, labels: Tensor, config: FisherConfig, total: Total
) -> Tensor:
    present = encoded.present
    levels = [_perturbed_maps(level, eligible(present), config.sigma) for level in encoded.levels]
    logits = model.decode(model.fuse(model.with_levels(encoded, levels)))  # (B, K, h, w)
    return gradient_information(logits, labels, levels, present, total)


def _information_in_input(
    model: Any2Seg, images: dict[str, Tensor], encoded: Encoded, labels: Tensor, config: FisherConfig, total: Total
) -> Tensor:
    present = encoded.present
    stacked = torch.stack([images[name] for name in encoded.modalities], dim=1)  # (B, M, C, H, W)
    noisy = _perturbed_maps(stacked, eligible(present), config.sigma).requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels cannot be differentiated twice
        again = model.encode(dict(zip(encoded.modalities, noisy.unbind(dim=1), strict=True)), present)
        logits = model.decode(model.fuse(again))
        return gradient_information(logits, labels, [noisy], present, total)


def _in_float(encoded: Encoded) -> Encoded:
    return replace(encoded, levels=[level.float() for level in encoded.levels])
