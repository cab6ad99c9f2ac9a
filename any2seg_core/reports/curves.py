"""Curves of one number over another as SVG, inline or as a file of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from any2seg_core.reports.timeline import PALETTE, nice_top, svg_line, svg_text

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 330, 64, 20, 34, 46
_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'
_STYLE = """<rect width="100%" height="100%" fill="#ffffff"/>
<style>
svg { font: 12px system-ui, sans-serif; }
text { fill: #1b1f24; } .muted { fill: #5b656e; } .strong { font-weight: 600; }
.middle { text-anchor: middle; } .end { text-anchor: end; } .grid, .border { stroke: #d8dde2; }
</style>"""

Points = Sequence[tuple[float, float]]


class _Axis:
    """From values to pixels, on a linear axis from 0 or a logarithmic one over whole decades.

    Args:
        values: that it must hold, above 0. ends: pixels of its first and last value.
    """

    def __init__(self, values: Sequence[float], ends: tuple[float, float], is_log: bool) -> None:
        self._ends, self._is_log = ends, is_log
        if is_log:
            self._low = float(math.floor(math.log10(min(values))))
            self._high = max(float(math.ceil(math.log10(max(values)))), self._low + 1)
        else:
            self._low, self._high = 0.0, nice_top(values)

    def __call__(self, value: float) -> float:
        share = ((math.log10(value) if self._is_log else value) - self._low) / (self._high - self._low)
        return self._ends[0] + share * (self._ends[1] - self._ends[0])

    def ticks(self) -> list[float]:
        """Values that are named; of decades each, else five."""
        if self._is_log:
            return [10.0**exponent for exponent in range(int(self._low), int(self._high) + 1)]
        return [self._high * part / 4 for part in range(5)]


def curves(
    lines: Mapping[str, Points], x_title: str, y_title: str, is_log: bool = False, x_ticks: Sequence[float] = ()
) -> str:
    """<svg> of one line per name, its points marked.

    Args:
        lines: name -> (x, y) each, x ascending, all above 0; at least one point in all. is_log: both axes.
        x_ticks: values that are named on the lower axis; default: of decades each, else five.
    """
    points = [point for line in lines.values() for point in line]
    x = _Axis([point[0] for point in points], (_LEFT, _WIDTH - _RIGHT), is_log)
    y = _Axis([point[1] for point in points], (_HEIGHT - _BOTTOM, _TOP), is_log)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" class="timeline">']
    for value in y.ticks():
        parts.append(svg_line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), "grid"))
        parts.append(svg_text(_LEFT - 8, y(value) + 4, _number(value), "end muted"))
    for value in x_ticks or x.ticks():
        parts.append(svg_line(x(value), _HEIGHT - _BOTTOM, x(value), _HEIGHT - _BOTTOM + 4, "border"))
        parts.append(svg_text(x(value), _HEIGHT - _BOTTOM + 18, _number(value), "middle muted"))
    parts.append(svg_text(_WIDTH - _RIGHT, _HEIGHT - 8, x_title, "end muted"))
    parts.append(svg_text(8, 16, y_title, "strong"))
    parts += _legend(lines)
    for (name, line), colour in zip(lines.items(), _colours(len(lines)), strict=True):
        places = [(x(value), y(height)) for value, height in line]
        path = "".join(f"{'L' if number else 'M'}{left:.1f} {top:.1f}" for number, (left, top) in enumerate(places))
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        for (left, top), (value, height) in zip(places, line, strict=True):
            title = f"<title>{escape(name)}, {_number(value)}: {height:.4g}</title>"
            style = f'style="fill: {colour}; fill-opacity: 1"'  # a style goes before the colours of a page
            parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3.4" {style}>{title}</circle>')
    return "\n".join([*parts, "</svg>"])


def standalone(svg: str) -> str:
    """The text of a file: the same picture with its own colours, on white."""
    head, _, rest = svg.partition("\n")
    return "\n".join([head.replace("<svg", f"<svg {_NAMESPACE}", 1), _STYLE, rest, ""])


def _legend(lines: Mapping[str, Points]) -> Iterator[str]:
    left = _LEFT + 8.0
    for name, colour in zip(lines, _colours(len(lines)), strict=True):
        yield f'<rect x="{left:.0f}" y="{_TOP - 9}" width="12" height="4" fill="{colour}"/>'
        yield svg_text(left + 18, _TOP - 4, name, "")
        left += 34 + 6.6 * len(name)


def _colours(count: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _number(value: float) -> str:
    """1000000 -> 1 M, 30000 -> 30 k."""
    for limit, sign in ((1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:g}{sign}"
    return f"{value:g}"
