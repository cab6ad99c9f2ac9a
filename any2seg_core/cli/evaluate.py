"""``any2seg evaluate``: the command line of :mod:`any2seg_core.evaluation.dataset`."""

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
from any2seg_core.evaluation.settings import EvaluateSettings


@with_settings(
    EvaluateSettings, arguments=("checkpoint", "data"), without=("prior_from",), names={"cases": "--case"}
)
def evaluate(
    settings: EvaluateSettings,
    out: Annotated[Path | None, typer.Option(help="Folder for results.jsonl, report.md and report.html.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a checkpoint: every sensor subset, every condition, robustness and calibration, published numbers beside.

    Example: any2seg evaluate checkpoints/drive_b0.safetensors data/drive --noise --out runs/evaluation

    Retention needs specialists: a JSON file such as {"R": 57.2, "RD": "rgb_depth.safetensors"}.
    """
    from any2seg_core.evaluation.dataset import evaluate_dataset
    from any2seg_core.evaluation.frame_views import FrameView
    from any2seg_core.reports.dataset import text, write_documents

    with Progress(f"evaluate {settings.checkpoint.name}") as progress:
        views: list[FrameView] = []
        document = evaluate_dataset(settings, progress.stage, views)
    # Printed first: minutes of work are not lost when the folder cannot be written.
    say(json.dumps(document) if as_json else text(document))
    if out is not None:
        for path in write_documents(out, document, views, shlex.join(["any2seg", *sys.argv[1:]])):
            say(f"wrote {path}", err=True)
