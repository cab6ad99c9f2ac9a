"""The curves of a soak as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from live import Storm
from storm import schedule

from any2seg_core.base.atomic import replacing
from any2seg_core.reports.document import Figure, Report, Section
from any2seg_core.reports.timeline import Lane, Panel, Span, Timeline, nice_top, sensor_colours
from any2seg_core.vocabulary.modalities import VEHICLE

_PIECES = 200  # of the time axis: of each the worst label is drawn


def growth(title: str, times: Sequence[float], values_mb: Sequence[float]) -> Panel:
    """Memory above its least value, so that a small slope can be seen."""
    least = min(values_mb)
    above = [value - least for value in values_mb]
    points = [(at, value, f"{value + least:.1f} MB at {at:.0f}") for at, value in zip(times, above, strict=True)]
    return Panel(title, f"MB above {least:.0f}", points, top=nice_top(above))


def worst(title: str, storm: Storm, values_ms: Sequence[float]) -> Panel:
    """The largest value of each piece of the time axis."""
    largest: dict[int, tuple[float, float]] = {}
    for at_s, value in zip(storm.at_s, values_ms, strict=True):
        piece = int(at_s / storm.seconds * _PIECES)
        if not math.isnan(value):
            largest[piece] = max(largest.get(piece, (0.0, 0.0)), (value, at_s))
    points = [(at_s, value, f"{value:.0f} ms at {at_s:.1f} s") for value, at_s in largest.values()]
    return Panel(title, "ms, largest", points, top=nice_top([value for _, value, _ in points]))


def dead_spans(storm: Storm) -> dict[str, tuple[Span, ...]]:
    """When each sensor was dead."""
    spans: dict[str, list[Span]] = {name: [] for name in VEHICLE.members}
    since_s: dict[str, float] = {}
    for event in schedule(storm.seed, storm.seconds):
        if event.is_alive:
            spans[event.sensor].append(Span(since_s.pop(event.sensor), event.at_s))
        else:
            since_s[event.sensor] = event.at_s
    for name, begin_s in since_s.items():
        spans[name].append(Span(begin_s, storm.seconds))
    return {name: tuple(found) for name, found in spans.items()}


def live_svg(storm: Storm) -> str:
    """Sensors, memory of the node and of one without our code, latency and silence."""
    times = [point["at_s"] for point in storm.curve]
    dead = dead_spans(storm)
    colours = sensor_colours(VEHICLE)
    lanes = [Lane(sensor.title, colours[sensor.name], dead[sensor.name]) for sensor in VEHICLE.sensors]
    panels = [
        growth("memory", times, [point["memory_mb"] for point in storm.curve]),
        growth("bare node", times, [point["bare_memory_mb"] for point in storm.curve]),
        worst("latency", storm, storm.latency_ms),
        worst("silence", storm, storm.gap_ms),
    ]
    return Timeline([Span(0.0, storm.seconds)], lanes, panels, "seconds").svg()


def write_report(folder: Path, curve: list[dict[str, float]], storm: Storm | None) -> Path:
    """report.html in the folder; returns its path."""
    sections = []
    if curve:
        frames = [point["frames"] for point in curve]
        panel = growth("memory", frames, [point["memory_mb"] for point in curve])
        blocks = [point["python_blocks"] / 1000.0 for point in curve]
        least = min(blocks)
        objects = Panel(
            "objects", f"1000 above {least:.0f}",
            [(at, value - least, f"{value:.1f} thousand") for at, value in zip(frames, blocks, strict=True)],
            top=nice_top([value - least for value in blocks]),
        )  # fmt: skip
        svg = Timeline([Span(0.0, frames[-1])], [], [panel, objects], "frames").svg()
        sections.append(Section("Offline: frames through the callbacks", (Figure(svg, "memory over the frames"),)))
    if storm is not None:
        figure = Figure(live_svg(storm), "sensors, memory, latency and silence over time")
        note = "Hatched: the driver of the sensor was dead."
        sections.append(Section("Live: sensors die and come back", (figure,), note))
    with replacing(folder / "report.html") as partial:
        introduction = "What the node holds and how late its labels are, over a long time."
        partial.write_text(Report("Soak", introduction, sections).html())
    return folder / "report.html"
