"""What a folder of ``transformers`` says about its SegFormer: config.json and preprocessor_config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json
from any2seg_core.imports.foreign import Description, normalisation_of
from any2seg_core.vocabulary.contract import IMAGENET

PROGRAM = "transformers"
LAYER_NORM_EPS = 1e-5
"""That of PyTorch: transformers leaves ``layer_norm_eps`` of its config unread, which says 1e-6."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of a folder that may hold them, the first that is there."""
INDEX = ".index.json"
"""Behind the name of a file that was written in several parts: which of them holds what."""
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


class _Index(BaseModel):
    model_config = ConfigDict(extra="ignore")
    weight_map: dict[str, str] = Field(min_length=1)


_Pixels = Annotated[int, Field(gt=0)]


class _Side(BaseModel):
    model_config = ConfigDict(extra="ignore")
    height: _Pixels | None = None
    width: _Pixels | None = None
    shortest_edge: _Pixels | None = None


class _Preprocessor(BaseModel):
    """As `SegformerImageProcessor` writes and defaults them; older ones have one number, or a pair, as their size.

    What is null has its default.
    """

    model_config = ConfigDict(extra="ignore")
    do_resize: bool = True
    size: _Pixels | tuple[_Pixels, _Pixels] | _Side = _Side(height=512, width=512)
    resample: int = _BILINEAR
    do_rescale: bool = True
    rescale_factor: float = Field(1 / 255, gt=0)
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = IMAGENET.mean
    image_std: tuple[float, float, float] = IMAGENET.std
    do_reduce_labels: bool = Field(False, validation_alias=AliasChoices("do_reduce_labels", "reduce_labels"))

    @model_validator(mode="before")
    @classmethod
    def _only_said(cls, values: Any) -> Any:
        return {key: v for key, v in values.items() if v is not None} if isinstance(values, dict) else values


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder that hold its weights: one, or the parts that an index names.

    Raises:
        UserError: there is none, or an index that names no files of the folder.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / (name + INDEX)
        if index.is_file():
            parts = sorted(set(_checked(_Index, read_json(index), index).weight_map.values()))
            if strange := [part for part in parts if Path(part).name != part]:
                raise UserError(f"{index}: names {strange[0][:60]!r}, which is no file beside it", "file-content")
            return [folder / part for part in parts]
    raise UserError(f"{folder}: has none of {', '.join(WEIGHTS)}: save the model there", "file-missing")


def describe(folder: Path) -> Description:
    """What a folder says.

    Raises:
        UserError: no SegFormer, one of another shape than MiT, or a value that means nothing.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder}: has no {CONFIG}, as a folder of {PROGRAM} has: give such a folder, or a file of weights itself",
            "file-missing",
        )
    document = read_json(path)
    config = _checked(_Config, document, path)
    if config.model_type != "segformer":
        raise UserError(f"{path}: model_type is {config.model_type[:40]!r}: give a segformer", "weights-mismatch")
    for key, expected in _MIT.items():
        if document.get(key, expected) != expected:
            told = f"{key} is {str(document[key])[:60]}, MiT-B0 to B5 have {expected}"
            raise UserError(f"{path}: {told}: such a network has no place here", "weights-mismatch")
    classes = config.id2label or {}
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
    if options.do_reduce_labels:
        found.notes.append("its label images say 1 for the first class and 0 for none (do_reduce_labels)")
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
