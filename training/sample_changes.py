"""Config -> what changes a training sample before the model sees it: planted faults, then the augmentation."""

from __future__ import annotations

from any2seg_core.base.errors import UserError
from any2seg_core.data.augment import Augment
from any2seg_core.faults.planes import PLANE_FAULTS, Degradation, plane_faults
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite
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
