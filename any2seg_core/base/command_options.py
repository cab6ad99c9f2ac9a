"""Options of a command out of the model that declares its settings: each setting is written down once.

A settings model is a pydantic model, or a dataclass with fields ``Annotated[type, Field(description=..., ge=...)]``.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError

Settings = TypeVar("Settings")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
DropOption = Annotated[list[str] | None, typer.Option(help="Silent sensors: camera@4:8,lidar@10:")]
FaultOption = Annotated[list[str] | None, typer.Option(help="A fault: blur:rgb@2:5,length=0.08; may be repeated.")]
FaultFilesOption = Annotated[list[Path] | None, typer.Option(help="File with a list of faults, YAML or JSON.")]


def image_size(text: str) -> tuple[int, int]:
    """(width, height) of ``WIDTHxHEIGHT``; UserError for any other text."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise UserError(f"size {text[:40]!r}: give WIDTHxHEIGHT, as 1242x375", "value-format")
    return int(found[1]), int(found[2])


def finite(option: typer.CallbackParam, value: float) -> float:
    """Callback of an option whose infinity means nothing, which a lower limit lets through; UserError for it."""
    if not math.isfinite(value):
        raise UserError(f"{option.opts[0]} {value}: give a finite number", "value-range")
    return value


def with_settings(
    kind: type[Settings],
    arguments: Sequence[str] = (),
    without: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of a typer command whose first parameter is ``settings: kind``: the command line gets its fields.

    Args:
        kind: model whose fields become options, in its order, before the parameters that the command has itself.
        arguments: fields that are positional. without: fields that the command line does not set.
        names: field -> name of its option, where it is not the field's, such as {"cases": "--case"}; several names with
            spaces between them, the first of which messages say.

    Example:
        >>> @with_settings(EvaluateSettings, arguments=("checkpoint", "data"), names={"cases": "--case"})
        ... def evaluate(settings: EvaluateSettings, as_json: bool = False) -> None: ...
    """
    fields = {name: field for name, field in _fields(kind).items() if name not in without}
    parameters = [
        _parameter(name, field, name in arguments, (names or {}).get(name)) for name, field in fields.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        everything = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*parameters, *own)]

        @wraps(command)
        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in fields}
            command(_settings(kind, given, names or {}), **values)

        del run.__wrapped__
        run.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in everything}
        return run

    return decorate


def _fields(kind: Any) -> dict[str, FieldInfo]:
    if issubclass(kind, BaseModel):
        return dict(kind.model_fields)
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: FieldInfo.from_annotation(hints[field.name])
        if field.default is dataclasses.MISSING
        else FieldInfo.from_annotated_attribute(hints[field.name], field.default)
        for field in sorted(dataclasses.fields(kind), key=lambda field: field.kw_only is True)  # inherited ones last
    }


def _parameter(name: str, field: FieldInfo, is_argument: bool, option: str | None) -> inspect.Parameter:
    limits = _limits(field)
    kind = _typer_type(field.annotation)
    if is_argument:
        info = typer.Argument(help=field.description)
    else:  # named in full, so that a switch has no --no-... beside it
        spellings = (option or f"--{name.replace('_', '-')}").split()
        info = typer.Option(*spellings, help=field.description, **limits)
    default = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if default == () else default,
        annotation=Annotated[kind, info],
    )


def _limits(field: FieldInfo) -> dict[str, Any]:
    """What typer refuses by itself: values below ge or above le; of a whole number above n, those below n + 1."""
    limits: dict[str, Any] = {}
    for limit in field.metadata:
        if isinstance(limit, Ge):
            limits["min"] = limit.ge
        elif isinstance(limit, Gt) and int in (field.annotation, *get_args(field.annotation)):
            limits["min"] = cast(int, limit.gt) + 1
        elif isinstance(limit, Le):
            limits["max"] = limit.le
    return limits


def _typer_type(annotation: Any) -> Any:
    """Choices are texts, which the model checks in its own words; tuples are options that may be repeated."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return str
    if origin is tuple:
        return GenericAlias(list, (_typer_type(parts[0]),)) | None
    if type(None) in parts:
        (inner,) = (part for part in parts if part is not type(None))
        return _typer_type(inner) | None
    return annotation


def _settings(kind: type[Settings], given: Mapping[str, Any], names: Mapping[str, str]) -> Settings:
    """What was given, made into settings; an option that was not given keeps the model's default."""
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None and value != []
    }
    for name, value in values.items():
        if isinstance(value, float) and math.isnan(value):  # which limits of older versions of typer let through
            raise UserError(f"{_option(name, names)} {value}: give a number", "value-range")
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        option = _option(str(first["loc"][0]), names)
        raise UserError(f"{option} {first['input']}: {first['msg']}", code_of(error)) from None


def _option(name: str, names: Mapping[str, str]) -> str:
    """What messages call it."""
    return names.get(name, f"--{name.replace('_', '-')}").split()[0]
