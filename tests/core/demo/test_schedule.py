from __future__ import annotations

from any2seg_core.demo.schedule import demo_phases, outages, phase_at, segments
from any2seg_core.faults.kinds import Drop, load_faults, save_faults
from any2seg_core.vocabulary.modalities import VEHICLE


def test_value_phases_are_those_of_the_issue_and_leave_no_gap():
    phases = demo_phases(6.0)
    assert [phase.alive for phase in phases] == [
        VEHICLE.members,
        ("depth", "event", "lidar"),
        ("rgb", "depth", "event"),
        ("depth", "event"),
        ("lidar",),
        ("event",),
        VEHICLE.members,
        VEHICLE.members,
    ]
    assert [(phase.start_s, phase.end_s) for phase in phases] == [(6.0 * i, 6.0 * i + 6.0) for i in range(8)]
    assert segments(phases) == [(36.0, "sunny"), (6.0, "night"), (6.0, "sunny")]


def test_value_outages_follow_the_phases_and_survive_the_file(tmp_path):
    plan = outages(demo_phases(2.0))
    save_faults(tmp_path / "plan.json", plan)
    assert load_faults(tmp_path / "plan.json") == plan
    assert plan[0] == Drop(start_s=2.0, end_s=4.0, sensors=("rgb",))
    assert len(plan) == 5


def test_value_phase_at_is_half_open():
    phases = demo_phases(1.0)
    assert phase_at(phases, 0.0) is phases[0]
    assert phase_at(phases, 1.0) is phases[1]
    assert phase_at(phases, 8.0) is None
    assert phase_at(phases, -0.1) is None
