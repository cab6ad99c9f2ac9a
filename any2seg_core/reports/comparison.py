"""A comparison of two evaluations as a table, a chart and one HTML page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table as TerminalTable

from any2seg_core.base.atomic import replacing
from any2seg_core.reports.document import Figure, Report, Section, Table
from any2seg_core.reports.subset_charts import interval_bars

_HEADINGS = ("sensors", "A", "B", "B - A", "95 % from", "to", "significant")
_NOTE = (
    "Frames were drawn with replacement, the same for both; the interval holds the middle 95 % of the differences. "
    "Significant: it lies on one side of 0. Of many subsets one in twenty does so by chance. Frames of one drive "
    "resemble each other, which makes intervals too narrow: --block draws neighbours together."
)


def _rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    entries = [*document["subsets"].items(), ("mean", document["subset_mean"])]
    return [
        (letters, *(_signed(entry[key], key) for key in ("first", "second", "difference", "low", "high")),
         "yes" if entry["is_significant"] else "")
        for letters, entry in entries
    ]  # fmt: skip


def _signed(value: float | None, key: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if key in ("first", "second") else f"{value:+.2f}"


def _title(document: dict[str, Any]) -> str:
    return f"mIoU {document['policy']} in percent, {document['frames']} frames"


def comparison_rows(document: dict[str, Any]) -> TerminalTable:
    """What the command prints."""
    caption = f"A {document['first']}, B {document['second']}"
    table = TerminalTable(title=_title(document), caption=caption, caption_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == _HEADINGS[0] else "right")
    for row in _rows(document):
        table.add_row(*row)
    return table


def comparison_report(document: dict[str, Any], command: str = "") -> Report:
    """The whole document."""
    entries = {**document["subsets"], "mean": document["subset_mean"]}
    intervals = {name: (entry["low"], entry["difference"], entry["high"]) for name, entry in entries.items()}
    blocks = (
        Figure(interval_bars(intervals), "difference of mIoU per sensor subset with its interval"),
        Table(_HEADINGS, _rows(document)),
    )
    alike = ("kind", "protocol", "label_space", "split", "eval_size", "parity", "every", "resamples", "block", "seed")
    facts = [("A", document["first"]), ("B", document["second"])]
    facts += [(key.replace("_", " "), str(document[key])) for key in alike if document.get(key) is not None]
    sections = [Section("B minus A", blocks, _NOTE)]
    return Report("Two evaluations compared", f"{_title(document)}.", sections, facts, command)


def write_comparison(folder: Path, document: dict[str, Any], command: str = "") -> list[Path]:
    """Write ``comparison.json`` and ``report.html``, each whole or not at all; UserError if not."""
    texts = {
        "comparison.json": json.dumps(document, indent=1) + "\n",
        "report.html": comparison_report(document, command).html(),
    }
    for name, text in texts.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
