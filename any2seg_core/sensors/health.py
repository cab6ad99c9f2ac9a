"""Sensors that send well-formed messages and are ill nevertheless: frozen, black, saturated, empty, flooded, silent.

Every threshold is set so that weather, darkness and a standing car are no illness; 0 switches a check off.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from any2seg_core.base.fixed_arrays import same_bytes
from any2seg_core.base.units import NS_PER_S
from any2seg_core.sensors.camera import read_only
from any2seg_core.sensors.depth import MAX_DEPTH_M
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sensors.images import image_codes
from any2seg_core.sensors.pixel_counts import count_depths, count_pixels
from any2seg_core.sensors.returns import count_returns
from any2seg_core.vocabulary.sensor import DEPTH, IMAGE, PLANE, POINTS, Sensor

HEALTH_REASONS = MappingProxyType(
    {
        "frozen": "the same bytes again and again",
        "black": "no light reaches the sensor",
        "saturated": "almost all pixels are white",
        "no_depth": "no pixel has a depth",
        "sparse": "almost no points",
        "event_storm": "more events than a scene can cause",
        "event_silence": "messages without a single event",
        "empty": "nothing that it sent falls into the picture, or no event into the window",
    }
)
"""Keys by which ill sensors are counted, with their meaning; stable, and none of them is in MESSAGE_REASONS."""

_SAMPLES_PER_SIDE = 128
_WHITE = 250
_BRIGHTEST_SHARE = 0.01
_DEPTH_STRIDE = 4
_RING_BUFFERS = 4  # of a camera's driver


class Fault(NamedTuple):
    """What is wrong with a sensor: key of HEALTH_REASONS and one line for people.

    Of a message that is bad: key of MESSAGE_REASONS, and the code of its error.
    """

    reason: str
    text: str
    code: str = ""


def image_fault(picture: np.ndarray, sensor: Sensor, config: HealthConfig) -> Fault | None:
    """Whether an image, as `image_codes` takes it, is black or saturated: about 128 x 128 of its pixels are judged.

    A thermal image is judged within its range. A ``plane`` may be black or white and is never ill.
    """
    if sensor.format == PLANE:
        return None
    stride = [max(1, side // _SAMPLES_PER_SIDE) for side in picture.shape[:2]]
    codes = image_codes(picture[:: stride[0], :: stride[1]], sensor)
    pixels = codes.shape[0] * codes.shape[1]
    within = "" if sensor.value_range is None else " within its range"
    lit = count_pixels(codes, config.black_level, 256) if config.black_level else pixels
    if lit / pixels < _BRIGHTEST_SHARE:
        told = f"is black{within}: 99 % of its pixels are at most {config.black_level} of 255"
        return Fault("black", f"{sensor.title} image {told}")
    if config.saturated_share:
        share = (pixels - count_pixels(codes, -1, _WHITE)) / pixels
        if share >= config.saturated_share:
            return Fault("saturated", f"{sensor.title} image is saturated{within}: {share:.0%} of its pixels are white")
    return None


def depth_fault(depth_m: np.ndarray, _sensor: Sensor, config: HealthConfig) -> Fault | None:
    """Whether (H, W) float metres holds next to no depth; every fourth pixel of every fourth row counts."""
    pixels = depth_m[::_DEPTH_STRIDE, ::_DEPTH_STRIDE].size
    share = count_depths(depth_m, _DEPTH_STRIDE, MAX_DEPTH_M, config.min_depth_share * pixels) / pixels
    if share < config.min_depth_share:
        return Fault("no_depth", f"depth image is empty: {share:.2%} of its pixels have a depth")
    return None


def cloud_fault(points: np.ndarray, sensor: Sensor, config: HealthConfig) -> Fault | None:
    """Whether (N, 4) holds too few points that are finite and not at the origin, where rays without a return lie.

    Clouds of a radar, which has a range of its intensity, are sparse: one point is enough.
    """
    enough = config.min_points if sensor.value_range is None else min(config.min_points, 1)
    count = count_returns(read_only(points), enough)
    if count < enough:
        return Fault("sparse", f"cloud has {count} points with a distance; fewer than {enough} are no scene")
    return None


def event_fault(count: int, window_ns: int, pixels: int, config: HealthConfig) -> Fault | None:
    """Whether `count` events within a window are more than `pixels` pixels can have seen."""
    rate_hz = count / max(pixels, 1) / (window_ns / NS_PER_S)
    if config.max_event_rate_hz and rate_hz > config.max_event_rate_hz:
        return Fault("event_storm", f"event storm: {rate_hz:.0f} events per pixel and second")
    return None


@dataclass
class _Repeats:
    """How often one sensor sent the same bytes; `recent` are its newest arrays, no copies.

    A driver that hangs sends the buffers of its ring in turn, so that none equals the one before.
    """

    stamp_ns: int | None = None
    recent: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=_RING_BUFFERS))
    count: int = 0


@dataclass
class _Silence:
    """When one event camera was last looked at, when it last had an event, and how many it had by then."""

    last_event_ns: int | None = None
    last_look_ns: int = 0
    events_before: int = 0


class HealthMonitor:
    """Judges the decoded arrays of each sensor, one by one; remembers only what freezing and silence need.

    Examples:
        >>> monitor = HealthMonitor(HealthConfig(frozen_frames=30))
        >>> fault = monitor.check(suite.sensor("rgb"), image, stamp_ns)
    """

    def __init__(self, config: HealthConfig | None = None) -> None:
        self.config = config or HealthConfig()
        self.reset()

    def reset(self) -> None:
        """Forget what was seen, after a jump in time."""
        self._repeats: dict[str, _Repeats] = {}
        self._silences: dict[str, _Silence] = {}

    def check(self, sensor: Sensor, array: np.ndarray, stamp_ns: int) -> Fault | None:
        """Judges one image, depth image or cloud.

        Args:
            array: image as `image_codes` takes it, (H, W) float metres or (N, 4) points.
            stamp_ns: of the message; the same message given twice counts once.
        """
        if not self.config.enabled:
            return None
        judge = {IMAGE: image_fault, DEPTH: depth_fault, POINTS: cloud_fault}[sensor.kind]
        return judge(array, sensor, self.config) or self._frozen(sensor.name, array, stamp_ns)

    def repetition(self, name: str) -> float:
        """How near a sensor is to frozen, 0..1: the share of `frozen_frames` messages that repeat one before."""
        seen = self._repeats.get(name)
        if seen is None or not self.config.enabled or self.config.frozen_frames < 2:
            return 0.0
        return min((seen.count - 1) / (self.config.frozen_frames - 1), 1.0)

    def check_events(
        self, name: str, events: np.ndarray, stamp_ns: int, window_ns: int, pixels: int, total: int = 0
    ) -> Fault | None:
        """Judges the events (fields x, y, t, p) that go into the window which ends at `stamp_ns`.

        Args:
            total: events of the stream so far, those of no window included: they are a sign of life too.
        """
        if not self.config.enabled:
            return None
        fault = event_fault(len(events), window_ns, pixels, self.config)
        if fault is not None:  # are there as many within the window?
            times_ns = events["t"]
            count = int(np.count_nonzero((times_ns > stamp_ns - window_ns) & (times_ns <= stamp_ns)))
            fault = event_fault(count, window_ns, pixels, self.config)
        seen = self._silences.setdefault(name, _Silence())
        has_paused = abs(stamp_ns - seen.last_look_ns) >= self.config.event_silence_s / 2 * NS_PER_S
        is_life = len(events) > 0 or total != seen.events_before
        if is_life or has_paused or seen.last_event_ns is None or stamp_ns < seen.last_event_ns:
            seen.last_event_ns = stamp_ns
        seen.last_look_ns, seen.events_before = stamp_ns, total
        silent_s = (stamp_ns - seen.last_event_ns) / NS_PER_S
        if fault is None and self.config.event_silence_s and silent_s >= self.config.event_silence_s:
            return Fault("event_silence", f"event camera is silent: messages without an event for {silent_s:.0f} s")
        return fault

    def _frozen(self, name: str, array: np.ndarray, stamp_ns: int) -> Fault | None:
        if not self.config.frozen_frames or name not in self.config.frozen_sensors:
            return None
        seen = self._repeats.setdefault(name, _Repeats())
        if stamp_ns != seen.stamp_ns:
            same = any(same_bytes(array, before) for before in reversed(seen.recent))
            seen.stamp_ns, seen.count = stamp_ns, seen.count + 1 if same else 1
            seen.recent.append(array)
        if seen.count >= self.config.frozen_frames:
            return Fault("frozen", f"{name} is frozen: {seen.count} messages with identical content")
        return None
