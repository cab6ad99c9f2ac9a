"""A table of faults as text, Markdown, JSON and one SVG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from any2seg_core.base.atomic import replacing
from any2seg_core.reports.curves import standalone
from any2seg_core.reports.document import Figure, Report, Section, Table
from any2seg_core.reports.panels import Panel, line_panels

_NOTE = (
    "mIoU in percent of what the same model has on the same frames without a fault, over the classes present. One "
    "sensor has the fault, the others stay as they are; gone: it is left out of the fusion."
)
_NOISE_NOTE = (
    "The benchmark of arXiv 2503.18445: mIoU over all classes, also in percent of the same model's with all sensors "
    "undamaged. RMM: mean over the subsets, each value of the other sensors zero with probability r. NM: noise on all "
    "sensors."
)
_LETTERS, _GONE = "AB", "gone"
_COLUMNS = 3


def fault_rows(document: dict[str, Any], key: str = "relative") -> list[tuple[str, ...]]:
    """A heading, and a line per fault of a sensor: its severities for each checkpoint.

    key: "relative" to the same model without a fault, or "miou".
    """
    count = len(document["checkpoints"])
    severities = [f"{severity:g}" for severity in document["severities"]]
    names = _LETTERS[:count] if count > 1 else [""]
    rows = [("sensor", "fault", *(f"{name} {severity}".strip() for name in names for severity in severities))]
    for (sensor, fault), entries in _by_fault(document).items():
        if None in entries:  # gone: one figure
            values = [[entries[None][key][number], *[None] * (len(severities) - 1)] for number in range(count)]
        else:
            steps = [entries[severity][key] for severity in document["severities"]]
            values = [[step[number] for step in steps] for number in range(count)]
        rows.append((sensor, fault, *(_text(value) for own in values for value in own)))
    return rows


def noise_rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """A heading, and a line per damage of the benchmark; the heading alone where it was left out."""
    names = _LETTERS[: len(document["checkpoints"])]
    rows = [("damage", *(f"{name} {what}" for name in names for what in ("mIoU", "%")))]
    for entry in document["noise"]:
        pairs = zip(entry["miou"], entry["relative"], strict=True)
        rows.append((entry["damage"], *(_text(value) for pair in pairs for value in pair)))
    return rows


def fault_text(document: dict[str, Any]) -> str:
    """What the command prints."""
    parts = [_introduction(document), "", *_aligned(fault_rows(document), 2)]
    if document["noise"]:
        parts += ["", *_aligned(noise_rows(document), 1)]
    return "\n".join(parts)


def fault_figure(document: dict[str, Any]) -> str:
    """<svg> of a panel per sensor and fault: what is left over severity, and without that sensor."""
    labels, found = _labels(document), _by_fault(document)
    places = ["0", *(f"{severity:g}" for severity in document["severities"]), "", _GONE]
    panels = []
    for (sensor, fault), entries in found.items():
        if fault == _GONE:
            continue
        steps: dict[str, list[float | None]] = {"0": [100.0] * len(labels)}
        steps |= {f"{severity:g}": entry["relative"] for severity, entry in entries.items()}
        if (gone := found.get((sensor, _GONE))) is not None:
            steps[_GONE] = gone[None]["relative"]
        lines = {
            label: {at: value for at, values in steps.items() if (value := values[number]) is not None}
            for number, label in enumerate(labels)
        }
        panels.append(Panel(f"{sensor}: {fault}", places, lines))
    return line_panels(panels, _COLUMNS, 110)


def write_faults(folder: Path, document: dict[str, Any], command: str = "") -> list[Path]:
    """Write ``robustness.json``, ``.md`` and ``.svg``, each whole or not at all; UserError if not."""
    figure = Figure(fault_figure(document), "mIoU left over the severity of each fault", "robustness.svg")
    head, *rows = fault_rows(document)
    sections = [Section("Relative to no fault", (figure, Table(head, rows, ("fault",))), _NOTE)]
    head, *rows = fault_rows(document, "miou")
    sections.append(Section("mIoU", (Table(head, rows, ("fault",)),), "Over the classes present, in percent."))
    if document["noise"]:
        head, *rows = noise_rows(document)
        sections.append(Section("Damaged sensors", (Table(head, rows),), _NOISE_NOTE))
    facts = [(f"checkpoint {label}", path) for label, path in zip(_LETTERS, document["checkpoints"], strict=False)]
    facts += [(key, str(document[key])) for key in ("data", "split", "frames", "seed")]
    report = Report("What faults cost", f"{_introduction(document)}.", sections, facts, command)
    texts = {
        "robustness.json": json.dumps(document, indent=1) + "\n",
        "robustness.md": report.markdown(),
        "robustness.svg": standalone(figure.svg),
    }
    for name, text in texts.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _introduction(document: dict[str, Any]) -> str:
    clean = zip(_labels(document), document["miou"], strict=True)
    return (
        f"{document['frames']} frames; mIoU without a fault: "
        f"{', '.join(f'{label} {_text(value)}' for label, value in clean)}; below, percent of that"
    )


def _labels(document: dict[str, Any]) -> list[str]:
    names = [Path(path).stem for path in document["checkpoints"]]
    return names if len(names) == 1 else [f"{letter} {name}" for letter, name in zip(_LETTERS, names, strict=True)]


def _by_fault(document: dict[str, Any]) -> dict[tuple[str, str], dict[float | None, dict[str, Any]]]:
    found: dict[tuple[str, str], dict[float | None, dict[str, Any]]] = {}
    for entry in document["faults"]:
        found.setdefault((entry["sensor"], entry["fault"]), {})[entry["severity"]] = entry
    return found


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _aligned(rows: Sequence[Sequence[str]], texts: int) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(wide) if number < texts else cell.rjust(wide)
            for number, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
