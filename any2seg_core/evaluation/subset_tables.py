"""mIoU per sensor subset out of the results of several evaluations, to stand side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_json, read_json, read_text
from any2seg_core.evaluation.policies import Policy
from any2seg_core.evaluation.published import Published, published
from any2seg_core.runtime.checkpoint_metadata import read_metadata

_LINES = "results.jsonl"
_ALIKE = ("protocol", "frames", "split")
_WAYS = (
    "give the folder of `any2seg evaluate --out`, its results.jsonl, the output of --json, or a checkpoint that its "
    "training has evaluated"
)


@dataclass(frozen=True)
class SubsetTable:
    """What one evaluation says.

    Attributes:
        label: name in the picture. source: file it was read from. miou: subset letters -> percent.
        facts: frames, protocol and split, as far as it says them.
    """

    label: str
    source: Path
    miou: Mapping[str, float]
    facts: Mapping[str, Any]

    @property
    def mean(self) -> float:
        """Unweighted mean over the subsets."""
        return float(np.mean(list(self.miou.values())))


def read_tables(given: Sequence[str], policy: Policy = "present") -> list[SubsetTable]:
    """Read ``LABEL=PATH`` each; PATH alone is its own label.

    Raises:
        UserError: a file that is no evaluation, a label twice, or evaluations of other subsets, frames or protocols.
    """
    tables: list[SubsetTable] = []
    for text in given:
        label, equals, path = text.partition("=")
        table = _read(label if equals else Path(text).stem, Path(path if equals else text).expanduser(), policy)
        if any(table.label == other.label for other in tables):
            raise UserError(f"label {table.label!r} is given twice: write LABEL=PATH", "value-twice")
        if tables:
            _require_alike(tables[0], table)
        tables.append(table)
    return tables


def rivals(data_set: str, subsets: Sequence[str]) -> list[Published]:
    """Published rows of a data set that have all of these subsets, or of its own where it has others."""
    complete = [row for row in published(data_set) if len(row.subsets) > 1 and row.mean is not None]
    most = max((len(row.subsets) for row in complete), default=0)
    wanted = [row for row in complete if set(subsets) <= set(row.subsets)]
    return wanted or [row for row in complete if len(row.subsets) == most]


def _read(label: str, path: Path, policy: Policy) -> SubsetTable:
    path = path / _LINES if path.is_dir() else path
    document = _document(path)
    rows: Any = document.get("subsets") if isinstance(document, dict) else None
    key = f"miou_{policy}"
    try:
        miou = {letters: float(row[key]) for letters, row in rows.items() if row[key] is not None}
    except (AttributeError, KeyError, TypeError, ValueError):
        miou = {}
    if not miou:
        raise UserError(f"{path}: has no {key} per sensor subset; {_WAYS}", "file-content")
    return SubsetTable(label, path, miou, {name: document[name] for name in _ALIKE if document.get(name) is not None})


def _document(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return read_metadata(path)["provenance"].get("results")
    if path.suffix != ".jsonl":
        return read_json(path, "evaluation")
    lines = read_text(path, "evaluation").splitlines()
    entries = [parse_json(line, f"{path}, line {number}") for number, line in enumerate(lines[:1], start=1)]
    head = entries[0] if entries else {}
    rows = {}
    for number, line in enumerate(lines[1:], start=2):
        entry = parse_json(line, f"{path}, line {number}")
        if isinstance(entry, dict) and entry.get("kind") == "subset":
            rows[entry.get("sensors")] = entry
        elif rows:
            break  # frames follow, which are many
    return {**head, "subsets": rows} if isinstance(head, dict) else head


def _require_alike(first: SubsetTable, second: SubsetTable) -> None:
    if set(first.miou) != set(second.miou):
        raise UserError(
            f"{first.source} and {second.source} have other subsets ({', '.join(first.miou)}; "
            f"{', '.join(second.miou)}): evaluate both alike",
            "value-conflict",
        )
    for key in _ALIKE:
        own, rival = first.facts.get(key), second.facts.get(key)
        if own is not None and rival is not None and own != rival:
            raise UserError(
                f"{first.source} and {second.source} differ in {key} ({own} and {rival}): evaluate both alike",
                "value-conflict",
            )
