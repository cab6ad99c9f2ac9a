"""``any2seg robustness``: what faults of single sensors cost a checkpoint, or two side by side."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption, with_settings
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import say
from any2seg_core.evaluation.settings import RobustnessSettings


@with_settings(
    RobustnessSettings,
    arguments=("checkpoint", "data"),
    names={"faults": "--fault", "severities": "--severity"},
)
def robustness(
    settings: RobustnessSettings,
    out: Annotated[
        Path | None, typer.Option(help="Folder for robustness.json, robustness.md and robustness.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what faults cost: mIoU per fault and severity of each sensor, relative to no fault; two noise protocols.

    Example: any2seg robustness checkpoints/drive_b0.safetensors data/drive --out runs/robustness
    """
    from any2seg_core.evaluation.fault_table import fault_table
    from any2seg_core.reports.faults import fault_text, write_faults

    with Progress(f"robustness of {settings.checkpoint.name}") as progress:
        document = fault_table(settings, progress.stage)
    say(json.dumps(document) if as_json else fault_text(document))
    if out is not None:
        for path in write_faults(out, document, shlex.join(["any2seg", *sys.argv[1:]])):
            say(f"wrote {path}", err=True)
