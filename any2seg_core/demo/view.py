"""Terminal view of a running demonstration, and its table at the end. Works without a terminal too, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn
from rich.table import Table
from rich.text import Text

from any2seg_core.base.screen import PlainColumn
from any2seg_core.demo.schedule import Phase, phase_at
from any2seg_core.demo.scoring import DemoScores, PhaseScore
from any2seg_core.vocabulary.modalities import VEHICLE

WIDTH = 100
_FIGURE = 10  # characters of "100.0 (25)"


def sensors_line(alive: Sequence[str], used: Sequence[str]) -> Text:
    """Every sensor with its state: fused, there but not fused (yet), or taken away."""
    line = Text()
    for sensor in VEHICLE.sensors:
        if sensor.name in used:
            line.append(f"● {sensor.title}  ", style="bold green")
        elif sensor.name in alive:
            line.append(f"○ {sensor.title}  ", style="yellow")
        else:
            line.append(f"✗ {sensor.title}  ", style="dim red")
    return line


def figure(value: float, form: str = ".0f", missing: str = "-") -> str:
    """A number, or a dash for NaN."""
    return missing if value != value else format(value, form)


class DemoView:
    """Context manager that draws the run; `update` may be called as often as one likes.

    Args:
        console: where to draw. phases: schedule of the run.
    """

    def __init__(self, console: Console, phases: Sequence[Phase]) -> None:
        self._console = console
        self._phases = phases
        self._progress = Progress(
            PlainColumn("{task.description}"), BarColumn(bar_width=40), TaskProgressColumn(), console=console
        )
        self._task = self._progress.add_task("replay", total=phases[-1].end_s)
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._announced: Phase | None = None

    def __enter__(self) -> DemoView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, time_s: float | None, used: Sequence[str], rate_hz: float, latency_ms: float, labels: int) -> None:
        """Show the state at a time from the start of the recording; None before it begins."""
        phase = phase_at(self._phases, time_s) if time_s is not None else None
        if phase is None:
            return
        numbers = f"{rate_hz:4.1f} labels/s   latency p50 {figure(latency_ms)} ms   {labels} labels"
        if self._live is not None:
            self._progress.update(self._task, completed=time_s)
            title = Text.assemble(("phase  ", "dim"), (phase.name, "bold"), ("   " + phase.weather, "dim"))
            self._live.update(Group(self._progress, title, sensors_line(phase.alive, used), Text(numbers)))
        elif phase is not self._announced:
            alive = ", ".join(VEHICLE.sensor(name).title for name in phase.alive)
            line = f"{time_s:5.1f} s of {self._phases[-1].end_s:.0f} s  {phase.name}: {alive}; {numbers}"
            self._console.print(line, highlight=False, soft_wrap=True)
        self._announced = phase


def too_busy(score: PhaseScore) -> str:
    """What stands in the place of a figure that few labels give."""
    return f"machine too busy: {score.labels_out} labels of {score.frames_in}"


def score_row(score: PhaseScore) -> tuple[str, ...]:
    """One line of the table, as text; the same in the terminal and in the report."""
    used = ", ".join(f"{letters} {count}" for letters, count in score.used.items())
    return (
        score.phase.name,
        used or "-",
        str(score.frames_in),
        str(score.labels_out),
        figure(score.coverage),
        figure(score.rate_hz, ".1f"),
        too_busy(score) if score.is_starved else f"{figure(score.miou_present, '.1f')} ({score.classes})",
        f"{figure(score.latency_p50_ms)} / {figure(score.latency_p95_ms)}",
        figure(score.longest_gap_ms),
    )


COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("phase", "left"),
    ("fused (labels)", "left"),
    ("frames in", "right"),
    ("labels out", "right"),
    ("coverage %", "right"),
    ("Hz", "right"),
    ("mIoU % (classes)", "right"),
    ("latency p50 / p95 ms", "right"),
    ("longest gap ms", "right"),
)
"""Headings of `score_row`."""


def score_table(scores: DemoScores) -> Table:
    """The table per phase; fits WIDTH columns."""
    sensors = ", ".join(f"{sensor.letter} {sensor.title}" for sensor in VEHICLE.sensors)
    title = f"Any2Seg demo: {sensors}"
    table = Table(title=title, width=WIDTH, padding=(0, 0, 0, 0))
    for heading, side in COLUMNS:
        table.add_column(heading, justify=side, min_width=_FIGURE if heading.startswith("mIoU") else None)
    for score in scores.phases:
        table.add_row(*score_row(score))
    return table
