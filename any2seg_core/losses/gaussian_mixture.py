"""Adaptive Gaussian mixtures for sparse labels: AGMM-SASS (Wu et al., CVPR 2023).

The labelled pixels of a class of an image have a mean feature, its prototype mu_k. Every pixel of that image, labelled
or not, is compared with it: d_k is the mean over channels of |f - mu_k|, and G_k = exp(-d_k^2 / (2 sigma_k^2)) says how
much the pixel is of class k. G is supervised by the labels (L_spar), G and the segmentation p agree on all pixels
(L_self), and prototypes of different classes keep apart (L_con).

What the paper leaves open, or where its released code does something else, is decided so. Prototypes of the whole
batch, which L_con compares, are the mean over the images that have the class (the code adds them up, so its distance
grows with the batch). The code leaves sigma out, G = exp(-d^2): ``sigma=unit``. Only the classes among the labels of an
image take part there, and images without a labelled pixel in nothing. 255 (the padding of crops) is never looked at.
Everything is computed in float32, outside autocast. Where several processes share a batch, ``total`` sums over them:
means are over all of it, and so are the prototypes of L_con; only a class without spread borrows that of its process.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from any2seg_core.losses.pooling import class_cell_weights, masked_average_pooling
from any2seg_core.losses.whole_batch import Total, alone, whole_mean
from any2seg_core.vocabulary.labels import IGNORE, is_labelled

MIXTURE_TERMS = ("l_self", "l_spar", "l_con", "l_cls")
_EPS = 1e-6
_ONE_PLACE = 3
"""Places of the feature map in a row: one labelled pixel touches no more of them, also when zoomed up to twice."""
_NARROWEST = 0.05
"""Smallest sigma: pixels with one and the same feature have no spread either."""


class GaussianMixtureConfig(BaseModel):
    """Weight and switches of AGMM.

    Attributes:
        weight: lambda of L_self + L_spar + L_con + L_cls beside L_seg; the paper's best is 1, 0 turns all of it off.
        l_self, l_spar, l_con: which terms there are.
        l_cls: what the released code adds and the paper does not name: no pixel of an image may be of a class that its
            labels do not have. True where every region has a label; not for random clicks, nor after cropping.
        sigma: spread of each class. ``labelled``: root mean square distance of its labelled pixels; ``predicted``: of
            all pixels, each counted with its probability of the class; ``unit``: exp(-d^2), as the released code.
        stop_gradient: the segmentation learns from G, but not G from the segmentation (the paper is better without).
        features: what is compared. ``hidden``: the head's map before its classifier, at 1/4 size; ``fused``: f_ma of
            a level.
        level: which level of ``fused``, 1 = finest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: float = Field(0.0, ge=0)
    l_self: bool = True
    l_spar: bool = True
    l_con: bool = True
    l_cls: bool = False
    sigma: Literal["unit", "labelled", "predicted"] = "labelled"
    stop_gradient: bool = False
    features: Literal["hidden", "fused"] = "hidden"
    level: int = Field(1, ge=1, le=4)

    @model_validator(mode="after")
    def _no_switch_without_effect(self) -> GaussianMixtureConfig:
        if self.weight > 0 and not (self.l_self or self.l_spar or self.l_con or self.l_cls):
            raise ValueError("all terms are switched off: set weight to 0 instead")
        if self.features == "hidden" and self.level != 1:
            raise ValueError(f"level={self.level} has no effect with features=hidden, which has one")
        return self


class Mixture(NamedTuple):
    """Gaussian mixtures of the images of a batch, of their own classes only.

    Attributes:
        density: (B, J, h, w) float32 G in 0..1; J is the largest number of classes that an image has.
        classes: (B, J) int64 train ids, ascending; meaningless where ``exists`` is False.
        exists: (B, J) bool.
        prototypes: (B, K, C) float32, zero for a class that the image does not have.
        present: (B, K) bool.
    """

    density: Tensor
    classes: Tensor
    exists: Tensor
    prototypes: Tensor
    present: Tensor


def gaussian_mixture(features: Tensor, logits: Tensor, labels: Tensor, config: GaussianMixtureConfig) -> Mixture:
    """Prototypes of the labelled pixels of each image, and G of all its pixels at the size of the features.

    Shapes:
        features (B, C, h, w) any float, logits (B, K, H, W), labels (B, H, W) -> see `Mixture`.
    """
    features = features.float()
    height, width = features.shape[2:]
    prototypes, present = masked_average_pooling(features, labels, logits.shape[1])  # (B, K, C), (B, K)
    # The classes of each image first, so that nothing is computed for the many that it does not have.
    count = max(1, int(present.sum(dim=1).max()))
    classes = torch.argsort(present.int(), dim=1, descending=True, stable=True)[:, :count]  # (B, J)
    exists = present.gather(1, classes)
    own = prototypes.gather(1, classes[:, :, None].expand(-1, -1, prototypes.shape[2]))  # (B, J, C)
    tokens = features.flatten(2).transpose(1, 2)  # (B, N, C)
    distance = torch.cdist(own, tokens, p=1.0) / tokens.shape[2]  # (B, J, N), mean over channels
    squared = distance.square()
    if config.sigma == "unit":
        exponent = -squared
    else:
        share = _shares(logits, labels, classes, height, width, config)
        known = _has_spread(share) if config.sigma == "labelled" else exists
        variance = _variance(squared.detach(), share.flatten(2), known)  # (B, J, h, w) -> (B, J)
        exponent = -squared / (2.0 * variance[:, :, None])
    density = exponent.exp().unflatten(2, (height, width))  # (B, J, h, w)
    return Mixture(density, classes, exists, prototypes, present)


def _has_spread(share: Tensor) -> Tensor:
    """(B, J, h, w) -> (B, J) bool: the class lies at more than one place.

    Augmentation makes several pixels of a single click, all with next to the same feature: extent tells, not number.
    """
    known = torch.zeros(share.shape[:2], dtype=torch.bool, device=share.device)
    for other, size in ((3, share.shape[2]), (2, share.shape[3])):
        taken = (share > 0).any(dim=other)  # (B, J, h) or (B, J, w)
        number = torch.arange(size, device=share.device)
        extent = torch.where(taken, number, -1).amax(dim=2) - torch.where(taken, number, size).amin(dim=2) + 1
        known |= extent > _ONE_PLACE
    return known


def _variance(squared: Tensor, share: Tensor, known: Tensor) -> Tensor:
    """sigma^2 of each class of each image, (B, J), from squared distances and shares (B, J, N).

    A class that is not ``known`` to have a spread (B, J) gets the mean of the others in its image, or where there is
    none, that of ``unit``.
    """
    variance = (squared * share).sum(dim=2) / share.sum(dim=2).clamp_min(_EPS)
    others = known.sum(dim=1, keepdim=True)  # (B, 1)
    usual = torch.where(others > 0, (variance * known).sum(dim=1, keepdim=True) / others.clamp_min(1), 0.5)
    return torch.where(known, variance, usual).clamp_min(_NARROWEST**2)


@torch.no_grad()
def _shares(
    logits: Tensor, labels: Tensor, classes: Tensor, height: int, width: int, config: GaussianMixtureConfig
) -> Tensor:
    """(B, J, h, w): how much each place counts in the spread of each class of its image."""
    pick = classes[:, :, None, None].expand(-1, -1, height, width)
    if config.sigma == "labelled":
        return class_cell_weights(labels, logits.shape[1], height, width).gather(1, pick)
    coarse = F.interpolate(logits.float(), (height, width), mode="bilinear", align_corners=False).softmax(dim=1)
    real = F.interpolate((labels != IGNORE)[:, None].float(), (height, width), mode="nearest-exact")  # (B, 1, h, w)
    return coarse.gather(1, pick) * real


def half_cross_entropy(probability: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Half the binary cross entropy against soft targets 0..1, summed under weights; all of one shape -> scalar."""
    # Kept off 0 and 1 as in the paper's code, which also bounds the gradients.
    probability = probability.clamp(_EPS, 1.0 - _EPS)
    return 0.5 * F.binary_cross_entropy(probability, target, weight.expand_as(target), reduction="sum")


def self_loss(
    probability: Tensor, density: Tensor, exists: Tensor, labels: Tensor, total: Total = alone
) -> Tensor:
    """L_self: segmentation and mixture agree on every pixel but the ignored ones, over the classes of its image.

    Shapes:
        probability, density (B, J, H, W), exists (B, J), labels (B, H, W) -> scalar.
    """
    pixels = (labels != IGNORE) & exists.any(dim=1)[:, None, None]  # (B, H, W)
    weight = pixels[:, None] * _class_share(exists)[:, :, None, None]  # (B, J, H, W)
    return whole_mean(half_cross_entropy(probability, density, weight), pixels.sum(), total)


def sparse_loss(
    density: Tensor, classes: Tensor, exists: Tensor, labels: Tensor, total: Total = alone
) -> Tensor:
    """L_spar: at labelled pixels the mixture of the labelled class is 1, those of the others are 0.

    Shapes:
        density (B, J, H, W), classes and exists (B, J), labels (B, H, W) -> scalar.
    """
    labelled = is_labelled(labels)
    image, row, column = torch.nonzero(labelled, as_tuple=True)  # (n,) each
    values = density[image, :, row, column]  # (n, J)
    target = (labels[image, row, column][:, None] == classes[image]).float()
    return whole_mean(half_cross_entropy(values, target, _class_share(exists)[image]), labelled.sum(), total)


def _class_share(exists: Tensor) -> Tensor:
    """(B, J) bool -> (B, J) float32, 1 / their number where True."""
    return exists.float() / exists.sum(dim=1, keepdim=True).clamp_min(1)


def contrast_loss(prototypes: Tensor, present: Tensor, total: Total = alone) -> Tensor:
    """L_con: mean over pairs of classes of exp(-d^2) between their prototypes, each the mean over the batch's images.

    Shapes:
        prototypes (B, K, C), present (B, K) -> scalar; 0 with fewer than two classes.
    """
    sums = (prototypes * present[:, :, None]).sum(dim=0)  # (K, C)
    images = present.sum(dim=0, dtype=sums.dtype)  # (K,), how many have the class
    sums, images = total(torch.cat([sums, images[:, None]], dim=1)).split([sums.shape[1], 1], dim=1)
    mean, images = sums / images.clamp_min(1), images[:, 0]
    mean = mean[images > 0]  # (K', C)
    first, second = torch.triu_indices(len(mean), len(mean), offset=1, device=mean.device)  # pairs
    likeness = (mean[first] - mean[second]).abs().mean(dim=1).square().neg().exp()
    return likeness.sum() / max(1, len(first)) + 0.0 * prototypes.sum()


def absence_loss(probability: Tensor, present: Tensor, labels: Tensor, total: Total = alone) -> Tensor:
    """L_cls of the released code: -log(1 - p_k) summed over the classes that the labels of the image do not have.

    Shapes:
        probability (B, K, H, W), present (B, K), labels (B, H, W) -> scalar.
    """
    pixels = (labels != IGNORE) & present.any(dim=1)[:, None, None]  # (B, H, W)
    rejected = -torch.log1p(-probability.clamp(0.0, 1.0 - _EPS))  # (B, K, H, W)
    rejected = torch.einsum("bkhw,bk,bhw->", rejected, (~present).float(), pixels.float())
    return whole_mean(rejected, pixels.sum(), total)


class GaussianMixtureLoss(nn.Module):
    """The terms of AGMM beside the supervised loss L_seg, before weighting.

    ``forward(features (B, C, h, w), logits (B, K, H, W), labels (B, H, W) int64)`` with 254 unlabelled and 255 ignored
    returns the terms that are switched on, each a scalar float32: ``l_self``, ``l_spar``, ``l_con``, ``l_cls``.
    Without any labelled pixel all are 0, with zero gradients.
    """

    def __init__(self, config: GaussianMixtureConfig, total: Total = alone) -> None:
        super().__init__()
        self.config = config
        self.total = total

    def forward(self, features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        config = self.config
        logits = logits.float()
        mixture = gaussian_mixture(features, logits, labels, config)
        terms: dict[str, Tensor] = {}
        if config.l_self or config.l_spar:
            size = labels.shape[1:]
            density = F.interpolate(mixture.density, size, mode="bilinear", align_corners=False)  # (B, J, H, W)
        if config.l_self or config.l_cls:
            probability = logits.softmax(dim=1)  # (B, K, H, W)
        if config.l_self:
            own = probability.gather(1, mixture.classes[:, :, None, None].expand(-1, -1, *size))  # (B, J, H, W)
            target = density.detach() if config.stop_gradient else density
            terms["l_self"] = self_loss(own, target, mixture.exists, labels, self.total)
        if config.l_spar:
            terms["l_spar"] = sparse_loss(density, mixture.classes, mixture.exists, labels, self.total)
        if config.l_con:
            terms["l_con"] = contrast_loss(mixture.prototypes, mixture.present, self.total)
        if config.l_cls:
            terms["l_cls"] = absence_loss(probability, mixture.present, labels, self.total)
        return terms
