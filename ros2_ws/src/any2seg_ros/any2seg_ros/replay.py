"""The program behind `any2seg bag replay`: a recording goes out on its topics, with injected faults."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from any2seg_core.base.command_options import DropOption, FaultFilesOption, FaultOption, finite
from any2seg_core.base.entry import run
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress
from any2seg_core.faults.grammar import read_plan
from any2seg_ros import distro
from any2seg_ros.processes import use_large_message_profile

if TYPE_CHECKING:
    from any2seg_core.faults.injector import FaultInjector
    from any2seg_core.vocabulary.modalities import SensorSuite
    from any2seg_ros.replay_node import ReplayOptions

_ROS_ARGUMENTS = "--ros-args"


def replay(
    bag: Annotated[Path, typer.Argument(help="Recording: rosbag2 folder, .mcap, .db3 or ROS 1 .bag.")],
    rate: Annotated[float, typer.Option(help="Speed factor.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Play again and again until interrupted.")] = False,
    start: Annotated[
        float, typer.Option(min=0.0, callback=finite, help="Begin so many seconds into the recording.")
    ] = 0.0,
    drop: DropOption = None,
    fault: FaultOption = None,
    faults: FaultFilesOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random in the faults.")] = 0,
    topic: Annotated[list[str] | None, typer.Option(help="Fix a topic: rgb=/camera/image_raw, depth=none.")] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules that map topics to sensors, as bags/topics.yaml.")] = None,
    suite: Annotated[
        str,
        typer.Option(
            help="Sensors: vehicle, muses, mcubes or a YAML file; default: as any2seg.yaml of the recording says."
        ),
    ] = "",
    wait: Annotated[
        float, typer.Option(min=0.0, callback=finite, help="Longest wait in seconds for subscribers of the sensors.")
    ] = 0.0,
) -> None:
    """Publish a recording through ROS 2 with its recorded quality of service, with /clock, and with faults.

    Arguments behind --ros-args go to ROS as they are, such as -r /old:=/new.

    Example: any2seg bag replay runs/drive --rate 0.5 --drop camera@4:8 --fault noise:event@2:,rate_hz=3
    """
    if not distro.has("rclpy"):
        raise UserError(
            "rclpy is not installed: pip install 'any2seg[ros]', or source a ROS 2 distribution first",
            "package-missing",
        )
    from any2seg_core.data.bag_settings import read_settings

    settings = read_settings(bag, {"suite": suite} if suite else None)
    plan = read_plan(drop or (), fault or (), faults or (), settings.sensors)
    from any2seg_ros.replay_node import ReplayOptions

    topics = tuple(settings.topics_for(settings.sensors, topic or ()))
    loops = 0 if loop else 1
    play(ReplayOptions(bag, rate, loops, start, plan, seed, topics, rules, wait_s=wait, suite=settings.sensors))


def play(options: ReplayOptions) -> None:
    """Play, show how far it is, and say at the end what went out."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from any2seg_ros.replay_node import ReplayNode

    console = Console(stderr=True)
    use_large_message_profile()
    rclpy.init(args=_ros_arguments())
    node = None
    try:
        node = ReplayNode(options)
        with Progress(f"replay {options.bag.name}", "s") as progress:
            count = node.run(progress.show)
        console.print(f"replayed {count} messages", highlight=False)
    except (KeyboardInterrupt, ExternalShutdownException):
        raise typer.Exit(130) from None
    finally:
        if node is not None:
            for line in _injected(node.injectors, options.suite):
                console.print(line, highlight=False, soft_wrap=True)
            node.destroy_node()
        rclpy.try_shutdown()


def _injected(injectors: Sequence[FaultInjector], suite: SensorSuite) -> Iterator[str]:
    """What each fault hit, and what it should have hit and could not, over all rounds."""
    for fault in injectors[0].counts if injectors else ():
        hits, unreadable = (
            sum((Counter(counts[fault]) for counts in all_counts), Counter())
            for all_counts in ([i.counts for i in injectors], [i.unreadable for i in injectors])
        )
        said = ", ".join(f"{suite.sensor(name).title} {count}" for name, count in sorted(hits.items())) or "nothing"
        left = ", ".join(f"{suite.sensor(name).title} {count}" for name, count in sorted(unreadable.items()) if count)
        yield f"  {fault} hit {said}" + (f"; unreadable and left as they were: {left}" if left else "")


def _ros_arguments() -> list[str]:
    return sys.argv[sys.argv.index(_ROS_ARGUMENTS) :] if _ROS_ARGUMENTS in sys.argv else []


def main() -> None:
    """Entry point: what stands before --ros-args is ours."""
    end = sys.argv.index(_ROS_ARGUMENTS) if _ROS_ARGUMENTS in sys.argv else len(sys.argv)
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(replay)
    run(program, "any2seg bag replay", sys.argv[1:end])


if __name__ == "__main__":
    main()
