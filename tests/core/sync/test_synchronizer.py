"""The synchroniser: simulated streams at known phases, outages of every subset, and random abuse."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.sync import Gap, Sample, StreamConfig, SyncConfig, Synchronizer

MS = 1_000_000
BASE = 1_000_000 * MS
NAMES = ("rgb", "depth", "event", "lidar")
PHASES = {"rgb": 0, "depth": 3 * MS, "event": 0, "lidar": -15 * MS}
PERIODS = {"rgb": 100 * MS, "depth": 100 * MS, "event": 50 * MS, "lidar": 100 * MS}
SUBSETS = [subset for size in range(1, 5) for subset in combinations(NAMES, size)]


def _config(**changes) -> SyncConfig:
    streams = {name: StreamConfig(kind="window" if name == "event" else "sample") for name in NAMES}
    return SyncConfig(**{"streams": streams, "reference_priority": NAMES, **changes})


def _messages(seconds, names=NAMES, silent=(), latency=2 * MS):
    """(arrival, stream, stamp) of regular streams; `silent` holds (name, from_s, to_s)."""
    messages = []
    for name in names:
        for k in range(int(seconds * 1000 * MS) // PERIODS[name]):
            stamp = BASE + k * PERIODS[name] + PHASES[name]
            t = (stamp - BASE) / (1000 * MS)
            if not any(name == who and start <= t < end for who, start, end in silent):
                messages.append((stamp + latency, name, stamp))
    return sorted(messages)


def _run(sync: Synchronizer, messages, until=None):
    """Feeds messages at their arrival and polls at every deadline in between; (emission time, set) per output."""
    outputs = []

    def wait(end):
        while (deadline := sync.next_deadline_ns()) is not None and deadline < end:
            before = deadline
            outputs.extend((deadline, s) for s in sync.poll(deadline))
            following = sync.next_deadline_ns()
            assert following is None or following > before, "a poll at the deadline must move the deadline"

    for arrival, name, stamp in messages:
        wait(arrival)
        outputs.extend((arrival, s) for s in sync.add(name, stamp, (name, stamp), arrival))
    wait(until if until is not None else (messages[-1][0] + 1000 * MS if messages else 0))
    return outputs


def _check_accounts(sync: Synchronizer, outputs) -> None:
    seen = {name: set() for name in sync.config.streams}
    for _, sample_set in outputs:
        for name, chosen in sample_set.samples.items():
            for sample in chosen:
                seen[name].add(id(sample))
                assert isinstance(sample, Sample)
    for name, stats in sync.stats.streams.items():
        assert stats.added == stats.used + sum(stats.dropped.values()) + stats.buffered
        assert stats.used == len(seen[name])


def _check_returns(outputs, messages, names, since):
    """The next set after a return has the stream; a returned camera opens that set with its first message."""
    for name in names:
        arrival, _, stamp = min(m for m in messages if m[1] == name and m[2] >= since)
        following = next(s for t, s in outputs if t > arrival or (t == arrival and name in s.samples))
        assert name in following.samples
        if name == "rgb" and stamp not in {s.stamp_ns for t, s in outputs if s.reference != "rgb"}:
            assert following.reference == "rgb" and following.stamp_ns == stamp


def _longest_gap(outputs, start, end):
    moments = [start, *(t for t, _ in outputs if start < t < end), end]
    return max(b - a for a, b in zip(moments, moments[1:], strict=False))


def test_smoke_nothing_in_nothing_out():
    sync = Synchronizer(_config())
    assert sync.poll(0) == [] and sync.poll(10**15) == []
    assert sync.next_deadline_ns() is None and sync.stats.sets_emitted == 0


def test_value_regular_streams_give_one_full_set_per_camera_image():
    sync = Synchronizer(_config())
    outputs = _run(sync, _messages(3.0))
    sets = [s for _, s in outputs]
    assert [s.stamp_ns for s in sets] == [BASE + k * 100 * MS for k in range(30)]
    assert {s.reference for s in sets} == {"rgb"}
    for sample_set in sets[1:]:
        assert not sample_set.missing and set(sample_set.samples) == set(NAMES)
        r = sample_set.stamp_ns
        assert sample_set.samples["depth"][0].stamp_ns == r + 3 * MS
        assert sample_set.samples["lidar"][0].stamp_ns == r - 15 * MS
        assert [p.stamp_ns for p in sample_set.samples["event"]] == [r - 50 * MS, r]
        assert sample_set.samples["rgb"][0].payload == ("rgb", r)
        assert sample_set.age_ns == {"rgb": 0, "depth": -3 * MS, "event": 0, "lidar": 15 * MS}
    assert max(t - s.stamp_ns for t, s in outputs[1:]) <= 5 * MS  # complete as soon as depth has come
    _check_accounts(sync, outputs)
    assert all(not stats.dropped for stats in sync.stats.streams.values())


@pytest.mark.parametrize("dead", SUBSETS, ids="+".join)
def test_value_any_subset_killed_and_revived(dead):
    sync = Synchronizer(_config())
    messages = _messages(6.0, silent=[(name, 2.05, 4.02) for name in dead])
    outputs = _run(sync, messages)
    alive = [name for name in NAMES if name not in dead]
    first_back = min((a for a, n, s in messages if n in dead and s > BASE + 4000 * MS), default=None)
    if alive:
        assert _longest_gap(outputs, BASE + 50 * MS, BASE + 5900 * MS) <= 350 * MS
        steady = [s for t, s in outputs if BASE + 2700 * MS < t < BASE + 3900 * MS]
        assert steady and all(set(s.samples) == set(alive) and set(s.missing) == set(dead) for s in steady)
        assert {reason for s in steady for reason in s.missing.values()} == {"dead"}
        # the dead cost no waiting: a set leaves with the last of the living; 20 Hz events may wait for 10 Hz LiDAR
        assert all(t - s.stamp_ns <= (52 if s.reference == "event" else 25) * MS for t, s in outputs if s in steady)
    else:
        assert not [t for t, _ in outputs if BASE + 2500 * MS < t < BASE + 3900 * MS]
        assert _longest_gap(outputs, first_back, BASE + 5900 * MS) <= 350 * MS
    _check_returns(outputs, messages, dead, BASE + 4000 * MS)
    stamps = [s.stamp_ns for _, s in outputs]
    assert stamps == sorted(set(stamps))
    assert all(len(s.samples) == 4 for t, s in outputs if t > BASE + 4500 * MS)
    assert sync.stats.resets == 0
    _check_accounts(sync, outputs)


@pytest.mark.parametrize("present", SUBSETS, ids="+".join)
def test_value_streams_never_published_cost_only_the_start(present):
    sync = Synchronizer(_config())
    outputs = _run(sync, _messages(2.0, names=present))
    first_arrival = min(a for a, _, _ in _messages(2.0, names=present))
    assert outputs[0][0] - first_arrival <= 200 * MS
    assert _longest_gap(outputs, first_arrival, BASE + 1950 * MS) <= 200 * MS
    absent = set(NAMES) - set(present)
    for t, sample_set in outputs:
        assert {n for n, why in sample_set.missing.items() if why == "never_seen"} == absent
        if t > BASE + 500 * MS:
            assert t - sample_set.stamp_ns <= (52 if sample_set.reference == "event" else 25) * MS


def test_value_set_waits_for_a_late_stream_up_to_the_timeout():
    sync = Synchronizer(_config(streams={"a": StreamConfig(), "b": StreamConfig()}, reference_priority=("a", "b")))
    messages = []
    for k in range(20):
        stamp = BASE + k * 100 * MS
        messages += [(stamp, "a", stamp), (stamp + (90 if k == 10 else 30) * MS, "b", stamp)]
    outputs = _run(sync, sorted(messages))
    delays = [t - s.stamp_ns for t, s in outputs]
    assert delays[:10] == [30 * MS] * 10 and delays[10] == 50 * MS and delays[11:] == [30 * MS] * 9
    assert outputs[10][1].age_ns == {"a": 0, "b": 100 * MS}  # the older one still served


def test_value_timeout_and_stale_are_told_apart():
    near = StreamConfig(max_age_ns=30 * MS)
    sync = Synchronizer(_config(streams={"a": near, "b": near}, reference_priority=("a", "b")))
    messages = [(BASE + k * 100 * MS, "a", BASE + k * 100 * MS) for k in range(10)]
    messages += [(BASE + k * 100 * MS + 1, "b", BASE + k * 100 * MS + (50 * MS if k > 5 else 0)) for k in range(10)
                 if k != 5]  # fmt: skip
    reasons = {(s.stamp_ns - BASE) // (100 * MS): s.missing.get("b") for _, s in _run(sync, sorted(messages))
               if s.reference == "a"}  # fmt: skip
    assert reasons[4] is None and reasons[5] == "timeout" and reasons[9] == "stale"


def test_value_offset_moves_target_and_set_time():
    streams = {"a": StreamConfig(offset_ns=30 * MS), "b": StreamConfig(noise_window_ns=5 * MS, max_age_ns=5 * MS)}
    sync = Synchronizer(_config(streams=streams, reference_priority=("a", "b")))
    messages = sorted(
        (BASE + k * 100 * MS + shift, n, BASE + k * 100 * MS + shift)
        for k in range(5)
        for n, shift in (("a", 30 * MS), ("b", 0))
    )
    sets = [s for _, s in _run(sync, messages)]
    assert [s.stamp_ns for s in sets] == [BASE + k * 100 * MS for k in range(5)]
    assert all(s.age_ns == {"a": 0, "b": 0} and not s.missing for s in sets)
    assert all(s.offsets_ns == {"a": 30 * MS, "b": 0} for s in sets)


@pytest.mark.parametrize(
    ("shift_ms", "side", "nearest_ms"), [(-340, "older", (-340, -440)), (5000, "newer", range(1900, 2300, 100))]
)
def test_value_a_stream_with_another_clock_is_stale_and_says_how_far(shift_ms, side, nearest_ms):
    """Of a clock that is ahead 30 messages of 100 ms are held, so the nearest one is that much nearer."""
    streams = {"a": StreamConfig(), "b": StreamConfig(max_age_ns=100 * MS), "event": StreamConfig(kind="window")}
    sync = Synchronizer(_config(streams=streams, reference_priority=("a",)))
    times = [BASE + k * 100 * MS for k in range(60)]
    messages = [(t + late, n, t + shift * MS) for t in times
                for late, n, shift in ((0, "a", 0), (1, "b", shift_ms), (2, "event", shift_ms))]  # fmt: skip
    sets = [s for _, s in _run(sync, messages)]
    sets = [s for s in sets if BASE + 4000 * MS < s.stamp_ns < BASE + 5500 * MS]
    assert len(sets) == 14 and all(s.missing == {"b": "stale", "event": "stale"} for s in sets)
    limits_ns = {"b": 100 * MS, "event": (70 if shift_ms < 0 else 20) * MS}
    for found in sets:
        assert {name: gap.limit_ns for name, gap in found.gaps.items()} == limits_ns
        assert {gap.distance_ns // MS for gap in found.gaps.values()} <= set(nearest_ms)
    text = Gap(shift_ms * MS, 100 * MS).text("max_age_s")
    assert text == f"nearest message is {abs(shift_ms)} ms {side}, max_age_s is 0.1"


def test_value_who_never_came_or_died_has_no_gap():
    sync = Synchronizer(_config(streams={"a": StreamConfig(), "b": StreamConfig()}, reference_priority=("a",)))
    sets = [s for _, s in _run(sync, [(BASE + k * 100 * MS, "a", BASE + k * 100 * MS) for k in range(10)])]
    assert all(s.missing == {"b": "never_seen"} and not s.gaps for s in sets)


def test_value_packets_stamped_at_their_begin_cover_the_window_when_noise_is_their_length():
    """33 ms long, arriving at their end; sets at any phase against them hold all events of their 50 ms."""
    events = StreamConfig(kind="window", window_ns=50 * MS, noise_window_ns=33 * MS)
    sync = Synchronizer(_config(streams={"a": StreamConfig(), "event": events}, reference_priority=("a",)))
    messages = [(BASE + k * 100 * MS, "a", BASE + k * 100 * MS) for k in range(30)]
    messages += [(BASE + (k + 1) * 33 * MS + 2 * MS, "event", BASE + k * 33 * MS) for k in range(90)]
    sets = [s for _, s in _run(sync, sorted(messages)) if BASE + 500 * MS < s.stamp_ns < BASE + 2800 * MS]
    assert len(sets) == 22
    for found in sets:
        begins = [sample.stamp_ns for sample in found.samples["event"]]
        assert begins[0] <= found.stamp_ns - 50 * MS and begins[-1] + 33 * MS >= found.stamp_ns
        assert set(np.diff(begins)) == {33 * MS}


def test_value_other_rates_are_used_by_nearest_within_max_age():
    sync = Synchronizer(_config(streams={"a": StreamConfig(), "b": StreamConfig()}, reference_priority=("a", "b")))
    messages = [(BASE + k * 33 * MS, "a", BASE + k * 33 * MS) for k in range(90)]
    messages += [(BASE + k * 100 * MS + 7 * MS, "b", BASE + k * 100 * MS) for k in range(30)]
    outputs = _run(sync, sorted(messages))
    assert len(outputs) == 90
    settled = [(t, s) for t, s in outputs if t > BASE + 400 * MS and s.stamp_ns < BASE + 2900 * MS]
    assert all("b" in s.samples and abs(s.age_ns["b"]) <= 67 * MS for _, s in settled)
    assert max(t - s.stamp_ns for t, s in settled) <= 50 * MS
    _check_accounts(sync, outputs)


def test_value_drop_reasons():
    sync = Synchronizer(_config(streams={"a": StreamConfig(), "b": StreamConfig(buffer=3)}, reference_priority=("a",)))
    for stamp in (0, -5):
        assert sync.add("a", stamp, None, BASE) == []
    for k in range(5):
        sync.add("b", BASE + 5000 * MS + k * MS, None, BASE)  # a clock of its own: never matches
    for k in range(5):
        sync.add("a", BASE + k * 100 * MS, None, BASE + k * 100 * MS)
    sync.add("a", BASE + 400 * MS, None, BASE + 401 * MS)
    sync.poll(BASE + 500 * MS)
    sync.add("a", BASE + 100 * MS, None, BASE + 500 * MS)
    sync.add("b", BASE + 350 * MS, None, BASE + 500 * MS)
    for k in range(6, 10):
        sync.add("a", BASE + k * 100 * MS, None, BASE + k * 100 * MS)
    sync.poll(BASE + 2000 * MS)
    dropped = {name: dict(stats.dropped) for name, stats in sync.stats.streams.items()}
    assert dropped["a"] == {"bad_stamp": 2, "duplicate": 1, "late": 1}
    assert dropped["b"] == {"queue": 2, "other_clock": 3, "late": 1}  # its clock was set back at last
    _check_accounts_only(sync)


def _check_accounts_only(sync):
    for stats in sync.stats.streams.values():
        assert stats.added == stats.used + sum(stats.dropped.values()) + stats.buffered


def test_value_required_and_min_streams_hold_a_set_back():
    streams = {"a": StreamConfig(), "b": StreamConfig(required=True)}
    for config in (
        _config(streams=streams, reference_priority=("a",)),
        _config(streams={"a": StreamConfig(), "b": StreamConfig()}, reference_priority=("a",), min_streams=2),
    ):
        sync = Synchronizer(config)
        messages = [(BASE + k * 100 * MS, "a", BASE + k * 100 * MS) for k in range(10)]
        messages += [(BASE + k * 100 * MS, "b", BASE + k * 100 * MS) for k in range(5, 10)]
        outputs = _run(sync, sorted(messages))
        assert [s.stamp_ns for _, s in outputs] == [BASE + k * 100 * MS for k in range(5, 10)]
        assert sync.stats.sets_incomplete == 5 and sync.stats.sets_emitted == 5


@pytest.mark.parametrize("dead", [(), ("rgb",), ("rgb", "depth")], ids=str)
def test_value_a_bag_that_loops_gives_the_same_sets_each_time(dead):
    sync = Synchronizer(_config())
    one = [m for m in _messages(2.0) if m[1] not in dead]
    # ten left-overs of a stream without partner at the end of the bag
    one += [(BASE + 2100 * MS + k, "lidar", BASE + (2090 + k) * MS) for k in range(10)]
    loops, length = [], 2500 * MS
    for n in range(3):
        loops += [(arrival + n * length, name, stamp) for arrival, name, stamp in sorted(one)]
    outputs = _run(sync, loops)
    stamps = [[s.stamp_ns for t, s in outputs if BASE + n * length - 20 * MS <= t < BASE + (n + 1) * length - 20 * MS]
              for n in range(3)]  # fmt: skip
    assert stamps[0] == stamps[1] == stamps[2] and len(stamps[0]) >= 19
    assert sync.stats.resets == 2
    _check_accounts(sync, outputs)


def test_value_forward_jump_resets_once():
    sync = Synchronizer(_config())
    jumped = [(a + 2000 * MS, n, s + 3_600_000 * MS) for a, n, s in _messages(2.0)]
    outputs = _run(sync, _messages(2.0) + jumped)
    assert sync.stats.resets == 1
    assert _longest_gap(outputs, BASE + 50 * MS, BASE + 3900 * MS) <= 250 * MS
    assert len(outputs) >= 38


@pytest.mark.parametrize("shift_s", [-3600, 3600])
@pytest.mark.parametrize("name", ["rgb", "lidar"])
def test_value_one_stream_with_a_wrong_clock_does_not_stop_the_output(name, shift_s):
    sync = Synchronizer(_config())
    messages = [(a, n, s + (shift_s * 1000 * MS if n == name else 0)) for a, n, s in _messages(
        6.0, silent=[(name, 2.0, 4.0)])]  # fmt: skip
    messages = [(a, n, s + 4_000_000 * MS) for a, n, s in messages]
    outputs = _run(sync, messages)
    assert _longest_gap(outputs, BASE + 50 * MS, BASE + 5900 * MS) <= 350 * MS
    assert sync.stats.resets <= 3
    _check_accounts(sync, outputs)


@pytest.mark.parametrize("shift_s", [-3600, 3600, -5, 5])
def test_value_a_single_wrong_stamp_costs_at_most_one_gap(shift_s):
    messages = [(a, n, s + (4_000_000 + (shift_s * 1000 if n == "rgb" and s == BASE + 2000 * MS else 0)) * MS)
                for a, n, s in _messages(4.0)]  # fmt: skip
    sync = Synchronizer(_config())
    outputs = _run(sync, messages)
    assert _longest_gap(outputs, BASE + 50 * MS, BASE + 3900 * MS) <= 350 * MS
    after = [s for t, s in outputs if t > BASE + 2500 * MS]
    assert len(after) >= 14 and all(len(s.samples) == 4 for s in after[:13])
    _check_accounts(sync, outputs)


def test_value_clock_set_back_keeps_working():
    sync = Synchronizer(_config())
    first = _messages(2.0)
    second = [(a + (2000 - 3_600_00) * MS, n, s + 2000 * MS) for a, n, s in _messages(2.0)]
    outputs = []
    for arrival, name, stamp in first + second:
        outputs += sync.add(name, stamp, None, arrival)
    assert len(outputs) >= 38 and sync.stats.resets == 0


def test_value_slow_stream_takes_and_gives_the_lead():
    slow = [BASE + k * 2000 * MS + 40 * MS for k in range(3)]
    messages = _messages(6.0, names=("depth",)) + [(stamp, "rgb", stamp) for stamp in slow]
    outputs = _run(Synchronizer(_config()), sorted(messages))
    assert _longest_gap(outputs, BASE + 50 * MS, BASE + 5900 * MS) <= 350 * MS
    assert [s.stamp_ns for _, s in outputs if s.reference == "rgb"] == [
        BASE + k * 2000 * MS + 40 * MS for k in range(3)
    ]


def test_value_publish_late_allows_older_sets():
    for late in (False, True):
        config = _config(streams={"a": StreamConfig()}, reference_priority=("a",), publish_late=late)
        sync = Synchronizer(config)
        order = [1, 2, 4, 3, 5]
        got = [s.stamp_ns - BASE for k in order for s in sync.add("a", BASE + k * MS, None, BASE + k)]
        assert got == [k * MS for k in (order if late else [1, 2, 4, 5])]


def test_value_reconfigured_tolerance_counts_for_what_is_already_buffered():
    config = SyncConfig({"rgb": StreamConfig(), "lidar": StreamConfig(max_age_ns=20 * MS)}, ("rgb", "lidar"))
    sync = Synchronizer(config)
    sync.add("lidar", BASE - 60 * MS, "early", 0)
    wider = {**config.streams, "lidar": StreamConfig(max_age_ns=80 * MS)}
    assert sync.reconfigure(replace(config, streams=wider), 0) == []
    assert sync.add("rgb", BASE, "image", 1 * MS) == []
    (sample_set,) = sync.poll(60 * MS)
    assert sample_set.samples["lidar"][0].payload == "early"
    assert sync.stats.streams["lidar"].added == 1


def test_value_reconfigure_decides_what_is_open_by_the_old_settings():
    config = SyncConfig({"rgb": StreamConfig(), "lidar": StreamConfig(max_age_ns=60 * MS)}, ("rgb", "lidar"))
    sync = Synchronizer(config)
    for k in range(3):
        sync.add("rgb", BASE + k * 100 * MS, k, k * 100 * MS)
        sync.add("lidar", BASE + k * 100 * MS, k, k * 100 * MS)
    sync.add("rgb", BASE + 300 * MS, 3, 300 * MS)
    wider = {"rgb": StreamConfig(offset_ns=5 * MS), "lidar": StreamConfig()}
    assert [s.missing for s in sync.reconfigure(replace(config, streams=wider), 301 * MS)] == [{"lidar": "timeout"}]
    sync.add("rgb", BASE + 405 * MS, 4, 405 * MS)
    (sample_set,) = sync.poll(460 * MS)
    assert (sample_set.stamp_ns, set(sample_set.samples)) == (BASE + 400 * MS, {"rgb"})


def test_exception_reconfigure_refuses_other_streams():
    sync = Synchronizer(_config())
    with user_error("value-conflict", "streams"):
        sync.reconfigure(SyncConfig({"rgb": StreamConfig()}, ("rgb",)), 0)


@pytest.mark.parametrize("clock_first", [True, False])
def test_value_clock_and_messages_that_loop_together_reset_once(clock_first):
    """Whether /clock or the first message tells of the loop, each round gives the same sets."""
    sync, stamps = Synchronizer(_config()), []
    for index in range(2):
        shift, outputs = index * 5000 * MS, []
        if index and clock_first:
            outputs += sync.jump(BASE, shift + BASE)
        for number, (arrival, name, stamp) in enumerate(_messages(1.0)):
            outputs += sync.add(name, stamp, None, arrival + shift)
            if index and not clock_first and number == 1:
                outputs += sync.jump(BASE + 5 * MS, arrival + shift)
        stamps += [sample_set.stamp_ns for sample_set in outputs]
    stamps += [sample_set.stamp_ns for sample_set in sync.poll(BASE + 9000 * MS)]
    assert sync.stats.resets == 1
    assert Counter(stamps) == {BASE + k * 100 * MS: 2 for k in range(10)}


def test_exception_bad_configuration_and_unknown_stream():
    with user_error("sensor-unknown", "'x'"):
        Synchronizer(_config()).add("x", 1, None, 1)
    for priority in ((), ("rgb", "sonar"), ("rgb", "rgb")):
        with user_error("value-unknown", "reference_priority", priority):
            _config(reference_priority=priority)
    for changes in ({"max_collectors": 0}, {"timeout_ns": -1}, {"jump_reset_ns": 5}):
        with user_error("value-range", *changes):
            _config(**changes)
    with user_error("value-unknown", "'magic'"):
        StreamConfig(kind="magic")
    for changes in ({"buffer": 1}, {"window_ns": 0}, {"noise_window_ns": 9, "max_age_ns": 5}):
        with user_error("value-range", *changes):
            StreamConfig(**changes)


OPERATION = st.tuples(
    st.sampled_from([*NAMES, *NAMES, "poll", "jump", "tune"]),
    st.integers(-150, 150) | st.sampled_from([-20_000, 20_000, -700, 3_600_000, -3_600_000]),
    st.integers(-60, 120) | st.sampled_from([0, 0, -5000, 5000]),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(OPERATION, max_size=120), st.booleans(), st.integers(1, 4), st.integers(2, 6), st.integers(1, 3))
def test_property_random_abuse(operations, publish_late, min_streams, buffer, max_collectors):
    """Reordering, duplicates, jumps of stamps and clock: never raises, bounded, monotone, every message accounted."""
    streams = {name: StreamConfig(kind="window" if name == "event" else "sample", buffer=buffer,
                                  required=name == "lidar" and min_streams == 4) for name in NAMES}  # fmt: skip
    sync = Synchronizer(_config(streams=streams, publish_late=publish_late, min_streams=min(min_streams, 3),
                                max_collectors=max_collectors))  # fmt: skip
    now, outputs, last, added = BASE, [], None, Counter()
    for name, stamp_ms, step_ms in operations:
        now += step_ms * MS
        resets = sync.stats.resets
        if name == "poll":
            ready = sync.poll(now)
        elif name == "jump":
            ready = sync.jump(now + stamp_ms * MS, now)
        elif name == "tune":
            tuned = replace(sync.config.streams["depth"], offset_ns=stamp_ms * MS)
            ready = sync.reconfigure(replace(sync.config, streams={**sync.config.streams, "depth": tuned}), now)
        else:
            added[name] += 1
            ready = sync.add(name, now + stamp_ms * MS, object(), now)
        outputs += [(now, s) for s in ready]
        if sync.stats.resets != resets:
            last = None
        for sample_set in ready if not publish_late and sync.stats.resets == resets else []:
            assert last is None or sample_set.stamp_ns > last
            last = sample_set.stamp_ns
        for sample_set in ready:
            assert sample_set.reference in sample_set.samples
            assert set(sample_set.samples) | set(sample_set.missing) == set(NAMES)
            assert len(sample_set.samples) >= min(min_streams, 3)
        for key, stats in sync.stats.streams.items():
            assert stats.buffered <= buffer and stats.added == added[key]
        deadline = sync.next_deadline_ns()
        assert deadline is None or deadline >= BASE - 10**13
    _check_accounts(sync, outputs)
    assert sync.stats.sets_emitted == len(outputs)


@example({"rgb": (0, [16, 18, 22, 23], [0, 0, 0, 0, 1], (1, 1400)), "depth": (0, [], [0] * 5, None),
          "event": (0, [], [0] * 5, None), "lidar": (0, [24], [0] * 5, None)})  # fmt: skip
@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries({name: st.tuples(st.integers(-20, 20), st.lists(st.integers(0, 39), max_size=12),
                                           st.lists(st.integers(0, 8), min_size=5, max_size=5),
                                           st.none() | st.tuples(st.integers(0, 3000), st.integers(300, 2000)))
                           for name in NAMES})
)  # fmt: skip
def test_property_output_continues_while_any_stream_lives(plan):
    """10 Hz streams with phases, lost messages, jitter of arrival, duplicates and one outage each."""
    messages = []
    for name, (phase, lost, jitter, outage) in plan.items():
        for k in range(40):
            t = k * 100
            if k in lost or (outage and outage[0] <= t < sum(outage)):
                continue
            stamp = BASE + (t + phase) * MS
            messages.append((stamp + (2 + jitter[k % 5]) * MS, name, stamp))
            if k % 7 == 0:
                messages.append((stamp + 9 * MS, name, stamp))
    messages.sort()
    sync = Synchronizer(_config())
    outputs = _run(sync, messages)
    stamps = [s.stamp_ns for _, s in outputs]
    assert stamps == sorted(set(stamps)) and sync.stats.resets == 0
    _check_accounts(sync, outputs)
    # Losses on all streams at once add to the bound of 0.35 s what goes beyond one period.
    for (a, _), (b, _) in zip(outputs, outputs[1:], strict=False):
        arrivals = [a, *(t for t, _, _ in messages if a < t < b), b]
        silence = max(y - x for x, y in zip(arrivals, arrivals[1:], strict=False))
        assert b - a <= max(silence - 110 * MS, 0) + 350 * MS


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SUBSETS[:-1]), st.integers(1500, 2500), st.integers(350, 1500), st.integers(0, 5))
def test_property_first_message_after_a_return_is_used(dead, start_ms, length_ms, latency_ms):
    silent = [(name, start_ms / 1000, (start_ms + length_ms) / 1000) for name in dead]
    messages = _messages(5.5, silent=silent, latency=latency_ms * MS)
    outputs = _run(Synchronizer(_config()), messages)
    assert _longest_gap(outputs, BASE + 100 * MS, BASE + 5400 * MS) <= 350 * MS
    _check_returns(outputs, messages, dead, BASE + (start_ms + length_ms) * MS)


def test_value_a_stamp_that_another_clock_used_before_is_no_duplicate():
    """3 s ago a second publisher, 3 s ahead, sent the stamp that the right one sends now."""
    sync = Synchronizer(_config())
    messages = _messages(6, ("rgb", "lidar"), silent=[("rgb", 1.0, 1.75)], latency=0)
    messages.append((BASE + 1500 * MS, "rgb", BASE + 4500 * MS))
    outputs = _run(sync, sorted(messages))
    assert [each.samples["rgb"][0].arrival_ns for _, each in outputs if each.stamp_ns == BASE + 4500 * MS] == [
        BASE + 4500 * MS
    ]
    assert sync.stats.streams["rgb"].dropped == {"other_clock": 1}
    _check_accounts(sync, outputs)


@pytest.mark.parametrize("period_ms", [200, 250, 290])
def test_value_slow_sensors_are_whole_from_the_second_set_on(period_ms):
    """Before a second message says how fast they are, nobody is dead for having sent none; the camera comes last."""
    sync = Synchronizer(_config())
    order = ("depth", "event", "lidar", "rgb")
    messages = [(BASE + k * period_ms * MS, name, BASE + k * period_ms * MS) for k in range(4) for name in order]
    outputs = _run(sync, messages)
    assert [(s.stamp_ns - BASE) // MS for _, s in outputs] == [k * period_ms for k in range(4)]
    assert {tuple(sorted(s.samples)) for _, s in outputs} == {tuple(sorted(NAMES))}
