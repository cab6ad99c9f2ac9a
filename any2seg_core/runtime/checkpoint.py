"""Checkpoints: one .safetensors file whose metadata says everything a caller must know. No pickle is ever read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.finite import all_finite, unusable_tensor
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint_metadata import FORMAT, KEY, contract_of, damage, read_metadata, require_usable
from any2seg_core.runtime.preprocess import normalise
from any2seg_core.vocabulary.contract import InputContract

_PROBE_SIDE = 64


StoredWeights = Literal["float32", "float16"]
"""Of a checkpoint: as the model has them, or in half the bytes. Both are read as float32."""


def save_checkpoint(
    path: str | Path,
    model: Any2Seg,
    contract: InputContract,
    provenance: dict[str, Any],
    weights: StoredWeights = "float32",
) -> None:
    """Write model, contract and provenance to ``path``; a reader never sees half a file.

    Args:
        path: target, ``.safetensors``.
        model: in float32.
        contract: what the model was trained to be fed.
        provenance: JSON-serialisable: command, seed, data recipe, results.
        weights: how they are stored.

    Raises:
        UserError: the place cannot be written, or a weight is too large for float16.
    """
    document = {
        "format": FORMAT,
        "model": model.config.model_dump(mode="json"),
        "contract": contract.model_dump(mode="json"),
        "provenance": provenance,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if weights == "float16":
        tensors = {name: _halved(name, value) for name, value in tensors.items()}
    with replacing(Path(path)) as partial:
        try:
            save_file(tensors, partial, metadata={KEY: json.dumps(document)})
        except SafetensorError as error:  # how the library tells a full disk
            raise OSError(str(error)) from None


def _halved(name: str, values: Tensor) -> Tensor:
    """A tensor in float16; whole numbers, which count steps, as they are."""
    if not values.is_floating_point():
        return values
    largest = float(values.abs().max()) if values.numel() else 0.0
    if largest > torch.finfo(torch.float16).max:
        raise UserError(
            f"tensor {name} holds {largest:.3g}, float16 ends at 65504: store the weights as float32", "value-range"
        )
    return values.half()


def load_checkpoint(path: str | Path) -> tuple[Any2Seg, InputContract, dict[str, Any]]:
    """Read a checkpoint strictly.

    Returns:
        The model in evaluation mode on the CPU, its contract, its provenance.

    Raises:
        UserError: missing, foreign or damaged file, one whose parts contradict each other, or one that cannot give
            finite numbers; it names the tensor or the field.
    """
    document = read_metadata(path)
    if Path(path).is_dir():
        raise UserError(
            f"{path} is an exported model, without the weights that this needs: give the .safetensors checkpoint",
            "checkpoint-foreign",
        )
    config, contract = _shape_of(path, document)
    require_usable(path, contract)
    tensors = _weights_of(path)
    try:
        with torch.device("meta"):  # whatever the config claims takes no memory before the weights have those shapes
            model = Any2Seg(config, empty=contract.empty_pixels)
        model.load_state_dict(tensors, strict=True, assign=True)
        if _has_meta_tensors(model):  # a backbone of timm has tables that no checkpoint holds
            model = Any2Seg(config, empty=contract.empty_pixels)
            model.load_state_dict(tensors, strict=True)
    except UserError as error:
        raise UserError(f"{path}: {error}", error.code) from None
    except RuntimeError as error:
        raise UserError(
            f"{path}: weights do not fit its own model config ({_first_line(error)})", "checkpoint-damaged"
        ) from None
    model.eval()
    _require_finite_output(path, model, contract)
    return model, contract, document["provenance"]


def require_sound(path: str | Path) -> None:
    """UserError where :func:`load_checkpoint` refuses metadata or weights, without building the model."""
    _shape_of(path, read_metadata(path))
    _weights_of(path)


def _shape_of(path: str | Path, document: dict[str, Any]) -> tuple[ModelConfig, InputContract]:
    """Model config and contract, which agree."""
    try:
        config = ModelConfig.model_validate(document["model"])
    except ValidationError as error:
        raise damage(path, "model", error) from None
    contract = contract_of(path, document)
    scales = config.mff_early.scale, contract.scale
    if (config.num_classes, config.modalities) != (contract.num_classes, contract.modalities) or scales[0] != scales[1]:
        raise UserError(
            f"{path}: model has {config.num_classes} classes, {config.modalities} and scale {scales[0]}, its contract "
            f"{contract.num_classes}, {contract.modalities} and {scales[1]}: the file was put together by hand",
            "checkpoint-damaged",
        )
    return config, contract


def _weights_of(path: str | Path) -> dict[str, Tensor]:
    """All tensors; those of any floating type as float32, which is what a model computes in."""
    try:
        with safe_open(Path(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: its weights cannot be read ({error}): copy the file again", "checkpoint-damaged"
        ) from None
    for name, values in tensors.items():
        if values.is_floating_point():
            tensors[name] = values.to(torch.float32, copy=True)  # those of the file are a view of it, and not aligned
        elif values.is_complex() or name.rpartition(".")[2] in ("weight", "bias", "running_mean", "running_var"):
            raise UserError(
                f"{path}: tensor {name} is {values.dtype}, expected float32: the file was changed by hand",
                "checkpoint-damaged",
            )
    if problem := unusable_tensor(tensors):
        raise UserError(
            f"{path}: tensor {problem}; no label can come of it: copy the file again or take an earlier checkpoint",
            "not-finite",
        )
    return tensors


def _has_meta_tensors(model: Any2Seg) -> bool:
    """Whether a tensor of the model has a shape alone."""
    loose = (value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return any(value.is_meta for value in (*model.parameters(), *model.buffers(), *loose))


def _require_finite_output(path: str | Path, model: Any2Seg, contract: InputContract) -> None:
    """Weights may be finite and so large that nothing else is: one small grey image tells."""
    sizes = {name: model.image_size(name, (_PROBE_SIDE, _PROBE_SIDE)) for name in contract.modalities}
    grey = {name: torch.full((1, 3, *size), 127.5) for name, size in sizes.items()}
    with torch.inference_mode():
        logits = model({name: normalise(image, name, contract) for name, image in grey.items()}).logits
    if not all_finite(logits):
        ranges = {name: float(values.abs().max()) for name, values in model.state_dict().items() if values.numel()}
        largest = max(ranges, key=ranges.__getitem__)
        raise UserError(
            f"{path}: labels of a grey image are not finite; the largest number of the weights is "
            f"{ranges[largest]:.3g}, in tensor {largest}: take an earlier checkpoint",
            "not-finite",
        )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2])
