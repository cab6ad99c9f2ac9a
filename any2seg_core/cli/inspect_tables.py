"""An Inspection as tables that fit a terminal of 100 columns; print it without cropping, commands may be longer."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from any2seg_core.bags.inspection import Inspection, TopicReport
from any2seg_core.bags.recommend import params_yaml
from any2seg_core.base.units import utc_text

WIDTH = 100


def render_inspection(found: Inspection) -> RenderableType:
    """Head, warnings, topics, sensors, calibration, what the node needs, recommended parameters."""
    parts: list[RenderableType] = [Text(_head(found), style="bold")]
    parts += [Text(f"! {line}", style="yellow") for line in found.warnings]
    parts.append(_topic_table(found))
    sensors = [name for name in found.choice.map.suite.members if name in found.choice.map.streams]
    if sensors:
        parts.append(_sensor_table(found, sensors))
    parts += list(_paragraphs(found, sensors))
    return Group(*parts)


def _head(found: Inspection) -> str:
    if found.start_ns is None or found.end_ns is None:
        return f"{found.path}: no message"
    count = sum(report.count for report in found.topics.values())
    size = sum(report.bytes for report in found.topics.values())
    seconds = (found.end_ns - found.start_ns) / 1e9
    return f"{found.path}: {seconds:.2f} s, {count} messages, {_size(size)}, starts {utc_text(found.start_ns)}"


def _topic_table(found: Inspection) -> Table:
    table = Table(title="topics", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("topic", overflow="fold", min_width=40)
    table.add_column("type", overflow="fold")
    table.add_column("role", no_wrap=True)
    for name in ("n", "Hz", "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, report in sorted(found.topics.items(), key=lambda item: (not item[1].role, item[0])):
        mean = _size(report.bytes / report.count) if report.count else "-"
        table.add_row(
            escape(name), _kind(report), report.role or "-", str(report.count), _number(report.timing.rate_hz, 1), mean,
        )  # fmt: skip
    return table


def _kind(report: TopicReport) -> str:
    name = report.topic.kind.rpartition("/")[2]
    if report.topic.problem:
        return f"{escape(name)} (unknown)"
    peek = report.peek
    size = f" {peek.width}x{peek.height}" if peek.width and not peek.fields else ""
    return escape(" ".join(f"{name} {peek.encoding}{size}".split()))


def _qos_lines(found: Inspection) -> list[str]:
    """What was offered, and by whom; the most frequent without its topics."""
    topics: dict[str, list[str]] = {}
    for name, report in sorted(found.topics.items()):
        topics.setdefault(_qos(report), []).append(name)
    usual = max(topics, key=lambda words: len(topics[words]), default="")
    rest = [words for words in topics if words != usual]
    lines = [f"{usual}: all{' others' if rest else ''}"] if topics else []
    return [*(f"{words}: {', '.join(topics[words])}" for words in rest), *lines]


def _qos(report: TopicReport) -> str:
    """Reliability, or "latched" for what late subscribers get too; volatile and reliable are the usual."""
    words = [
        "latched" if profile.durability == "transient_local" else profile.reliability.replace("_", " ")
        for profile in report.topic.qos
    ]
    return ", ".join(dict.fromkeys(words)) or "not recorded"


def _sensor_table(found: Inspection, sensors: list[str]) -> Table:
    title = f"timing by header stamps, ms; phases against {found.reference}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("sensor")
    for name in ("period", "jitter p50/p95", "gaps", "longest", "latency p50/p95", "phase ± 95 %", "arrives"):
        table.add_column(name, justify="right")
    for name in sensors:
        timing = found.topics[found.choice.map.streams[name]].timing
        phase = found.phases.get(name)
        gap_ms = None if timing.longest_gap_s is None else 1e3 * timing.longest_gap_s
        if phase is None:
            shift = "reference" if name == found.reference else "-"
        else:
            shift = "drifts" if phase.drifts else f"{phase.offset_ms:+.1f} ± {phase.spread_ms:.1f}"
        table.add_row(
            found.choice.map.suite.sensor(name).title,
            _number(timing.period_ms, 1),
            f"{_number(timing.jitter_p50_ms, 1)} / {_number(timing.jitter_p95_ms, 1)}",
            str(timing.gaps),
            _number(gap_ms, 0),
            f"{_number(timing.latency_p50_ms, 1)} / {_number(timing.latency_p95_ms, 1)}",
            shift,
            "-" if phase is None else f"{phase.wait_p95_ms:.1f}",
        )
    return table


def _paragraphs(found: Inspection, sensors: list[str]) -> Iterator[RenderableType]:
    lines = [f"{role}: {found.choice.reasons[role]}" for role in found.choice.reasons]
    for role, others in found.choice.others.items():
        if others:
            shown = ", ".join(others[:4]) + (" ..." if len(others) > 4 else "")
            lines.append(f"{role} could also be {shown}: choose with --topic {role}={others[0]}")
    absent = [name for name in found.choice.map.suite.members if name not in sensors]
    if absent:
        lines.append(f"not recorded: {', '.join(absent)}")
    yield from _section("chosen because", lines)
    yield from _section("quality of service", _qos_lines(found))
    calibration = found.calibration
    lines = [f"from {calibration.source}"] if calibration.source else ["none found"]
    lines += [f"{part}: {where}" for part, where in calibration.found.items()]
    lines += [f"missing: {line}" for line in calibration.missing]
    if sensors and (calibration.calibration is None or calibration.missing):
        lines.append("a file of your own: --calibration FILE.yaml (format: docs/calibration.md)")
    yield from _section("calibration", lines)
    yield from _section("notes", list(found.notes))
    if found.node_command:
        yield from _section("the node on these topics", found.node_command, is_pasted=True)
        yield from _section("in another terminal: play the recording to it", [found.replay_command], is_pasted=True)
    if found.parameters:
        text = params_yaml(found.parameters).rstrip().splitlines()
        title = "recommended parameters, for the node's params_file and for --params"
        yield from _section(title, text, is_pasted=True)


def _section(title: str, lines: list[str], is_pasted: bool = False) -> Iterator[RenderableType]:
    """A title and its lines, folded; what is to be pasted stays in one piece, however long it is."""
    if lines:
        yield Text(f"\n{title}", style="bold")
        folding = {"no_wrap": True, "overflow": "ignore"} if is_pasted else {"overflow": "fold"}
        yield Text("\n".join(f"  {line}" for line in lines), **folding)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
