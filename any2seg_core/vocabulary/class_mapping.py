"""Two label spaces compared: a declared mapping between their classes, and what is left of both under it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.shipped import shipped_file
from any2seg_core.base.text_files import read_yaml
from any2seg_core.vocabulary.labels import (
    IGNORE,
    NOT_ANNOTATED,
    LabelSpace,
    is_labelled,
    is_space_file,
    label_space,
    require_train_ids,
)

_FOLDER = shipped_file("any2seg_core", "vocabulary", "class_mappings")
_WAY_OUT = "give the data set of the checkpoint, or --map with a mapping between them (docs/classes.md)"

ClassMap = Annotated[
    str, Field(description="mapping between the classes of checkpoint and truth: a shipped one by name, or a YAML")
]
"""Setting of whatever compares labels with truth; "" for none."""


class _MappingFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    source: str = Field(alias="from")
    target: str = Field(alias="to")
    classes: dict[str, str] = Field(min_length=1)


@dataclass(frozen=True)
class ClassMapping:
    """Which class of one label space is which of another.

    Attributes:
        name: of the file. source, target: label spaces. classes: pairs of a class of source and one of target; several
            may be one.
    """

    name: str
    source: LabelSpace
    target: LabelSpace
    classes: tuple[tuple[str, str], ...]

    @property
    def compared(self) -> LabelSpace:
        """The classes of target that some class of source is, in its order."""
        kept = {theirs for _, theirs in self.classes}
        numbers = [number for number, name in enumerate(self.target.classes) if name in kept]
        return LabelSpace(
            f"{self.target.name}-{len(numbers)}-of-{len(self.target)}",
            tuple(self.target.classes[number] for number in numbers),
            tuple(self.target.colours[number] for number in numbers),
            self.target.other if self.target.other in kept else None,
        )

    def table(self, space: LabelSpace) -> np.ndarray:
        """(K + 1,) train id of source or target -> id of `compared`, 255 for one that is left out and for the last."""
        compared = self.compared
        theirs = dict(self.classes) if self.source.is_same(space) else {name: name for name in compared.classes}
        ids = [compared.id(theirs[name]) if name in theirs else IGNORE for name in space.classes]
        return np.array([*ids, IGNORE], np.uint8)

    def knows(self, space: LabelSpace) -> bool:
        """Whether it is one of the two."""
        return space.is_same(self.source) or space.is_same(self.target)


@dataclass(frozen=True)
class Comparison:
    """What labels of a model and a truth are counted as.

    Attributes:
        space: the classes that are compared. labels: label space of the model. truth: that of the truth.
        mapping: None where both are the same.
    """

    space: LabelSpace
    labels: LabelSpace
    truth: LabelSpace
    mapping: ClassMapping | None = None

    @classmethod
    def between(
        cls, labels: LabelSpace, truth: LabelSpace, mapping: ClassMapping | None, told: Callable[[str, str], str]
    ) -> Comparison:
        """How a model is compared with a truth.

        Args:
            told: names of the label spaces of model and truth -> what has which, for messages.

        Raises:
            UserError: other classes and no mapping, or one between others.
        """
        if mapping is None:
            if apart := labels.told_apart(truth):
                raise UserError(f"{told(*apart)}: {_WAY_OUT}", "label-space-mismatch")
            return cls(labels, labels, truth)
        for space in (labels, truth):
            if not mapping.knows(space):
                raise UserError(
                    f"{told(labels.name, truth.name)}: --map {mapping.name} is between {mapping.source.name} and "
                    f"{mapping.target.name}, and {space.name} is neither",
                    "label-space-mismatch",
                )
        return cls(mapping.compared, labels, truth, mapping)

    def of_labels(self, ids: np.ndarray) -> np.ndarray:
        """Ids of the model, any shape, uint8 or uint16 -> ids of `space`; 255 where they are no class that is compared.

        A score counts 255 on a truth that is compared as missed.
        """
        return ids if self.mapping is None else _through(_table(self.mapping, self.labels), ids)

    def of_truth(self, ids: np.ndarray) -> np.ndarray:
        """Train ids of the truth, any shape, uint8 -> ids of `space`; 254, which never counts, for other classes."""
        if self.mapping is None:
            return ids
        compared = _through(_table(self.mapping, self.truth), ids)
        return np.where(is_labelled(ids), np.minimum(compared, NOT_ANNOTATED), ids)

    def document(self, left_out: int, labelled: int) -> dict[str, Any] | None:
        """What was compared, JSON-ready; None without a mapping.

        Args:
            left_out: pixels of the truth whose class is not compared, of so many ``labelled``.
        """
        if self.mapping is None:
            return None
        out = {}
        for side, space in (("labels", self.labels), ("truth", self.truth)):
            ids = self.mapping.table(space)[: len(space)]
            out[side] = [name for name, number in zip(space.classes, ids, strict=True) if number == IGNORE]
        return {
            "name": self.mapping.name,
            "labels": self.labels.reference,
            "truth": self.truth.reference,
            "classes": dict(self.mapping.classes),
            "compared": len(self.space),
            "left_out": out,
            "left_out_percent": round(100.0 * left_out / labelled, 3) if labelled else None,
        }


@cache
def _table(mapping: ClassMapping, space: LabelSpace) -> np.ndarray:
    return mapping.table(space)


def _through(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.take(table, np.minimum(ids, len(table) - 1))


@cache
def shipped_mappings() -> tuple[str, ...]:
    """Names of the mappings that come with the program."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def class_mapping(name_or_path: str | Path) -> ClassMapping:
    """A mapping by the name of a shipped one, or a YAML file with from, to (label spaces) and classes.

    Raises:
        UserError: neither; or a mistake in the file: an unknown key, label space or class, with the way out.
    """
    path = Path(name_or_path)
    if not is_space_file(name_or_path):
        if path.name not in shipped_mappings():
            known = ", ".join(shipped_mappings())
            raise UserError(
                f"unknown mapping {str(name_or_path)!r}: known are {known}, or give a YAML file",
                "value-unknown",
            )
        path = _FOLDER / f"{name_or_path}.yaml"
    document = read_yaml(path, "mapping of classes")
    if not isinstance(document, dict):
        raise UserError(f"{path}: is no mapping: give its keys from, to and classes", "file-content")
    try:
        found = _MappingFile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        is_no_text = first["type"] == "string_type"
        hint = "is no text; write it in quotation marks" if is_no_text else first["msg"]
        hint += "; known keys are from, to and classes"
        raise UserError(f"{path}: {key}: {hint}", code_of(error)) from None
    source, target = (_space_of(path, key, name) for key, name in (("from", found.source), ("to", found.target)))
    for key, names, space in (("from", found.classes, source), ("to", found.classes.values(), target)):
        strange = [name for name in names if name not in space.classes]
        if strange:
            known = ", ".join(space.classes)
            raise UserError(
                f"{path}: classes: {strange[0][:80]!r} is no class of {key}, {space.name}: it has {known}",
                "value-unknown",
            )
    mapping = ClassMapping(path.stem, source, target, tuple(found.classes.items()))
    try:
        require_train_ids(len(mapping.compared))
    except UserError as error:
        raise UserError(f"{path}: classes: {error}", error.code) from None
    return mapping


def _space_of(path: Path, key: str, name: str) -> LabelSpace:
    """A label space named in the file; paths are relative to it."""
    try:
        return label_space(path.parent / name if is_space_file(name) else name)
    except UserError as error:
        raise UserError(f"{path}: {key}: {error}", error.code) from None
