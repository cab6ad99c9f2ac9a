"""`any2seg bag evaluate`: options in, tables and files out."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from any2seg_core.base.command_options import DropOption, FaultFilesOption, FaultOption, with_settings
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import Screen, say
from any2seg_core.evaluation.recording.settings import EvaluateRequest


@with_settings(
    EvaluateRequest,
    arguments=("bag",),
    without=("faults",),
    names={"topics": "--topic", "checkpoint": "--checkpoint --model"},
)
def evaluate(
    request: EvaluateRequest,
    drop: DropOption = None,
    fault: FaultOption = None,
    faults: FaultFilesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of tables.")] = False,
) -> None:
    """Score a recording: every sensor subset in one pass, whole or broken, with or without a truth.

    Writes report.html, summary.json and frames.jsonl (first the conditions, then one line per frame).

    Example: any2seg bag evaluate runs/drive --drop camera@4:8,lidar@10: --fault blur:rgb@2:5 --record out.mcap
    """
    from any2seg_core.evaluation.recording.evaluate import evaluate_bag
    from any2seg_core.evaluation.recording.evaluation import Evaluation
    from any2seg_core.faults.grammar import read_plan
    from any2seg_core.reports.recording import write_evaluation
    from any2seg_core.reports.recording_tables import terminal_tables
    from any2seg_core.runtime.checkpoint_metadata import read_contract

    suite = read_contract(request.checkpoint).suite
    request = replace(request, faults=read_plan(drop or (), fault or (), faults or (), suite))
    with Progress(f"evaluate {request.bag.name}", "s") as progress:
        document: dict[str, Any] = {}

        def report(result: Evaluation, folder: Path) -> None:
            document.update(write_evaluation(result, folder, shlex.join(["any2seg", *sys.argv[1:]])))

        result = evaluate_bag(request, progress.show, report)
    if as_json:
        say(json.dumps(document))
        return
    screen = Screen() if sys.stdout.isatty() else Screen(width=100)
    for table in terminal_tables(result, document):
        screen.print(table)
    for warning in result.warnings:
        screen.print(f"warning: {warning}", soft_wrap=True)
    files = ", ".join(str(request.folder / name) for name in ("report.html", "summary.json", "frames.jsonl"))
    further = "".join(f", {path}" for path in (request.record, request.video) if path)
    screen.print(f"written: {files}{further}", soft_wrap=True)
