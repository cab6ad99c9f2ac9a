"""Render a simulated drive into a rosbag2: `python bags/make_drive.py runs/drive --segments sunny:20,night:10`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.entry import run
from any2seg_core.base.errors import UserError
from any2seg_drive.bag_writer import write_bag


def parse_segments(text: str) -> list[tuple[float, str]]:
    """Read "sunny:20,night:10" as [(20.0, "sunny"), (10.0, "night")]; UserError on anything else."""
    segments = []
    for part in text.split(","):
        weather, _, duration = part.strip().partition(":")
        try:
            segments.append((float(duration), weather))
        except ValueError:
            raise UserError(
                f"segments: {part!r} is not weather:seconds; write for example sunny:20,night:10", "value-format"
            ) from None
    return segments


def main(
    path: Annotated[Path, typer.Argument(help="folder to create")],
    segments: Annotated[str, typer.Option(help="weather:seconds, separated by commas")] = "sunny:10",
    seed: Annotated[int, typer.Option(help="town and everything random in it")] = 0,
    split: Annotated[str, typer.Option(help="train, val or test: towns differ")] = "test",
    workers: Annotated[int, typer.Option(help="processes that render")] = 1,
) -> None:
    write_bag(path, parse_segments(segments), seed, split, workers)
    typer.echo(f"{path}: {sum(file.stat().st_size for file in path.iterdir()) / 1e6:.0f} MB")


if __name__ == "__main__":
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(main)
    run(program, "make_drive")
