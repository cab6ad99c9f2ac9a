"""A run that has gone wrong stops before it spoils its weights, and says where."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from any2seg_core.errors import UserError
from training.batches import MixedNumbers
from training.build import Run
from training.config import TrainConfig
from training.processes import Processes


def require_finite(
    config: TrainConfig, run: Run, processes: Processes, losses: Sequence[Tensor], norm: Tensor, numbers: MixedNumbers
) -> None:
    """Between the gradients of a step and the step: UserError in every process if a loss or the gradient is not finite.

    With fp16 a gradient that overflows is no error: the scaler leaves that step out and scales less. One that is not
    finite with a scale below 1 did not overflow because of it: without this check no step would ever be taken again.

    Args:
        losses: one scalar per batch of this step. norm: of the gradient, summed over processes.
        numbers: what the batches of this process were made of.
    """
    bad = ~torch.isfinite(torch.stack(list(losses)))
    may_overflow = config.fp16 and run.scaler.get_scale() >= 1.0
    wrong = bool(bad.any()) or not (may_overflow or bool(torch.isfinite(norm)))
    if processes.largest(float(wrong)) == 0.0:
        return
    first = run.step * config.accumulate
    frames = [
        run.parts[key.part].name(key.frame)
        for number, is_bad in enumerate(bad.tolist(), start=first)
        if is_bad or not bool(bad.any())
        for key in numbers.batch(number)
    ]
    values = ", ".join(f"{float(loss):g}" for loss in losses)
    raise UserError(
        f"step {run.step}: loss {values}, gradient norm {float(norm):g}: not finite; process {processes.rank} had the "
        f"samples {', '.join(frames)}; the weights were not changed. Lower lr or look at these samples, then go on "
        f"from {config.out / 'last.pt'} with resume=true"
    )
