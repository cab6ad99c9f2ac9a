"""``any2seg switch``: other switches of the fusion for a checkpoint that is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.screen import say


def switch(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors).")],
    switches: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="content_masks, or mff. and a switch of MFF.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="New checkpoint (.safetensors).")],
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint again with other switches of its fusion. No weight changes, nothing is trained.

    Temperatures of `any2seg calibrate` are left out, as they hold for the labels of before.

    Example: any2seg switch checkpoints/drive_b0.safetensors mff.select_temperature=0.3 -o runs/warm.safetensors
    """
    from any2seg_core.runtime.switches import parse_switches, switch_checkpoint

    document = switch_checkpoint(checkpoint, parse_switches(switches), out)
    if as_json:
        say(json.dumps(document))
        return
    for key, values in document["switches"].items():
        say(f"{key}: {values['before']} -> {values['after']}")
    if document["temperatures_left_out"]:
        say("its temperatures are left out: any2seg calibrate finds those of the new labels")
    say(f"wrote {out}", err=True)
