"""Label spaces: names and colours of classes, and which ids and colours of files mean them. They are YAML files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import yaml

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.shipped import shipped_file
from any2seg_core.base.text_files import read_yaml
from any2seg_core.vocabulary.label_documents import Colour, SpaceDocument, parse_space

IGNORE = 255
"""Train id of a pixel that no loss and no score may look at: void in the truth, or the padding of a crop."""

NOT_ANNOTATED = 254
"""Train id, in memory only, of a real pixel whose class nobody has said. Supervised losses and scores skip it like
IGNORE; pseudo labels and self-supervision apply to it. Files and messages say 255 for both."""

_SHOWN = 30  # classes in one line

if TYPE_CHECKING:  # torch is not imported for it
    from torch import Tensor

Ids = TypeVar("Ids", "np.ndarray[Any, Any]", "Tensor")


def is_labelled(labels: Ids) -> Ids:
    """Train ids of any shape -> bool of that shape: neither IGNORE nor NOT_ANNOTATED."""
    return labels < NOT_ANNOTATED


def require_train_ids(num_classes: int) -> None:
    """UserError for more classes than train ids of truth: with 255 of them 254 would be a class and NOT_ANNOTATED."""
    if num_classes > NOT_ANNOTATED:
        raise UserError(
            f"{num_classes} classes cannot be trained or scored: truth is 8-bit with {NOT_ANNOTATED} and {IGNORE} "
            f"taken, so it has room for {NOT_ANNOTATED}; merge some classes",
            "value-range",
        )


@dataclass(frozen=True)
class LabelSpace:
    """Names and colours of K classes; train ids are 0..K-1.

    Attributes:
        name: for messages and tables.
        classes: K class names in the order of their train ids.
        colours: K RGB triples 0..255.
        other: class that stands for "everything else", left out of the mean "without other"; None if there is none.
        groups: K words that several classes may share, "" for none; empty: no class has one.
        raw: of each class the ids of files that mean it; empty: files hold train ids, 255 is unlabelled.
        raw_colours: of each class the colours of files that mean it; empty: its own colour.
        void_raw, void_colours: ids and colours of files that mean no class.

    Raises:
        UserError: no class, a name or colour twice, an id or a colour of files that means two things, lengths that
            differ, an `other` that is no class.

    Examples:
        >>> from any2seg_core import LabelSpace
        >>> space = LabelSpace("yard", ("ground", "crate"), ((81, 0, 81), (180, 140, 90)))
        >>> len(space), space.id("crate"), space.void_id
        (2, 1, 255)
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    other: str | None = None
    groups: tuple[str, ...] = ()
    raw: tuple[tuple[int, ...], ...] = ()
    raw_colours: tuple[tuple[Colour, ...], ...] = ()
    void_raw: tuple[int, ...] = ()
    void_colours: tuple[Colour, ...] = ()

    def __post_init__(self) -> None:
        for key in ("colours", "groups", "raw", "raw_colours"):
            count = len(getattr(self, key))
            if count != len(self) and (count or key == "colours"):
                raise UserError(f"{len(self)} classes and {count} {key}: give one for each class", "array-shape")
        if self.other is not None and self.other not in self.classes:
            raise UserError(f"other is {self.other!r}, which is no class of {self.name}", "value-unknown")
        named = [f"class {number} ({name})" for number, name in enumerate(self.classes)]
        _require_once("name", zip(self.classes, named, strict=True))
        _require_once("colour", zip(self.colours, named, strict=True))
        _require_once("raw id", _pairs(self.raw, self.void_raw, self.classes))
        _require_once("raw colour", _pairs(self.file_colours, self.void_colours, self.classes))

    def __len__(self) -> int:
        return len(self.classes)

    def id(self, class_name: str) -> int:
        """Train id of a class by name; UserError lists the classes."""
        try:
            return self.classes.index(class_name)
        except ValueError:
            raise UserError(
                f"no class {class_name!r} in {self.name}: it has {', '.join(self.classes)}", "value-unknown"
            ) from None

    @property
    def void_id(self) -> int:
        """Id of an unlabelled pixel in a label image that leaves the program: 255, or 65535 where 255 is a class."""
        return 255 if len(self) <= 255 else 65535

    @cached_property
    def palette(self) -> np.ndarray:
        """(256, 3) or (65536, 3) uint8 RGB lookup table; unlabelled and unknown ids are black."""
        table = np.zeros((self.void_id + 1, 3), np.uint8)
        table[: len(self.colours)] = np.asarray(self.colours, np.uint8)
        return table

    def colourise(self, labels: np.ndarray) -> np.ndarray:
        """labels of any shape (...), uint8 or uint16 train ids -> (..., 3) uint8 RGB."""
        return np.take(self.palette, labels, axis=0)

    @property
    def file_colours(self) -> tuple[tuple[Colour, ...], ...]:
        """Of each class the colours of files that mean it."""
        return self.raw_colours or tuple((colour,) for colour in self.colours)

    @property
    def summary(self) -> str:
        """One line: name, number of classes and the first of them."""
        shown = self.classes[:_SHOWN]
        more = f", {len(self) - len(shown)} more" if len(self) > len(shown) else ""
        return f"{self.name}: {len(self)} classes ({', '.join(shown)}{more})"

    def is_same(self, other: LabelSpace) -> bool:
        """Whether train ids mean the same in both: equal classes in equal order, whatever name and colours are."""
        return self.classes == other.classes

    def told_apart(self, other: LabelSpace) -> tuple[str, str] | None:
        """What to call two spaces in which train ids do not mean the same: names, and of equal ones what differs first.

        None where they mean the same, see `is_same`.
        """
        if self.is_same(other):
            return None
        if self.name != other.name:
            return self.name, other.name
        pairs = enumerate(zip_longest(self.classes, other.classes, fillvalue="none"))
        number, (mine, theirs) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
        return f"{self.name} (class {number} is {mine})", f"{other.name} (class {number} is {theirs})"

    @property
    def reference(self) -> str | dict[str, Any]:
        """What a document says so that `stored_label_space` finds this space again: the name of a shipped one, or all.

        Checkpoints hold all of every space: one that is shipped may get other classes.
        """
        return self.name if self.name in shipped_names() and shipped_space(self.name) == self else self.to_document()

    def to_document(self) -> dict[str, Any]:
        """The label space as its YAML has it, JSON-ready."""
        classes: list[dict[str, Any]] = []
        for number, (name, colour) in enumerate(zip(self.classes, self.colours, strict=True)):
            entry: dict[str, Any] = {"name": name, "colour": list(colour)}
            if self.groups and self.groups[number]:
                entry["group"] = self.groups[number]
            if self.raw:
                entry["raw"] = list(self.raw[number])
            if self.raw_colours and self.raw_colours[number] != (colour,):
                entry["raw_colours"] = [list(each) for each in self.raw_colours[number]]
            classes.append(entry)
        void: dict[str, Any] = {}
        if self.void_raw:
            void["raw"] = list(self.void_raw)
        if self.void_colours:
            void["raw_colours"] = [list(each) for each in self.void_colours]
        document = {"name": self.name, "classes": classes, "other": self.other, "void": void}
        return {key: value for key, value in document.items() if value}

    @classmethod
    def of_document(cls, document: Any, source: str) -> LabelSpace:
        """What `to_document` or a YAML file says.

        Args:
            source: file, for messages.

        Raises:
            UserError: an unknown or missing key, a value out of its range, or as of this class.
        """
        found = parse_space(document, source)
        try:
            return cls(
                found.name,
                tuple(entry.name for entry in found.classes),
                found.colours,
                found.other,
                _if_any(tuple(entry.group for entry in found.classes)),
                _raw_ids(found),
                _raw_colours(found),
                found.void.raw,
                found.void.raw_colours or (),
            )
        except UserError as error:
            raise UserError(f"{source}: {error}", error.code) from None


def _require_once(what: str, entries: Iterable[tuple[Any, str]]) -> None:
    """UserError where a value belongs to two things."""
    seen: dict[Any, str] = {}
    for value, owner in entries:
        if value in seen:
            shown = list(value) if isinstance(value, tuple) else repr(value)
            raise UserError(f"{what} {shown} is there twice: {seen[value]} and {owner}; keep one", "value-twice")
        seen[value] = owner


def _pairs(
    of_classes: Sequence[Sequence[Any]], of_void: Sequence[Any], classes: Sequence[str]
) -> Iterable[tuple[Any, str]]:
    for name, values in zip(classes, of_classes, strict=False):
        yield from ((value, f"of {name}") for value in values)
    yield from ((value, "of void") for value in of_void)


def _if_any(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values if any(values) else ()


def _raw_ids(document: SpaceDocument) -> tuple[tuple[int, ...], ...]:
    """Of each class; UserError where some say theirs and others do not."""
    without = [entry.name for entry in document.classes if entry.raw is None]
    if len(without) == len(document.classes):
        if document.void.raw:
            raise UserError("void.raw is given and no class has raw ids; give both or none", "key-missing")
        return ()
    if without:
        raise UserError(
            f"class {without[0]} has no raw ids and others have; give raw, [] where no file holds it", "key-missing"
        )
    return tuple(entry.raw or () for entry in document.classes)


def _raw_colours(document: SpaceDocument) -> tuple[tuple[Colour, ...], ...]:
    if all(entry.raw_colours is None for entry in document.classes):
        return ()
    return tuple(
        (colour,) if entry.raw_colours is None else entry.raw_colours
        for entry, colour in zip(document.classes, document.colours, strict=True)
    )


_FOLDER = shipped_file("any2seg_core", "vocabulary", "label_spaces")
_ENDINGS = (".yaml", ".yml")
_EARLIER_NAMES = {"muses-19": "cityscapes-19"}
"""MUSES has the classes of Cityscapes; checkpoints and results call them so."""


@cache
def shipped_names() -> tuple[str, ...]:
    """Names of the label spaces that come with the program."""
    return tuple(sorted({path.stem for path in _FOLDER.glob("*.yaml")} | set(_EARLIER_NAMES)))


@cache
def shipped_space(name: str) -> LabelSpace:
    """A label space that comes with the program, by name; UserError lists them."""
    if name not in shipped_names():
        raise UserError(
            f"unknown label space {name!r}: known are {', '.join(shipped_names())}, or give a YAML file",
            "label-space-unknown",
        )
    path = _FOLDER / f"{_EARLIER_NAMES.get(name, name)}.yaml"
    return replace(LabelSpace.of_document(read_yaml(path), str(path)), name=name)


def is_space_file(name_or_path: str | Path) -> bool:
    """Whether a word means a file: it is a path, ends with .yaml or has a folder in it; else it is a name."""
    path = Path(name_or_path)
    return not isinstance(name_or_path, str) or path.suffix in _ENDINGS or len(path.parts) > 1


def label_space(name_or_path: str | Path) -> LabelSpace:
    """A label space by the name of a shipped one, or of a YAML file (docs/classes.md); its name ends with .yaml.

    Raises:
        UserError: an unknown name, with the known ones; a file that is missing, unreadable or wrong, with the key.

    Examples:
        >>> from any2seg_core import label_space
        >>> label_space("cityscapes-19").classes[:2]
        ('road', 'sidewalk')
    """
    if isinstance(name_or_path, str) and not is_space_file(name_or_path):
        return shipped_space(name_or_path)
    path = Path(name_or_path)
    return LabelSpace.of_document(read_yaml(path, "label space"), str(path))


def save_label_space(path: Path, space: LabelSpace) -> None:
    """Write a label space as the YAML that `label_space` reads, whole or not at all; UserError where it cannot."""
    text = yaml.safe_dump(
        space.to_document(), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True
    )
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def stored_label_space(stored: Any, source: str = "label_space") -> LabelSpace:
    """The label space that a checkpoint or a result says: whole, or by the name of a shipped one.

    UserError for neither; no other file is read.
    """
    return shipped_space(stored) if isinstance(stored, str) else LabelSpace.of_document(stored, source)


DELIVER = shipped_space("deliver-25")
MUSES = shipped_space("muses-19")
MCUBES = shipped_space("mcubes-20")


def lookup_table(raw_to_train: dict[int, int]) -> np.ndarray:
    """(256,) uint8 table from raw ids to train ids; every raw id that is not named maps to 255."""
    table = np.full(256, IGNORE, np.uint8)
    for raw, train in raw_to_train.items():
        table[raw] = train
    return table
