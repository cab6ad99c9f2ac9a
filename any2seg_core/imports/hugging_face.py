"""What a folder of ``transformers`` says about its SegFormer: config.json and preprocessor_config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json
from any2seg_core.imports.foreign import Description, normalisation_of
from any2seg_core.vocabulary.contract import IMAGENET

PROGRAM = "transformers"
LAYER_NORM_EPS = 1e-5
"""That of PyTorch: transformers leaves ``layer_norm_eps`` of its config unread, which says 1e-6."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of a folder that may hold them, the first that is there."""
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"

_MIT = {
    "num_channels": 3, "num_encoder_blocks": 4, "sr_ratios": [8, 4, 2, 1], "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2], "num_attention_heads": [1, 2, 5, 8], "mlp_ratios": [4, 4, 4, 4], "hidden_act": "gelu",
}  # fmt: skip
"""What all of B0 to B5 have in common, and the defaults of the config."""
_BILINEAR = 2  # of PIL's numbers


class _Config(BaseModel):
    model_config = ConfigDict(extra="allow")
    model_type: str
    id2label: dict[int, str] | None = None
    name_or_path: str = Field("", alias="_name_or_path")


class _Side(BaseModel):
    model_config = ConfigDict(extra="ignore")
    height: int | None = Field(None, gt=0)
    width: int | None = Field(None, gt=0)
    shortest_edge: int | None = Field(None, gt=0)


class _Preprocessor(BaseModel):
    """As `SegformerImageProcessor` writes and defaults them; older ones have one number, or a pair, as their size."""

    model_config = ConfigDict(extra="ignore")
    do_resize: bool = True
    size: int | tuple[int, int] | _Side = _Side(height=512, width=512)
    resample: int = _BILINEAR
    do_rescale: bool = True
    rescale_factor: float = Field(1 / 255, gt=0)
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = IMAGENET.mean
    image_std: tuple[float, float, float] = IMAGENET.std


def describe(folder: Path) -> Description:
    """What a folder says.

    Raises:
        UserError: no SegFormer, one of another shape than MiT, or a value that means nothing.
    """
    path = folder / CONFIG
    document = read_json(path)
    config = _checked(_Config, document, path)
    if config.model_type != "segformer":
        raise UserError(f"{path}: model_type is {config.model_type[:40]!r}: give a segformer", "weights-mismatch")
    for key, expected in _MIT.items():
        if document.get(key, expected) != expected:
            told = f"{key} is {str(document[key])[:60]}, MiT-B0 to B5 have {expected}"
            raise UserError(f"{path}: {told}: such a network has no place here", "weights-mismatch")
    classes = config.id2label or {0: "LABEL_0", 1: "LABEL_1"}  # which is what a config without them means
    if sorted(classes) != list(range(len(classes))):
        raise UserError(f"{path}: id2label must name classes 0 to {len(classes) - 1}, each once", "file-content")
    found = Description(
        PROGRAM, LAYER_NORM_EPS, tuple(classes[number] for number in range(len(classes))), origin=(config.name_or_path,)
    )
    if (folder / PREPROCESSOR).is_file():
        _add_preprocessing(found, folder / PREPROCESSOR)
    else:
        found.notes.append(f"{folder} has no {PREPROCESSOR}: pictures get the statistics of ImageNet")
    return found


def _add_preprocessing(found: Description, path: Path) -> None:
    options = _checked(_Preprocessor, read_json(path), path)
    unit = 1.0 / options.rescale_factor if options.do_rescale else 1.0
    mean, std = (options.image_mean, options.image_std) if options.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    try:
        found.normalisation = normalisation_of(mean, std, unit)
    except ValidationError as error:
        raise UserError(
            f"{path}: image_mean and image_std give no statistics ({_reason(error)})", "value-range"
        ) from None
    if not options.do_resize:
        found.notes.append("its pictures keep their size: give that of yours with --size")
    elif isinstance(options.size, _Side) and options.size.height and options.size.width:
        found.size = options.size.height, options.size.width
    elif isinstance(options.size, _Side):
        side = options.size.shortest_edge or 512
        found.size = side, side
        found.notes.append(f"its pictures keep their shape, their shorter side is {side}: give theirs with --size")
    else:
        found.size = (options.size, options.size) if isinstance(options.size, int) else options.size[::-1]
    if options.do_resize and options.resample != _BILINEAR:
        found.notes.append(f"its pictures are resized by PIL's filter {options.resample}, here bilinearly")
    found.facts["resize"] = {"do_resize": options.do_resize, "resample": options.resample}


def _checked(kind: type[Any], document: Any, path: Path) -> Any:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{path}: {_reason(error)}", "file-content") from None


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the document"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}, got {str(first['input'])[:60]}"
