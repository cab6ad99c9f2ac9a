"""A stream that is switched off and on again, in virtual time. The oracle is what was sent."""

from __future__ import annotations

from dataclasses import replace

from any2seg_core.sync import StreamConfig, SyncConfig, Synchronizer

MS = 1_000_000
NAMES = ("rgb", "lidar")


def switched(config: SyncConfig, **enabled: bool) -> SyncConfig:
    streams = {name: replace(stream, enabled=enabled.get(name, stream.enabled))
               for name, stream in config.streams.items()}  # fmt: skip
    return replace(config, streams=streams)


def drive(sync, begin_ms, end_ms, silent=()):
    """Both sensors at 10 Hz, the LiDAR 10 ms before the camera; the sets with the moment at which they came out."""
    sets = []
    for now_ms in range(begin_ms, end_ms, 10):
        phase = now_ms % 100
        name = {0: "rgb", 90: "lidar"}.get(phase)
        if name is not None and name not in silent:
            sets += [(now_ms, found) for found in sync.add(name, now_ms * MS, now_ms, now_ms * MS)]
        sets += [(now_ms, found) for found in sync.poll(now_ms * MS)]
    return sets


def balance(stats):
    return stats.added, stats.used + stats.buffered + sum(stats.dropped.values())


def test_value_sensor_that_is_switched_off_is_neither_used_nor_waited_for_and_comes_back():
    config = SyncConfig(dict.fromkeys(NAMES, StreamConfig()), NAMES)
    sync = Synchronizer(config)
    assert set(drive(sync, 1000, 2000)[-1][1].samples) == set(NAMES)
    sync.reconfigure(switched(config, lidar=False), 2000 * MS)
    sets = drive(sync, 2000, 3000)
    assert [now_ms for now_ms, _ in sets] == list(range(2000, 3000, 100))  # with the camera, at once
    for _, found in sets:
        assert set(found.samples) == {"rgb"}
        assert found.missing == {"lidar": "disabled"}
        assert found.faults == {}
    stats = sync.stats.streams["lidar"]
    assert (stats.state, stats.fault) == ("disabled", None)
    assert stats.dropped["disabled"] >= 10
    sync.reconfigure(config, 3000 * MS)
    assert set(drive(sync, 3000, 4000)[-1][1].samples) == set(NAMES)
    for name in NAMES:
        added, explained = balance(sync.stats.streams[name])
        assert added == explained


def test_value_leader_that_is_switched_off_leaves_no_gap():
    config = SyncConfig(dict.fromkeys(NAMES, StreamConfig()), NAMES)
    sync = Synchronizer(config)
    before = drive(sync, 1000, 2000)
    sync.reconfigure(switched(config, rgb=False), 2000 * MS)
    after = drive(sync, 2000, 3000)
    moments_ms = [now_ms for now_ms, _ in (*before[-1:], *after)]
    assert max(later - earlier for earlier, later in zip(moments_ms, moments_ms[1:], strict=False)) <= 250
    assert {found.reference for _, found in after} == {"lidar"}


def test_value_all_switched_off_give_nothing_and_come_back_without_a_start():
    config = SyncConfig(dict.fromkeys(NAMES, StreamConfig()), NAMES)
    sync = Synchronizer(config)
    drive(sync, 1000, 2000)
    sync.reconfigure(switched(config, rgb=False, lidar=False), 2000 * MS)
    assert drive(sync, 2000, 3000) == []
    assert sync.next_deadline_ns() is None
    sync.reconfigure(switched(config, lidar=True, rgb=False), 30_000 * MS)
    sets = drive(sync, 30_000, 31_000)
    assert sets[0][0] <= 30_200
    assert {tuple(found.samples) for _, found in sets} == {("lidar",)}


def test_value_sensor_that_is_off_from_the_start_costs_no_waiting():
    config = switched(SyncConfig(dict.fromkeys(NAMES, StreamConfig()), NAMES), rgb=False)
    sync = Synchronizer(config)
    sets = drive(sync, 1000, 1300, silent=("rgb",))
    assert sets[0][0] == 1090
    assert sets[0][1].missing == {"rgb": "disabled"}
