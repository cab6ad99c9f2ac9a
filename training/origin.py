"""What a checkpoint says of the command and the data that it comes from."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json


def data_recipe(root: Path) -> dict[str, Any]:
    """What ``drive_<split>.json`` beside simulated data says; sequences are counted instead of listed."""
    recipe: dict[str, Any] = {"name": root.name}
    for path in sorted(root.glob("drive_*.json")):
        facts = read_json(path)
        if not isinstance(facts, dict):
            raise UserError(
                f"{path}: says nothing about its drive; render it again, or remove the file", "file-content"
            )
        listed = facts.get("sequences")
        recipe[path.stem.removeprefix("drive_")] = facts | ({"sequences": len(listed)} if listed is not None else {})
    return recipe


def shown_command(arguments: Sequence[str]) -> str:
    """The command line to repeat a run; absolute paths are shown relative to the working folder."""

    def relative(value: str) -> str:
        if value.startswith("[") and value.endswith("]"):
            return f"[{', '.join(relative(part.strip()) for part in value[1:-1].split(','))}]"
        return os.path.relpath(value) if os.path.isabs(value) else value

    shown = []
    for argument in arguments:
        key, equals, value = argument.rpartition("=")
        shown.append(key + equals + (value if ".topics" in key else relative(value)))  # a topic is no path
    return shlex.join(["python", "training/train.py", *shown])
