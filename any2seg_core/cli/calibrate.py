"""``any2seg calibrate``: confidences that mean what they say, and what is unlike training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from any2seg_core.base.command_options import JsonOption, with_settings
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import Screen, say
from any2seg_core.evaluation.settings import EvaluateSettings

if TYPE_CHECKING:
    from any2seg_core.evaluation.temperatures import Calibrated

_NOT_ASKED = ("map", "protocol", "noise", "specialists", "eval_size", "precision", "seed", "prior_from")


def _table(found: Mapping[str, Calibrated]) -> Table:
    table = Table(title="before and after, on the frames that it was found on")
    for heading in ("sensors", "temperature", "NLL before", "after", "ECE % before", "after"):
        table.add_column(heading, justify="left" if heading == "sensors" else "right")
    for letters, entry in found.items():
        surprises, errors = (entry.plain_surprise, entry.surprise), (entry.plain_ece, entry.ece)
        numbers = (f"{entry.temperature:.2f}", *(f"{value:.4f}" for value in surprises))
        table.add_row(letters, *numbers, *(f"{100 * value:.2f}" for value in errors))
    return table


@with_settings(EvaluateSettings, arguments=("checkpoint", "data"), without=_NOT_ASKED, names={"cases": "--case"})
def calibrate(
    settings: EvaluateSettings,
    out: Annotated[Path, typer.Option("--out", "-o", help="New checkpoint (.safetensors), with what was found.")],
    as_json: JsonOption = False,
) -> None:
    """Find what makes a confidence of 0.8 right in 80 of 100 pixels, and what frames like in training look like.

    The softmax of each sensor subset is taken of logits divided by its temperature; labels stay the same. Statistics of
    each sensor's features say later whether a frame is unlike training. Both are kept in the new checkpoint. Give
    frames that the model was neither trained on nor will be judged on.

    Example: any2seg calibrate checkpoints/drive_b0.safetensors data/drive --split test -o runs/calibrated.safetensors
    """
    from any2seg_core.evaluation.temperatures import calibrate_checkpoint
    from any2seg_core.runtime.checkpoint_metadata import read_contract

    with Progress(f"calibrate {settings.checkpoint.name}") as progress:
        found = calibrate_checkpoint(settings, out, progress.stage)
    if as_json:
        say(json.dumps({letters: dataclasses.asdict(entry) for letters, entry in found.items()}))
    else:
        Screen().print(_table(found))
    limits = {name: own.limit for name, own in read_contract(out).feature_statistics.items()}
    said = ", ".join(f"{name} {limit:.2f}" for name, limit in limits.items())
    without = "none: too few frames, or a model that encodes its sensors together"
    say(f"distance beyond which a frame is unlike training: {said or without}", err=True)
    say(f"wrote {out}", err=True)
