"""Charts of an evaluation as inline SVG: mIoU per sensor subset, reliability diagrams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from any2seg_core.reports.timeline import nice_top, svg_line, svg_rect, svg_text

_WIDTH, _LEFT, _TOP, _PLOT, _NAMES, _BOTTOM = 980, 46, 14, 200, 26, 14
_SIDE, _GAP = 120, 34
_EVEN = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0)  # half of them is a round number too
_PER_ROW = 16
_MOST = 31  # subsets of five sensors

_Height = Callable[[float], float]


def shown_subsets(subsets: Sequence[str], most: int = _MOST) -> list[str]:
    """Letters of the subsets that a page has room for: all of up to ``most``; of more, each sensor alone, all but each,
    and all."""
    full = max(map(len, subsets))
    return [letters for letters in subsets if len(subsets) <= most or len(letters) in (1, full - 1, full)]


def subset_bars(values: Mapping[str, float | None], rivals: Sequence[tuple[str, Mapping[str, float]]] = ()) -> str:
    """<svg> of one bar per subset, with the rows of others as lettered marks on it; of many subsets in several rows.

    Args:
        values: subset letters -> percent; None is left out.
        rivals: (name, subset letters -> percent); drawn as "a", "b", ... and named below.
    """
    others = [value for _, row in rivals for value in row.values()]
    top = nice_top([value for value in values.values() if value is not None] + others, _EVEN)
    bottom = _height(len(values))
    parts = [f'<svg viewBox="0 0 {_WIDTH} {bottom + (16 if rivals else 0)}" role="img" class="timeline">']
    for names, above, slot in _rows(list(values)):

        def y(value: float, above: float = above) -> float:
            return above + _PLOT * (1.0 - value / top)

        parts += _grid(y, [(share * top, f"{share * top:g}") for share in (0.0, 0.5, 1.0)])
        for number, letters in enumerate(names):
            left, value = _LEFT + number * slot, values[letters]
            middle = left + slot / 2
            parts.append(svg_text(middle, y(0.0) + 16, letters, "middle strong"))
            if value is not None:
                parts.append(svg_rect(left + 0.18 * slot, y(value), 0.64 * slot, y(0.0) - y(value), "outage"))
                parts.append(svg_line(left + 0.18 * slot, y(value), left + 0.82 * slot, y(value), "level"))
                parts.append(svg_text(middle, y(value) - 4, f"{value:.1f}", "level-number middle"))
            for index, (_, row) in enumerate(rivals):
                if letters in row:
                    x = left + (0.3 + 0.4 * (index % 4) / 3) * slot
                    parts.append(svg_text(x, y(row[letters]) + 4, chr(ord("a") + index), "middle muted"))
    named = "   ".join(f"{chr(ord('a') + index)} {name}" for index, (name, _) in enumerate(rivals))
    return "\n".join([*parts, svg_text(_LEFT, bottom - 6, named, "muted"), "</svg>"])


def _rows(names: Sequence[str]) -> Iterator[tuple[Sequence[str], float, float]]:
    """Names in rows of one length, each row with the height of its plot's upper end and the width of a place."""
    count = max(1, -(-len(names) // _PER_ROW))
    length = max(1, -(-len(names) // count))
    for number in range(count):
        above = _TOP + number * (_TOP + _PLOT + _NAMES)
        yield names[number * length : (number + 1) * length], above, (_WIDTH - _LEFT - 10) / length


def _height(names: int) -> int:
    """Of all rows of so many names."""
    return max(1, -(-names // _PER_ROW)) * (_TOP + _PLOT + _NAMES) + _BOTTOM


def _grid(y: _Height, ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    for value, said in ticks:
        yield svg_line(_LEFT, y(value), _WIDTH - 10, y(value), "grid")
        yield svg_text(_LEFT - 8, y(value) + 4, said, "end muted")


def reliability(bins: Mapping[str, Mapping[str, Sequence[float | None]]]) -> str:
    """<svg> with one reliability diagram per subset: share of right pixels over confidence, dots as large as the bin.

    Args:
        bins: subset letters -> ``accuracy`` and ``confidence`` in percent (None: empty bin) and ``pixels`` per bin.
    """
    columns = _WIDTH // (_SIDE + _GAP)
    rows = -(-len(bins) // columns)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {rows * (_SIDE + _GAP) + 10}" role="img" class="timeline">']
    for number, (letters, entry) in enumerate(bins.items()):
        left = 20 + (number % columns) * (_SIDE + _GAP)
        bottom = _SIDE + 16 + (number // columns) * (_SIDE + _GAP)
        parts.append(svg_line(left, bottom, left + _SIDE, bottom - _SIDE, "grid"))
        parts.append(svg_line(left, bottom, left + _SIDE, bottom, "border"))
        parts.append(svg_line(left, bottom, left, bottom - _SIDE, "border"))
        parts.append(svg_text(left + 6, bottom - _SIDE + 10, letters, "strong"))
        known = [pixels for pixels in entry["pixels"] if pixels is not None]
        for pixels, right, promised in zip(entry["pixels"], entry["accuracy"], entry["confidence"], strict=True):
            if pixels is None or right is None or promised is None:
                continue
            x, y = left + _SIDE * promised / 100, bottom - _SIDE * right / 100
            radius = 2 + 5 * (pixels / max(known)) ** 0.5
            hover = escape(f"{letters}: confidence {promised:.0f} %, right {right:.0f} %, {pixels} pixels")
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{hover}</title></circle>')
    return "\n".join([*parts, "</svg>"])


def interval_bars(intervals: Mapping[str, tuple[float | None, float | None, float | None]]) -> str:
    """<svg> of a value with its interval per name, around a line at 0; red where the interval lies on one side of it.

    Args:
        intervals: name -> (low, value, high); None where there is none.
    """
    ends = [abs(end) for interval in intervals.values() for end in interval if end is not None]
    top = nice_top(ends, _EVEN)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_height(len(intervals))}" class="timeline">']
    for names, above, slot in _rows(list(intervals)):

        def y(value: float, above: float = above) -> float:
            return above + _PLOT * 0.5 * (1.0 - value / top)

        parts += _grid(y, [(tick, f"{tick:+g}" if tick else "0") for tick in (-top, 0.0, top)])
        for number, name in enumerate(names):
            low, value, high = intervals[name]
            middle = _LEFT + (number + 0.5) * slot
            parts.append(svg_text(middle, y(-top) + 16, name, "middle strong"))
            if low is None or value is None or high is None:
                continue
            colour = "level" if low > 0 or high < 0 else "range"
            parts.append(svg_line(middle, y(low), middle, y(high), colour))
            for end in (low, high):
                parts.append(svg_line(middle - 6, y(end), middle + 6, y(end), colour))
            title = f"<title>{escape(name)}: {value:+.2f}, {low:+.2f} to {high:+.2f}</title>"
            parts.append(f'<circle cx="{middle:.1f}" cy="{y(value):.1f}" r="4">{title}</circle>')
    return "\n".join([*parts, "</svg>"])
