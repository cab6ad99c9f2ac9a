"""One picture of how models fare with every sensor subset, with published methods on their own data below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from any2seg_core.evaluation.policies import Policy
from any2seg_core.evaluation.published import Published
from any2seg_core.evaluation.subset_tables import SubsetTable
from any2seg_core.reports.curves import standalone
from any2seg_core.reports.panels import Panel, line_panels


def subset_figure(tables: Sequence[SubsetTable], others: Sequence[Published], policy: Policy, data_set: str) -> str:
    """The text of an SVG file: mIoU per subset of each evaluation, and of the published rows."""
    facts = tables[0].facts
    said = [f"{facts['frames']} frames"] if "frames" in facts else []
    said += [f"protocol {facts['protocol']}"] if "protocol" in facts else []
    classes = {"present": "over the classes present", "all": "over all classes"}.get(policy, "without Other")
    title = ", ".join([f"mIoU in percent {classes}", *said])
    panels = [Panel(title, list(tables[0].miou), {_named(table.label, table.mean): table.miou for table in tables})]
    if others:
        lines = {_named(f"{row.method}{_from(row, others)}", row.mean): row.subsets for row in others}
        title = f"Other data, not comparable: published on {data_set.upper()}, mIoU over all classes"
        panels.append(Panel(title, list(others[0].subsets), lines))
    return standalone(line_panels(panels))


def figure_document(tables: Sequence[SubsetTable], others: Sequence[Published], policy: Policy) -> dict[str, Any]:
    """The numbers of the picture, JSON-ready."""
    own = [
        {"label": table.label, "source": str(table.source), **table.facts, "mean": round(table.mean, 3),
         "subsets": dict(table.miou)}
        for table in tables
    ]  # fmt: skip
    printed = [
        {"method": row.method, "source": row.source, "mean": row.mean, "subsets": dict(row.subsets)} for row in others
    ]
    return {"unit": "percent", "policy": policy, "evaluations": own, "published": printed}


def figure_rows(tables: Sequence[SubsetTable]) -> list[tuple[str, ...]]:
    """A table for a terminal: a heading, a line per subset, the means."""
    rows = [("sensors", *(table.label for table in tables))]
    rows += [(letters, *(f"{table.miou[letters]:.1f}" for table in tables)) for letters in tables[0].miou]
    return [*rows, ("mean", *(f"{table.mean:.1f}" for table in tables))]


def _named(name: str, mean: float | None) -> str:
    return name if mean is None else f"{name} (mean {mean:.1f})"


def _from(row: Published, others: Sequence[Published]) -> str:
    """Who measured it, where two papers print the same method."""
    twice = sum(row.method == other.method for other in others) > 1
    return f" by {row.source.split(' (')[0]}" if twice else ""
