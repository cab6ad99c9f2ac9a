"""`any2seg bag view`: a recording as a web page, or written for other viewers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.cli.bag import BagArgument, CalibrationOption, RulesOption, TopicOption
from any2seg_core.cli.predict import CheckpointOption
from any2seg_core.view.serving import LOOPBACK, PORT

if TYPE_CHECKING:  # they import what --help does without
    from any2seg_core.bags.opened import BagOptions
    from any2seg_core.runtime.predictor import Predictor

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
    foxglove: Annotated[Path | None, typer.Option(help="Serve nothing: write this .mcap for Foxglove.")] = None,
    rerun: Annotated[Path | None, typer.Option(help="Serve nothing: write this .rrd for Rerun.")] = None,
) -> None:
    """Show a recording as a web page: its sensors over time, and any moment decoded and labelled.

    Example: any2seg bag view runs/drive
    Example: any2seg bag view runs/drive --foxglove drive.mcap --rerun drive.rrd
    """
    from any2seg_core.bags.opened import BagOptions
    from any2seg_core.data.bag_settings import read_settings
    from any2seg_core.runtime.checkpoint_metadata import read_contract
    from any2seg_core.runtime.predictor import Predictor
    from any2seg_core.view.serving import require_packages, serve
    from any2seg_core.view.single import SingleRecording

    is_written = foxglove is not None or rerun is not None
    if not is_written:
        require_packages()
    suite = read_contract(checkpoint).suite
    topics = read_settings(bag).topics_for(suite, topic or ())
    options = BagOptions(topics, rules, calibration, params, suite=suite)
    predictor = Predictor.load(checkpoint)
    if is_written:
        _write(bag, options, predictor, foxglove, rerun)
        return
    serve(SingleRecording(bag, options, predictor, checkpoint.name), host, port)


def _write(bag: Path, options: BagOptions, predictor: Predictor, foxglove: Path | None, rerun: Path | None) -> None:
    """One pass over the recording per file."""
    from any2seg_core.bags.opened import open_bag
    from any2seg_core.base.progress import Progress
    from any2seg_core.base.screen import say
    from any2seg_core.view import foxglove as for_foxglove
    from any2seg_core.view import rerun as for_rerun
    from any2seg_core.view.exporting import export
    from any2seg_core.view.moments import MomentReader

    files = (
        ("--foxglove", foxglove, for_foxglove.SUFFIX, for_foxglove.foxglove_file),
        ("--rerun", rerun, for_rerun.SUFFIX, for_rerun.rerun_file),
    )
    for option, path, suffix, open_sink in files:
        if path is not None:
            with open_bag(bag, options) as opened, Progress(f"view {bag.name}", "s") as progress:
                count = export(MomentReader(opened, predictor), path, suffix, option, open_sink, progress.show)
            say(f"written: {path}, {count} sets")
