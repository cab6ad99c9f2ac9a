"""``any2seg compare``: two evaluations of the same frames, and whether their difference is more than chance."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption, with_settings
from any2seg_core.base.screen import Screen, say
from any2seg_core.evaluation.settings import CompareSettings


@with_settings(CompareSettings, arguments=("first", "second"))
def compare(
    settings: CompareSettings,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.json and report.html.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two evaluations frame by frame: mIoU per sensor subset, difference, 95 % interval (paired bootstrap).

    Both must be of the same frames, classes and protocol, each as `any2seg evaluate --out`, `any2seg bag evaluate` or
    training/evaluate.py with json=FILE has written it.

    Example: any2seg compare runs/evaluation runs/evaluation_new --out runs/comparison
    """
    from any2seg_core.evaluation.comparison import FrameCounts
    from any2seg_core.evaluation.comparison import compare as compare_counts
    from any2seg_core.reports.comparison import comparison_rows, write_comparison

    document = compare_counts(FrameCounts.read(settings.first), FrameCounts.read(settings.second), settings)
    if as_json:
        say(json.dumps(document))
    else:
        Screen().print(comparison_rows(document))
    if out is not None:
        for path in write_comparison(out, document, shlex.join(["any2seg", *sys.argv[1:]])):
            say(f"wrote {path}", err=True)
