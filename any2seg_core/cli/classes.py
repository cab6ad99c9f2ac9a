"""``any2seg data classes``: a label space as a table with its colours, or what is shipped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.screen import Screen, say

if TYPE_CHECKING:  # --help does without
    from any2seg_core.vocabulary.labels import LabelSpace

_CHECKPOINT = ".safetensors"


def classes(
    space: Annotated[
        str, typer.Argument(help="Shipped label space, its YAML file, or a checkpoint; default: what is shipped.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Show the classes of a label space: train ids, colours, groups, and the ids of files that mean them.

    Example: any2seg data classes cityscapes-19
    """
    from any2seg_core.vocabulary.class_mapping import shipped_mappings
    from any2seg_core.vocabulary.labels import shipped_names, shipped_space

    if space:
        found = _read(space)
        if as_json:
            say(json.dumps(found.to_document()))
        else:
            _print(found)
        return
    names, mappings = shipped_names(), shipped_mappings()
    if as_json:
        say(json.dumps({"label_spaces": names, "mappings": mappings}))
        return
    for name in names:
        say(shipped_space(name).summary)
    say(f"mappings for --map: {', '.join(mappings)}")


def _read(word: str) -> LabelSpace:
    from any2seg_core.runtime.checkpoint_metadata import read_contract
    from any2seg_core.vocabulary.labels import label_space

    path = Path(word)
    return read_contract(path).label_space if path.suffix == _CHECKPOINT or path.is_dir() else label_space(word)


def _print(space: LabelSpace) -> None:
    other = "" if space.other is None else f"; {space.other} is left out of the mean without other"
    table = Table(title=f"{space.name}: {len(space)} classes{other}")
    for heading in ("id", "", "class", "colour", *(["group"] if space.groups else []), *(["raw"] if space.raw else [])):
        table.add_column(heading, justify="right" if heading == "id" else "left")
    for number, (name, colour) in enumerate(zip(space.classes, space.colours, strict=True)):
        cells: list[str | Text] = [str(number), _swatch(colour), name, _words(colour)]
        cells += [space.groups[number]] if space.groups else []
        cells += [_words(space.raw[number])] if space.raw else []
        table.add_row(*cells)
    screen = Screen()
    screen.print(table)
    if space.void_raw:
        screen.print(f"raw ids without a class: {_words(space.void_raw)}", soft_wrap=True)


def _swatch(colour: Iterable[int]) -> Text:
    return Text("    ", style=f"on rgb({','.join(map(str, colour))})")


def _words(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
