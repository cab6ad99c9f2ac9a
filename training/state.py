"""What a run needs to go on exactly where it stopped, and the moving average of its weights."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from any2seg_core.atomic import replacing
from any2seg_core.errors import UserError


class MovingAverage:
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

    def __init__(self, model: nn.Module, decay: float, ramp: tuple[int, int] = (1, 10)):
        self.decay, self.ramp = decay, ramp
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

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


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them; a reader never sees half a file."""
    with replacing(path) as partial:
        torch.save(state, partial)


def load_state(path: Path) -> dict[str, Any]:
    """Read a file of ``save_state``; only tensors and plain containers are unpickled. UserError if it is not one."""
    if not path.is_file():
        raise UserError(f"{path}: no training state to resume from; start without resume=true")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise UserError(f"{path}: not a training state ({reason}); start without resume=true") from None
