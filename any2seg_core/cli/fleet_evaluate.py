"""`any2seg fleet evaluate`: options in, frames of all recordings in the store out."""

from __future__ import annotations

import json
from dataclasses import replace

from any2seg_core.base.command_options import DropOption, FaultFilesOption, FaultOption, JsonOption, with_settings
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import say
from any2seg_core.fleet.evaluation_settings import FleetEvaluateRequest


@with_settings(
    FleetEvaluateRequest,
    arguments=("store",),
    without=("faults",),
    names={"topics": "--topic", "checkpoint": "--checkpoint --model", "cut_s": "--cut"},
)
def evaluate(
    request: FleetEvaluateRequest,
    drop: DropOption = None,
    fault: FaultOption = None,
    faults: FaultFilesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score all recordings of a store, as bag evaluate does one: a row per frame, in evaluations/NAME/frames.parquet.

    A run that was ended goes on where it was; recordings that fail are told and listed in failures.parquet.

    Example: any2seg fleet evaluate runs/store --subsets all,R,L --every 5 --workers 4
    """
    from any2seg_core.faults.grammar import read_plan
    from any2seg_core.fleet.evaluate import evaluate_fleet
    from any2seg_core.runtime.checkpoint_metadata import read_contract

    suite = read_contract(request.checkpoint).suite
    request = replace(request, faults=read_plan(drop or (), fault or (), faults or (), suite))
    with Progress("evaluate", "s") as progress:
        result = evaluate_fleet(request, lambda line: say(line, err=True), progress.stage)
    if as_json:
        say(json.dumps(result.document()))
        return
    done = f"{result.finished} recordings judged, {result.kept} were done before"
    left = f"{result.failed} failed, {result.broken} broken"
    say(f"evaluation {result.name}: {done}, {left}; {result.rows} frames in all")
    say(f"written: {request.store / 'evaluations' / result.name}")
