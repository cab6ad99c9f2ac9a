"""Which frames count as an outage, as the first second after one, and as a change of sensors."""

from __future__ import annotations

from any2seg_core.evaluation.recording.outages import OUTAGE, RECOVERY, SWITCH, UNTOUCHED, OutageWindows
from any2seg_core.faults.grammar import parse_drop, parse_fault

ALL, BLIND = ("rgb", "lidar"), ("lidar",)


def test_value_frames_are_sorted_by_the_schedule_and_by_what_was_fused():
    windows = OutageWindows(parse_drop("camera@1:2"))
    frames = [(0.9, ALL), (1.0, ALL), (1.1, BLIND), (1.9, BLIND), (2.0, BLIND), (2.1, ALL), (2.99, ALL), (3.0, ALL)]
    assert [windows.of(*frame) for frame in frames] == [
        (UNTOUCHED,), (OUTAGE,), (OUTAGE, SWITCH), (OUTAGE,),
        (RECOVERY,), (RECOVERY, SWITCH), (RECOVERY,), (UNTOUCHED,),
    ]  # fmt: skip


def test_value_an_outage_that_begins_within_a_second_after_another_is_one():
    windows = OutageWindows((*parse_drop("camera@1:2"), *parse_drop("lidar@2.5:3")))
    assert [windows.of(time_s, ALL)[0] for time_s in (2.4, 2.5, 3.2, 4.0)] == [RECOVERY, OUTAGE, RECOVERY, UNTOUCHED]


def test_value_without_a_silent_sensor_there_are_no_windows():
    for faults in ((), (parse_fault("blur:rgb@1:2"),), (parse_fault("drop:rgb@1:2,probability=0.5"),)):
        windows = OutageWindows(faults)
        assert [windows.of(1.5, ALL), windows.of(1.6, BLIND)] == [(), ()]


def test_value_an_outage_without_an_end_has_nothing_after_it():
    windows = OutageWindows(parse_drop("camera@1:"))
    assert windows.of(1e6, BLIND) == (OUTAGE,)
