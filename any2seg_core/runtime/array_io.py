"""Planes -> the model's input, logits -> labels, in NumPy: what every engine on a processor shares, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from any2seg_core.kernels import labels as compiled_labels
from any2seg_core.kernels import plain
from any2seg_core.kernels import planes as compiled_planes
from any2seg_core.kernels.bilinear import taps
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.sensors.camera import read_only
from any2seg_core.vocabulary.contract import InputContract

LARGEST_LOGIT = 1.7e38
"""Half of the largest float32: no mean of two of them overflows. Beyond it a logit counts as not finite."""


def planes_to_images(planes: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, np.ndarray]:
    """Planes of one frame, resized and normalised in one pass.

    Args:
        planes: per modality (H, W, 3) uint8, or float32 in 0..255, any size.
        contract: size and normalisation.

    Returns:
        Per modality (1, 3, h, w) float32, of the size `contract.size_of` says.
    """
    return {name: _image(name, plane, contract)[None] for name, plane in planes.items()}


def _image(name: str, plane: np.ndarray, contract: InputContract) -> np.ndarray:
    """One plane -> (3, h, w) float32."""
    size = contract.size_of(name)
    pixels, statistics = read_only(np.ascontiguousarray(plane)), contract.normalisation[name]
    code = compiled_planes if WORKLOAD.is_for_kernels(plane.size) else plain
    if plane.shape[:2] == size:
        return code.scaled_plane(pixels, statistics.mean, statistics.std)
    resize = code.picked_plane if contract.suite.sensor(name).is_sparse else code.resized_plane
    return resize(pixels, *size, statistics.mean, statistics.std)


def label_maps(
    logits: np.ndarray,
    height: int,
    width: int,
    with_confidence: bool = True,
    align_corners: bool = False,
    temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits (B, K, h, w) float32 -> labels (B, height, width) and their confidence, see `logits_to_labels`."""
    maps = np.ascontiguousarray(logits.transpose(0, 2, 3, 1))  # (B, h, w, K): a view of what most heads return
    values = len(maps) * height * width * maps.shape[-1]
    upsampled_labels = (compiled_labels if WORKLOAD.is_for_kernels(values) else plain).upsampled_labels
    invalid = _invalid(maps)
    if invalid is None:
        return upsampled_labels(maps, height, width, with_confidence, align_corners, temperature)
    clean = np.where(invalid[..., None], np.float32(0.0), maps)
    labels, confidence = upsampled_labels(clean, height, width, with_confidence, align_corners, temperature)
    reached = reached_places(invalid, height, width, align_corners)
    labels[reached] = np.iinfo(labels.dtype).max
    if confidence is not None:
        confidence[reached] = 0.0
    return labels, confidence


def _invalid(maps: np.ndarray) -> np.ndarray | None:
    """(B, h, w, K) -> (B, h, w) bool, where a class has no usable logit; None where there is no such place."""
    values = maps.ravel()
    with np.errstate(all="ignore"):
        if np.isfinite(np.dot(values, values)):  # one fast pass: what is not finite shows in the sum
            return None
        invalid = ~(np.abs(maps) <= LARGEST_LOGIT).all(axis=-1)
    return invalid if invalid.any() else None


def reached_places(invalid: np.ndarray, height: int, width: int, align_corners: bool) -> np.ndarray:
    """(B, h, w) bool -> (B, height, width): pixels whose bilinear interpolation reads such a place."""
    for axis, wanted in ((1, height), (2, width)):
        if invalid.shape[axis] != wanted:
            low, high, _ = taps(invalid.shape[axis], wanted, align_corners)
            invalid = invalid.take(low, axis) | invalid.take(high, axis)
    return invalid


def unlabelled_share(labels: np.ndarray) -> float:
    """Share of pixels of uint8 or uint16 labels that are unlabelled; of a model's labels: whose logits are not finite.

    No class has this number, so that nothing else makes a model's label unlabelled.
    """
    return int(np.count_nonzero(labels == np.iinfo(labels.dtype).max)) / labels.size
