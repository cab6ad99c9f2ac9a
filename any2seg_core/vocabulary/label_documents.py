"""The YAML of a label space as a model: which keys there are, and which values they may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError

LARGEST_RAW_ID = 65535
MOST_CLASSES = 65535
"""Labels have 16 bits at most, and one id stands for an unlabelled pixel."""

_Byte = Annotated[int, Field(strict=True, ge=0, le=255)]
Colour = tuple[_Byte, _Byte, _Byte]
_RawId = Annotated[int, Field(strict=True, ge=0, le=LARGEST_RAW_ID)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


_RawIds = Annotated[tuple[_RawId, ...], BeforeValidator(_as_list)]
SpaceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
_LONGEST = 100  # characters; said by the length: a count in a pattern of Unicode takes a tenth of a second to compile
_Word = StringConstraints(pattern=r"^\PC*$", max_length=_LONGEST, strip_whitespace=True)
ClassName = Annotated[str, _Word, Field(min_length=1)]


class ClassEntry(BaseModel):
    """One class.

    Attributes:
        name: unique. colour: RGB 0..255, unique; None: one that no other class has.
        group: a word that several classes share, such as flat; "" for none.
        raw: ids of files that mean this class; None: files hold train ids.
        raw_colours: colours of files that mean this class; None: its own colour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassName
    colour: Colour | None = None
    group: Annotated[str, _Word] = ""
    raw: _RawIds | None = None
    raw_colours: tuple[Colour, ...] | None = None


class VoidEntry(BaseModel):
    """Raw ids and colours of files that mean no class at all: they are read as unlabelled."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    raw: _RawIds = ()
    raw_colours: tuple[Colour, ...] | None = None


class SpaceDocument(BaseModel):
    """A label space as it stands in a file or checkpoint; `docs/classes.md` explains the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: SpaceName
    classes: tuple[ClassEntry, ...] = Field(min_length=1, max_length=MOST_CLASSES)
    other: str | None = None
    void: VoidEntry = VoidEntry()

    @property
    def colours(self) -> tuple[Colour, ...]:
        """K RGB triples; classes that say none get those of the PASCAL VOC colour map that no other class has."""
        taken = {entry.colour for entry in self.classes}
        free = (colour for colour in _colour_map() if colour not in taken)
        return tuple(entry.colour or next(free) for entry in self.classes)


def _colour_map() -> Iterator[Colour]:
    """The bits of 1, 2, 3, ... dealt out to red, green and blue, the lowest to the highest bit: all are different."""
    for number in range(1, 1 << 24):
        red, green, blue = (
            sum((number >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3)
        )
        yield red, green, blue


_MODELS: dict[str, type[BaseModel]] = {"classes": ClassEntry, "void": VoidEntry}


def parse_space(document: Any, source: str) -> SpaceDocument:
    """The model of a document that was read; UserError names `source`, the key and the way out."""
    if not isinstance(document, dict):
        found = "is empty" if document is None else f"holds {type(document).__name__}"
        raise UserError(f"{source}: {found}, no label space: give its keys name and classes", "file-content")
    try:
        return SpaceDocument.model_validate(
            document | {"classes": [_as_entry(entry) for entry in document["classes"]]}
            if isinstance(document.get("classes"), list)
            else document
        )
    except ValidationError as error:
        raise UserError(f"{source}: {_complaint(error, document)}", code_of(error)) from None


def _as_entry(entry: Any) -> Any:
    """A class may be its name alone."""
    return {"name": entry} if isinstance(entry, str) else entry


def _complaint(error: ValidationError, document: dict[str, Any]) -> str:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if place[:1] == ["classes"] and len(place) > 1:
        entry = document["classes"][int(place[1])]
        name = entry.get("name") if isinstance(entry, dict) else entry
        shown = str(name)[:40]
        place[1] = f"{place[1]} ({shown if shown.isprintable() else repr(shown)})"
    known = ", ".join(_MODELS.get(place[0] if len(place) > 1 else "", SpaceDocument).model_fields)
    hint = {
        "missing": "is missing; add it",
        "extra_forbidden": f"is an unknown key; known are {known}",
        "string_type": f"is {str(first['input'])[:60]!r}, no text; write it in quotation marks",
        "string_pattern_mismatch": f"is {str(first['input'])[:60]!r}; letters and digits, without control characters",
        "string_too_short": "is empty; give it a name",
        "string_too_long": f"is {str(first['input'])[:60]!r}..., longer than {_LONGEST} characters; give a shorter one",
    }.get(first["type"], f"is {str(first['input'])[:60]!r}: {first['msg'].removeprefix('Value error, ')}")
    return f"{'.'.join(place)} {hint}"
