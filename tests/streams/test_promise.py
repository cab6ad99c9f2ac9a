"""Transitions and hostile schedules against the model of the promise; `make faults` runs the whole of it."""

import faults_run
import hostile
import promise
import pytest
from hostile import MS


def test_property_every_transition_between_two_subsets_keeps_the_promise():
    tally = faults_run.run_transitions(1)
    assert tally.broken == [] and tally.schedules == 210


@pytest.mark.parametrize("first", [0, 100, 200, 300])
def test_property_random_lies_keep_the_promise(first):
    tallies = faults_run.run_schedules(range(first, first + 50), 1)
    assert [text for tally in tallies.values() for text in tally.broken] == []
    assert sum(tally.schedules for kind, tally in tallies.items() if kind.endswith("liars")) == 50


def test_value_a_schedule_is_made_again_from_its_seed():
    assert hostile.schedule(7).messages == hostile.schedule(7).messages != hostile.schedule(8).messages


def test_value_the_model_sees_silence_and_messages_that_are_lost():
    """The judge is judged: a plan whose healthy sensor is not what it claims breaks the promise."""
    plan = hostile.transition(0, ("rgb",), ("lidar",))
    held_up = [message for message in plan.messages if not 1000 * MS < message[0] < 1900 * MS]
    silent = hostile.Schedule("rgb", 100 * MS, 0, plan.first_ns, plan.last_ns, {}, 100 * MS, held_up)
    assert any("silent for" in text for text in promise.run(silent).violations)
    assert promise.run(plan).violations == []
