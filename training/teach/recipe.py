"""How `any2seg teach` trains: the settings of its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from any2seg_core.base.command_options import image_size
from any2seg_core.models import ModelConfig
from any2seg_training.config import TrainConfig
from any2seg_training.teach.recordings import Source, Start
from any2seg_training.teach.settings import PLANES, TRAINING, TeachSettings

KEEP = 3.0
"""Weight of the loss on the camera alone; see docs/teach.md for what it does."""
_LEARNING_RATE, _FULL_STEPS = 1e-3, 1000
"""Largest rate, and the steps from which on it is used: a short run has no time to mend what large steps break."""
_SCALE = (1.0, 1.25)
"""Of the frames: whole ones, as they are judged, or parts of them; a teacher says less of a part, and less surely."""
_NEVER = 10**9
_WARMUP = 0.1  # of the steps


def student_config(
    settings: TeachSettings, sources: Sequence[Source], start: Start | None, steps: int, save_every: int, **changes: Any
) -> TrainConfig:
    """The training of a student, as `training/train.py` takes it.

    Recordings come first, so that their planes are kept: folders of frames are read as they are.
    """
    paths = [source.path for source in sorted(sources, key=lambda source: not source.is_bag)]
    width, height = image_size(settings.size) if settings.size else (256, 256)
    if start is not None and not settings.size:
        width, height = start.contract.width, start.contract.height
    given: dict[str, Any] = {
        "data": {
            "root": paths[0], "further": paths[1:], "held_out": settings.held_out, "labels": settings.labels,
            "bag": {"every": settings.every, "planes": settings.out / PLANES},
        },
        "suite": settings.suite or None, "out": settings.out / TRAINING,
        "cache": "disk" if any(source.is_bag for source in sources) else "none",
        "method": "distil",
        "distil": {"teachers": settings.teacher, "map": settings.map, "frame_floor": settings.frame_floor},
        "height": height, "width": width, "crop_height": height, "crop_width": width, "fit": True,
        "scale": _SCALE, "modality_dropout": 1.0, "subset_supervision": {"count": 2, "enlarge": False},
        "class_weight_power": 0.3, "lr": learning_rate(steps), "warmup_steps": round(_WARMUP * steps), "steps": steps,
        "batch_size": settings.batch_size, "drop_path": 0.0, "save_every": save_every, "eval_every": _NEVER,
        "eval_frames": 8, "final_frames": 8, "log_every": max(1, save_every // 4), "workers": 0, "seed": settings.seed,
        "device": settings.device, "threads": settings.threads,
    }  # fmt: skip
    if start is not None and start.model is not None:
        given |= _as_teacher(start.model)
        if not settings.map:
            given |= {"init": start.path, "freeze_norm": True}
        elif start.path.is_file() and start.model.encoder.startswith("mit_"):
            given["pretrained"] = str(start.path)  # the classes are others, so the head learns anew
        given["distil"]["keep"] = KEEP
    else:
        given["mff"] = {"unit_scale": True}
    return TrainConfig.model_validate(given | changes)


def learning_rate(steps: int) -> float:
    """Largest rate of a run of so many steps."""
    return round(_LEARNING_RATE * min(1.0, steps / _FULL_STEPS) ** 0.5, 6)


def _as_teacher(model: ModelConfig) -> dict[str, Any]:
    """Settings that decide whether weights of a model fit, and give the logits that they had there."""
    names = ("encoder", "head", "head_width", "layer_norm_eps", "align_corners", "fusion", "content_masks")
    own = {name: getattr(model, name) for name in names}
    return own | {name: getattr(model, name).model_dump() for name in ("mff", "mff_early", "linear")}
