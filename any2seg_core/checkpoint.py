"""Checkpoints: one .safetensors file whose metadata says everything a caller must know. No pickle is ever read."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from any2seg_core.atomic import replacing
from any2seg_core.contract import InputContract, default_encodings, unknown_encodings
from any2seg_core.errors import UserError
from any2seg_core.limits import limits, raising
from any2seg_core.models import Any2Seg, ModelConfig

_KEY = "any2seg"
_FORMAT = 1
_PARTS = ("model", "contract", "provenance")


def save_checkpoint(path: str | Path, model: Any2Seg, contract: InputContract, provenance: dict[str, Any]) -> None:
    """Write model, contract and provenance to ``path``; a reader never sees half a file.

    Args:
        path: target, ``.safetensors``.
        model: weights are stored as they are, contiguous, on the CPU.
        contract: what the model was trained to be fed.
        provenance: JSON-serialisable: command, seed, data recipe, results.

    Raises:
        UserError: the place cannot be written.
    """
    document = {
        "format": _FORMAT,
        "model": model.config.model_dump(mode="json"),
        "contract": contract.model_dump(mode="json"),
        "provenance": provenance,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(Path(path)) as partial:
        try:
            save_file(tensors, partial, metadata={_KEY: json.dumps(document)})
        except SafetensorError as error:  # how the library tells a full disk
            raise OSError(str(error)) from None


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a checkpoint without its weights; UserError as in :func:`load_checkpoint`."""
    path = Path(path)
    try:
        if not path.is_file():
            raise UserError(f"no checkpoint at {path}: train one with training/train.py or correct the path")
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError, struct.error) as error:
        raise UserError(f"{path} is not a readable .safetensors file ({error}): give an Any2Seg checkpoint") from None
    if text is None:
        raise UserError(
            f"{path} has no Any2Seg metadata: it was written by another program; give a file from training/train.py"
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UserError(f"{path} has damaged metadata (no JSON object): copy the file again")
    if document.get("format") != _FORMAT:
        found = document.get("format")
        raise UserError(f"{path} has checkpoint format {found}, this version reads {_FORMAT}: re-train")
    missing = [part for part in _PARTS if not isinstance(document.get(part), dict)]
    if missing:
        raise UserError(f"{path} has damaged metadata (no {', '.join(missing)}): copy the file again")
    return document


def load_checkpoint(path: str | Path) -> tuple[Any2Seg, InputContract, dict[str, Any]]:
    """Read a checkpoint strictly.

    Returns:
        The model in evaluation mode on the CPU, its contract, its provenance.

    Raises:
        UserError: missing, foreign or damaged file, or one whose parts contradict each other.
    """
    document = read_metadata(path)
    try:
        config = ModelConfig.model_validate(document["model"])
        contract = InputContract.model_validate(document["contract"])
    except ValidationError as error:
        raise UserError(f"{path} has damaged metadata ({_first_line(error)}): copy the file again") from None
    if config.num_classes != contract.num_classes or config.modalities != contract.modalities:
        raise UserError(
            f"{path}: model has {config.num_classes} classes and {config.modalities}, its contract "
            f"{contract.num_classes} and {contract.modalities}: the file was put together by hand"
        )
    stale = unknown_encodings(contract.encodings)
    if stale:
        own = default_encodings(contract.modalities)
        raise UserError(f"{path} was trained on encodings {stale}, this version makes {own}: re-train")
    if contract.width * contract.height > limits().camera_pixels:
        told = f"its input of {contract.width}x{contract.height} pixels is larger than any camera"
        raise UserError(f"{path}: {told}; {raising('camera_mpx')}")
    try:
        with safe_open(Path(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: its weights cannot be read ({error}): copy the file again") from None
    try:
        with torch.device("meta"):  # whatever the config claims takes no memory before the weights have those shapes
            Any2Seg(config).load_state_dict(tensors, strict=True, assign=True)
        model = Any2Seg(config)
        model.load_state_dict(tensors, strict=True)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except RuntimeError as error:
        raise UserError(f"{path}: weights do not fit its own model config ({_first_line(error)})") from None
    return model.eval(), contract, document["provenance"]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2])
