"""What the metadata of a checkpoint says, read without its weights and without PyTorch."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.contract import InputContract

KEY = "any2seg"
"""Of the metadata in the file."""
FORMAT = 1
"""Version of the metadata that this program writes and reads."""
_PARTS = ("model", "contract", "provenance")


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a checkpoint without its weights; UserError as in `load_checkpoint`."""
    path = Path(path)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: give the checkpoint in it, a .safetensors file", "checkpoint-missing")
        if not path.is_file():
            raise UserError(
                f"no checkpoint at {path}: train one with training/train.py or correct the path", "checkpoint-missing"
            )
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError, struct.error) as error:
        raise UserError(
            f"{path} is not a readable .safetensors file ({error}): give an Any2Seg checkpoint", "checkpoint-foreign"
        ) from None
    if text is None:
        raise UserError(
            f"{path} has no Any2Seg metadata: it was written by another program; give a file from training/train.py",
            "checkpoint-foreign",
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UserError(f"{path} has damaged metadata (no JSON object): copy the file again", "checkpoint-damaged")
    if document.get("format") != FORMAT:
        found = document.get("format")
        raise UserError(
            f"{path} has checkpoint format {found}, this version reads {FORMAT}: re-train", "checkpoint-version"
        )
    missing = [part for part in _PARTS if not isinstance(document.get(part), dict)]
    if missing:
        raise UserError(
            f"{path} has damaged metadata (no {', '.join(missing)}): copy the file again", "checkpoint-damaged"
        )
    return document


def read_contract(path: str | Path) -> InputContract:
    """The input contract of a checkpoint; UserError as in `load_checkpoint`."""
    return contract_of(path, read_metadata(path))


def contract_of(path: str | Path, document: dict[str, Any]) -> InputContract:
    """The input contract in the metadata of a checkpoint; UserError where it is damaged."""
    try:
        return InputContract.model_validate(document["contract"])
    except ValidationError as error:
        raise damage(path, "contract", error) from None


def damage(path: str | Path, part: str, error: ValidationError) -> UserError:
    """What to tell of a part of the metadata that does not fit its model."""
    first = error.errors()[0]
    where = ".".join(str(place) for place in (part, *first["loc"]))
    said = f"{where}: {first['msg'].removeprefix('Value error, ')}, got {str(first['input'])[:80]}"
    return UserError(f"{path} has damaged metadata ({said}): copy the file again or re-train", "checkpoint-damaged")
