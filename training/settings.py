"""Settings of a script: pydantic models <- YAML <- ``key=value``, ``group.key=value`` for those in groups."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from any2seg_core.base.entry import typed_name
from any2seg_core.base.error_codes import complaint_code
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_yaml, read_yaml

Settings = TypeVar("Settings", bound=BaseModel)


def answered_help(arguments: Sequence[str], document: str | None, kind: type[BaseModel]) -> bool:
    """Prints the help of a script where it was asked for: its docstring with examples, and every key."""
    if not {"-h", "--help"} & set(arguments):
        return False
    print(f"usage: {typed_name()} [CONFIG.yaml] [KEY=VALUE ...]\n\n{(document or '').strip()}\n\nKeys:\n")
    print("\n".join(_key_lines(kind)))
    return True


def _key_lines(kind: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        key, groups = f"{above}{field.alias or name}", _groups(field)
        plain = not groups or field.is_required() or hasattr(groups[0], "short_form")
        default = "required" if field.is_required() else _default_text(field.get_default(call_default_factory=True))
        if plain or field.description:
            yield f"  {key}{'' if groups and not field.is_required() else f' ({default})'}"
            if field.description:
                yield f"      {field.description}"
        for group in groups:
            yield from _key_lines(group, f"{key}.")


def _default_text(value: Any) -> str:
    return "default none" if value is None else f"default {value}"


def load_settings(kind: type[Settings], arguments: Sequence[str]) -> Settings:
    """Read ``[config.yaml] [key=value ...]`` into a pydantic model; values are YAML, later ones win.

    A group of settings (a field that is a model itself) may be given as a mapping or one by one with dotted keys; later
    ones win one by one. A group with a ``short_form`` also takes a plain value, which that field gets.

    Raises:
        UserError: unreadable file, an argument that is no ``key=value``, an unknown key or a bad value; it names the
            dotted key.
    """
    settings: dict = {}
    files: dict[object, str] = {}  # which YAML a key comes from, for the message
    for argument in arguments:
        if "=" in argument:
            key, _, value = argument.partition("=")
            _merge([kind], settings, {key: parse_yaml(value, argument)})
            files.pop(key.partition(".")[0], None)
        elif argument.endswith((".yaml", ".yml")):
            given = _read_yaml(Path(argument))
            _merge([kind], settings, given)
            files |= {str(key).partition(".")[0]: f"{argument}: " for key in given}
        else:
            raise UserError(f"argument {argument!r}: expected a .yaml file or key=value", "value-format")
    try:
        return kind.model_validate(_at_home(settings))
    except ValidationError as error:
        raise _refusal(error, kind, files) from None


def _at_home(value: Any) -> Any:
    """The same settings with ``~`` at the beginning of a text, which only paths have, as the home folder."""
    if isinstance(value, dict):
        return {key: _at_home(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_at_home(each) for each in value]
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~") else value


def _merge(kinds: Sequence[type[BaseModel]], settings: dict, given: Mapping[Any, Any], parents: str = "") -> None:
    """Write ``given`` into ``settings``, which one of ``kinds`` will be made of; groups are merged, not replaced."""
    for written, value in given.items():
        key, dot, rest = written.partition(".") if isinstance(written, str) else (written, "", "")
        groups = _groups(_field(kinds, key))
        if dot:
            if not groups:
                _refuse_dotted(kinds, key, f"{parents}{written}", parents)
            value = {rest: value}
        short = next((group.short_form for group in groups if hasattr(group, "short_form")), None)
        if short is not None and value is not None and not isinstance(value, dict):
            value = {short: value}
        if groups and isinstance(value, dict):
            if not isinstance(settings.get(key), dict):
                settings[key] = {}
            _merge(groups, settings[key], value, f"{parents}{key}.")
        else:
            settings[key] = value


def _refuse_dotted(kinds: Sequence[type[BaseModel]], key: str, written: str, parents: str) -> None:
    if _field(kinds, key) is None:
        raise UserError(_unknown(written, key, kinds), "key-unknown")
    raise UserError(
        f"{written}: {parents}{key} is one value and no group of settings; give {parents}{key}=<value>", "key-unknown"
    )


def _field(kinds: Iterable[type[BaseModel]], name: object) -> FieldInfo | None:
    for kind in kinds:
        for own, field in kind.model_fields.items():
            if name in (own, field.alias):
                return field
    return None


def _names(kinds: Iterable[type[BaseModel]]) -> list[str]:
    return list(dict.fromkeys(field.alias or name for kind in kinds for name, field in kind.model_fields.items()))


def _groups(field: FieldInfo | None) -> list[type[BaseModel]]:
    """Models that a field may hold; none for a plain value."""

    def models(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for part in get_args(annotation) for model in models(part)]

    return [] if field is None else models(field.annotation)


def _read_yaml(path: Path) -> dict:
    settings = read_yaml(path, "configuration")
    if not isinstance(settings, dict):
        raise UserError(
            f"{path}: expected 'key: value' lines; the shipped ones are in training/configs", "file-content"
        )
    return settings


def _unknown(written: str, key: object, kinds: Iterable[type[BaseModel]]) -> str:
    names = _names(kinds)
    near = get_close_matches(str(key), names, cutoff=0.75)
    known = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
    return f"unknown key {written!r}: {known}"


def _refusal(error: ValidationError, kind: type[BaseModel], files: Mapping[object, str]) -> UserError:
    first, *others = error.errors()
    if first["type"] == "missing":  # a misspelt key is missing as well
        first = next((other for other in others if other["type"] == "extra_forbidden"), first)
    kinds: list[type[BaseModel]] = [kind]
    place: list[str] = []
    for part in first["loc"]:
        field = _field(kinds, part)
        if field is None:  # of a list, or which of several models pydantic tried
            continue
        place.append(str(part))
        kinds = _groups(field)
    key = ".".join(place) or "configuration"
    file = files.get(first["loc"][0], "") if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        name = ".".join([*place, str(first["loc"][-1])])
        return UserError(file + _unknown(name, first["loc"][-1], kinds), "key-unknown")
    if first["type"] == "missing":
        return UserError(f"{file}{key} is not set: add {key}=<value>", "key-missing")
    why = first["msg"].removeprefix("Value error, ")  # pydantic's word for what a validator of ours raised
    value = f"{key}={first['input']!r}: " if place else ""  # of all together: not all of them again
    return UserError(f"{file}{value}{why}", complaint_code(first))
