"""What a checkpoint of MMSegmentation, or of SegFormer's own program, which grew out of it, says beside its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from any2seg_core.base.errors import UserError
from any2seg_core.imports.foreign import Description, normalisation_of
from any2seg_core.imports.mm_config import inner, read_config

PROGRAM, OFFICIAL = "MMSegmentation", "SegFormer"
LAYER_NORM_EPS = 1e-6
"""Of all norms of MMSegmentation's MiT, and of most in SegFormer's own."""

_NAMES, _COLOURS = TypeAdapter(tuple[str, ...]), TypeAdapter(tuple[tuple[int, int, int], ...])
_STATISTICS = TypeAdapter(tuple[float, float, float])
_BEFORE_VERSION_1 = ("img_norm_cfg",)
_STATISTICS_AT = (("model", "data_preprocessor"), ("data_preprocessor",), _BEFORE_VERSION_1)
_BYTES = 255.0


def describe(document: Any, source: str, program: str = PROGRAM) -> Description:
    """What a checkpoint says under ``meta``: classes and colours, and, in the text of its configuration, the rest.

    Raises:
        UserError: another network than SegFormer, or values that mean nothing.
    """
    meta = document.get("meta") if isinstance(document, Mapping) else None
    meta = meta if isinstance(meta, Mapping) else {}
    told = meta.get("dataset_meta")  # of version 1; before it CLASSES and PALETTE
    told = told if isinstance(told, Mapping) else {"classes": meta.get("CLASSES"), "palette": meta.get("PALETTE")}
    text = meta.get("cfg") or meta.get("config")
    config = read_config(text) if isinstance(text, str) else {}
    found = Description(
        program, LAYER_NORM_EPS, _plain(_NAMES, told.get("classes")), _colours(told.get("palette")),
        origin=tuple(_texts(config, set())),
    )  # fmt: skip
    _require_segformer(config, source)
    eps = inner(config, "model", "backbone", "norm_cfg", "eps")
    if isinstance(eps, float) and 0 < eps <= 1e-2:
        found.layer_norm_eps = eps
    _add_preprocessing(found, config, source)
    return found


def _require_segformer(config: Mapping[str, Any], source: str) -> None:
    """UserError where the configuration names parts or rules that SegFormer does not have."""
    for places, expected in (
        (("type",), ("EncoderDecoder",)),
        (("decode_head", "type"), ("SegformerHead", "SegFormerHead")),
        (("decode_head", "interpolate_mode"), ("bilinear",)),
        (("decode_head", "align_corners"), (False,)),
    ):
        value = inner(config, "model", *places)
        if value is not None and value not in expected:
            wanted = " or ".join(map(str, expected))
            raise UserError(
                f"{source}: its {'.'.join(places)} is {str(value)[:60]}, a network of another kind; only SegFormer "
                f"({wanted}) is imported",
                "weights-mismatch",
            )


def _add_preprocessing(found: Description, config: Mapping[str, Any], source: str) -> None:
    options: Any = next((value for places in _STATISTICS_AT if inner(value := inner(config, *places), "mean")), None)
    mean, std = _plain(_STATISTICS, inner(options, "mean")), _plain(_STATISTICS, inner(options, "std"))
    if mean and std:
        try:
            found.normalisation = normalisation_of(mean, std, 1.0)
        except ValidationError:
            raise UserError(f"{source}: mean {mean} and std {std} give no statistics", "value-range") from None
        is_old = options is inner(config, *_BEFORE_VERSION_1)  # which turned pictures unless told not to
        found.is_bgr = inner(options, "to_rgb") is False if is_old else not inner(options, "bgr_to_rgb")
    else:
        found.notes.append("it does not say how pictures are normalised: they get the statistics of ImageNet")
    size = inner(options, "size") or inner(config, "crop_size")
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size):
        found.size = size[0], size[1]
        found.notes.append(
            f"its pictures keep their shape, its training crops are {size[1]}x{size[0]}: give theirs with --size"
        )


def _plain(adapter: TypeAdapter[Any], value: Any) -> Any:
    """The value where it is plain and of the type, else ()."""
    try:
        return adapter.validate_python(value) if isinstance(value, Sequence) else ()
    except ValidationError:
        return ()


def _colours(value: Any) -> tuple[tuple[int, int, int], ...]:
    colours = _plain(_COLOURS, value)
    return colours if all(0 <= channel <= _BYTES for colour in colours for channel in colour) else ()


def _texts(value: Any, seen: set[int]) -> Iterator[str]:
    """All texts in a configuration, each object once: names may stand for one list in many places."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _texts(each, seen)
