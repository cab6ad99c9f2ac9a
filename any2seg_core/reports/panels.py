"""Lines over names, such as sensor subsets or severities, in panels of one picture, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from any2seg_core.reports.timeline import PALETTE, svg_line, svg_text

_WIDTH, _LEFT, _RIGHT, _GAP = 900, 44, 12, 30
_TITLE, _LEGEND, _NAMES = 24, 20, 24
_CHARACTER_PX = 6.9
_STEP = 20.0  # percent between two lines of the grid
_ABOVE = 3.0  # percent that may lie above the axis
_NARROW = 420  # pixels, below which a panel has smaller marks


@dataclass(frozen=True)
class Panel:
    """One chart in percent.

    Attributes:
        title: above it. names: of the places on the lower axis, in order. lines: name -> name of a place -> percent;
            places that a line lacks interrupt it.
    """

    title: str
    names: Sequence[str]
    lines: Mapping[str, Mapping[str, float]]


def line_panels(panels: Sequence[Panel], columns: int = 1, plot_px: int = 220) -> str:
    """<svg> of panels in rows of ``columns``; one legend and one axis for all of them where they have the
    same lines.

    Args:
        panels: at least one. plot_px: height of the axes of each.
    """
    width = (_WIDTH - _GAP * (columns - 1)) / columns
    names = [list(panel.lines) for panel in panels]
    is_shared = all(each == names[0] for each in names) and len(panels) > 1
    firsts = [0 if is_shared else sum(map(len, names[:number])) for number in range(len(panels))]  # own colours each
    legends = [
        [] if is_shared else list(_legend_places(each, width, first)) for each, first in zip(names, firsts, strict=True)
    ]
    top = 6.0
    parts: list[str] = []
    if is_shared:
        shared = list(_legend_places(names[0], _WIDTH, 0))
        parts += _legend(shared, 0.0, top)
        top += _legend_px(shared)
    for begin in range(0, len(panels), columns):
        row = range(begin, min(begin + columns, len(panels)))
        legend_px = max(_legend_px(legends[number]) for number in row)
        for place, number in enumerate(row):
            left = place * (width + _GAP)
            highest = _top(panels if is_shared else [panels[number]])
            sizes = (width, plot_px, legend_px, highest)
            parts += _panel(panels[number], legends[number], (left, top), sizes, firsts[number])
        top += _TITLE + legend_px + plot_px + _NAMES + 10
    head = f'<svg viewBox="0 0 {_WIDTH} {top:.0f}" role="img" class="timeline">'
    return "\n".join([head, *parts, "</svg>"])


_Place = tuple[float, float, str, str]
"""x and y from the legend's corner, name and colour of one line."""


def _legend_places(names: Sequence[str], width: float, first: int) -> Iterator[_Place]:
    left, row = float(_LEFT), 0
    for index, name in enumerate(names):
        length = 30 + _CHARACTER_PX * len(name)
        if left + length > width and left > _LEFT:
            left, row = float(_LEFT), row + 1
        yield left, row * _LEGEND, name, _colour(first + index)
        left += length + 12


def _top(panels: Sequence[Panel]) -> float:
    """Percent at the upper end of the axis; what is a little above stays above it."""
    values = [value for panel in panels for line in panel.lines.values() for value in line.values()]
    highest = max((value for value in values if not math.isnan(value)), default=_STEP)
    return _STEP * max(1.0, math.ceil((highest - _ABOVE) / _STEP))


def _colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def _legend_px(places: Sequence[_Place]) -> float:
    return max((y for _, y, *_ in places), default=-_LEGEND) + _LEGEND


def _legend(places: Sequence[_Place], left: float, top: float) -> Iterator[str]:
    for x, y, name, colour in places:
        yield f'<rect x="{left + x:.0f}" y="{top + y + 5:.0f}" width="16" height="4" fill="{colour}"/>'
        yield svg_text(left + x + 22, top + y + 12, name, "")


def _panel(
    panel: Panel,
    legend: Sequence[_Place],
    corner: tuple[float, float],
    sizes: tuple[float, int, float, float],
    first: int,
) -> Iterator[str]:
    """sizes: width, height of the axes and of the legend, percent at the top. first: number of the first colour."""
    (left, top), (width, plot_px, legend_px, highest) = corner, sizes
    yield svg_text(left + _LEFT, top + 14, panel.title, "strong")
    yield from _legend(legend, left, top + _TITLE)
    upper, begin, end = top + _TITLE + legend_px, left + _LEFT, left + width - _RIGHT
    lower, slot = upper + plot_px, (end - begin) / max(1, len(panel.names))

    def y(value: float) -> float:
        return lower - plot_px * max(0.0, value) / highest

    for number in range(round(highest / _STEP) + 1):
        value = number * _STEP
        yield svg_line(begin, y(value), end, y(value), "grid")
        yield svg_text(begin - 6, y(value) + 4, f"{value:g}", "end muted")
    for index, name in enumerate(panel.names):
        yield svg_text(begin + (index + 0.5) * slot, lower + 16, name, "middle")
    for index, (name, line) in enumerate(panel.lines.items()):
        places = [
            (begin + (number + 0.5) * slot, y(line[at]), at, line[at])
            for number, at in enumerate(panel.names)
            if at in line and not math.isnan(line[at])
        ]
        yield from _line(name, places, slot, _colour(first + index), width < _NARROW)


def _line(
    name: str, places: Sequence[tuple[float, float, str, float]], slot: float, colour: str, is_narrow: bool
) -> Iterator[str]:
    path, before = "", -math.inf
    for x, y, *_ in places:
        path += f"{'L' if x - before < 1.5 * slot else 'M'}{x:.1f} {y:.1f}"
        before = x
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{1.4 if is_narrow else 2}"/>'
    radius = 2.6 if is_narrow else 3.6
    for x, y, at, value in places:
        title = f"<title>{escape(name)}, {escape(at)}: {value:.1f}</title>"
        style = f'style="fill: {colour}; fill-opacity: 1"'
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {style}>{title}</circle>'
