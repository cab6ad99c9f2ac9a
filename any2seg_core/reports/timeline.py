"""A timeline as inline SVG: lanes that show what was alive, and panels of points below them, on one time axis."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import cycle

from any2seg_core.vocabulary.modalities import SensorSuite

_OWN_COLOURS = {"rgb": "#0072b2", "depth": "#e69f00", "event": "#cc79a7", "lidar": "#009e73"}
"""Of the vehicle's sensors, after Okabe and Ito: told apart by every kind of eye."""
PALETTE = (
    *_OWN_COLOURS.values(), "#56b4e9", "#d55e00", "#b8a800", "#4d4d4d", "#8c564b", "#9467bd", "#7cae00", "#a0a0a0",
)  # fmt: skip
"""Theirs and eight more, for sensors of other suites."""
_WIDTH, _LEFT, _RIGHT = 980, 92, 14
_LANE, _LANE_GAP, _TOP = 12, 4, 34
_PANEL, _PANEL_GAP, _AXIS = 130, 26, 34
_CHARACTER_PX = 6.2  # of a note
_TICK_PX = 70  # between two numbers of the axis, at least
_FEW = 100  # points that must be seen one by one


@dataclass(frozen=True)
class Span:
    """An interval of the time axis. `note` is written above the chart, `shade` is a CSS class of its background."""

    start_s: float
    end_s: float
    note: str = ""
    shade: str = ""


@dataclass(frozen=True)
class Lane:
    """One sensor: drawn in its colour, hatched where it was silent, up to `end_s` where more is not known."""

    title: str
    colour: str
    silent: tuple[Span, ...] = ()
    end_s: float = math.inf


@dataclass(frozen=True)
class Line:
    """A value over time as a line in its own colour: (time in seconds, value); it breaks where the value is NaN."""

    title: str
    colour: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Points over time with one level per span, or lines.

    Attributes:
        points: (time in seconds, value, hover text); points whose value is NaN are left out.
        levels: one value per span, drawn as a line with its number; NaN is left out.
        top: largest value shown; higher points are clipped to it.
    """

    title: str
    unit: str
    points: Sequence[tuple[float, float, str]]
    levels: Sequence[float] = field(default_factory=tuple)
    top: float = 100.0
    lines: Sequence[Line] = field(default_factory=tuple)


def sensor_colours(suite: SensorSuite) -> dict[str, str]:
    """A colour per sensor, #rrggbb: the vehicle's sensors have their own everywhere, others what is left by position.

    They repeat after the twelfth sensor.
    """
    own = {name: _OWN_COLOURS[name] for name in suite.members if name in _OWN_COLOURS}
    left = cycle([colour for colour in PALETTE if colour not in own.values()])
    return {name: own.get(name) or next(left) for name in suite.members}


def nice_top(values: Sequence[float], steps: Sequence[float] = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0)) -> float:
    """A round number at or above all values that are not NaN; 1 when there are none."""
    largest = max((value for value in values if not math.isnan(value)), default=1.0)
    magnitude = 10.0 ** math.floor(math.log10(max(largest, 1e-9)))
    return next(step * magnitude for step in steps if step * magnitude >= largest)


def _fitted(note: str, width_px: float) -> list[str]:
    """A note in at most two lines that fit; what is cut off ends with an ellipsis."""
    length = int(width_px / _CHARACTER_PX)
    if length < 4:
        return ["\u2026"] if note else []
    lines = textwrap.wrap(note, length)
    return lines if len(lines) <= 2 else [lines[0], f"{lines[1][: length - 1].rstrip(' +')}\u2026"]


def _strokes(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float, bool]]:
    """The points that are not NaN, and whether a stroke begins there."""
    starts = True
    for time_s, value in points:
        if not math.isnan(value):
            yield time_s, value, starts
        starts = math.isnan(value)


class Timeline:
    """Draws itself as one <svg> element, without any reference to the outside.

    Args:
        spans: phases, in order; they cover the time axis, which is 1 long where all of them end at 0.
        lanes: sensors. panels: measured values.
        axis: what the numbers below the chart count. width: of the drawing in pixels.
        name: tells several timelines of one page apart.
    """

    def __init__(
        self,
        spans: Sequence[Span],
        lanes: Sequence[Lane],
        panels: Sequence[Panel],
        axis: str = "seconds from the start of the drive",
        width: int = _WIDTH,
        name: str = "",
    ) -> None:
        self._width, self._pattern = width, f"silent-{name}" if name else "silent"
        self._spans, self._lanes, self._panels, self._axis = spans, lanes, panels, axis
        self._end_s = max(span.end_s for span in spans) or 1.0
        self._panels_top = _TOP + len(lanes) * (_LANE + _LANE_GAP) + _PANEL_GAP
        self._bottom = self._panels_top + len(panels) * (_PANEL + _PANEL_GAP) - _PANEL_GAP

    @property
    def axis_shares(self) -> tuple[float, float]:
        """Where the time axis begins and ends, as shares of the width."""
        return _LEFT / self._width, 1.0 - _RIGHT / self._width

    def svg(self) -> str:
        """The element as text."""
        height = self._bottom + _AXIS
        parts = [
            f'<svg viewBox="0 0 {self._width} {height}" role="img" class="timeline">',
            f'<defs><pattern id="{self._pattern}" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><rect width="6" height="6" class="silent-ground"/>'
            '<line x1="0" y1="0" x2="0" y2="6" class="silent-line"/></pattern></defs>',
            *self._draw_spans(),
            *self._draw_lanes(),
        ]
        for index, panel in enumerate(self._panels):
            parts += self._draw_panel(panel, self._panels_top + index * (_PANEL + _PANEL_GAP))
        parts += self._draw_axis()
        return "\n".join([*parts, "</svg>"])

    def _x(self, time_s: float) -> float:
        return _LEFT + (self._width - _LEFT - _RIGHT) * time_s / self._end_s

    def _draw_spans(self) -> list[str]:
        parts = []
        for span in self._spans:
            left, right = self._x(span.start_s), self._x(span.end_s)
            if span.shade:
                parts.append(svg_rect(left, _TOP - 4, right - left, self._bottom - _TOP + 4, span.shade))
            parts.append(svg_line(left, _TOP - 4, left, self._bottom, "border"))
            lines = _fitted(span.note, right - left)
            rows = [svg_text((left + right) / 2, 12 + 12 * row, line, "note middle") for row, line in enumerate(lines)]
            parts += ["<g>", f"<title>{escape(span.note)}</title>", *rows, "</g>"]
        return parts

    def _draw_lanes(self) -> list[str]:
        parts = []
        for index, lane in enumerate(self._lanes):
            top = _TOP + index * (_LANE + _LANE_GAP)
            parts.append(svg_text(_LEFT - 8, top + _LANE - 2, lane.title, "end"))
            left, width = self._x(0.0), self._x(min(lane.end_s, self._end_s)) - self._x(0.0)
            parts.append(f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_LANE}" fill="{lane.colour}"/>')
            for span in lane.silent:
                left, right = self._x(span.start_s), self._x(span.end_s)
                fill = f'fill="url(#{self._pattern})"'
                parts.append(
                    f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{_LANE}" {fill}>'
                    f"<title>{escape(lane.title)} silent {span.start_s:.3g} to {span.end_s:.3g} s</title></rect>"
                )
        return parts

    def _draw_panel(self, panel: Panel, top: float) -> list[str]:
        def y(value: float) -> float:
            return top + _PANEL * (1.0 - min(value, panel.top) / panel.top)

        # Above the panel: beside it, the numbers of a wide scale would touch the title.
        parts = [svg_text(_LEFT, top - 10, f"{panel.title}, {panel.unit}", "strong")]
        for share in (0.0, 0.5, 1.0):
            value = share * panel.top
            parts.append(svg_line(_LEFT, y(value), self._width - _RIGHT, y(value), "grid"))
            parts.append(svg_text(_LEFT - 8, y(value) + 4, f"{value:g}", "end muted"))
        for line in panel.lines:
            pieces = "".join(f"{'M' if starts else 'L'}{self._x(time_s):.1f} {y(value):.1f}"
                             for time_s, value, starts in _strokes(line.points))  # fmt: skip
            parts.append(
                f'<path d="{pieces}" fill="none" stroke="{line.colour}" stroke-width="1.6" stroke-linejoin="round">'
                f"<title>{escape(line.title)}</title></path>"
            )
        radius = 2.2 if len(panel.points) > _FEW else 3.6
        for time_s, value, hover in panel.points:
            if not math.isnan(value):
                place = f'cx="{self._x(time_s):.1f}" cy="{y(value):.1f}" r="{radius}"'
                parts.append(f"<circle {place}><title>{escape(hover)}</title></circle>")
        for span, level in zip(self._spans, panel.levels, strict=False):
            if not math.isnan(level):
                left, right = self._x(span.start_s) + 2, self._x(span.end_s) - 2
                parts.append(svg_line(left, y(level), right, y(level), "level"))
                above = y(level) - 5 if y(level) - top > 16 else y(level) + 14
                parts.append(svg_text((left + right) / 2, above, f"{level:.0f}", "level-number middle"))
        return parts

    def _draw_axis(self) -> list[str]:
        step = nice_top([self._end_s / max(2, (self._width - _LEFT - _RIGHT) // _TICK_PX)], (1.0, 2.0, 5.0, 10.0))
        ticks = [index * step for index in range(int(self._end_s / step) + 1)]
        parts = [svg_text(self._x(time_s), self._bottom + 16, f"{time_s:g}", "middle muted") for time_s in ticks]
        title = svg_text(self._width - _RIGHT, self._bottom + 30, self._axis, "end muted")
        return [*parts, title]


def svg_rect(x: float, y: float, width: float, height: float, css: str) -> str:
    """One <rect>, coloured by its CSS class."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{css}"/>'


def svg_line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """One <line>."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def svg_text(x: float, y: float, text: str, css: str) -> str:
    """One <text>, escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}">{escape(text)}</text>'
