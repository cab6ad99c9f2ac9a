"""Bars per class and confusion matrices as inline SVG, in the colours and type of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_ROW, _GAP, _NAME, _VALUE, _WIDTH = 18, 4, 110, 62, 980
_CELL, _HEAD, _SIDE = 26, 92, 110


@dataclass(frozen=True)
class Bar:
    """One class: name, RGB colour, value in percent (NaN: nothing to judge) and what is said when pointed at."""

    name: str
    colour: tuple[int, int, int]
    value: float
    note: str = ""


def bars_svg(bars: Sequence[Bar], top: float = 100.0) -> str:
    """Horizontal bars with their numbers, `top` percent wide."""
    scale = (_WIDTH - _NAME - _VALUE) / top
    parts = [f'<svg viewBox="0 0 {_WIDTH} {len(bars) * (_ROW + _GAP) + _GAP}" role="img" class="timeline">']
    for index, bar in enumerate(bars):
        y = _GAP + index * (_ROW + _GAP)
        is_known = not np.isnan(bar.value)
        width = max(1.0, min(bar.value, top) * scale) if is_known else 0.0
        number = f"{bar.value:.1f}" if is_known else "no pixel"
        fill = f"rgb({bar.colour[0]} {bar.colour[1]} {bar.colour[2]})"
        parts += [
            f'<text x="{_NAME - 8}" y="{y + 13}" class="end">{escape(bar.name)}</text>',
            f'<rect x="{_NAME}" y="{y}" width="{_WIDTH - _NAME - _VALUE}" height="{_ROW}" class="outage"/>',
            f'<rect x="{_NAME}" y="{y}" width="{width:.1f}" height="{_ROW}" fill="{fill}" class="border">'
            f"<title>{escape(bar.note or bar.name)}</title></rect>",
            f'<text x="{_WIDTH - _VALUE + 8}" y="{y + 13}" class="{"strong" if is_known else "muted"}">{number}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def confusion_svg(names: Sequence[str], counts: np.ndarray, last_column: str) -> str:
    """Confusion matrix: rows are the truth, in percent of the row; classes without a pixel in the truth are left out.

    Args:
        names: K class names. counts: (K, K + 1) int64, see `ConfusionMatrix`; the last column is named `last_column`.
    """
    rows = np.flatnonzero(counts.sum(axis=1)).tolist()
    columns = [k for k in range(counts.shape[1]) if k in rows or counts[:, k].sum()]
    share = 100.0 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (K,K+1) percent of the truth
    width, height = _SIDE + len(columns) * _CELL + 10, _HEAD + len(rows) * _CELL + 10
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" class="timeline" style="max-width: {width * 1.2:.0f}px">']
    titles = [*names, last_column]
    for place, column in enumerate(columns):
        x = _SIDE + place * _CELL + _CELL / 2 + 4
        parts.append(
            f'<text x="{x}" y="{_HEAD - 6}" transform="rotate(-60 {x} {_HEAD - 6})">{escape(titles[column])}</text>'
        )
    for line, row in enumerate(rows):
        y = _HEAD + line * _CELL
        parts.append(f'<text x="{_SIDE - 6}" y="{y + 17}" class="end">{escape(names[row])}</text>')
        for place, column in enumerate(columns):
            value, x = share[row, column], _SIDE + place * _CELL
            said = f"{names[row]} taken for {titles[column]}: {value:.1f} % of {counts[row].sum()} pixels"
            parts.append(
                f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" class="outage">'
                f"<title>{escape(said)}</title></rect>"
            )
            if value >= 0.5:
                colour = "var(--right)" if row == column else "var(--accent)"
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="{colour}" '
                    f'fill-opacity="{min(1.0, value / 100.0):.2f}" pointer-events="none"/>'
                    f'<text x="{x + _CELL / 2}" y="{y + 17}" class="middle">{value:.0f}</text>'
                )
    return "\n".join([*parts, "</svg>"])
