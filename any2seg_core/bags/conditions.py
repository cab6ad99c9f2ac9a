"""Which weather a recording was made in, as far as it says so: the simulated drive writes it beside its bag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json
from any2seg_core.vocabulary.cases import CONDITIONS

UNKNOWN = "bag"
"""Condition of a recording that does not say its own."""

_FILE = "drive.json"


def write_conditions(bag: Path, segments: Sequence[tuple[float, str]], **facts: object) -> None:
    """Note (seconds, condition) one after the other, and how the drive was made, in the folder of a bag."""
    intervals = [{"seconds": seconds, "condition": condition} for seconds, condition in segments]
    (bag / _FILE).write_text(json.dumps({**facts, "segments": intervals}), encoding="utf-8")


class Conditions:
    """Conditions of a recording over time; UserError for a damaged file."""

    def __init__(self, bag: Path) -> None:
        path = bag / _FILE if bag.is_dir() else bag.parent / _FILE
        self._ends: list[tuple[float, str]] = []
        if not path.is_file():
            return
        try:
            end_s = 0.0
            for interval in read_json(path)["segments"]:
                end_s += float(interval["seconds"])
                self._ends.append((end_s, CONDITIONS[CONDITIONS.index(interval["condition"])]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: says nothing readable about the weather ({error}); remove it", "file-content"
            ) from None

    def at(self, time_s: float) -> str:
        """Condition so many seconds after the first message; after the last interval that one's."""
        last = self._ends[-1][1] if self._ends else UNKNOWN
        return next((name for end_s, name in self._ends if time_s < end_s), last)
