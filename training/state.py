"""What a run needs to go on exactly where it stopped, and the moving average of its weights."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.models.weight_files import load_torch
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.batches import Frames
from any2seg_training.config import TrainConfig

_MAY_CHANGE = frozenset({
    # Where things lie: data are compared by the names of the frames, and first weights are in the state.
    "out", "init", "pretrained", "dataset", "suite", "data.root", "data.further", "data.labelled", "data.unlabelled",
    "data.bag.rules", "data.bag.calibration", "data.bag.params", "data.bag.planes", "data.bag.keep",
    # How long, how often, and on which machine. A corrupt file may be found on the way.
    "resume", "steps", "max_minutes", "max_processor_minutes", "log_every", "save_every", "eval_every", "eval_frames",
    "final_frames", "eval_subsets", "weights",
    "tensorboard", "device", "threads", "workers", "cache", "compile_fusion", "skip_corrupt",
    # Compared by their product, the samples of a step.
    "batch_size", "unlabelled_batch_size", "accumulate",
})  # fmt: skip
"""Settings that may differ when a run goes on: it still learns the same from the same samples."""


Model = TypeVar("Model", bound=nn.Module)


class MovingAverage(Generic[Model]):
    """Exponential moving average of parameters and floating-point buffers (Polyak averaging).

    The decay grows with the number n of the step, so the average forgets the random start quickly. Statistics of
    BatchNorm are averaged like the weights that they belong to.

    Args:
        model: where the average starts.
        decay: what it grows to.
        ramp: (a, b) of the decay (a + n) / (b + n) that it has before.

    Attributes:
        model: the averaged copy, in evaluation mode.
    """

    def __init__(self, model: Model, decay: float, ramp: tuple[int, int] = (1, 10)):
        self.decay, self.ramp = decay, ramp
        self.model: Model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model`` after optimiser step number ``step``, counted from 0."""
        above, below = self.ramp
        share = 1.0 - min(self.decay, (above + step) / (below + step))
        source = model.state_dict()
        floats = [(value, source[name]) for name, value in self.model.state_dict().items() if value.is_floating_point()]
        torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], share)
        for name, value in self.model.state_dict().items():
            if not value.is_floating_point():
                value.copy_(source[name])


def run_facts(config: TrainConfig, processes: int, parts: Sequence[Frames], suite: SensorSuite) -> dict[str, Any]:
    """Settings, processes, sensors and a digest of the frames of each part of a batch, as a state keeps them."""
    frames = {
        name: f"{len(part)}, digest {_digest(part)}"
        for name, part in zip(("labelled", "unlabelled"), parts, strict=False)
    }
    sensors = suite.to_document()["sensors"]
    return {"settings": config.model_dump(mode="json"), "processes": processes, "frames": frames, "sensors": sensors}


def require_same_run(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError, which names what differs, where a run with the facts ``now`` would not go on as ``before``."""
    before = {"sensors": now["sensors"]} | dict(before)  # states of before there were suites name none
    usual = TrainConfig.model_validate({"data": ".", "out": "."}).model_dump(mode="json")
    before["settings"] = _completed(before["settings"], usual)
    changes = list(_differences(_deciding(before), _deciding(now)))
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        named = ", ".join(changes[:3]) + more
        raise UserError(
            f"{path}: its run had {named}; resume with the same, or start anew without resume=true", "resume-mismatch"
        )


def _deciding(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are compared: teachers by the name of their folder, batches by the samples of a step."""
    settings, data, distil = facts["settings"], facts["settings"]["data"], facts["settings"]["distil"]
    sizes = {"batch_size": settings["batch_size"]}
    if "unlabelled" in facts["frames"]:
        sizes["unlabelled_batch_size"] = settings["unlabelled_batch_size"] or settings["batch_size"]
    times = settings["accumulate"] * facts["processes"]
    return settings | {
        "teacher": _name(settings["teacher"]),
        "distil": distil | {"teachers": [_name(place) for place in distil["teachers"]], "map": _name(distil["map"])},
        "teachers": facts.get("teachers"),
        "data": data | {"pseudo": _name(data["pseudo"])},
        "sensors": facts["sensors"],
        **{f"{name} x accumulate x processes": size * times for name, size in sizes.items()},
        **{f"{part} frames": told for part, told in facts["frames"].items()},
    }


def _completed(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the defaults of those that there were not yet when they were stored."""
    groups = {key: _completed(value, usual[key]) for key, value in settings.items()
              if isinstance(value, dict) and isinstance(usual.get(key), dict)}  # fmt: skip
    return {**usual, **settings, **groups}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], group: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        name, old, new = f"{group}{key}", before.get(key), now.get(key)
        if name in _MAY_CHANGE or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}.")
        else:
            yield f"{name}={json.dumps(old)} (now {json.dumps(new)})"


def _digest(frames: Frames) -> str:
    """Of the names of all frames in their order."""
    names = "\n".join(frames.name(index) for index in range(len(frames)))
    return hashlib.sha256(names.encode()).hexdigest()[:8]


def _name(folder: str | None) -> str | None:
    return None if folder is None else Path(folder).name


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them; a reader never sees half a file."""
    with replacing(path) as partial:
        try:
            torch.save(state, partial)
        except RuntimeError as error:  # how the library tells a full disk
            raise OSError(f"no space left, or {str(error).splitlines()[0]}") from None


def load_state(path: Path) -> dict[str, Any]:
    """Read a file of ``save_state``; only tensors and plain containers are unpickled. UserError if it is not one."""
    if not path.is_file():
        raise UserError(f"{path}: no training state to resume from; start without resume=true", "resume-missing")
    try:
        state = load_torch(path)
    except UserError as error:
        raise UserError(f"{path}: not a training state ({error}); start without resume=true", "resume-format") from None
    if not isinstance(state, dict):
        raise UserError(
            f"{path}: not a training state ({type(state).__name__}); start without resume=true", "resume-format"
        )
    return state
