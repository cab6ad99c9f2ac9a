"""What the metadata of a checkpoint says, read without its weights and without PyTorch."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from any2seg_core.base.checksums import CHECKSUMS, sha256_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.git_lfs import refuse_pointer
from any2seg_core.base.limits import limits, raising
from any2seg_core.base.text_files import read_text
from any2seg_core.vocabulary.contract import InputContract, default_encodings, unknown_encodings

KEY = "any2seg"
"""Of the metadata in the file."""
FORMAT = 1
"""Version of the metadata that this program writes and reads."""
METADATA_FILE = "model.json"
"""Holds the metadata of a model that is exported to a folder."""
_PARTS = ("model", "contract", "provenance")


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a checkpoint or of an exported folder without its weights; UserError as in `load_checkpoint`."""
    path = Path(path)
    try:
        if (path / METADATA_FILE).is_file():
            return parse_metadata(read_text(path / METADATA_FILE), path)
        if path.is_dir():
            raise UserError(
                f"{path} is a folder: give the checkpoint in it, a .safetensors file, or a folder of `any2seg export`",
                "checkpoint-missing",
            )
        if not path.is_file():
            raise UserError(
                f"no checkpoint at {path}: train one with training/train.py or correct the path", "checkpoint-missing"
            )
        refuse_pointer(path, "checkpoint-foreign")
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
    return parse_metadata(text, path)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is one of this program, sound or not."""
    try:
        with safe_open(path, framework="numpy") as file:
            return KEY in (file.metadata() or {})
    except (SafetensorError, OSError, struct.error):
        return False


def parse_metadata(text: str, path: str | Path) -> dict[str, Any]:
    """The metadata as its text has it; UserError for a text that is damaged or of another version."""
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


def checkpoint_sha256(path: Path) -> str:
    """Of the file; of an exported folder that of its list of checksums, which changes with every file of the model."""
    return sha256_of(path / CHECKSUMS if path.is_dir() else path)


def read_contract(path: str | Path) -> InputContract:
    """The input contract of a checkpoint; UserError as in `load_checkpoint`."""
    return contract_of(path, read_metadata(path))


def contract_of(path: str | Path, document: dict[str, Any]) -> InputContract:
    """The input contract in the metadata of a checkpoint; UserError where it is damaged."""
    try:
        return InputContract.model_validate(document["contract"])
    except ValidationError as error:
        raise damage(path, "contract", error) from None


def require_usable(path: str | Path, contract: InputContract) -> None:
    """UserError for planes that this version cannot make, or that are larger than any camera."""
    stale = unknown_encodings(contract.encodings, contract.suite)
    if stale:
        own = default_encodings(contract.suite)
        raise UserError(
            f"{path} was trained on encodings {stale}, this version makes {own}: re-train", "checkpoint-version"
        )
    if contract.width * contract.height > limits().camera_pixels:
        told = f"its input of {contract.width}x{contract.height} pixels is larger than any camera"
        raise UserError(f"{path}: {told}; {raising('camera_mpx')}", "limit-exceeded")


def damage(path: str | Path, part: str, error: ValidationError) -> UserError:
    """What to tell of a part of the metadata that does not fit its model."""
    first = error.errors()[0]
    where = ".".join(str(place) for place in (part, *first["loc"]))
    said = f"{where}: {first['msg'].removeprefix('Value error, ')}, got {str(first['input'])[:80]}"
    return UserError(f"{path} has damaged metadata ({said}): copy the file again or re-train", "checkpoint-damaged")
