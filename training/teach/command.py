"""`any2seg teach`: options in, a plan, then a checkpoint and a report out."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption, with_settings
from any2seg_core.base.screen import say
from any2seg_training.teach.settings import TeachSettings


@with_settings(TeachSettings, arguments=("recordings",))
def teach(
    settings: TeachSettings,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and write nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Teach every sensor from the camera: recordings without labels and a camera model in, one model of all out.

    First it tries a few steps and says what time, memory and disk the whole will take. The same command goes on where
    an earlier one was stopped. report.html says how far each set of sensors agrees with the teacher on what was held
    out, which is not how far it is right.

    Example: any2seg teach drive.mcap --teacher camera.safetensors --out runs/taught --minutes 60
    """
    from any2seg_training.teach.run import teach_sensors

    document = teach_sensors(settings, dry_run, lambda line: say(line, err=as_json))
    if as_json:
        say(json.dumps(document))
