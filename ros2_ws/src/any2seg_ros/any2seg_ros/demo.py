"""The demonstration: a drive through an unseen town, the node on it, sensors taken away and given back, and the bill.

any2seg demo --out runs/demo
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field
from rich.console import Console

from any2seg_core.bags.lookup import start_ns
from any2seg_core.base.command_options import with_settings
from any2seg_core.base.entry import run
from any2seg_core.base.errors import UserError
from any2seg_core.base.precisions import PRECISION_HELP
from any2seg_core.base.progress import Progress
from any2seg_core.base.runtimes import DEFAULT, RUNTIME_HELP
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.stream_modes import OFF, STREAM_HELP
from any2seg_core.base.units import NS_PER_S
from any2seg_core.demo.schedule import Phase, demo_phases, outages, segments
from any2seg_core.demo.scoring import DemoRecording, DemoScores, load_published, score_demo
from any2seg_core.demo.view import WIDTH, DemoView, score_table, too_busy
from any2seg_core.faults.kinds import save_faults
from any2seg_core.reports.demo import RESULTS, write_outcome
from any2seg_core.runtime.checkpoint_metadata import read_metadata
from any2seg_core.runtime.export.load import checked
from any2seg_core.vocabulary.labels import stored_label_space
from any2seg_core.vocabulary.topics import carla_bridge
from any2seg_ros import distro
from any2seg_ros.processes import RosProcess, private_domain, ros_arguments, use_large_message_profile

if TYPE_CHECKING:
    from any2seg_ros.demo_monitor import Monitor

NODE_NAME = "segment"
_START_S = 90.0
_SLOW_START_S = 900.0  # of an engine that is compiled or measured first
_DRAIN_S = 1.0
_REDRAW_S = 0.25


@dataclass(frozen=True)
class DemoOptions:
    """What a run is made of. `bag`: a recording to use instead of rendering one (it must fit the phases)."""

    out: Annotated[Path, Field(description="Folder for recording, report and metrics.")] = Path("runs/demo")
    checkpoint: Annotated[
        Path, Field(description="Checkpoint (.safetensors), or a folder of any2seg export.")
    ] = default_checkpoint()
    seconds_per_phase: Annotated[float, Field(ge=1.0, le=30.0, description="Length of each phase.")] = 6.0
    seed: Annotated[int, Field(ge=0, description="Which town of the test split.")] = 0
    workers: Annotated[int, Field(ge=1, description="Processes that render.")] = 2
    device: Annotated[str, Field(description="Where the model runs: cpu, cuda.")] = "cpu"
    precision: Annotated[str, Field(description=PRECISION_HELP)] = "float32"
    runtime: Annotated[str, Field(description=RUNTIME_HELP)] = DEFAULT
    stream: Annotated[str, Field(description=STREAM_HELP)] = OFF
    bag: Annotated[
        Path | None, Field(description="Use this recording of the drive instead of rendering one.")
    ] = None


class DemoError(RuntimeError):
    """A part of the demonstration failed; the message holds the end of its log."""


def render(options: DemoOptions, phases: list[Phase]) -> Path:
    """Render the drive into out/bag, in place of an earlier one."""
    from any2seg_drive.bag_writer import write_bag

    bag = options.out / "bag"
    shutil.rmtree(bag, ignore_errors=True)
    return write_bag(bag, segments(phases), seed=options.seed, split="test", workers=options.workers)


def start_node(options: DemoOptions, bag: Path) -> RosProcess:
    """The segmentation node, remapped to the topics of the recording."""
    parameters = {
        "checkpoint": options.checkpoint,
        "calibration_file": bag / "calibration.yaml",
        "device": options.device,
        "precision": options.precision,
        "runtime": options.runtime,
        "stream": options.stream,
    }
    arguments = ros_arguments(parameters, {"__node": NODE_NAME, **carla_bridge().node_remappings()})
    return RosProcess("any2seg_ros.segment_node", arguments, options.out / "node.log")


def wait_until_active(node: RosProcess, monitor: Monitor, patience_s: float = _START_S) -> None:
    """Return once the node is active; DemoError when it ended, could not be configured or did not start in time."""
    deadline_s = time.monotonic() + patience_s
    state = None
    while time.monotonic() < deadline_s and state is None:
        if node.returncode is not None:
            raise DemoError(f"the node ended at its start (exit code {node.returncode}):\n{node.tail()}")
        state = monitor.lifecycle_state(timeout_s=1.0)
    if state != "active":
        raise DemoError(f"the node is {state or 'silent'} instead of active:\n{node.tail()}")


def replay(
    options: DemoOptions, bag: Path, phases: list[Phase], node: RosProcess, monitor: Monitor, view: DemoView
) -> None:
    """Play the recording with its outages while the view runs; DemoError when a process ends badly."""
    schedule = options.out / "schedule.json"
    save_faults(schedule, outages(phases))
    published_log = options.out / "published.jsonl"
    parameters = {"bag": bag, "schedule": schedule, "log_file": published_log, "wait_s": 10.0}
    player = RosProcess("any2seg_ros.replay_node", ros_arguments(parameters), options.out / "replay.log")
    bag_start_ns = start_ns(bag)
    try:
        while player.returncode is None:
            if node.returncode is not None:
                raise DemoError(f"the node died during the replay (exit code {node.returncode}):\n{node.tail()}")
            state = monitor.state()
            time_s = None if state.stamp_ns is None else (state.stamp_ns - bag_start_ns) / NS_PER_S
            view.update(time_s, state.used, state.label_rate_hz, state.latency_p50_ms, state.labels)
            time.sleep(_REDRAW_S)
        if player.returncode:
            raise DemoError(f"the replay ended with exit code {player.returncode}:\n{player.tail()}")
        time.sleep(_DRAIN_S)
    finally:
        player.stop()


def run_demo(options: DemoOptions, console: Console, arguments: list[str]) -> DemoScores:
    """Render, run, judge, report.

    Returns:
        The scores, after report.html and metrics.json were written.

    Raises:
        UserError: bad input. DemoError: the node or the replay failed.
    """
    if not distro.has("rclpy"):
        raise UserError(
            "rclpy is not installed: pip install 'any2seg[ros]', or source a ROS 2 distribution first",
            "package-missing",
        )
    from any2seg_ros.demo_monitor import Monitor

    if options.checkpoint.is_dir():  # before minutes of rendering
        checked(options.checkpoint, options.device, options.precision, options.runtime)
    metadata = read_metadata(options.checkpoint)
    space = stored_label_space(metadata["contract"]["label_space"])
    phases = demo_phases(options.seconds_per_phase)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        (options.out / name).unlink(missing_ok=True)
    bag = options.bag or render(options, phases)
    bag_start_ns = start_ns(bag)
    use_large_message_profile()
    with private_domain() as domain:
        console.print(f"node, replay and monitor talk in ROS_DOMAIN_ID {domain}", highlight=False)
        node = start_node(options, bag)
        monitor = Monitor(NODE_NAME, carla_bridge().truth)
        try:
            with Progress("start the node"):
                wait_until_active(node, monitor, _START_S if options.runtime == DEFAULT else _SLOW_START_S)
            with DemoView(console, phases) as view:
                replay(options, bag, phases, node, monitor, view)
            if node.returncode is not None:
                raise DemoError(f"the node died (exit code {node.returncode}):\n{node.tail()}")
            labels, truths = monitor.recorded()
        finally:
            monitor.close()
            node.stop()
    published = load_published(options.out / "published.jsonl")
    recording = DemoRecording(bag_start_ns, labels, truths, published)
    with Progress("score the labels"):
        scores = score_demo(recording, phases, space)
        write_outcome(options.out, recording, scores, bag, metadata, arguments)
    return scores


@with_settings(DemoOptions, names={"checkpoint": "--checkpoint --model"})
def demo(options: DemoOptions) -> None:
    """Render an unseen town, run the ROS 2 node on it, take sensors away, score it, write a report.

    Example: any2seg demo --out runs/demo
    """
    console = Console(width=WIDTH) if not sys.stdout.isatty() else Console()
    try:
        scores = run_demo(options, console, ["any2seg", "demo", *sys.argv[1:]])
    except DemoError as error:
        typer.echo(f"any2seg demo: {error}", err=True)
        raise typer.Exit(1) from None
    console.print(score_table(scores))
    metrics, page = (options.out / name for name in RESULTS)
    console.print(f"report: {page}   numbers: {metrics}", highlight=False, soft_wrap=True)
    for score in scores.starved:
        typer.echo(f"any2seg demo: phase {score.phase.name}: {too_busy(score)}: its mIoU says little", err=True)
    if scores.failures():
        silent = ", ".join(scores.failures())
        typer.echo(f"any2seg demo: no label in phase {silent}; see {options.out / 'node.log'}", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(demo)
    run(program, "any2seg demo")
