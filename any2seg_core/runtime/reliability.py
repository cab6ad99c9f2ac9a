"""Reliability of each sensor, 0..1: how far what it sends now falls short of what it usually sends.

A sensor that is dead or left out has 0 after a second. One that degrades is seen before that: its plane thins out, what
it shows alone departs from the fused labels, it repeats itself, it comes later, or its clock is at fault. Everything is
measured against the sensor's own past, so that a sparse LiDAR is no bad one; what was bad from the start is not seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from any2seg_core.base.units import NS_PER_S
from any2seg_core.runtime.frame import Frame
from any2seg_core.sensors.pixel_counts import count_pixels
from any2seg_core.sync import SampleSet, SyncConfig
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, IMAGE, PLANE, POINTS, Sensor

PARTS = ("presence", "data", "agreement", "repetition", "lateness", "clock")
"""What a score is made of, each 0..1: the score is the smallest of them."""

_NOT_SEEN = ("never_seen", "disabled")
_REPEATS = "repeats"  # of SYNC_REASONS, and how its texts begin
_FAULT_OF_FUSED = 0.5  # one sequence of two is followed, or single stamps are wrong: usable, and not to be trusted
_WINDOW_NS = NS_PER_S
_LEAST_SETS = 3  # in the window, however seldom sets are
_AGREEMENTS = 3  # measured values that are averaged
_LEARNING = 5  # values before the usual one counts
_SOON_S, _LATE_S = 3.0, 120.0  # how fast the usual value follows to the better and to the worse
_ENOUGH = {"presence": 1.0, "data": 0.8, "returns": 0.8, "events": 0.05, "agreement": 0.85}
"""Share of the usual value that still is 1. Events come with motion: their number says little."""
_SAMPLES_PER_SIDE = 128
_BLACK, _WHITE = 8, 250


@dataclass(frozen=True)
class Observation:
    """What one set says of one sensor that was seen.

    Attributes:
        is_fused: whether it was fused.
        filled: share of its plane that carries data, 0..1, see `filled_share`.
        agreement: share of pixels, 0..1, at which this sensor alone gives the fused label; None: not measured.
        age_ns: distance of its message from the time of the set.
        repeats: 0 for new content to 1 for as many identical messages as make it count as frozen.
        fault: what the synchroniser says of what it sends, one line; "" for nothing.
        returns: of a LiDAR, the points of its cloud: in the plane they overlap, so that a loss does not show at once.
    """

    is_fused: bool
    filled: float | None = None
    agreement: float | None = None
    age_ns: int | None = None
    repeats: float = 0.0
    fault: str = ""
    returns: int | None = None


@dataclass(frozen=True)
class Reliability:
    """Score of one sensor.

    Attributes:
        score: 0..1, the smallest of the parts.
        parts: those of PARTS that were measured so far -> 0..1.
    """

    score: float
    parts: dict[str, float]


def filled_share(sensor: Sensor, plane: np.ndarray) -> float:
    """Share of a plane (H, W, 3) that carries data, 0..1, on a grid of about 128 x 128 of its pixels.

    Of images: pixels that are neither black nor white, else those that are not 0.
    """
    strides = [max(1, side // _SAMPLES_PER_SIDE) for side in plane.shape[:2]]
    sample = plane[:: strides[0], :: strides[1]]
    is_image = sensor.kind == IMAGE and sensor.format != PLANE
    return count_pixels(sample, *((_BLACK, _WHITE) if is_image else (0, 256))) / (sample.shape[0] * sample.shape[1])


def observations(
    sample_set: SampleSet,
    frame: Frame,
    suite: SensorSuite = VEHICLE,
    compared: str | None = None,
    agreement: float | None = None,
) -> dict[str, Observation | None]:
    """What a set says of each of its sensors, for `ReliabilityMonitor.update`; None for one that was never seen.

    An event camera whose window is empty has no entry: a still scene says nothing about it.

    Args:
        sample_set: as the synchroniser made it. frame: its planes. suite: the sensors that there can be.
        compared, agreement: the sensor that was segmented alone, and `Segmentation.agreement`.
    """
    found: dict[str, Observation | None] = {}
    for name in suite.canonical([*sample_set.samples, *sample_set.missing]):
        sensor = suite.sensor(name)
        fault = sample_set.faults.get(name, "")
        if sample_set.missing.get(name) in _NOT_SEEN:
            found[name] = None
        elif name in frame.planes:
            found[name] = Observation(
                True,
                filled_share(sensor, frame.planes[name]),
                agreement if name == compared else None,
                abs(sample_set.age_ns[name]),
                frame.repeats.get(name, 0.0),
                fault,
                len(frame.samples[name]) if sensor.kind == POINTS else None,
            )
        elif sensor.kind != EVENTS or frame.reasons.get(name) != "empty":
            found[name] = Observation(False, repeats=frame.repeats.get(name, 0.0), fault=fault)
    return found


class _Usual:
    """A usual value that follows what is seen: soon to the better, slowly to the worse.

    Args:
        is_more_better: whether larger values are better.
    """

    def __init__(self, is_more_better: bool = True) -> None:
        self._sign = 1.0 if is_more_better else -1.0
        self._count = self._at_ns = 0
        self.value = 0.0

    @property
    def is_known(self) -> bool:
        return self._count >= _LEARNING

    def follow(self, value: float, now_ns: int) -> None:
        passed_s, self._at_ns = (now_ns - self._at_ns) / NS_PER_S, now_ns
        self._count += 1
        if self._count <= _LEARNING:
            self.value += (value - self.value) / self._count
        else:
            slowness_s = _SOON_S if self._sign * (value - self.value) > 0 else _LATE_S
            self.value += (value - self.value) * min(passed_s / slowness_s, 1.0)


@dataclass
class _Sensor:
    """What is remembered of one sensor."""

    first_ns: int
    recent: deque[tuple[int, Observation]] = field(default_factory=deque)
    agreements: deque[float] = field(default_factory=lambda: deque(maxlen=_AGREEMENTS))
    usual: dict[str, _Usual] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)

    def related(self, kind: str, value: float, now_ns: int) -> float:
        """A value as a share, 0..1, of what is enough of the usual one; 1 until that is known."""
        usual = self.usual.setdefault(kind, _Usual())
        if now_ns - self.first_ns >= _WINDOW_NS:
            usual.follow(value, now_ns)
        if not usual.is_known and value > 0.0:
            return 1.0
        return min(value / max(_ENOUGH[kind] * usual.value, 1e-9), 1.0)


class ReliabilityMonitor:
    """Scores of all sensors of a vehicle, from set to set.

    Args:
        oldest_ns: sensor -> age at which its message is too old for a set, see `StreamConfig.oldest_ns`; `of` takes it
            from the settings of the synchroniser.
        suite: the sensors that there can be.
        compare_every: every n-th set one sensor's turn comes to be compared with all together.

    Examples:
        >>> monitor = ReliabilityMonitor.of(sync_config, suite)
        >>> compared = monitor.turn(frame.planes)
        >>> segmentation = predictor(frame.planes, stamp_ns=frame.stamp_ns, compared=compared)
        >>> scores = monitor.update(now_ns, observations(sample_set, frame, suite, compared, segmentation.agreement))
    """

    def __init__(self, oldest_ns: Mapping[str, int], suite: SensorSuite = VEHICLE, compare_every: int = 3) -> None:
        self._suite = suite
        self._oldest_ns = dict(oldest_ns)
        self._compare_every = compare_every
        self._sets = self._turns = 0
        self._sensors: dict[str, _Sensor] = {}
        self._updates_ns: deque[int] = deque(maxlen=8)

    @classmethod
    def of(cls, config: SyncConfig, suite: SensorSuite = VEHICLE, compare_every: int = 3) -> ReliabilityMonitor:
        """A monitor for the streams of a synchroniser."""
        return cls({name: stream.oldest_ns for name, stream in config.streams.items()}, suite, compare_every)

    def reset(self) -> None:
        """Forget all, after a jump in time."""
        self._sensors.clear()
        self._updates_ns.clear()

    def turn(self, used: Iterable[str]) -> str | None:
        """The sensor to compare with all together in this set; None for none. To be asked once per set."""
        self._sets += 1
        there = self._suite.canonical(used)
        if len(there) < 2 or self._sets % self._compare_every:
            return None
        self._turns += 1
        return there[self._turns % len(there)]

    def update(self, now_ns: int, seen: Mapping[str, Observation | None] | None) -> dict[str, Reliability]:
        """Take a set in and return the scores.

        Args:
            now_ns: time on a clock that only goes forward.
            seen: sensor -> what the set says of it; None: it was never seen or is switched off, and has no score. A
                sensor that is left out keeps its score. None for all: a set was due and did not come.
        """
        self._updates_ns.append(now_ns)
        if seen is None:
            seen = {name: Observation(False) for name in self._sensors}
        for name, observation in seen.items():
            if observation is None:
                self._sensors.pop(name, None)
            else:
                self._observe(self._sensors.setdefault(name, _Sensor(now_ns)), name, observation, now_ns)
        return self.scores(now_ns)

    def scores(self, now_ns: int) -> dict[str, Reliability]:
        """Scores by now, sensors in canonical order; all are 0 when no set came for a second and several periods."""
        steps = [late - early for early, late in zip(self._updates_ns, list(self._updates_ns)[1:], strict=False)]
        patience_ns = max(_WINDOW_NS, _LEAST_SETS * median(steps)) if steps else _WINDOW_NS
        is_silent = bool(self._updates_ns) and now_ns - self._updates_ns[-1] > patience_ns
        found = {}
        for name in self._suite.canonical(self._sensors):
            parts = self._sensors[name].parts | ({"presence": 0.0} if is_silent else {})
            found[name] = Reliability(min(parts.values()), {part: parts[part] for part in PARTS if part in parts})
        return found

    def _observe(self, sensor: _Sensor, name: str, seen: Observation, now_ns: int) -> None:
        sensor.recent.append((now_ns, seen))
        while len(sensor.recent) > _LEAST_SETS and now_ns - sensor.recent[0][0] >= _WINDOW_NS:
            sensor.recent.popleft()
        if seen.agreement is not None:
            sensor.agreements.append(seen.agreement)
            if len(sensor.agreements) == _AGREEMENTS:
                sensor.parts["agreement"] = sensor.related("agreement", _mean(sensor.agreements), now_ns)
        recent = [each for _, each in sensor.recent]
        sensor.parts["presence"] = sensor.related("presence", _mean(float(each.is_fused) for each in recent), now_ns)
        filled = [each.filled for each in recent if each.filled is not None]
        returns: list[float] = [each.returns for each in recent if each.returns is not None]
        usual = "events" if self._suite.sensor(name).kind == EVENTS else "data"
        series: dict[str, list[float]] = {usual: filled, "returns": returns}
        if shares := [sensor.related(kind, _mean(values), now_ns) for kind, values in series.items() if values]:
            sensor.parts["data"] = min(shares)
        if ages_ns := [each.age_ns for each in recent if each.age_ns is not None]:
            sensor.parts["lateness"] = self._lateness(sensor, name, _mean(ages_ns), now_ns)
        sensor.parts["repetition"] = 1.0 - _mean(_repetition(each) for each in recent)
        sensor.parts["clock"] = 1.0 - _mean(_clock_fault(each) for each in recent)

    def _lateness(self, sensor: _Sensor, name: str, age_ns: float, now_ns: int) -> float:
        usual = sensor.usual.setdefault("lateness", _Usual(is_more_better=False))
        if now_ns - sensor.first_ns >= _WINDOW_NS:
            usual.follow(age_ns, now_ns)
        if not usual.is_known:
            return 1.0
        room_ns = max(self._oldest_ns.get(name, NS_PER_S) - usual.value, 1e6)
        return float(np.clip(1.0 - (age_ns - usual.value) / room_ns, 0.0, 1.0))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _repetition(seen: Observation) -> float:
    return 1.0 if seen.fault.startswith(_REPEATS) else seen.repeats


def _clock_fault(seen: Observation) -> float:
    if not seen.fault or seen.fault.startswith(_REPEATS):
        return 0.0
    return _FAULT_OF_FUSED if seen.is_fused else 1.0
