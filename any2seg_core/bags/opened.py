"""A recording made ready for work: topics mapped, calibration found, parameters read, sets at hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from any2seg_core.bags.calibration import BagCalibration, find_calibration
from any2seg_core.bags.extrinsics import RecordedExtrinsics
from any2seg_core.bags.reader import Recorded, Recording
from any2seg_core.bags.recorded_transforms import read_transforms
from any2seg_core.bags.sets import SetStream
from any2seg_core.bags.topics import TopicChoice, choose_topics
from any2seg_core.base.errors import UserError
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.input_options import INPUT_OPTION_NAMES, input_options
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sync import SyncConfig
from any2seg_core.sync.parameters import (
    NODE_NAME,
    REFERENCE_PRIORITY,
    STREAM_DEFAULTS,
    SYNC_DEFAULTS,
    foreign_sections,
    load_params_file,
    section_of_another_name,
    sync_config,
)
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.subsets import parse_suite

_FIXED_FRAME, _STAMP_SOURCE, _MODALITIES = "fixed_frame", "stamp_source", "modalities"  # the node's parameters
_TOLD = 3

Transform = Callable[[Iterable[Recorded]], Iterable[Recorded]]


@dataclass(frozen=True)
class BagOptions:
    """What a user can say about a recording.

    Attributes:
        topics: ``role=/topic`` each. rules: YAML with own topic rules. calibration: YAML that wins over the bag.
        params: the node's params file, for the synchroniser. modalities: sensors to use, see
            `parse_suite`; empty: all that are mapped.
        may_lack: of those named it is enough that one is mapped; the others are left out.
        suite: sensors there can be.
        with_poses: sets tell where the camera is, as far as transforms or an odometry of the recording say it.
    """

    topics: Sequence[str] = ()
    rules: Path | None = None
    calibration: Path | None = None
    params: Path | None = None
    modalities: str | Sequence[str] = ()
    may_lack: bool = False
    suite: SensorSuite = VEHICLE
    with_poses: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", parse_suite(self.modalities, self.suite))


@dataclass
class OpenBag:
    """An open recording with everything that makes sets of it.

    Attributes:
        bag, choice, calibration: see there. modalities: sensors in use, canonical order.
        parameters: of the params file, by name. params_notes: what of that file is not used, one line each.
        poses: transforms that say where the camera is; None: they are not wanted, or there are none.
    """

    bag: Recording
    choice: TopicChoice
    calibration: BagCalibration
    modalities: tuple[str, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    params_notes: tuple[str, ...] = ()
    poses: RecordedExtrinsics | None = None

    @property
    def suite(self) -> SensorSuite:
        """Sensors there can be."""
        return self.choice.map.suite

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about parameters, topics and geometry, one line each."""
        calibration = self.calibration
        needs_none = calibration.calibration is None and not calibration.unusable  # a camera alone
        missing = () if needs_none else calibration.missing
        return (*self.params_notes, *self.choice.notes, *calibration.notes, *missing)

    @property
    def topic_names(self) -> tuple[str, ...]:
        """Topics that the sets need, with truth and odometry, and transforms where sensors move."""
        topics = self.choice.map
        unused = {topic for name, topic in topics.streams.items() if name not in self.modalities}
        transforms = () if self.extrinsics is None else self.extrinsics.topics
        return (*(name for name in topics.names if name not in unused), *transforms)

    @property
    def extrinsics(self) -> RecordedExtrinsics | None:
        """Sensors whose transforms to the camera are followed, or none with `poses`; None when nothing is followed."""
        recorded = self.calibration.extrinsics
        recorded = None if recorded is None else recorded.through(str(self.parameters.get(_FIXED_FRAME, "")))
        return recorded if recorded is not None and set(recorded.names) & set(self.modalities) else self.poses

    @property
    def message_total(self) -> int:
        """How many messages those topics have, for a progress bar."""
        return sum(self.bag.topics[name].count for name in self.topic_names)

    def sync_config(self, event_window_ns: int) -> SyncConfig:
        """The node's synchroniser with these parameters, for the sensors in use."""
        return sync_config(self.parameters, self.modalities, event_window_ns, self.suite)

    def frames(self, event_window_ns: int) -> FrameBuilder:
        """A builder of planes that reads messages as the node with these parameters does."""
        return self.calibration.frames(event_window_ns, input_options(self.parameters, self.suite))

    def sets(
        self,
        event_window_ns: int = DEFAULT_WINDOW_NS,
        transform: Transform | None = None,
        from_ns: int | None = None,
    ) -> SetStream:
        """A new pass over the recording, or over what comes from some log time on.

        Args:
            event_window_ns: from the input contract of the checkpoint.
            transform: what happens to the stream of messages before anybody sees it, a FaultInjector for example.
            from_ns: that log time; what needs a past (health, packets of events) has none of what lies before it.
        """
        messages: Iterable[Recorded] = self.bag.messages(self.topic_names, from_ns)
        return SetStream(
            messages if transform is None else transform(messages),
            self.choice.map,
            self.sync_config(event_window_ns),
            self.frames(event_window_ns),
            use_camera_info=not self.calibration.is_final,
            extrinsics=self.extrinsics,
        )


def _params_notes(file: Path | None, parameters: Mapping[str, Any], suite: SensorSuite) -> tuple[str, ...]:
    """What of a node's params file has no effect on recordings; UserError for what would change every set."""
    if file is None:
        return ()
    if parameters.get(_STAMP_SOURCE, "header") != "header":
        raise UserError(
            f"{file}: parameter {_STAMP_SOURCE} is {parameters[_STAMP_SOURCE]!r}: sets of a recording are made by "
            "header stamps alone; take it out, and record with drivers that set their stamps",
            "value-conflict",
        )
    used = (_FIXED_FRAME, _STAMP_SOURCE, _MODALITIES, REFERENCE_PRIORITY, *SYNC_DEFAULTS, *INPUT_OPTION_NAMES)
    used += tuple(f"{name}.{key}" for name in suite.members for key in STREAM_DEFAULTS)
    unused = [name for name in parameters if name not in used]
    notes = [f"{file}: section {name} is not used: it is for another node than /{NODE_NAME}"
             for name in foreign_sections(file)]  # fmt: skip
    if taken := section_of_another_name(file):
        notes.append(f"{file}: has no section of /{NODE_NAME}: that of {taken} is taken for its own")
    if unused:
        notes.append(f"{file}: no effect on recordings: {', '.join(unused)} (of the live node, or misspelt)")
    return tuple(notes)


def _wanted(
    path: Path, options: BagOptions, parameters: Mapping[str, Any], streams: Collection[str]
) -> Collection[str]:
    """Sensors to use: those that were asked for, else those of the node's params file that the recording has."""
    if options.modalities or _MODALITIES not in parameters:
        return options.modalities or streams
    named = parse_suite(parameters[_MODALITIES], options.suite)
    if not set(named) & set(streams):
        raise UserError(
            f"{path}: has {', '.join(streams)}, {options.params} wants {', '.join(named) or 'no sensor'}: correct "
            f"parameter {_MODALITIES}",
            "bag-sensor-missing",
        )
    return named


def _poses(bag: Recording, choice: TopicChoice, fixed_frame: str) -> RecordedExtrinsics | None:
    """Transforms that move, else the odometry, to follow the camera by; None where there is neither."""
    recorded = read_transforms(bag, list(choice.map.streams.values()))
    odometry = (choice.map.odometry,) if choice.map.odometry else ()
    topics = recorded.topics or odometry
    suite = choice.map.suite
    return RecordedExtrinsics((), (), topics, recorded.static, fixed_frame, suite) if topics else None


@contextmanager
def open_bag(path: Path, options: BagOptions | None = None) -> Iterator[OpenBag]:
    """Open a recording and find out what it takes to make sets of it.

    Raises:
        UserError: nothing readable, no sensor in it, one that was asked for is not there, no calibration where one is
            needed, or a file of the options is wrong.
    """
    options = options or BagOptions()
    wanted = options.modalities
    with Recording(path) as bag:
        choice = choose_topics(bag, options.rules, options.topics, options.suite)
        streams = choice.map.streams
        if not streams:
            known = ", ".join(list(bag.topics)[:8]) or "no topics at all"
            problems = (f"{topic.name}: {topic.problem}" for topic in bag.topics.values() if topic.problem)
            way_out = "; ".join((*choice.notes, *islice(problems, _TOLD))) or "say which: --topic rgb=/x"
            titles = ", ".join(sensor.title for sensor in options.suite.sensors)
            raise UserError(
                f"{path}: no topic of {titles} ({known}); {way_out}", "bag-sensor-missing"
            )
        absent = [name for name in wanted if name not in streams]
        if absent and (not options.may_lack or len(absent) == len(wanted)):
            raise UserError(
                f"{path}: no topic for {', '.join(absent)}: say which, --topic {absent[0]}=/...", "bag-sensor-missing"
            )
        parameters = {} if options.params is None else load_params_file(options.params)
        params_notes = _params_notes(options.params, parameters, options.suite)
        in_use = _wanted(path, options, parameters, streams)
        modalities = tuple(name for name in options.suite.members if name in streams and name in in_use)
        rectified = input_options(parameters, options.suite).rectified
        calibration = find_calibration(bag, choice, options.calibration, rectified)
        modalities = calibration.usable(modalities, must_have=() if options.may_lack else wanted)
        poses = _poses(bag, choice, str(parameters.get(_FIXED_FRAME, ""))) if options.with_poses else None
        opened = OpenBag(bag, choice, calibration, modalities, parameters, params_notes, poses)
        opened.sync_config(DEFAULT_WINDOW_NS)  # a bad parameter is an error before any work
        opened.frames(DEFAULT_WINDOW_NS)
        yield opened
