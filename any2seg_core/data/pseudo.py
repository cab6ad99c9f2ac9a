"""Pseudo labels on disk: what a model of a first stage says about every pixel, to complete sparse labels for a second.

    FOLDER/<split>.json              which model, labels and threshold
    FOLDER/<split>/<frame>.png       8-bit train ids at the size of the label image, 255 where there is none
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.label_images import read_ids
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED, LabelSpace, stored_label_space

_HOW = "python training/pseudo_labels.py writes such a folder"


class PseudoLabels:
    """Pseudo labels of one split.

    Args:
        folder: as above. split: train, val or test.
        space: of the data set that they shall complete.

    Raises:
        UserError: no such folder, or labels of another label space.
    """

    def __init__(self, folder: str | Path, split: str, space: LabelSpace) -> None:
        self.folder = Path(folder) / split
        facts = read_facts(folder, split)
        if facts is None:
            raise UserError(
                f"{folder}: no pseudo labels of {split}: {split}.json is missing; {_HOW}", "pseudo-labels-missing"
            )
        own = stored_label_space(facts.get("label_space"), f"{folder}/{split}.json")
        if apart := own.told_apart(space):
            raise UserError(
                f"{folder}: pseudo labels of {apart[0]}, the data set has {apart[1]}", "label-space-mismatch"
            )
        self._known = np.arange(256) < len(space)
        self._known[IGNORE] = True

    def require(self, names: Iterable[str]) -> None:
        """UserError for a frame that has none."""
        missing = [name for name in names if not self.path(name).is_file()]
        if missing:
            raise UserError(
                f"{self.path(missing[0])}: missing, and {len(missing) - 1} more; the command that wrote the others "
                "goes on where it stopped",
                "pseudo-labels-missing",
            )

    def path(self, name: str) -> Path:
        """File of a frame."""
        return self.folder / f"{name}.png"

    def complete(self, labels: np.ndarray, name: str) -> np.ndarray:
        """labels (H, W) uint8 with pseudo labels in place of 254; those that are there stay. CorruptFileError."""
        path = self.path(name)
        pseudo = read_ids(path)
        if pseudo.shape != labels.shape or not self._known[pseudo].all():
            raise CorruptFileError(
                f"{path}: {pseudo.shape} is no label image of this frame, which has {labels.shape}", "size-mismatch"
            )
        return np.where((labels == NOT_ANNOTATED) & (pseudo != IGNORE), pseudo, labels)


def read_facts(folder: str | Path, split: str) -> dict[str, Any] | None:
    """How the labels in a folder came to be; None if there are none, UserError if nobody can read it."""
    path = Path(folder) / f"{split}.json"
    if not path.exists():
        return None
    facts = read_json(path)
    if not isinstance(facts, dict):
        raise UserError(f"{path}: says nothing about its labels; {_HOW}", "file-content")
    return facts


def write_facts(folder: Path, split: str, facts: dict[str, Any]) -> None:
    """Say how the labels come to be, before the first of them; UserError if others are there."""
    before = read_facts(folder, split)
    if before is not None and before != facts:
        changed = [key for key in facts if before.get(key) != facts[key]]
        raise UserError(
            f"{folder}: holds pseudo labels of another {', '.join(changed)}; choose another folder", "output-exists"
        )
    with replacing(folder / f"{split}.json") as partial:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")
