"""``any2seg export``: a checkpoint as a folder that runs without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import say


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Any2Seg checkpoint (.safetensors).")],
    to: Annotated[Path, typer.Option("--to", help="New folder for graphs, contract, README and checksums.")],
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint as ONNX graphs that take whichever sensors are there, and run without PyTorch.

    Before the folder appears its labels are compared with those of PyTorch, over all subsets of the sensors.

    Example: any2seg export checkpoints/drive_b0.safetensors --to runs/exported
    """
    from any2seg_core.runtime.export.write import export_checkpoint

    with Progress(f"export of {checkpoint.name}") as progress:
        written = export_checkpoint(checkpoint, to, progress.show)
    if as_json:
        say(json.dumps(written))
    else:
        say(
            f"{to}: {written['megabytes']} MB; {100 * written['differing_share']:.3f} % of the labels of "
            f"{written['subsets']} subsets are not those of PyTorch, which rounding explains"
        )
