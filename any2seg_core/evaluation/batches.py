"""Frames of a data set as batches for evaluation: nothing random, truth at its own size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from any2seg_core.data.samples import FrameDataset, Sample
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract


class EvaluationBatch(NamedTuple):
    """Frames ready to be judged.

    Attributes:
        images: per modality that these frames have (B, 3, h, w) float32 at the size that the contract has for it.
        truth: (B, H, W) uint8 train ids, 255 unlabelled.
        indices: number of each frame in its data set, B of them.
    """

    images: dict[str, Tensor]
    truth: Tensor
    indices: tuple[int, ...]


def spread(count: int, wanted: int | None) -> list[int]:
    """Numbers of at most ``wanted`` frames, evenly spread over ``count``, each at most once; None: all of them."""
    taken = count if wanted is None else min(wanted, count)
    return np.linspace(0, count - 1, taken).round().astype(int).tolist()


def evaluation_batches(
    frames: FrameDataset,
    indices: Sequence[int],
    contract: InputContract,
    device: torch.device,
    batch_size: int = 4,
    eval_size: int | None = None,
) -> Iterator[EvaluationBatch]:
    """Batches in the order of ``indices``; a batch ends early where the size of the truth or the sensors change.

    Args:
        frames: data set.
        indices: which frames.
        contract: size and normalisation of the model input.
        device: where the images go.
        batch_size: largest B.
        eval_size: shorter side of the truth in pixels, resized to the nearest pixel (1024 for DELIVER's published
            numbers); None keeps the truth as it is on disk.
    """
    pending: list[tuple[int, Sample, np.ndarray]] = []
    for index in indices:
        sample = frames.readable(index)
        if sample is None:  # corrupt; the data set counts it
            continue
        truth = resized_truth(sample.labels, eval_size)
        if pending and (len(pending) == batch_size or not _alike(pending[0], sample, truth)):
            yield _batch(pending, contract, device)
            pending = []
        pending.append((index, sample, truth))
    if pending:
        yield _batch(pending, contract, device)


def _alike(pending: tuple[int, Sample, np.ndarray], sample: Sample, truth: np.ndarray) -> bool:
    return pending[2].shape == truth.shape and pending[1].planes.keys() == sample.planes.keys()


def resized_truth(labels: np.ndarray, eval_size: int | None) -> np.ndarray:
    """labels (H, W) uint8 -> the same with the shorter side ``eval_size``, nearest pixel; None changes nothing."""
    if eval_size is None or min(labels.shape) == eval_size:
        return labels
    scale = eval_size / min(labels.shape)
    height, width = (round(side * scale) for side in labels.shape)
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _batch(
    pending: list[tuple[int, Sample, np.ndarray]], contract: InputContract, device: torch.device
) -> EvaluationBatch:
    images = [planes_to_tensor(sample.planes, contract, device) for _, sample, _ in pending]
    stacked = {name: torch.cat([image[name] for image in images]) for name in images[0]}  # (B, C, h, w)
    truth = torch.from_numpy(np.stack([truth for _, _, truth in pending]))  # (B, H, W)
    return EvaluationBatch(stacked, truth, tuple(index for index, _, _ in pending))
