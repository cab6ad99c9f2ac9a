from __future__ import annotations

import pytest

from any2seg_core.demo.schedule import (
    Outage,
    demo_phases,
    is_silent,
    load_outages,
    outages,
    phase_at,
    save_outages,
    segments,
)
from any2seg_core.errors import UserError
from any2seg_core.modalities import MODALITIES


def test_value_phases_are_those_of_the_issue_and_leave_no_gap():
    phases = demo_phases(6.0)
    assert [phase.alive for phase in phases] == [
        MODALITIES,
        ("depth", "event", "lidar"),
        ("rgb", "depth", "event"),
        ("depth", "event"),
        ("lidar",),
        ("event",),
        MODALITIES,
        MODALITIES,
    ]
    assert [(phase.start_s, phase.end_s) for phase in phases] == [(6.0 * i, 6.0 * i + 6.0) for i in range(8)]
    assert segments(phases) == [(36.0, "sunny"), (6.0, "night"), (6.0, "sunny")]


def test_value_outages_follow_the_phases_and_survive_the_file(tmp_path):
    plan = outages(demo_phases(2.0))
    save_outages(tmp_path / "plan.json", plan)
    assert load_outages(tmp_path / "plan.json") == plan
    assert plan[0] == Outage(start_s=2.0, end_s=4.0, sensors=("rgb",))
    assert len(plan) == 5
    assert not is_silent(plan, "rgb", 1.999)
    assert is_silent(plan, "rgb", 2.0)
    assert not is_silent(plan, "rgb", 4.0)
    assert not is_silent(plan, "lidar", 3.0)


def test_value_phase_at_is_half_open():
    phases = demo_phases(1.0)
    assert phase_at(phases, 0.0) is phases[0]
    assert phase_at(phases, 1.0) is phases[1]
    assert phase_at(phases, 8.0) is None
    assert phase_at(phases, -0.1) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot read the schedule"),
        ("[", "schedule"),
        ('[{"start_s": 1}]', "end_s"),
        ('[{"start_s": 1, "end_s": 2, "sensors": ["radar"]}]', "radar"),
        ('[{"start_s": 1, "end_s": 2, "sensors": [], "rate": 1}]', "rate"),
    ],
)
def test_exception_bad_schedule_names_the_file_and_the_defect(tmp_path, text, told):
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match="plan.json") as caught:
        load_outages(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
