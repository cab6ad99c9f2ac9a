"""``any2seg import``: models of other programs as checkpoints of this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption, image_size
from any2seg_core.base.screen import say

import_app = typer.Typer(no_args_is_help=True, help="Models of other programs, as checkpoints of this one.")


@import_app.callback()
def _imports() -> None:
    """Keeps ``segformer`` a command of its own."""


@import_app.command()
def segformer(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR_OR_HUB_ID", help="Folder of transformers, file of weights, or id on the Hugging Face hub."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="New checkpoint (.safetensors), for the camera alone.")],
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT that pictures are resized to; default: what the source says.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Label space, a name or a YAML file; default: what the source says.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn a SegFormer of transformers, MMSegmentation or its own program into a checkpoint, with its head and classes.

    Its logits stay what they were. Nothing is fetched but what you name by its id on the hub.

    Example: any2seg import segformer my_segformer -o runs/camera.safetensors
    """
    from any2seg_core.imports.segformer import import_segformer
    from any2seg_core.vocabulary.labels import label_space

    pixels = None if size is None else image_size(size)[::-1]
    found = import_segformer(source, out, pixels, None if classes is None else label_space(classes))
    height, width = found.size
    if as_json:
        document = {"out": str(out), "model": found.model, "program": found.program, "licence": found.licence}
        sides, lists = {"width": width, "height": height}, {"classes": found.classes.classes, "notes": found.notes}
        say(json.dumps({**document, **sides, **lists}))
        return
    say(f"{out}: {found.model} of {found.program}, input {width}x{height}, {found.classes.summary}")
    for note in found.notes:
        say(f"! {note}", err=True)
    if found.licence:
        say(f"! licence of the weights: {found.licence}", err=True)
