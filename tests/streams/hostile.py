"""Schedules of messages in which one sensor is healthy and the others lie, die or flood; made from a seed.

And transitions: sensors that say the truth, and of which others are there before and after a moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

MS = 1_000_000
HOUR = 3_600_000 * MS
BASE = 1_700_000_000_000 * MS  # stamps are times of day, arrivals count from 0
NAMES = ("rgb", "depth", "event", "lidar")


@dataclass(frozen=True)
class Sender:
    """A sensor that sends regularly. All times in nanoseconds of arrival."""

    period_ns: int
    start_ns: int
    end_ns: int
    latency_ns: int
    jitter_ns: int

    def moments(self, random: Random) -> list[tuple[int, int]]:
        """(arrival, true time of the measurement) of each message."""
        times = range(self.start_ns, self.end_ns, self.period_ns)
        return [(time + self.latency_ns + random.randint(0, self.jitter_ns), time) for time in times]


Lie = Callable[[Random, list[tuple[int, int]]], list[tuple[int, int]]]
"""(arrival, true time) of each message -> (arrival, stamp relative to BASE) of what is sent."""


def ring(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """After a while the last few frames again and again."""
    size, good = random.randint(1, 6), random.randint(1, max(len(moments) // 2, 1))
    frames = [time for _, time in moments[max(good - size, 0) : good]]
    frozen = [(arrival, frames[k % len(frames)]) for k, (arrival, _) in enumerate(moments[good:])]
    return moments[:good] + frozen


def backwards(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    step_ns = random.choice((1, 10, 33, 100)) * MS
    first_ns = moments[0][1]
    return [(arrival, first_ns - k * step_ns) for k, (arrival, _) in enumerate(moments)]


def pace(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """A clock that runs fast or slow."""
    rate, first_ns = random.choice((0.5, 0.9, 0.99, 1.01, 1.1, 2.0)), moments[0][1]
    return [(arrival, first_ns + round((time - first_ns) * rate)) for arrival, time in moments]


def some_future(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    every, shift_ns = random.randint(3, 9), random.choice((300, 400, 490, 700, 5000, 9900)) * MS
    return [(arrival, time + shift_ns * (k % every == 0)) for k, (arrival, time) in enumerate(moments)]


def some_past(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(arrival, time - (shift - time)) for (arrival, time), (_, shift) in
            zip(moments, some_future(random, moments), strict=True)]  # fmt: skip


def one_wrong(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    wrong = random.randrange(len(moments))
    shift_ns = random.choice((-HOUR, -5000 * MS, -400 * MS, 400 * MS, 5000 * MS, HOUR))
    return [(arrival, time + shift_ns * (k == wrong)) for k, (arrival, time) in enumerate(moments)]


def other_clock(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    shift_ns = random.choice((-HOUR, -9500 * MS, -2000 * MS, 2000 * MS, 9500 * MS, HOUR))
    return [(arrival, time + shift_ns) for arrival, time in moments]


def two_publishers(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    shift_ns = random.choice((-HOUR, -3000 * MS, -300 * MS, 300 * MS, 3000 * MS, HOUR))
    return [(arrival, time + shift_ns * (k % 2)) for k, (arrival, time) in enumerate(moments)]


def set_once(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    turn = random.randrange(len(moments))
    shift_ns = random.choice((-3_600_000, -3000, -450, -150, 450, 3000, 3_600_000)) * MS
    return [(arrival, time + shift_ns * (k >= turn)) for k, (arrival, time) in enumerate(moments)]


def flapping(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    on_ns, off_ns = random.randint(100, 900) * MS, random.randint(100, 900) * MS
    return [(arrival, time) for arrival, time in moments if time % (on_ns + off_ns) < on_ns]


def doubled(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Every message twice, the second time over a slower way."""
    way_ns = random.choice((0, 1, 30, 300)) * MS
    return moments + [(arrival + way_ns, time) for arrival, time in moments]


def lossy(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    share = random.uniform(0.1, 0.9)
    return [moment for moment in moments if random.random() > share]


def bursts(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """A network that stalls: what was held comes at once."""
    every_ns = random.randint(200, 900) * MS
    return [(max(arrival, (time // every_ns + 1) * every_ns), time) for arrival, time in moments]


def random_stamps(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    span_ns = random.choice((400 * MS, 5000 * MS, HOUR))
    return [(arrival, time + random.randint(-span_ns, span_ns)) for arrival, time in moments]


def no_stamps(random: Random, moments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(arrival, -BASE - random.randint(0, 5)) for arrival, _ in moments]


LIES: dict[str, Lie] = {
    each.__name__: each
    for each in (ring, backwards, pace, some_future, some_past, one_wrong, other_clock, two_publishers, set_once,
                 flapping, doubled, lossy, bursts, random_stamps, no_stamps)
}  # fmt: skip
IRREGULAR = ("lossy", "flapping", "bursts", "random_stamps")
"""Of these the observed period is anything; of the others, some messages of which are left out, up to two periods."""


@dataclass(frozen=True)
class Schedule:
    """Messages of all sensors.

    Attributes:
        healthy: the sensor that says the truth all the time. period_ns: of it. jitter_ns: of all sensors at most.
        first_ns, last_ns: arrival of its first and last message.
        lies: sensor -> name of its lie.
        messages: (arrival, sensor, stamp), in order of arrival.
        longest_period_ns: of all sensors, as far as it can be observed; a second where it is irregular.
    """

    healthy: str
    period_ns: int
    jitter_ns: int
    first_ns: int
    last_ns: int
    lies: dict[str, str]
    longest_period_ns: int
    messages: list[tuple[int, str, int]] = field(repr=False)


def schedule(seed: int) -> Schedule:
    """One healthy sensor from the start, one to three others that do anything."""
    random = Random(seed)
    names = random.sample(NAMES, random.randint(2, 4))
    healthy, liars = names[0], names[1:]
    length_ns = random.randint(2000, 4000) * MS
    own = Sender(random.choice((33, 50, 100, 150)) * MS, 0, length_ns, random.randint(1, 40) * MS,
                 random.choice((0, 1, 5)) * MS)  # fmt: skip
    moments = own.moments(random)
    messages = [(arrival, healthy, BASE + time) for arrival, time in moments]
    lies, longest_ns, jitter_ns = {}, own.period_ns, own.jitter_ns
    for name in liars:
        lies[name] = random.choice(list(LIES))
        start_ns = random.randint(0, 1000) * MS
        end_ns = random.choice((length_ns, random.randint(start_ns // MS + 500, length_ns // MS) * MS))
        period_ns = random.choice((20, 33, 50, 100, 200, 345, 1000)) * MS
        sender = Sender(period_ns, start_ns, end_ns, random.randint(1, 40) * MS, random.choice((0, 1, 5)) * MS)
        jitter_ns = max(jitter_ns, sender.jitter_ns)
        longest_ns = max(longest_ns, 1000 * MS if lies[name] in IRREGULAR else 2 * period_ns)
        sent = LIES[lies[name]](random, sender.moments(random))
        messages += [(arrival, name, BASE + stamp) for arrival, stamp in sent]
    messages.sort()
    arrivals = [arrival for arrival, name, _ in messages if name == healthy]
    return Schedule(healthy, own.period_ns, jitter_ns, arrivals[0], arrivals[-1], lies, longest_ns, messages)


def transition(seed: int, before: tuple[str, ...], after: tuple[str, ...]) -> Schedule:
    """`before` sends for 2 s, then `after`, at 10 Hz with jitter, lost, repeated and reordered messages."""
    random = Random(f"{seed} {before} {after}")
    turn_ns, length_ns, period_ns, jitter_ns = 2000 * MS, 4000 * MS, 100 * MS, 8 * MS
    messages = []
    for name in NAMES:
        start_ns = 0 if name in before else turn_ns
        end_ns = length_ns if name in after else turn_ns
        if start_ns == end_ns:
            continue
        phase_ns = random.randint(0, 40) * MS
        moments = Sender(period_ns, start_ns + phase_ns, end_ns, 2 * MS, jitter_ns).moments(random)
        lost = random.randrange(2, len(moments) - 2)
        moments = [moment for k, moment in enumerate(moments) if k != lost]
        moments += random.sample(moments, 3)
        late = random.randrange(1, len(moments) - 4)
        moments[late] = (moments[late][0] + 60 * MS, moments[late][1])
        messages += [(arrival, name, BASE + time) for arrival, time in moments]
    messages.sort()
    first_ns, last_ns = messages[0][0], messages[-1][0]
    return Schedule(after[0], period_ns, jitter_ns, first_ns, last_ns, {}, period_ns, messages)
