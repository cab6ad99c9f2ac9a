"""`any2seg bag evaluate`: options in, tables and files out."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import Screen, say
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.vocabulary.modalities import EVERY_SUBSET
from any2seg_core.vocabulary.truth_codings import CARLA_VERSION, RIDER, TRAIN_IDS


def evaluate(
    bag: Annotated[Path, typer.Argument(help="Recording: rosbag2 folder, .mcap, .db3 or ROS 1 .bag.")],
    checkpoint: Annotated[Path, typer.Option(help="Any2Seg checkpoint (.safetensors).")] = default_checkpoint(),
    truth: Annotated[
        str,
        typer.Option(
            help="Topic, folder of <stamp in ns>.png, or what bag extract wrote; default: the recording's own; none."
        ),
    ] = "",
    truth_coding: Annotated[
        str, typer.Option(help="Images of a truth topic: train_ids (mono8), or CARLA's, palette or tag.")
    ] = TRAIN_IDS,
    carla_version: Annotated[str, typer.Option(help="Whose tags CARLA's truth has.")] = CARLA_VERSION,
    rider: Annotated[str, typer.Option(help="CARLA's riders are: ignore, Pedestrian or TwoWheeler.")] = RIDER,
    subsets: Annotated[str, typer.Option(help="every, or a list: all,R,camera+lidar,DEL.")] = EVERY_SUBSET,
    drop: Annotated[list[str] | None, typer.Option(help="Silent sensors: camera@4:8,lidar@10:")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="A fault: blur:rgb@2:5,length=0.08; may be repeated.")] = None,
    faults: Annotated[list[Path] | None, typer.Option(help="File with a list of faults, YAML or JSON.")] = None,
    noise: Annotated[str, typer.Option(help="Noise on the model's input: low, mid or high.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random in faults and noise.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Judge every n-th set.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="Of the encoder: float32 or bfloat16.")] = "float32",
    out: Annotated[Path | None, typer.Option(help="Folder for results; default: runs/evaluate/<recording>.")] = None,
    record: Annotated[Path | None, typer.Option(help="Also write inputs and labels to this .mcap.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Calibration YAML; default: of the recording.")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Fix a topic: rgb=/camera/image_raw, depth=none.")] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules that map topics to sensors, as bags/topics.yaml.")] = None,
    params: Annotated[Path | None, typer.Option(help="ROS 2 parameter file with synchroniser settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of tables.")] = False,
) -> None:
    """Score a recording: every sensor subset in one pass, whole or broken, with or without a truth.

    Writes report.html, summary.json and frames.jsonl (first the conditions, then one line per frame).

    Example: any2seg bag evaluate runs/drive --drop camera@4:8,lidar@10: --fault blur:rgb@2:5 --record out.mcap
    """
    from any2seg_core.data.recording_truth import TruthCoding
    from any2seg_core.evaluation.recording.evaluate import evaluate_bag
    from any2seg_core.evaluation.recording.evaluation import EvaluateRequest, Evaluation
    from any2seg_core.faults.grammar import read_plan
    from any2seg_core.reports.recording import terminal_tables, write_evaluation

    request = EvaluateRequest(
        bag=bag, checkpoint=checkpoint, out=out or Path("runs/evaluate") / (bag.stem or "bag"), truth=truth,
        subsets=subsets, faults=read_plan(drop or (), fault or (), faults or ()), seed=seed, noise=noise, every=every,
        device=device, precision=precision, record=record, topics=tuple(topic or ()), rules=rules,
        calibration=calibration, params=params, truth_coding=TruthCoding(truth_coding, carla_version, rider),
    )  # fmt: skip
    with Progress(f"evaluate {bag.name}", "s") as progress:
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
    files = ", ".join(str(request.out / name) for name in ("report.html", "summary.json", "frames.jsonl"))
    screen.print(f"written: {files}" + (f", {record}" if record else ""), soft_wrap=True)
