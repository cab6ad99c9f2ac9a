"""Config -> what changes a training sample before the model sees it: its size, planted faults, the augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
import torch

from any2seg_core.base.errors import UserError
from any2seg_core.data.augment import Augment
from any2seg_core.data.samples import Sample
from any2seg_core.faults.planes import PLANE_FAULTS, Degradation, plane_faults
from any2seg_core.runtime.preprocess import resize_planes
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.batches import ChangedFrames, Frames
from any2seg_training.config import TrainConfig


def build_augment(config: TrainConfig, suite: SensorSuite) -> Augment:
    """Augmentation as configured, of the sensors of a suite."""
    return Augment(
        height=config.crop_height,
        width=config.crop_width,
        scale=config.scale,
        flip_probability=config.flip_probability,
        jitter_probability=config.jitter_probability,
        jitter_strength=config.jitter_strength,
        blur_probability=config.blur_probability,
        suite=suite,
    )


def build_degradation(config: TrainConfig, contract: InputContract) -> Degradation | None:
    """What plants faults as configured; None: none are. UserError for a fault that no sensor of the run can have."""
    if not config.degradation.probability:
        return None
    able = {kind for name in contract.modalities for kind in plane_faults(contract.suite.sensor(name))}
    foreign = [kind for kind in config.degradation.kinds if kind not in able]
    if foreign and config.degradation.kinds != PLANE_FAULTS:
        raise UserError(
            f"degradation.kinds names {', '.join(foreign)}, which none of {', '.join(contract.modalities)} can have: "
            f"they can have {', '.join(sorted(able))}",
            "value-conflict",
        )
    return Degradation(config.degradation, contract.suite)


def fitted(sample: Sample, contract: InputContract) -> Sample:
    """A frame at the size that the finished model takes: one of another shape is stretched as it will be there.

    Args:
        contract: says the size, and of which kind a plane is.
    """
    height, width = contract.height, contract.width
    if sample.labels.shape == (height, width):
        return sample

    def resized(name: str, plane: np.ndarray) -> np.ndarray:
        owned = torch.from_numpy(np.require(plane, requirements=("C", "W"))).permute(2, 0, 1)[None]  # (1, C, H, W)
        found = resize_planes(owned, contract.suite.sensor(name), height, width)
        found = found.round().byte() if plane.dtype == np.uint8 else found
        return np.ascontiguousarray(found[0].permute(1, 2, 0).numpy())

    def nearest(labels: np.ndarray) -> np.ndarray:
        return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    planes = {name: resized(name, plane) for name, plane in sample.planes.items()}
    said = tuple(w if w.values.ndim == 3 else w._replace(values=nearest(w.values)) for w in sample.said)
    return sample._replace(planes=planes, labels=nearest(sample.labels), said=said)


def fitted_frames(parts: Sequence[Frames], contract: InputContract) -> list[Frames]:
    """Frames of each part at the size that the finished model takes."""
    return [ChangedFrames(part, partial(fitted, contract=contract)) for part in parts]
