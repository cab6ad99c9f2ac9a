"""Planes -> tensors, logits -> labels: the only normalise and the only resize on the way in and out of a model."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.kernels.running import on_kernels
from any2seg_core.runtime.array_io import LARGEST_LOGIT, label_maps, planes_to_images, reached_places
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.sensor import Sensor


def resize_planes(planes: Tensor, sensor: Sensor, height: int, width: int) -> Tensor:
    """(B, 3, H, W) uint8 or float -> (B, 3, height, width): nearest for sparse planes, else antialiased bilinear."""
    if planes.shape[-2:] == (height, width):
        return planes
    if sensor.is_sparse:
        return F.interpolate(planes, (height, width), mode="nearest-exact")
    return F.interpolate(planes.float(), (height, width), mode="bilinear", align_corners=False, antialias=True)


def normalise(planes: Tensor, modality: str, contract: InputContract) -> Tensor:
    """planes (B, 3, H, W) uint8 or float 0..255 -> float32 as the contract says."""
    statistics = contract.normalisation[modality]
    mean = torch.tensor(statistics.mean, device=planes.device).view(1, 3, 1, 1)  # (1, C, 1, 1)
    std = torch.tensor(statistics.std, device=planes.device).view(1, 3, 1, 1)  # (1, C, 1, 1)
    return (planes.float() / 255.0 - mean) / std


def planes_to_tensor(
    planes: dict[str, np.ndarray], contract: InputContract, device: str | torch.device = "cpu"
) -> dict[str, Tensor]:
    """Planes of one frame -> model input.

    Args:
        planes: per modality (H, W, 3) uint8, or float32 in 0..255, any size.
        contract: size and normalisation.
        device: where the tensors go. On the CPU a plane is resized and normalised in one pass: a tenth of the time.

    Returns:
        Per modality (1, 3, h, w) float32, of the size `contract.size_of` says.
    """
    return {name: _plane_to_tensor(name, plane, contract, torch.device(device)) for name, plane in planes.items()}


def _plane_to_tensor(name: str, plane: np.ndarray, contract: InputContract, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.from_numpy(planes_to_images({name: plane}, contract)[name])  # (1, C, H, W)
    owned = np.require(plane, requirements=("C", "W"))  # PyTorch warns of read-only memory: messages, image files
    batch = _sent(torch.from_numpy(owned), device).permute(2, 0, 1)[None]  # (1, C, H, W)
    return normalise(resize_planes(batch, contract.suite.sensor(name), *contract.size_of(name)), name, contract)


def _sent(plane: Tensor, device: torch.device) -> Tensor:
    """A plane on a device; to a GPU from page-locked memory, so that the copy runs beside what is computed there."""
    if device.type != "cuda":
        return plane.to(device)
    return plane.pin_memory().to(device, non_blocking=True)


def logits_to_labels(
    logits: Tensor,
    height: int,
    width: int,
    with_confidence: bool = True,
    align_corners: bool = False,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor | None]:
    """logits (B, K, h, w) -> labels (B, height, width) uint8 and confidence (B, height, width) float32 in 0..1.

    Labels are uint16 when K is larger than 255, as 255 (65535) means unlabelled.
    The maximum is taken after bilinear upsampling of the logits, with ``align_corners`` as the model's config has it;
    confidence is the softmax of the winning class, of logits divided by ``temperature``. Of equal classes the first
    wins. On the CPU without gradients no upsampled logits are written: a tenth of the time.
    Without `with_confidence`, None in its place and less than half of what is left.
    Pixels that a logit reaches which is not finite are unlabelled, with confidence 0.
    """
    if on_kernels(logits):
        found, share = label_maps(logits.numpy(), height, width, with_confidence, align_corners, temperature)
        return torch.from_numpy(found), None if share is None else torch.from_numpy(share)
    invalid = _invalid(logits)
    if invalid is None:
        return _labels_of_finite(logits, height, width, with_confidence, align_corners, temperature)
    clean = logits.masked_fill(invalid[:, None], 0.0)
    labels, confidence = _labels_of_finite(clean, height, width, with_confidence, align_corners, temperature)
    places = reached_places(invalid.cpu().numpy(), height, width, align_corners)
    reached = torch.from_numpy(places).to(logits.device)
    unlabelled = torch.tensor(torch.iinfo(labels.dtype).max, dtype=labels.dtype, device=labels.device)
    labels = torch.where(reached, unlabelled, labels)
    return labels, None if confidence is None else confidence.masked_fill(reached, 0.0)


def _invalid(logits: Tensor) -> Tensor | None:
    """(B, K, h, w) -> (B, h, w) bool, where a class has no usable logit; None where there is no such place."""
    if bool(torch.isfinite(torch.linalg.vector_norm(logits))):  # one fast pass: what is not finite shows in the sum
        return None
    invalid = ~(logits.abs() <= LARGEST_LOGIT).all(dim=1)
    return invalid if bool(invalid.any()) else None


def _labels_of_finite(
    logits: Tensor, height: int, width: int, with_confidence: bool, align_corners: bool, temperature: float
) -> tuple[Tensor, Tensor | None]:
    is_own = logits.shape[-2:] != (height, width)
    if is_own:
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=align_corners)
    top, winner = logits.max(dim=1)  # (B, H, W)
    winner = winner.to(torch.uint8 if logits.shape[1] <= 255 else torch.uint16)
    if not with_confidence:
        return winner, None
    # The softmax of the winner is 1 / sum_k exp(l_k - l_top): logsumexp would look for the maximum once more.
    below = logits.sub_(top[:, None]) if is_own and not logits.requires_grad else logits - top[:, None]
    return winner, below.div_(temperature).exp_().sum(dim=1).reciprocal()
