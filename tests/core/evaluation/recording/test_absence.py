"""Spans of absence against hand counts."""

from __future__ import annotations

import pytest

from any2seg_core.evaluation.recording.absence import AbsenceLog

BOTH = ("rgb", "lidar")


def test_value_of_evaluated_sets_alone():
    log = AbsenceLog(BOTH)
    log.evaluated(0.3, BOTH, ("rgb",))  # not usable from the start on
    log.evaluated(0.6, BOTH, BOTH)
    log.evaluated(0.9, ("lidar",), ("lidar",))
    assert log.finish(1.2) == {"lidar": [(0.0, 0.6)], "rgb": [(0.9, 1.2)]}


def test_value_skipped_sets_tell_when_a_sensor_dies_and_comes_back():
    log = AbsenceLog(BOTH)
    log.evaluated(0.0, BOTH, BOTH)
    for time_s, samples in ((0.1, BOTH), (0.2, ("rgb",)), (0.3, BOTH), (0.4, ("rgb",)), (0.5, BOTH)):
        log.skipped(time_s, samples)
    log.evaluated(0.6, BOTH, BOTH)
    assert log.finish(0.7) == {"lidar": [(0.2, 0.3), (0.4, 0.5)]}


@pytest.mark.parametrize(("used", "spans"), [(BOTH, [(0.0, 0.2)]), (("rgb",), [(0.0, 0.9)])])
def test_value_a_sensor_not_evaluated_yet_is_as_the_next_evaluated_set_says(used, spans):
    log = AbsenceLog(BOTH)
    log.evaluated(0.0, ("rgb",), ("rgb",))
    log.skipped(0.1, ("rgb",))
    log.skipped(0.2, BOTH)
    log.evaluated(0.4, BOTH, used)
    assert log.finish(0.9)["lidar"] == spans


def test_value_what_cannot_be_used_is_absent_until_an_evaluated_set_says_otherwise():
    log = AbsenceLog(("rgb",))
    log.evaluated(0.0, ("rgb",), ())
    log.skipped(0.1, ("rgb",))
    log.skipped(0.2, ())
    log.skipped(0.3, ("rgb",))
    assert log.finish(0.5) == {"rgb": [(0.0, 0.5)]}
