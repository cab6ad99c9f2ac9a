"""A run that has gone wrong stops before it spoils its weights, and says where."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.data.samples import FrameDataset
from any2seg_core.evaluation.batches import spread
from any2seg_core.vocabulary.labels import is_labelled
from any2seg_training.batches import SampleKey
from any2seg_training.build import Run
from any2seg_training.config import TrainConfig
from any2seg_training.lessons import TaughtFrames
from any2seg_training.processes import Processes


def require_val(frames: FrameDataset, count: int, processes: Processes) -> None:
    """Before the first step: all val labels are read, and the frames of the evaluations on the way are decoded.

    Labels that teachers make are no files, and each takes a pass of their networks: one frame with some is enough.

    Args:
        frames: val. count: how many of them are evaluated on the way. processes: each takes a share.

    Raises:
        UserError: one that cannot be read (unless such frames are skipped), or val without any labelled pixel.
    """
    mine = range(processes.rank, len(frames), processes.world_size)
    found = (bool(is_labelled(labels).any()) for labels in frames.readable_labels(mine))
    # Of files a list: any(...) over the generator would stop at the first label.
    labelled = any(found if isinstance(frames, TaughtFrames) else list(found))
    for index in spread(len(frames), count)[processes.rank :: processes.world_size]:
        frames.readable(index)
    if processes.largest(float(labelled)) == 0.0:
        raise UserError(
            f"{frames.root}: no labelled pixel in {len(frames)} val frames: nothing to judge the model by",
            "data-unlabelled",
        )


def require_finite(
    config: TrainConfig,
    run: Run,
    processes: Processes,
    losses: Sequence[Tensor],
    norm: Tensor,
    keys: Sequence[Sequence[SampleKey]],
) -> None:
    """Between the gradients of a step and the step: UserError in every process if a loss or the gradient is not finite.

    With fp16 a gradient that overflows is no error: the scaler leaves that step out and scales less. One that is not
    finite with a scale below 1 did not overflow because of it: without this check no step would ever be taken again.

    Args:
        losses: one scalar per batch of this step. norm: of the gradient, summed over processes.
        keys: per batch what this process made it of.
    """
    bad = ~torch.isfinite(torch.stack(list(losses)))
    may_overflow = config.fp16 and run.scaler.get_scale() >= 1.0
    wrong = bool(bad.any()) or not (may_overflow or bool(torch.isfinite(norm)))
    if processes.largest(float(wrong)) == 0.0:
        return
    frames = [
        run.parts[key.part].name(key.frame)
        for batch, is_bad in zip(keys, bad.tolist(), strict=True)
        if is_bad or not bool(bad.any())
        for key in batch
    ]
    values = ", ".join(f"{float(loss):g}" for loss in losses)
    raise UserError(
        f"step {run.step}: loss {values}, gradient norm {float(norm):g}: not finite; process {processes.rank} had the "
        f"samples {', '.join(frames)}; the weights were not changed. Lower lr or look at these samples, then go on "
        f"from {config.out / 'last.pt'} with resume=true",
        "loss-not-finite",
    )
