"""A checkpoint again with other switches of its fusion, which no weight depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from any2seg_core.base.error_codes import complaint_code
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_yaml
from any2seg_core.models import Any2Seg, MFFConfig, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint

SWITCHES = ("content_masks", *(f"mff.{name}" for name in MFFConfig.model_fields))
"""Keys of `ModelConfig` that change what is fused how, and no parameter."""


def parse_switches(words: Sequence[str]) -> dict[str, Any]:
    """``key=value`` of `SWITCHES`, values as in YAML; UserError names what is none of them."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in SWITCHES:
            raise UserError(f"{word!r}: expected key=value with one of {', '.join(SWITCHES)}", "key-unknown")
        found[key] = parse_yaml(value, word)
    return found


def switched(config: ModelConfig, switches: Mapping[str, Any]) -> ModelConfig:
    """The same model with these switches; UserError where a value is wrong, or has no effect on it."""
    document = config.model_dump()
    for key, value in switches.items():
        group, _, name = key.rpartition(".")
        (document[group] if group else document)[name] = value
    try:
        return ModelConfig.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{place}: {why}" if place else why, complaint_code(first)) from None


def switch_checkpoint(checkpoint: Path, switches: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write a checkpoint again with other switches; its weights are the same.

    Args:
        checkpoint: .safetensors. switches: of `parse_switches`.
        out: the new checkpoint; UserError where something is there already.

    Returns:
        As plain JSON types: what each switch was and is, and whether calibrated temperatures were left out, as they
        hold for the labels of before.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; remove it or choose another name", "output-exists")
    model, contract, provenance = load_checkpoint(checkpoint)
    config = switched(model.config, switches)
    changed = Any2Seg(config, empty=contract.empty_pixels)
    changed.load_state_dict(model.state_dict())
    before, after = (each.model_dump(mode="json") for each in (model.config, config))
    facts = {key: {"before": _value(before, key), "after": _value(after, key)} for key in switches}
    plain = contract.model_copy(update={"temperatures": {}})
    save_checkpoint(out, changed, plain, provenance | {"switches": facts})
    return {"switches": facts, "temperatures_left_out": bool(contract.temperatures)}


def _value(document: Mapping[str, Any], key: str) -> Any:
    group, _, name = key.rpartition(".")
    return (document[group] if group else document)[name]
