"""The sets that the node would have seen, from a recording and in virtual time.

Messages go to the one Synchronizer in the order of the bag, with log time as time of arrival, and time passes
only with them: the same recording always gives the same sets, however fast it is read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from any2seg_core.bags.camera_timeline import CameraTimeline
from any2seg_core.bags.extrinsics import ExtrinsicsFollower, RecordedExtrinsics
from any2seg_core.bags.reader import LazyPayload, Recorded
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages import event_array_from_cdr
from any2seg_core.messages.transforms import WorldPose
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sync import SampleSet, SyncConfig, Synchronizer, SyncStats
from any2seg_core.sync.association import TRUTH_TOLERANCE_NS, nearest_truth
from any2seg_core.vocabulary.topics import TopicMap, node_camera_infos

_TRUTH, _TRANSFORMS = "truth", "tf"
_EVENT_PACKET, _EVENT_ARRAY = "/EventPacket", "/EventArray"
_TRUTH_PATIENCE_NS = NS_PER_S  # a truth topic that falls silent must not hold sets back


@dataclass(frozen=True)
class BagSet:
    """One synchronised set of a recording.

    Attributes:
        sample_set: as the synchroniser emitted it; payloads are deserialised when a field of them is read.
        time_ns: log time at which it was complete.
        truth: ground-truth image (message-like) nearest in stamp, None when there is none near enough.
        frames: builds its planes. extrinsics: transforms to the camera of sensors that move, at the moment of the set.
        judge: told per sensor whether its content could be used, as the node tells its synchroniser.
        cameras: intrinsics at its stamp of the cameras whose camera_info has changed by now.
        pose: of the camera at its stamp, where transforms that move are followed and say it.
    """

    sample_set: SampleSet
    time_ns: int
    truth: Any | None
    frames: FrameBuilder
    extrinsics: Mapping[str, np.ndarray | None] = field(default_factory=dict)
    judge: Callable[[dict[str, bool]], None] = lambda usable: None
    cameras: Mapping[str, CameraModel] = field(default_factory=dict)
    pose: WorldPose | None = None

    @property
    def stamp_ns(self) -> int:
        """Stamp of the set."""
        return self.sample_set.stamp_ns

    @property
    def payloads(self) -> dict[str, list[Any]]:
        """Sensor -> its messages in order of stamp, as ``FrameBuilder.build`` takes them."""
        return {name: [sample.payload for sample in found] for name, found in self.sample_set.samples.items()}

    def frame(self) -> Frame:
        """Planes of the set, through the node's FrameBuilder; a bad message costs its own sensor."""
        self._apply_geometry()
        frame = self.frames.build(self.payloads, self.stamp_ns, self.sample_set.offsets_ns)
        self.judge({name: name in frame.planes for name in self.sample_set.samples})
        return frame

    def notice(self) -> None:
        """Read without projecting, where only the sets after it are wanted (`FrameBuilder.notice`)."""
        self._apply_geometry()
        self.frames.notice(self.payloads, self.stamp_ns, self.sample_set.offsets_ns)

    def _apply_geometry(self) -> None:
        for name, camera in self.cameras.items():
            self.frames.set_camera(name, camera)
        for name, to_camera in self.extrinsics.items():
            self.frames.set_extrinsics(name, to_camera)


class SetStream:
    """Iterates over the sets of a stream of messages.

    Args:
        messages: in order of arrival, `time_ns` being when; ``Recording.messages`` or what a FaultInjector makes of it.
        topics: which topic carries which sensor; other topics are ignored.
        sync: settings of the synchroniser; only its streams are fed.
        frames: builds planes; gets the intrinsics of every camera_info, as in the node.
        use_camera_info: False: the calibration that `frames` has is better than what is recorded.
        extrinsics: sensors whose transforms are followed; None: none.

    Attributes:
        read: stream -> messages that came. bad: stream, or "<sensor> camera_info" -> messages that could not be used.
        reasons: stream -> why, of the newest of them.
        time_ns: log time so far; None before the first message.

    Examples:
        >>> with Recording(path) as bag:
        ...     for bag_set in SetStream(bag.messages(topics.names), topics, sync, frames):
        ...         planes = bag_set.frame().planes
    """

    def __init__(
        self,
        messages: Iterable[Recorded],
        topics: TopicMap,
        sync: SyncConfig,
        frames: FrameBuilder,
        use_camera_info: bool = True,
        extrinsics: RecordedExtrinsics | None = None,
    ) -> None:
        self.frames = frames
        self.read: Counter[str] = Counter()
        self.bad: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        self.time_ns: int | None = None
        self._messages = messages
        self._synchronizer = Synchronizer(sync)
        self._streams = {topic: name for name, topic in topics.streams.items() if name in sync.streams}
        infos = topics.camera_infos if use_camera_info else {}
        self._infos: dict[str, list[str]] = {}  # a registered depth image shares the camera's
        for name in node_camera_infos(topics.suite):
            if name in infos:
                self._infos.setdefault(infos[name], []).append(name)
        self._truth_topic = topics.truth
        self._truths: deque[tuple[int, Any]] = deque()
        self._waiting: deque[tuple[SampleSet, int, Mapping[str, np.ndarray | None], WorldPose | None]] = deque()
        self._follower = None if extrinsics is None else ExtrinsicsFollower(extrinsics)
        self._judged: list[SampleSet] = []  # ready because of what was told of the content of others
        self._cameras = CameraTimeline(self._set_camera_info)

    @property
    def stats(self) -> SyncStats:
        """What the synchroniser counted so far."""
        return self._synchronizer.stats

    @property
    def left_out(self) -> Counter[str]:
        """What made no sense in single transforms of messages that were used otherwise -> how often, so far."""
        return Counter() if self._follower is None else self._follower.left_out

    def notes(self, start_ns: int) -> list[str]:
        """What else a user should know of the messages so far, one line each; `start_ns`: begin of the recording."""
        return self._cameras.notes(start_ns)

    def __iter__(self) -> Iterator[BagSet]:
        for message in self._messages:
            now_ns = message.time_ns if self.time_ns is None else max(message.time_ns, self.time_ns)
            yield from self._pass_time(now_ns)
            self.time_ns = now_ns
            yield from self._release(self._take(message, now_ns))
        yield from self._pass_time(None)
        yield from self._release([], is_end=True)

    def _pass_time(self, until_ns: int | None) -> Iterator[BagSet]:
        """Poll at every deadline before the next message; a message at a deadline is still in time."""
        last_ns = None
        while (deadline_ns := self._synchronizer.next_deadline_ns()) is not None:
            is_later = until_ns is not None and deadline_ns >= until_ns
            if is_later or (last_ns is not None and deadline_ns <= last_ns):
                return
            last_ns = deadline_ns
            self.time_ns = deadline_ns if self.time_ns is None else max(deadline_ns, self.time_ns)
            yield from self._release(self._synchronizer.poll(deadline_ns))

    def _take(self, message: Recorded, now_ns: int) -> list[SampleSet]:
        topic, name = message.topic, _TRANSFORMS
        try:
            if self._follower is not None:
                self._follower.take(message)
            for sensor in self._infos.get(topic, ()):
                name = f"{sensor} camera_info"  # its images are none the worse for it
                self._cameras.take(sensor, message)
            if topic == self._truth_topic:
                name = _TRUTH
                self._truths.append((_stamp_of(message), LazyPayload(message)))
            if topic in self._streams:
                name = self._streams[topic]
                self.read[name] += 1
                return self._take_sample(name, message, now_ns)
        except UserError as error:
            self.bad[name] += 1
            self.reasons[name] = error.with_code
        return []

    def _set_camera_info(self, name: str, message: Any) -> CameraModel | None:
        self.frames.set_camera_info(name, message)
        return None if self.frames.rig is None else self.frames.rig.place(name).camera

    def _take_sample(self, name: str, message: Recorded, now_ns: int) -> list[SampleSet]:
        """One message of a sensor; the synchroniser counts those without a stamp too."""
        try:
            stamp_ns, problem = _stamp_of(message), "its stamp is zero: the clock of its publisher was not set"
        except MessageError as error:
            stamp_ns, problem = 0, error.with_code
        if stamp_ns > 0:
            return self._synchronizer.add(name, stamp_ns, self._payload(name, message), now_ns)
        self.bad[name] += 1
        self.reasons[name] = problem
        return self._synchronizer.add(name, 0, None, now_ns)

    def _payload(self, name: str, message: Recorded) -> Any:
        """What the synchroniser holds: event decoders must see every packet once, all else is read when it is used."""
        if message.kind.endswith(_EVENT_ARRAY):
            return self.frames.receive(name, event_array_from_cdr(message.data))
        payload = LazyPayload(message)
        return self.frames.receive(name, payload) if message.kind.endswith(_EVENT_PACKET) else payload

    def _release(self, ready: list[SampleSet], is_end: bool = False) -> Iterator[BagSet]:
        """Sets whose truth is decided: with the first truth at or after the stamp no nearer one can follow."""
        ready, self._judged = [*self._judged, *ready], []
        now_ns = self.time_ns or 0  # None: no message came, and there is no set
        for sample_set in ready:
            extrinsics: Mapping[str, np.ndarray | None] = {}
            pose = None
            if self._follower is not None:
                extrinsics = self._follower.at(sample_set, now_ns, self.frames)
                pose = self._follower.pose(sample_set, now_ns, self.frames)
            self._waiting.append((sample_set, now_ns, extrinsics, pose))
        while self._waiting:
            sample_set, time_ns, moved, pose = self._waiting[0]
            is_decided = (
                is_end
                or not self._truth_topic
                or (self._truths and self._truths[-1][0] >= sample_set.stamp_ns)
                or now_ns - time_ns > _TRUTH_PATIENCE_NS
            )
            if not is_decided:
                break
            self._waiting.popleft()
            truth = nearest_truth(sorted(self._truths, key=lambda entry: entry[0]), sample_set.stamp_ns)
            self._forget_truths_before(sample_set.stamp_ns - TRUTH_TOLERANCE_NS)
            cameras = self._cameras.changed(sample_set.stamp_ns)
            yield BagSet(sample_set, time_ns, truth, self.frames, moved, self._judge, cameras, pose)
        if not self._waiting and self._truths:
            self._forget_truths_before(self._truths[-1][0] - _TRUTH_PATIENCE_NS)

    def _judge(self, usable: dict[str, bool]) -> None:
        assert self.time_ns is not None  # there was a set
        for name, is_usable in usable.items():
            self._judged += self._synchronizer.judge(name, is_usable, self.time_ns)

    def _forget_truths_before(self, stamp_ns: int) -> None:
        self._truths = deque(entry for entry in self._truths if entry[0] >= stamp_ns)


def _stamp_of(message: Recorded) -> int:
    stamp_ns = message.stamp_ns
    if stamp_ns is None:
        raise MessageError(f"{message.kind} has no header stamp", "stamp")
    return stamp_ns
