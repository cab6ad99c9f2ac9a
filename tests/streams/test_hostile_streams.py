"""One sensor lies in a known way, another one is healthy: no silence, the healthy one is used, the lie is named."""

import pytest
from hostile import BASE, HOUR, MS, NAMES

from any2seg_core.sync import SYNC_REASONS, StreamConfig, SyncConfig, Synchronizer

SECONDS = 20
LIES = {
    "ring of 1": (lambda k, t: 1000 * MS, "repeats", "repeats 1 frame"),
    "ring of 2": (lambda k, t: 1000 * MS + k % 2 * 33 * MS, "repeats", "repeats 2 frames"),
    "ring of 3": (lambda k, t: 1000 * MS + k % 3 * 33 * MS, "repeats", "repeats 3 frames"),
    "ring of 7": (lambda k, t: 1000 * MS + k % 7 * 33 * MS, "repeats", "repeats 7 frames"),
    "backwards": (lambda k, t: 1000 * MS - k * MS, "backwards", "clock runs backwards"),
    "mirrored": (lambda k, t: 1000 * MS - (t - 1000 * MS), "backwards", "clock runs backwards"),
    "half speed": (lambda k, t: 1000 * MS + (t - 1000 * MS) // 2, "other_clock", "behind the other sensors"),
    "double speed": (lambda k, t: 2 * t - 1000 * MS, "other_clock", "ahead of the other sensors"),
    "a third of the speed": (lambda k, t: 1000 * MS + (t - 1000 * MS) // 3, "other_clock", "behind the other sensors"),
    "ten times the speed": (lambda k, t: 10 * t - 9000 * MS, "other_clock", "ahead of the other sensors"),
    "3 % fast": (lambda k, t: t + (t - 1000 * MS) * 3 // 100, "drift", "clock runs fast"),
    "1 % slow": (lambda k, t: t - (t - 1000 * MS) // 100, None, ""),
    "every 4th 0.4 s ahead": (lambda k, t: t + 400 * MS * (k % 4 == 0), "future", "0.4 s ahead of its clock"),
    "every 5th 0.49 s ahead": (lambda k, t: t + 490 * MS * (k % 5 == 0), "future", "0.49 s ahead of its clock"),
    "every 6th an hour behind": (lambda k, t: t - HOUR * (k % 6 == 0), "past", "3600 s behind its clock"),
    "always 9.5 s ahead": (lambda k, t: t + 9500 * MS, "other_clock", "9.5 s ahead of the other sensors"),
    "always 1 h behind": (lambda k, t: t - HOUR, "other_clock", "3600 s behind the other sensors"),
    "two, 1 h behind": (lambda k, t: t - HOUR * (k % 2), "two_publishers", "two publishers 3600 s apart"),
    "two, 1 h ahead": (lambda k, t: t + HOUR * (k % 2), "two_publishers", "two publishers 3600 s apart"),
    "two, the first 1 h behind": (lambda k, t: t - HOUR * ((k + 1) % 2), "two_publishers", "two publishers 3600 s"),
    "two, 0.36 s ahead": (lambda k, t: t + 357 * MS * (k % 2), "two_publishers", "two publishers 0.36 s apart"),
    "set back 0.45 s at 10 s": (lambda k, t: t - 450 * MS * (t > 10_000 * MS), None, ""),
    "set 0.2 s ahead at 10 s": (lambda k, t: t + 200 * MS * (t > 10_000 * MS), "other_clock", "0.2 s ahead of the oth"),
    "set 1 s ahead at 10 s": (lambda k, t: t + 1000 * MS * (t > 10_000 * MS), "other_clock", "1 s ahead of the other"),
    "set 1 h ahead at 10 s": (lambda k, t: t + HOUR * (t > 10_000 * MS), "other_clock", "3600 s ahead of the other"),
    "once 9.9 s ahead": (lambda k, t: t + 9900 * MS * (k == 20), None, ""),
}
"""Number of the message and its true time -> its stamp, relative to BASE; the fault that is named at the end."""


def _sync() -> Synchronizer:
    streams = {name: StreamConfig(kind="window" if name == "event" else "sample") for name in NAMES}
    return Synchronizer(SyncConfig(streams, NAMES))


def _play(messages) -> tuple[Synchronizer, list]:
    """(moment, set) of everything that comes out; polls at every deadline."""
    sync, emitted = _sync(), []
    for now_ns, name, stamp_ns in sorted(messages):
        while (due_ns := sync.next_deadline_ns()) is not None and due_ns < now_ns:
            emitted += [(due_ns, each) for each in sync.poll(due_ns)]
        emitted += [(now_ns, each) for each in sync.add(name, stamp_ns, None, now_ns)]
    return sync, emitted


def _healthy(name: str, period_ms: int = 100):
    return [(k * period_ms * MS + 2 * MS, name, BASE + k * period_ms * MS) for k in range(SECONDS * 1000 // period_ms)]


def _liar(name: str, stamp, period_ms: int = 100):
    times = range(1000 * MS, SECONDS * 1000 * MS, period_ms * MS)
    return [(time + 4 * MS, name, BASE + stamp(k, time)) for k, time in enumerate(times)]


def _longest_gap_ms(emitted) -> int:
    moments = [1000 * MS, *(now_ns for now_ns, _ in emitted if now_ns > 1000 * MS), (SECONDS * 1000 - 100) * MS]
    return max(after - before for before, after in zip(moments, moments[1:], strict=False)) // MS


PAIRS = [("rgb", "lidar"), ("lidar", "rgb"), ("depth", "lidar"), ("event", "lidar")]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("lie", LIES)
def test_value_a_sensor_that_lies_neither_silences_nor_displaces_a_healthy_one(lie, pair):
    """Bound: 2.5 periods, the timeout, and one period of the sensor that takes over."""
    liar, healthy = pair
    stamp, reason, text = LIES[lie]
    sync, emitted = _play(_healthy(healthy) + _liar(liar, stamp))
    assert _longest_gap_ms(emitted) <= 250 + 50 + 100
    assert sum(healthy in each.samples for _, each in emitted) >= 0.95 * len(emitted)
    fault = sync.stats.streams[liar].fault
    assert (fault.reason if fault else None) == reason and (fault is None or text in fault.text)
    assert sync.stats.streams[healthy].fault is None
    assert reason is None or reason in SYNC_REASONS


@pytest.mark.parametrize("lie", [name for name in LIES if LIES[name][1] in ("repeats", "two_publishers")])
@pytest.mark.parametrize("period_ms", [33, 50, 200])
def test_value_other_rates_change_nothing(lie, period_ms):
    stamp, reason, _ = LIES[lie]
    sync, emitted = _play(_healthy("lidar") + _liar("rgb", stamp, period_ms))
    assert _longest_gap_ms(emitted) <= 300 + 50 + 100
    assert sync.stats.streams["rgb"].fault.reason == reason


@pytest.mark.parametrize(("lie", "reason"), [("ring of 2", "repeats"), ("two, 1 h behind", "two_publishers"),
                                             ("backwards", "backwards")])  # fmt: skip
def test_value_a_lie_that_begins_late_is_named_within_a_second(lie, reason):
    stamp = LIES[lie][0]
    begin_ns = 5000 * MS

    def turns_bad(k, time):
        return time if time < begin_ns else stamp(k, time) + (begin_ns - 1000 * MS if reason != "two_publishers" else 0)

    sync, named_ns = _sync(), None
    for now_ns, name, stamp_ns in sorted(_healthy("lidar") + _liar("rgb", turns_bad)):
        sync.add(name, stamp_ns, None, now_ns)
        fault = sync.stats.streams["rgb"].fault
        if named_ns is None and fault is not None and fault.reason == reason:
            named_ns = now_ns
    assert begin_ns < named_ns <= begin_ns + 1000 * MS


def test_value_a_lie_that_ends_is_forgotten():
    rgb = _liar("rgb", lambda k, t: 5000 * MS if 5000 * MS < t < 8000 * MS else t)
    sync, emitted = _play(_healthy("lidar") + rgb)
    assert sync.stats.streams["rgb"].fault is None and sync.stats.reference == "rgb"
    assert _longest_gap_ms(emitted) <= 400
    assert {each.missing["rgb"] for now_ns, each in emitted if 6000 * MS < now_ns < 8000 * MS} == {"repeats"}


def test_value_all_clocks_set_back_together_start_anew_once():
    messages = [(now_ns, name, stamp_ns - 450 * MS * (now_ns > 9000 * MS)) for now_ns, name, stamp_ns in
                [message for name in ("rgb", "lidar") for message in _healthy(name)]]  # fmt: skip
    sync, emitted = _play(messages)
    assert sync.stats.resets == 1 and _longest_gap_ms(emitted) <= 400
    assert all(len(each.samples) == 2 for now_ns, each in emitted if now_ns > 9500 * MS)


@pytest.mark.parametrize("pause_ms", [0, 100, 180, 300])
@pytest.mark.parametrize("names", [("rgb", "depth", "lidar"), ("rgb", "lidar"), ("lidar",)], ids="+".join)
def test_value_a_recording_that_loops_gives_the_same_sets_after_any_pause(names, pause_ms):
    phases_ms = {"rgb": 0, "depth": 3, "lidar": -15}
    length_ms, messages = 2000 + pause_ms, []
    for turn in range(3):
        for name in names:
            for k in range(20):
                time_ms = 1000 + k * 100 + phases_ms[name]
                messages.append(((turn * length_ms + time_ms + 2) * MS, name, BASE + time_ms * MS))
    sync, emitted = _play([*messages, (9_000 * MS, "event", BASE + 99_000 * MS)])
    rounds = [[], [], []]
    for each in (each for _, each in emitted if each.reference != "event"):
        first = each.samples[each.reference][0]
        rounds[(first.arrival_ns // MS - 980) // length_ms].append((each.stamp_ns, sorted(each.samples)))
    assert rounds[1] == rounds[2] and len(rounds[0]) >= 18
    assert rounds[0] == rounds[1] or names == ("lidar",)  # at the very start better sensors are waited for


@pytest.mark.parametrize("usable", [True, False])
def test_value_a_stream_whose_content_cannot_be_used_does_not_lead(usable):
    """rgb is an hour ahead and was there first: in its sets nothing else can be."""
    sync, emitted = _sync(), []
    messages = _liar("rgb", lambda k, t: t + HOUR) + [each for each in _healthy("lidar") if each[0] > 3000 * MS]
    for now_ns, name, stamp_ns in sorted(messages):
        for each in sync.add(name, stamp_ns, None, now_ns):
            emitted.append((now_ns, each))
            for stream in each.samples:
                sync.judge(stream, usable or stream != "rgb", now_ns)
    late = [each for now_ns, each in emitted if now_ns > 6000 * MS]
    assert {each.reference for each in late} == {"rgb" if usable else "lidar"}
    if not usable:
        seen = [(now_ns, each) for now_ns, each in emitted if "lidar" in each.samples or now_ns < 4000 * MS]
        assert _longest_gap_ms(seen) <= 400


CLOCKS = {
    "3 % fast": lambda k, t: t + (t - 1000 * MS) * 3 // 100,
    "3 % slow": lambda k, t: t - (t - 1000 * MS) * 3 // 100,
    "set 0.5 s ahead": lambda k, t: t + 500 * MS * (t > 5000 * MS),
}


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_value_a_stream_whose_content_cannot_be_used_displaces_no_clock_that_is_wrong(clock):
    """The LiDAR has no transform, the camera's clock runs away: its labels must go on."""
    sync, usable_ns = _sync(), []

    def judge(now_ns, sets):
        for each in sets:
            if "rgb" in each.samples:
                usable_ns.append(now_ns)
            for stream in each.samples:
                judge(now_ns, sync.judge(stream, stream == "rgb", now_ns))

    for now_ns, name, stamp_ns in sorted(_healthy("lidar") + _liar("rgb", clock)):
        while (due_ns := sync.next_deadline_ns()) is not None and due_ns < now_ns:
            judge(due_ns, sync.poll(due_ns))
            if (after_ns := sync.next_deadline_ns()) is not None and after_ns <= due_ns:
                break
        judge(now_ns, sync.add(name, stamp_ns, None, now_ns))
    usable_ns.append((SECONDS * 1000 - 100) * MS)
    assert max(after - before for before, after in zip(usable_ns, usable_ns[1:], strict=False)) <= 500 * MS
    assert sync.stats.resets <= 4


def test_value_several_hours_of_sets_hold_no_more_than_the_buffers():
    sync, _ = _play(_healthy("lidar") + _liar("rgb", lambda k, t: t + 7919 * MS * (k % 11)))
    for stats in sync.stats.streams.values():
        assert stats.buffered <= StreamConfig.buffer
        assert stats.added == stats.used + sum(stats.dropped.values()) + stats.buffered


def test_value_a_clock_that_is_set_ahead_and_back_leads_again():
    rgb = _liar("rgb", lambda k, t: t + 500 * MS * (8000 * MS < t < 14_000 * MS))
    sync, emitted = _play(_healthy("lidar") + rgb)
    late = [each for now_ns, each in emitted if now_ns > 18_000 * MS]
    assert _longest_gap_ms(emitted) <= 400 and sync.stats.streams["rgb"].fault is None
    assert {each.reference for each in late} == {"rgb"} and all(len(each.samples) == 2 for each in late)


def test_value_a_clock_that_is_set_ahead_of_a_slow_sensor_alone_does_not_start_time_again_and_again():
    rgb = _liar("rgb", lambda k, t: t + 500 * MS * (t > 8000 * MS))
    sync, emitted = _play(_healthy("lidar", 345) + rgb)
    assert _longest_gap_ms(emitted) <= 400 and sync.stats.resets == 0 and len(emitted) >= 185


@pytest.mark.parametrize("pause_ms", [0, 2000])
@pytest.mark.parametrize("ahead_ns", [2000 * MS, HOUR, 9 * 365 * 24 * HOUR])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_value_a_clock_that_was_ahead_from_the_start_is_used_once_it_is_right(pair, ahead_ns, pause_ms):
    """A camera without NTP until 5 s: what it sent before must not stay in the buffer for what comes."""
    liar, healthy = pair
    early = _liar(liar, lambda k, t: t + ahead_ns * (t < 5000 * MS))
    messages = [each for each in early if not 0 < each[0] - 5000 * MS < pause_ms * MS]
    sync, emitted = _play(_healthy(healthy) + messages)
    late = [each for now_ns, each in emitted if now_ns > 9000 * MS]
    assert _longest_gap_ms(emitted) <= 400 and len(late) >= 105
    assert all(len(each.samples) == 2 for each in late) and sync.stats.streams[liar].fault is None
    assert sum(sync.stats.streams[liar].dropped.values()) <= 45


def test_value_clocks_that_are_set_ahead_together_are_no_fault():
    healthy = [*_healthy("rgb"), *_healthy("lidar")]
    ahead = [(now_ns, name, stamp_ns + 500 * MS * (now_ns > 9000 * MS)) for now_ns, name, stamp_ns in healthy]
    sync, emitted = _play(ahead)
    assert _longest_gap_ms(emitted) <= 400 and all(sync.stats.streams[name].fault is None for name in ("rgb", "lidar"))
    assert all(len(each.samples) == 2 for now_ns, each in emitted if now_ns > 9500 * MS)
