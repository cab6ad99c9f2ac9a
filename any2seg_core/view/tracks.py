"""Where drives went, as plain plots: no map behind them, nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from any2seg_core.reports.timeline import PALETTE, nice_top, svg_line, svg_text

_EARTH_M = 111_320.0  # per degree of latitude
_EDGE = 26


@dataclass(frozen=True)
class Track:
    """Positions of one drive in order of time.

    Attributes:
        drive_id, title: of it. is_on_earth: points are longitude and latitude in degrees; otherwise x and y in metres
            in a frame of its own, so that drives cannot be drawn into one plot.
        points: of them. is_bad: for each whether a sensor was missing there.
    """

    drive_id: str
    title: str
    is_on_earth: bool
    points: list[tuple[float, float]]
    is_bad: list[bool]


def track_plot(tracks: Sequence[Track], width: int, height: int, is_linked: bool = True) -> str:
    """One <svg> of all tracks on one scale, north up; where a sensor was missing there is a red dot.

    Args:
        tracks: of one kind; together at least one point. is_linked: a click leads to the drive.
    """
    plane = [_in_metres(track, tracks) for track in tracks]
    every = [point for points in plane for point in points]
    low = [min(point[axis] for point in every) for axis in (0, 1)]
    high = [max(point[axis] for point in every) for axis in (0, 1)]
    span_m = max(high[0] - low[0], high[1] - low[1], 1.0)
    scale = min((width - 2 * _EDGE) / max(high[0] - low[0], span_m / 20),
                (height - 2 * _EDGE) / max(high[1] - low[1], span_m / 20))  # fmt: skip
    middle = [(first + last) / 2 for first, last in zip(low, high, strict=True)]

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return width / 2 + (point[0] - middle[0]) * scale, height / 2 - (point[1] - middle[1]) * scale

    said = f"tracks of {len(tracks)} drives"
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" class="plot" aria-label="{said}">']
    for number, (track, points) in enumerate(zip(tracks, plane, strict=True)):
        parts += _drawn(track, [place(point) for point in points], PALETTE[number % len(PALETTE)], is_linked)
    length_m = nice_top([span_m / 4], (1.0, 2.0, 5.0, 10.0))
    right = _EDGE + length_m * scale
    parts.append(svg_line(_EDGE, height - 10, right, height - 10, "range"))
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    parts.append(svg_text(right + 6, height - 6, text, "muted"))
    return "\n".join([*parts, "</svg>"])


def _drawn(track: Track, places: Sequence[tuple[float, float]], colour: str, is_linked: bool) -> list[str]:
    path = "".join(f"{'L' if k else 'M'}{x:.1f} {y:.1f}" for k, (x, y) in enumerate(places))
    title = f"<title>{escape(track.title)}</title>"
    line = f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round">{title}</path>'
    bad = [place for place, is_bad in zip(places, track.is_bad, strict=True) if is_bad]
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="bad"/>' for x, y in bad]
    start = f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3.5" class="begin"/>' if places else ""
    drawn = [line, start, *dots]
    return [f'<a href="/drives/{track.drive_id}">', *drawn, "</a>"] if is_linked else drawn


def _in_metres(track: Track, tracks: Sequence[Track]) -> list[tuple[float, float]]:
    """On a plane that touches the earth near the first point of all; the plots are of towns, not of continents."""
    if not track.is_on_earth:
        return list(track.points)
    longitude, latitude = next(each.points[0] for each in tracks if each.points)
    east = _EARTH_M * math.cos(math.radians(latitude))
    return [(east * (x - longitude), _EARTH_M * (y - latitude)) for x, y in track.points]
