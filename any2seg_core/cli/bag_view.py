"""`any2seg bag view`: a recording as a web page, or written for other viewers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.cli.bag import BagArgument, CalibrationOption, RulesOption, TopicOption
from any2seg_core.cli.predict import CheckpointOption
from any2seg_core.view.serving import LOOPBACK, PORT

PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any that is free.")]
HostOption = Annotated[str, typer.Option(help="Address to listen at; any other one shows recordings to the network.")]


def view(
    bag: BagArgument,
    checkpoint: CheckpointOption = default_checkpoint(),
    port: PortOption = PORT,
    host: HostOption = LOOPBACK,
    topic: TopicOption = None,
    rules: RulesOption = None,
    calibration: CalibrationOption = None,
    params: Annotated[Path | None, typer.Option(help="ROS 2 parameter file with synchroniser settings.")] = None,
) -> None:
    """Show a recording as a web page: its sensors over time, and any moment decoded and labelled.

    Example: any2seg bag view runs/drive
    """
    from any2seg_core.bags.opened import BagOptions
    from any2seg_core.data.bag_settings import read_settings
    from any2seg_core.runtime.checkpoint_metadata import read_contract
    from any2seg_core.runtime.predictor import Predictor
    from any2seg_core.view.serving import require_packages, serve
    from any2seg_core.view.single import SingleRecording

    require_packages()
    suite = read_contract(checkpoint).suite
    topics = read_settings(bag).topics_for(suite, topic or ())
    options = BagOptions(topics, rules, calibration, params, suite=suite)
    predictor = Predictor.load(checkpoint)
    serve(SingleRecording(bag, options, predictor, checkpoint.name), host, port)
