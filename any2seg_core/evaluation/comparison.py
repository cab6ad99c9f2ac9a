"""Two evaluations of the same frames side by side: how far apart, and whether more than chance (paired bootstrap)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_json, read_json
from any2seg_core.evaluation.bootstrap import drawn_blocks, drawn_miou, mean_iou
from any2seg_core.evaluation.scores import rounded
from any2seg_core.evaluation.settings import CompareSettings
from any2seg_core.vocabulary.labels import LabelSpace, stored_label_space

_LEVEL = 95.0
_ALIKE = ("protocol", "split", "eval_size", "parity", "every")
_FILES = {"results.jsonl": "any2seg evaluate --out", "frames.jsonl": "any2seg bag evaluate"}


@dataclass
class FrameCounts:
    """What an evaluation says of every frame that has a truth.

    Attributes:
        source: file. facts: what must be alike in two evaluations that are compared.
        mapping: see `Comparison.document`; empty where labels and truth have the same classes.
        names: of the frames, in order. counts: subset letters -> (F, K, 3) int64: right, in the truth, predicted.
    """

    source: Path
    space: LabelSpace
    facts: dict[str, Any]
    mapping: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    counts: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> FrameCounts:
        """Read the folder or file of an evaluation; UserError where it has no counts per frame."""
        path = _file_of(path)
        entries = _entries(path)
        head = next(entries, None)
        if not isinstance(head, dict) or not isinstance(head.get("label_space"), str | dict):
            raise UserError(f"{path}: is no evaluation of any2seg; {_ways()}", "file-content")
        mapping = head.get("mapping")
        mapping = mapping if isinstance(mapping, dict) else {}
        found = cls(path, stored_label_space(head["label_space"], str(path)), _facts(head), mapping)
        rows: dict[str, list[dict[str, list[int]]]] = {}
        for entry in head.get("per_frame") or entries:
            counts = _counts_of(entry)
            if counts is not None:
                found.names.append(str(entry.get("frame", entry.get("stamp_ns"))))
                for letters, of_classes in counts.items():
                    rows.setdefault(letters, []).append(of_classes)
        if not found.names or any(len(row) != len(found.names) for row in rows.values()):
            raise UserError(
                f"{path}: has no counts per frame: it was written by an older version or without a truth; evaluate "
                "again",
                "file-content",
            )
        found.counts = {letters: _array(path, row, len(found.space)) for letters, row in rows.items()}
        return found


def _file_of(path: Path) -> Path:
    if path.is_dir():
        there = [path / name for name in _FILES if (path / name).is_file()]
        if not there:
            raise UserError(f"{path}: holds neither {' nor '.join(_FILES)}; {_ways()}", "file-missing")
        return there[0]
    if path.name == "summary.json" and path.with_name("frames.jsonl").is_file():
        return path.with_name("frames.jsonl")
    return path


def _ways() -> str:
    return "give the folder of `any2seg evaluate --out` or `any2seg bag evaluate`, or the JSON of training/evaluate.py"


def _entries(path: Path) -> Iterator[Any]:
    if path.suffix != ".jsonl":
        yield read_json(path, "evaluation")
        return
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                yield parse_json(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {_ways()}", "file-unreadable") from None


def _facts(head: dict[str, Any]) -> dict[str, Any]:
    """What must be alike; of a recording the first line of its frames, of a data set its document."""
    is_recording = "bag" in head
    facts = {key: head[key] for key in _ALIKE if key in head}
    return {"kind": "recording" if is_recording else "data set"} | facts


def _counts_of(entry: Any) -> dict[str, dict[str, list[int]]] | None:
    """Of one frame, per subset; None for a line that is no frame or has no truth."""
    if not isinstance(entry, dict):
        return None
    if "counts" in entry:  # of a data set
        return entry["counts"]
    subsets = entry.get("subsets")
    if not isinstance(subsets, dict) or not all("counts" in row for row in subsets.values()):
        return None
    return {letters: row["counts"] for letters, row in subsets.items()}


def _array(path: Path, rows: list[dict[str, list[int]]], num_classes: int) -> np.ndarray:
    array = np.zeros((len(rows), num_classes, 3), np.int64)  # (F, K, 3)
    try:
        for frame, row in zip(array, rows, strict=True):
            for number, counts in row.items():
                frame[int(number)] = counts
    except (ValueError, IndexError, TypeError, AttributeError):
        raise UserError(f"{path}: counts of a frame are damaged; evaluate again", "file-content") from None
    return array


def require_alike(first: FrameCounts, second: FrameCounts) -> list[str]:
    """Subsets that both have; UserError where the two cannot be compared, with what differs."""

    def refuse(what: str) -> UserError:
        return UserError(f"{first.source} and {second.source} {what}", "value-conflict")

    if apart := first.space.told_apart(second.space):
        raise refuse(f"differ in label space ({' and '.join(apart)}): evaluate both alike, with the same --map")
    if told := _other_mapping(first.mapping, second.mapping):
        raise refuse(f"read the same labels by other mappings ({told}): evaluate both with the same --map")
    for key in dict.fromkeys((*first.facts, *second.facts)):
        own, rival = first.facts.get(key), second.facts.get(key)
        if own != rival:
            raise refuse(f"differ in {key.replace('_', ' ')} ({own} and {rival}): evaluate both alike")
    if len(first.names) != len(second.names):
        raise refuse(f"have {len(first.names)} and {len(second.names)} frames: evaluate both on the same")
    for own, rival in zip(first.names, second.names, strict=True):
        if own != rival:
            raise refuse(f"are of other frames ({own} and {rival}): evaluate both on the same")
    common = [letters for letters in first.counts if letters in second.counts]
    if not common:
        raise refuse(f"have no subset in common ({', '.join(first.counts)}; {', '.join(second.counts)})")
    for letters in common:
        if not np.array_equal(first.counts[letters][..., 1], second.counts[letters][..., 1]):
            raise refuse("have another truth of the same frames: evaluate both on the same data")
    return common


def _other_mapping(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Where the labels of one label space are counted as other classes: names and the first such class; else ""."""
    if first.get("labels") != second.get("labels") or first.get("truth") != second.get("truth"):
        return ""
    own, rival = (mapping.get("classes") or {} for mapping in (first, second))
    other = next((name for name in (*own, *rival) if own.get(name) != rival.get(name)), None)
    if other is None:
        return ""
    said = f"{other} is {own.get(other, 'left out')} and {rival.get(other, 'left out')}"
    return f"{first.get('name', 'none')} and {second.get('name', 'none')}: {said}"


def compare(first: FrameCounts, second: FrameCounts, settings: CompareSettings) -> dict[str, Any]:
    """mIoU of both per common subset, B minus A, and the interval of the difference; JSON-ready, in percent.

    Frames are drawn with replacement, the same for both; the interval holds the middle 95 % of the differences. A
    difference is significant where the interval lies on one side of 0.

    Raises:
        UserError: another protocol, label space, frames or truth.
    """
    subsets = require_alike(first, second)
    space = first.space
    other = None if space.other is None else space.id(space.other)
    starts = np.arange(0, len(first.names), settings.block)
    draws = drawn_blocks(len(starts), settings.resamples, settings.seed)  # (R, blocks)

    def figures(counts: np.ndarray) -> tuple[float, np.ndarray]:
        blocks = np.add.reduceat(counts, starts, axis=0)  # (blocks, K, 3)
        of_all = mean_iou(counts.sum(axis=0), settings.policy, other)
        return float(of_all), drawn_miou(blocks, draws, settings.policy, other)

    found = {letters: (figures(first.counts[letters]), figures(second.counts[letters])) for letters in subsets}
    rows = {letters: _row(own, rival) for letters, (own, rival) in found.items()}
    means = [
        (float(np.mean([pair[side][0] for pair in found.values()])),
         np.mean([pair[side][1] for pair in found.values()], axis=0))
        for side in (0, 1)
    ]  # fmt: skip
    return {
        "unit": "percent", "policy": settings.policy, "first": str(first.source), "second": str(second.source),
        **first.facts, "label_space": space.name,
        "frames": len(first.names), "resamples": settings.resamples, "block": settings.block, "seed": settings.seed,
        "interval": _LEVEL, "subsets": rows, "subset_mean": _row(*means),
    }  # fmt: skip


def _row(first: tuple[float, np.ndarray], second: tuple[float, np.ndarray]) -> dict[str, Any]:
    differences = second[1] - first[1]
    low, high = np.nanpercentile(differences, [(100 - _LEVEL) / 2, (100 + _LEVEL) / 2])
    return {
        "first": rounded(first[0]),
        "second": rounded(second[0]),
        "difference": rounded(second[0] - first[0]),
        "low": rounded(low),
        "high": rounded(high),
        "is_significant": bool(low > 0 or high < 0),
    }
