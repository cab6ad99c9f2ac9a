"""Reliability of sensors: scores over time in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.reliability import Observation, ReliabilityMonitor, filled_share, observations
from any2seg_core.sync import Sample, SampleSet, StreamConfig, SyncConfig
from any2seg_core.vocabulary.modalities import VEHICLE

MS = 1_000_000
PERIOD_NS = 50 * MS


def run(seen, seconds: float, monitor=None, start_ns: int = 0):
    """Scores of one sensor at 20 Hz; `seen(time_s)` is what each set says of it."""
    monitor = monitor or ReliabilityMonitor({"lidar": 150 * MS})
    scores = []
    for index in range(round(seconds * 20)):
        now_ns = start_ns + index * PERIOD_NS
        found = monitor.update(now_ns, {"lidar": seen(index / 20)})
        scores.append(found["lidar"].score if "lidar" in found else None)
    return scores


def healthy(_time_s):
    return Observation(True, filled=0.08, age_ns=20 * MS)


def test_value_a_healthy_sensor_has_1_and_one_that_was_never_seen_has_none():
    assert run(healthy, 5.0) == [1.0] * 100
    assert run(lambda _: None, 1.0) == [None] * 20


def test_value_a_dead_sensor_falls_to_0_within_a_second_and_comes_back():
    scores = run(lambda time_s: Observation(not 2.0 <= time_s < 4.0, 0.08, age_ns=0), 6.0)
    assert scores[39] == 1.0
    assert scores[40:60] == pytest.approx([1.0 - k / 20 for k in range(1, 21)], abs=0.01)
    assert scores[60:80] == [0.0] * 20
    assert scores[99] == 1.0


@pytest.mark.parametrize("period_s", [0.01, 0.05, 1.0, 3.0])
def test_value_sets_that_end_altogether_are_no_reliability(period_s):
    """After a second, or three periods where they are longer."""
    monitor, step_ns = ReliabilityMonitor({}), round(period_s * 1e9)
    for index in range(8):
        monitor.update(index * step_ns, {"rgb": Observation(True), "lidar": Observation(True)})
    end_ns = 7 * step_ns
    patience_ns = max(10**9, 3 * step_ns)
    assert [each.score for each in monitor.scores(end_ns + patience_ns).values()] == [1.0, 1.0]
    assert [each.score for each in monitor.scores(end_ns + patience_ns + 1).values()] == [0.0, 0.0]


def test_value_a_sensor_that_sends_in_every_third_set_alone_is_no_bad_one():
    scores = run(lambda time_s: Observation(round(time_s * 20) % 3 == 0, 0.08, age_ns=0), 20.0)
    assert min(scores[40:]) > 0.8


def test_value_a_plane_that_thins_out_is_seen_long_before_it_is_empty():
    """From 8 % of the plane linearly to nothing within ten seconds."""
    scores = run(lambda time_s: Observation(True, 0.08 * min(1.0, (13.0 - time_s) / 10.0), age_ns=0), 13.0)
    assert scores[59] == 1.0
    assert scores[20 * 8] < 0.9  # half of the points
    assert scores[20 * 11] < 0.4  # a fifth
    assert all(late <= early + 1e-9 for early, late in zip(scores[60:], scores[61:], strict=False))


def test_value_a_sparse_sensor_is_measured_by_itself():
    assert run(lambda _: Observation(True, 0.001, age_ns=0), 4.0) == [1.0] * 80


def test_value_labels_that_depart_from_the_others():
    def seen(agreement):
        return lambda _: Observation(True, 0.08, agreement, 0)

    monitor = ReliabilityMonitor({})
    assert run(seen(0.6), 2.0, monitor)[-1] == 1.0
    assert run(seen(0.24), 0.2, monitor, 2 * 10**9)[-1] == pytest.approx(0.24 / (0.85 * 0.6), abs=0.01)


def test_value_lateness_counts_in_shares_of_what_is_allowed():
    """Usually 30 ms of 150 ms; 60 ms later half of the room is left."""
    monitor = ReliabilityMonitor({"lidar": 150 * MS})
    assert run(lambda _: Observation(True, 0.08, age_ns=30 * MS), 3.0, monitor)[-1] == 1.0
    late = run(lambda _: Observation(True, 0.08, age_ns=90 * MS), 1.0, monitor, 3 * 10**9)
    assert late[-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("observation", "part", "value"),
    [
        (Observation(True, repeats=0.6), "repetition", 0.4),
        (Observation(True, fault="repeats 2 frames"), "repetition", 0.0),
        (Observation(True, fault="two publishers 3600 s apart"), "clock", 0.5),
        (Observation(False, fault="stamps run backwards"), "clock", 0.0),
    ],
)
def test_value_parts_are_told_apart(observation, part, value):
    monitor = ReliabilityMonitor({})
    for index in range(40):
        found = monitor.update(index * PERIOD_NS, {"rgb": observation})["rgb"]
    assert found.parts[part] == pytest.approx(value)
    assert found.score == min(found.parts.values()) == pytest.approx(0.0 if not observation.is_fused else value)


def test_property_scores_stay_within_0_and_1():
    rng, monitor = np.random.default_rng(0), ReliabilityMonitor({"rgb": 100 * MS})
    now_ns = 0
    for _ in range(3000):
        now_ns += int(rng.integers(0, 10**8))
        seen = {
            name: Observation(bool(rng.integers(2)), *rng.random(2), int(rng.integers(0, 10**9)), rng.random())
            for name in rng.choice(["rgb", "depth", "event", "lidar"], 2, replace=False)
        }
        for each in monitor.update(now_ns, seen).values():
            assert 0.0 <= each.score <= 1.0 and all(0.0 <= part <= 1.0 for part in each.parts.values())


def test_value_turns_go_round():
    monitor = ReliabilityMonitor({}, compare_every=2)
    turns = [monitor.turn(("rgb", "depth", "lidar")) for _ in range(12)]
    assert turns[::2] == [None] * 6
    assert sorted(turns[1::2]) == ["depth", "depth", "lidar", "lidar", "rgb", "rgb"]
    assert [monitor.turn(("lidar",)) for _ in range(4)] == [None] * 4


def test_value_the_plane_of_a_camera_counts_where_it_is_neither_black_nor_white():
    plane = np.full((30, 41, 3), 100, np.uint8)
    plane[:3] = 8
    plane[3:9] = 250
    assert filled_share(VEHICLE.sensor("rgb"), plane) == pytest.approx(21 / 30)
    assert filled_share(VEHICLE.sensor("depth"), plane) == 1.0
    plane[:15] = 0
    assert filled_share(VEHICLE.sensor("event"), plane) == 0.5


def test_value_points_that_are_lost_show_although_they_overlap_in_the_plane():
    monitor = ReliabilityMonitor({})
    assert run(lambda _: Observation(True, 0.36, returns=30_000), 3.0, monitor)[-1] == 1.0
    thinned = run(lambda _: Observation(True, 0.33, returns=12_000), 1.0, monitor, 3 * 10**9)
    assert thinned[-1] == pytest.approx(0.4 / 0.8, abs=0.01)


def test_value_a_set_becomes_observations():
    plane = np.full((4, 5, 3), 9, np.uint8)
    sample = (Sample(10, 11, None),)
    found = SampleSet(
        0, "rgb", {"rgb": sample, "depth": sample, "event": sample}, {"lidar": "never_seen"},
        {"rgb": 0, "depth": -7, "event": 3}, faults={"depth": "jumps"},
    )  # fmt: skip
    frame = Frame(0, {"rgb": plane, "depth": plane}, {"event": "event: no event"}, {"event": "empty"},
                  repeats={"rgb": 0.25})  # fmt: skip
    assert observations(found, frame, VEHICLE, "depth", 0.75) == {
        "rgb": Observation(True, 1.0, None, 0, 0.25, ""),
        "depth": Observation(True, 1.0, 0.75, 7, 0.0, "jumps"),
        "lidar": None,
    }
    cloud = SampleSet(0, "lidar", {"lidar": sample}, {}, {"lidar": 5})
    frame = Frame(0, {"lidar": plane}, {}, {}, {"lidar": np.ones((70, 4), np.float32)})
    assert observations(cloud, frame) == {"lidar": Observation(True, 1.0, None, 5, returns=70)}
    ill = Frame(0, {}, {}, {"rgb": "black", "depth": "empty", "event": "event_silence"})
    assert {name: each and each.is_fused for name, each in observations(found, ill).items()} == {
        "rgb": False, "depth": False, "event": False, "lidar": None,
    }  # fmt: skip


def test_value_a_sensor_that_is_switched_off_has_no_score_and_limits_come_from_the_settings():
    config = SyncConfig({"rgb": StreamConfig(max_age_ns=90 * MS), "event": StreamConfig(kind="window")}, ("rgb",))
    monitor = ReliabilityMonitor.of(config)
    assert set(monitor.update(0, {"rgb": Observation(True), "event": Observation(True)})) == {"rgb", "event"}
    assert set(monitor.update(1, {"rgb": None})) == {"event"}
    monitor.reset()
    assert monitor.scores(2) == {}
