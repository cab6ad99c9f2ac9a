"""`any2seg bag inspect` and `any2seg bag extract`: options in, tables, JSON and files out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption, with_settings
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import Screen, say
from any2seg_core.data.extract_options import ExtractOptions

BagArgument = Annotated[Path, typer.Argument(help="Recording: rosbag2 folder, .mcap, .db3 or ROS 1 .bag.")]
TopicOption = Annotated[list[str] | None, typer.Option(help="Fix a topic: rgb=/camera/image_raw, depth=none.")]
RulesOption = Annotated[Path | None, typer.Option(help="Rules that map topics to sensors, as bags/topics.yaml.")]
CalibrationOption = Annotated[Path | None, typer.Option(help="Calibration YAML; wins over what the recording says.")]
SuiteOption = Annotated[
    str,
    typer.Option(
        help="Sensors: vehicle, muses, mcubes or a YAML file; default: as any2seg.yaml of the recording says."
    ),
]


def inspect(
    bag: BagArgument,
    suite: SuiteOption = "",
    topic: TopicOption = None,
    rules: RulesOption = None,
    calibration: CalibrationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a recording: sensors, rates, phases, gaps, calibration, and parameters for the node.

    Example: any2seg bag inspect runs/drive
    """
    from any2seg_core.bags.inspection import inspect_bag
    from any2seg_core.bags.opened import BagOptions
    from any2seg_core.cli.inspect_tables import WIDTH, render_inspection
    from any2seg_core.data.bag_settings import read_settings

    settings = read_settings(bag, {"suite": suite} if suite else None)
    topics = settings.topics_for(settings.sensors, topic or ())
    options = BagOptions(topics, rules, calibration, suite=settings.sensors)
    with Progress(f"inspect {bag.name}") as progress:
        found = inspect_bag(bag, options, progress.step, suite)
    if as_json:
        say(json.dumps(found.document(), indent=1))
    else:
        Screen(width=WIDTH).print(render_inspection(found), crop=False)


@with_settings(ExtractOptions, without=("event_window_ns",))
def extract(
    wish: ExtractOptions,
    bag: BagArgument,
    modalities: Annotated[
        str, typer.Option(help="Sensors that every frame must have: camera,lidar or RL; default: all that are mapped.")
    ] = "",
    truth: Annotated[
        str, typer.Option(help="Topic of label images or of CARLA's semantic LiDAR; default: as mapped; none.")
    ] = "",
    topic: TopicOption = None,
    rules: RulesOption = None,
    calibration: CalibrationOption = None,
    params: Annotated[Path | None, typer.Option(help="ROS 2 parameter file with synchroniser settings.")] = None,
    suite: SuiteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write the synchronised sets of a recording as a data set, with labels where it has truth.

    Example: any2seg bag extract runs/drive --out data/own --every 5
    """
    from any2seg_core.bags.opened import BagOptions, open_bag
    from any2seg_core.data.bag_settings import read_settings
    from any2seg_core.data.extract import extract as extract_bag

    settings = read_settings(bag, {"suite": suite} if suite else None)
    topics = settings.topics_for(settings.sensors, [*(topic or ()), *([f"truth={truth}"] if truth else [])])
    options = BagOptions(topics, rules, calibration, params, modalities or (), suite=settings.sensors)
    with open_bag(bag, options) as opened, Progress(f"extract {bag.name}") as progress:
        total = opened.message_total
        report = extract_bag(opened, wish, lambda: progress.step(total))
        warnings = [*opened.bag.warnings, *opened.notes]
    if as_json:
        say(json.dumps({**report.document(), "warnings": warnings}, indent=1))
        return
    for line in warnings:
        say(f"! {line}", err=True)
    labels = "with labels" if report.labelled else "without labels: open with labelled=False"
    say(f"{wish.out}: {report.written} {wish.split} frames of {', '.join(report.modalities)}, {labels}")
    for reason, count_of in report.skipped.most_common():
        say(f"  left out {count_of} of {report.sets} sets: {reason}")
    for reason, count_of in report.problems.most_common(5):
        say(f"  {count_of} times {reason}")
