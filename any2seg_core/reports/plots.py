"""Bars per class and confusion matrices as inline SVG, in the colours and type of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_ROW, _GAP, _VALUE, _WIDTH = 18, 4, 62, 980
_CELL, _HEAD = 26, 92
_LEAST_NAME, _LONGEST_NAME, _CHARACTER_PX = 110, 240, 6.2
_MOST = 30  # classes in a picture that can still be read
_OTHERS = "other classes"


@dataclass(frozen=True)
class Bar:
    """One class: name, RGB colour, value in percent (NaN: nothing to judge) and what is said when pointed at."""

    name: str
    colour: tuple[int, int, int]
    value: float
    note: str = ""


def bars_svg(bars: Sequence[Bar], top: float = 100.0) -> str:
    """Horizontal bars with their numbers, `top` percent wide."""
    side = _name_width([bar.name for bar in bars])
    room = _WIDTH - side - _VALUE
    parts = [f'<svg viewBox="0 0 {_WIDTH} {len(bars) * (_ROW + _GAP) + _GAP}" role="img" class="timeline">']
    for index, bar in enumerate(bars):
        y = _GAP + index * (_ROW + _GAP)
        is_known = not np.isnan(bar.value)
        width = max(1.0, min(bar.value, top) * room / top) if is_known else 0.0
        number = f"{bar.value:.1f}" if is_known else "no pixel"
        fill = f"rgb({bar.colour[0]} {bar.colour[1]} {bar.colour[2]})"
        parts += [
            f'<text x="{side - 8}" y="{y + 13}" class="end">{_fitted(bar.name)}</text>',
            f'<rect x="{side}" y="{y}" width="{room}" height="{_ROW}" class="outage"/>',
            f'<rect x="{side}" y="{y}" width="{width:.1f}" height="{_ROW}" fill="{fill}" class="border">'
            f"<title>{escape(bar.note or bar.name)}</title></rect>",
            f'<text x="{_WIDTH - _VALUE + 8}" y="{y + 13}" class="{"strong" if is_known else "muted"}">{number}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def drawn_classes(counts: np.ndarray) -> np.ndarray:
    """Ids of the rows that `confusion_svg` draws: classes in the truth; of many, those with the most wrong pixels.

    Args:
        counts: (K, K + 1) int64, see `ConfusionMatrix`.
    """
    rows = np.flatnonzero(counts.sum(axis=1))
    if len(rows) <= _MOST:
        return rows
    right = np.diagonal(counts)
    wrong = counts.sum(axis=1) + counts[:, :-1].sum(axis=0) - 2 * right  # missed, or said where something else is
    return np.sort(rows[np.argsort(-wrong[rows], kind="stable")[:_MOST]])


def confusion_svg(names: Sequence[str], counts: np.ndarray, last_column: str) -> str:
    """Confusion matrix: rows are the truth, in percent of the row; classes without a pixel in the truth are left out.

    Of more than 30 classes those of `drawn_classes` are shown, with one column for all others.

    Args:
        names: K class names. counts: (K, K + 1) int64, see `ConfusionMatrix`; the last column is named `last_column`.
    """
    rows = drawn_classes(counts)
    share = 100.0 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (K,K+1) percent of the truth
    shown = [k for k in range(len(names)) if k in rows or counts[:, k].any()]
    others = [] if len(shown) <= _MOST else [k for k in shown if k not in rows]
    columns = [(names[k], share[:, k]) for k in shown if k not in others]
    columns += [(_OTHERS, share[:, others].sum(axis=1))] * bool(others)
    columns += [(last_column, share[:, -1])] * bool(counts[:, -1].any())
    side = _name_width([names[row] for row in rows])
    head = max(_HEAD, round(0.83 * _name_width([title for title, _ in columns])))
    right = max(10, round(0.5 * len(columns[-1][0]) * _CHARACTER_PX) if columns else 0)  # where the last title ends
    width, height = side + len(columns) * _CELL + right, head + len(rows) * _CELL + 10
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" class="timeline" style="max-width: {width * 1.2:.0f}px">']
    for place, (title, _) in enumerate(columns):
        x = side + place * _CELL + _CELL / 2 + 4
        parts.append(f'<text x="{x}" y="{head - 6}" transform="rotate(-60 {x} {head - 6})">{_fitted(title)}</text>')
    for line, row in enumerate(rows):
        y = head + line * _CELL
        parts.append(f'<text x="{side - 6}" y="{y + 17}" class="end">{_fitted(names[row])}</text>')
        for place, (title, of_rows) in enumerate(columns):
            said = f"{names[row]} taken for {title}: {of_rows[row]:.1f} % of {counts[row].sum()} pixels"
            parts += _cell(side + place * _CELL, y, of_rows[row], title == names[row], said)
    return "\n".join([*parts, "</svg>"])


def _cell(x: float, y: float, value: float, is_right: bool, said: str) -> list[str]:
    parts = [
        f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" class="outage"><title>{escape(said)}</title></rect>'
    ]
    if value >= 0.5:
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" '
            f'fill="var(--{"right" if is_right else "accent"})" '
            f'fill-opacity="{min(1.0, value / 100.0):.2f}" pointer-events="none"/>'
            f'<text x="{x + _CELL / 2}" y="{y + 17}" class="middle">{value:.0f}</text>'
        )
    return parts


def _name_width(names: Sequence[str]) -> int:
    """Pixels for the longest of some names."""
    longest = max((len(name) for name in names), default=0)
    return min(_LONGEST_NAME, max(_LEAST_NAME, round(longest * _CHARACTER_PX) + 12))


def _fitted(name: str) -> str:
    """A name as SVG text, cut where it is too long for any column."""
    most = int((_LONGEST_NAME - 12) / _CHARACTER_PX)
    return escape(name if len(name) <= most else f"{name[: most - 1]}\u2026")
