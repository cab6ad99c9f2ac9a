"""What is in a recording: one pass over it, for people (`inspect_tables`) and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.bags.calibration import BagCalibration, find_calibration
from any2seg_core.bags.camera_timeline import CameraTimeline
from any2seg_core.bags.node_command import node_command, node_parameters, replay_command
from any2seg_core.bags.opened import BagOptions
from any2seg_core.bags.pauses import PauseLog
from any2seg_core.bags.reader import BagTopic, Recording
from any2seg_core.bags.recommend import params_yaml, recommend
from any2seg_core.bags.recorded_transforms import share_in_view
from any2seg_core.bags.timing import (
    OTHER_CLOCK_MS,
    TAI_AHEAD_MS,
    Phase,
    RepeatLog,
    StreamLog,
    Timing,
    phase_of,
    timing_of,
)
from any2seg_core.bags.topics import Peek, TopicChoice, choose_topics
from any2seg_core.base.errors import UserError
from any2seg_core.messages import cloud_to_events, cloud_to_points
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.health_config import frozen_by_default
from any2seg_core.sync.parameters import MOST_OFFSET_S
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, POINTS
from any2seg_core.vocabulary.topics import TopicMap

_FEW_POINTS = 0.005
_TOLD_PAUSES = 5


@dataclass(frozen=True)
class TopicReport:
    """One topic: as the bag lists it, what role it plays ("" for none), and its messages.

    Attributes:
        frozen_s: longest time for which their content is the same; None where that says nothing about a sensor.
    """

    topic: BagTopic
    role: str
    peek: Peek
    timing: Timing
    count: int
    bytes: int
    first_ns: int | None
    last_ns: int | None
    frozen_s: float | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "type": self.topic.kind, "role": self.role, "count": self.count, "bytes": self.bytes,
            "first_ns": self.first_ns, "last_ns": self.last_ns, "encoding": self.peek.encoding,
            "width": self.peek.width, "height": self.peek.height, "fields": list(self.peek.fields),
            "frame_id": self.peek.frame_id, "qos": [vars(profile) for profile in self.topic.qos],
            "problem": self.topic.problem or self.peek.problem, "timing": self.timing.document(),
            "frozen_s": self.frozen_s,
        }  # fmt: skip


@dataclass(frozen=True)
class Inspection:
    """Everything `any2seg bag inspect` says.

    Attributes:
        topics: by name. choice: topics of the sensors, with reasons. reference: sensor that phases count from.
        phases: sensor -> phase against it. calibration: see there. parameters: recommended, for the node.
        node_parameters: those of them without which it does not read the topics, or reads them wrongly.
        replay_command: plays the recording to it. fixed_topics, suite: as the user gave them.
        notes: what else a user should know, one line each.
    """

    path: Path
    start_ns: int | None
    end_ns: int | None
    topics: dict[str, TopicReport]
    choice: TopicChoice
    calibration: BagCalibration
    reference: str = ""
    phases: dict[str, Phase] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    node_parameters: dict[str, Any] = field(default_factory=dict)
    replay_command: str = ""
    fixed_topics: tuple[str, ...] = ()
    suite: str = ""

    @property
    def node_command(self) -> list[str]:
        """Lines of the command that starts the node on these topics; empty where there is no sensor."""
        topics = self.choice.map
        if not topics.streams:
            return []
        return node_command(self.node_parameters, topics, self.calibration, self.path, self.fixed_topics, self.suite)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        topics = self.choice.map
        return {
            "bag": str(self.path),
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "topics": {name: report.document() for name, report in self.topics.items()},
            "roles": {
                "streams": topics.streams, "camera_infos": topics.camera_infos, "truth": topics.truth,
                "odometry": topics.odometry, "reasons": self.choice.reasons, "others": self.choice.others,
            },
            "reference": self.reference,
            "phases": {name: phase.document() for name, phase in self.phases.items()},
            "calibration": {
                "source": self.calibration.source, "found": self.calibration.found,
                "missing": list(self.calibration.missing),
            },
            "remappings": topics.node_remappings(),
            "node_parameters": self.node_parameters,
            "node_command": " ".join(line.removesuffix(" \\") for line in self.node_command),
            "replay_command": self.replay_command,
            "recommended": self.parameters,
            "recommended_yaml": params_yaml(self.parameters),
        }  # fmt: skip


def inspect_bag(
    path: Path,
    options: BagOptions | None = None,
    on_message: Callable[[int], None] = lambda total: None,
    suite: str = "",
) -> Inspection:
    """Look through a whole recording.

    Args:
        options: fixed topics, rules, calibration and suite; the rest is not used.
        suite: name or file of that suite, where the user gave one: commands that are told have it too.
        on_message: called for every message with the number of all, for a progress bar.

    Raises:
        UserError: nothing can be read, or an option is wrong.
    """
    options = options or BagOptions()
    with Recording(path) as bag:
        choice = choose_topics(bag, options.rules, options.topics, options.suite)
        calibration = _calibration(bag, choice, options.calibration)
        seen = _look_through(bag, choice, calibration, options.suite, on_message)
        logs, firsts, repeats, streams = seen.logs, seen.firsts, seen.repeats, choice.map.streams
        start_ns = bag.start_ns or 0
        reports = {
            name: TopicReport(
                topic, _role(choice.map, name), choice.peeks.get(name, Peek()), timing_of(logs[name], start_ns),
                logs[name].count, logs[name].bytes, logs[name].first_ns, logs[name].last_ns,
                repeats[name].longest_ns / 1e9 if name in repeats else None,
            )
            for name, topic in bag.topics.items()
        }  # fmt: skip
        sensors = [name for name in options.suite.members if name in streams and logs[streams[name]].count]
        reference = sensors[0] if sensors else ""
        found = {name: phase_of(logs[streams[name]], logs[streams[reference]]) for name in sensors[1:]}
        phases = {name: phase for name, phase in found.items() if phase is not None}
        timings = {name: reports[streams[name]].timing for name in sensors}
        leads_ms = {name: _packet_lead_ms(firsts.get(streams.get(name, ""))) for name in options.suite.of_kind(EVENTS)}
        usable = {name: timing for name, timing in timings.items() if name not in calibration.unusable}
        needed = node_parameters({name: topic.kind for name, topic in bag.topics.items()}, choice.map, calibration)
        parameters = recommend(usable, phases, leads_ms)
        parameters |= needed if parameters else {}
        view_notes = [note for name in options.suite.of_kind(POINTS)
                      for note in _view_notes(name, calibration, firsts.get(streams.get(name, "")))]  # fmt: skip
        notes = [*choice.notes, *calibration.notes, *seen.cameras.notes(start_ns)]
        notes += [pause.text(start_ns) for pause in seen.pauses.pauses[:_TOLD_PAUSES]]
        frozen = [note for name in sensors if streams[name] in repeats
                  for note in repeats[streams[name]].note(name, start_ns)]  # fmt: skip
        notes += [*timing_notes(timings, phases), *frozen, *view_notes]
        return Inspection(
            path, bag.start_ns, bag.end_ns, reports, choice, calibration, reference, phases, parameters,
            tuple(bag.warnings), tuple(notes), needed, replay_command(path, options.topics, options.rules, suite),
            tuple(options.topics), suite,
        )  # fmt: skip


class _Seen(NamedTuple):
    """What one pass over the messages tells: per topic its log, the first message of a sensor, repeated content."""

    logs: dict[str, StreamLog]
    firsts: dict[str, Any]
    repeats: dict[str, RepeatLog]
    pauses: PauseLog
    cameras: CameraTimeline


def _look_through(
    bag: Recording, choice: TopicChoice, calibration: BagCalibration, suite: SensorSuite,
    on_message: Callable[[int], None],
) -> _Seen:  # fmt: skip
    streams = choice.map.streams
    repeats = {streams[name]: RepeatLog() for name in frozen_by_default(suite) if name in streams}
    cameras = CameraTimeline(lambda _, info: CameraModel.from_camera_info(info))
    seen = _Seen({name: StreamLog() for name in bag.topics}, {}, repeats, PauseLog(), cameras)
    infos = {topic: name for name, topic in choice.map.camera_infos.items()}
    total = bag.message_count
    for message in bag.messages():
        is_bad, stamp_ns = False, None
        seen.pauses.note(message.time_ns)
        try:
            stamp_ns = message.stamp_ns
        except UserError:
            is_bad = True
        is_bad |= stamp_ns == 0  # nobody has set it
        seen.logs[message.topic].add(message.time_ns, stamp_ns, len(message.data), is_bad)
        if message.topic in streams.values() and message.topic not in seen.firsts and not is_bad:
            seen.firsts[message.topic] = message
        if message.topic in repeats and not is_bad:
            repeats[message.topic].add(message.time_ns, message.data)
        if message.topic in infos and not calibration.is_final:
            with suppress(UserError):  # the calibration says what is wrong with it
                cameras.take(infos[message.topic], message)
        on_message(total)
    return seen


def _calibration(bag: Recording, choice: TopicChoice, file: Path | None) -> BagCalibration:
    """A bad file that the user gave is an error, a bad one in the recording is a finding."""
    try:
        return find_calibration(bag, choice, file)
    except UserError as error:
        if file is not None:
            raise
        return BagCalibration(None, missing=(error.with_code,))


def _role(topics: TopicMap, name: str) -> str:
    for role, topic in topics.streams.items():
        if topic == name:
            return role
    infos = [role for role, topic in topics.camera_infos.items() if topic == name]
    if infos:
        return f"{'+'.join(infos)} info"
    return {topics.truth: "truth", topics.odometry: "odometry"}.get(name, "")


def _packet_lead_ms(message: Any) -> float:
    """How far the events of a packet reach beyond its stamp."""
    try:
        times_ns = cloud_to_events(message.value)["t"] if message is not None else ()
        return max(float(int(np.max(times_ns)) - message.stamp_ns) / 1e6, 0.0) if len(times_ns) else 0.0
    except (UserError, AttributeError, TypeError, ValueError):
        return 0.0


def timing_notes(timings: dict[str, Timing], phases: dict[str, Phase]) -> list[str]:
    """What is wrong with the stamps of sensors, ``sensor: words``; the first of `timings` is what phases count from."""
    notes = []
    for name, timing in timings.items():
        if timing.latency_p50_ms is not None and abs(timing.latency_p50_ms) > OTHER_CLOCK_MS:
            side = "before" if timing.latency_p50_ms > 0 else "after"
            is_tai = abs(timing.latency_p50_ms + TAI_AHEAD_MS) < OTHER_CLOCK_MS
            why = "PTP counts in TAI, give its master the offset to UTC" if is_tai else "or stamps are not set"
            notes.append(
                f"{name}: stamps are {abs(timing.latency_p50_ms) / 1e3:.1f} s {side} log time: another clock, "
                f"{why}; sets are made by stamps, so all sensors must share one clock"
            )
        elif timing.latency_p50_ms is not None and timing.latency_p50_ms < -1.0:
            notes.append(f"{name}: arrives {-timing.latency_p50_ms:.1f} ms before its own stamp: clocks differ")
        if timing.bad_stamps:
            notes.append(f"{name}: {timing.bad_stamps} of its messages have a stamp that is none, and are not used")
        if timing.backwards:
            notes.append(f"{name}: stamps go back {timing.backwards} times: a loop, or messages out of order")
        if timing.gaps:
            at = f", the longest {timing.longest_gap_s:.2f} s at {timing.longest_gap_at_s or 0.0:.1f} s"
            notes.append(f"{name}: {timing.gaps} gaps of more than 2.5 periods{at if timing.longest_gap_s else ''}")
    for name, phase in phases.items():
        if phase.clock_ms:
            notes.append(_clock_note(name, phase, next(iter(timings))))
        if phase.drifts:
            notes.append(f"{name}: no common beat with the reference, its phase takes every value")
    return notes


def _clock_note(name: str, phase: Phase, reference: str) -> str:
    apart_s, is_tai = phase.offset_ms / 1e3, abs(phase.clock_ms) == TAI_AHEAD_MS
    side = "ahead of" if apart_s > 0 else "behind"
    if abs(apart_s) > MOST_OFFSET_S:
        way_out = "too far for offset_s: set one clock on all machines"
    else:
        why = "PTP counts in TAI: give its master the offset to UTC" if is_tai else "set one clock on all machines"
        way_out = f"{name}.offset_s: {round(apart_s, 4)} brings them together, as recommended below; better, {why}"
    return f"{name}: its clock is {abs(apart_s):.1f} s {side} that of {reference}: {way_out}"


def _view_notes(name: str, calibration: BagCalibration, message: Any) -> list[str]:
    """Whether the first scan of a LiDAR or radar falls into the picture: the quickest test of extrinsics."""
    known = calibration.calibration
    to_camera = None if known is None else known.place(name, calibration.suite).to_camera
    if message is None or known is None or to_camera is None:
        return []
    try:
        points = cloud_to_points(message.value)
    except UserError as error:
        return [f"{name}: {error}"]
    if not len(points):
        return [f"{name}: the first scan is empty"]
    share = share_in_view(points[:, :3], to_camera, known.camera)
    text = f"{name}: {100 * share:.1f} % of the first scan's {len(points)} points fall into the picture"
    return [text if share > _FEW_POINTS else f"{text}: the extrinsics or the camera frame are wrong"]
