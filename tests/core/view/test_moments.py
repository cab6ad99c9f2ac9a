"""Moments that are asked for, against the sets that one pass over the same recording gives."""

from __future__ import annotations

import fake_car
import numpy as np
import pytest
from bag_files import START_NS, small_entries, write_bag
from raised import user_error

from any2seg_core.bags.opened import open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.timing import clock_offset_ns
from any2seg_core.base.errors import UserError
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.view.frames import survey
from any2seg_core.view.moments import MomentReader


@pytest.fixture(scope="module")
def expected(car_bag, predictor):
    """(seconds, used, labels) of every set, in order."""
    with open_bag(car_bag) as opened:
        segmenter = SetSegmenter(predictor, opened.sync_config(predictor.contract.event_window_ns))
        found = []
        for each in opened.sets(predictor.contract.event_window_ns):
            frame = each.frame()
            labels = segmenter.segment(each.sample_set, frame, each.time_ns).segmentation.labels
            found.append(((each.stamp_ns - opened.bag.start_ns) / 1e9, tuple(frame.planes), labels))
    return found


@pytest.mark.parametrize("order", ["forward", "backward", "jumping"])
def test_value_moments_are_the_sets_of_one_pass(car_bag, predictor, expected, order):
    """In whatever order they are asked for; what came before a moment is read as far as it matters."""
    assert len(expected) >= 24
    forward = [0, 1, 2, 9, 10, 11, 12, 15, 16, 17, 23, 24]
    places = {"forward": forward, "backward": [24, 23, 16, 11, 10, 0], "jumping": [20, 3, 11, 4, 24, 12]}[order]
    with open_bag(car_bag) as opened:
        reader = MomentReader(opened, predictor)
        for place in places:
            time_s, used, labels = expected[place]
            moment = reader.at(round(time_s, 3) + 0.03)
            assert moment.time_s == pytest.approx(time_s, abs=1e-9)
            assert moment.used == used
            np.testing.assert_array_equal(moment.segmentation.labels, labels)
            if place + 1 < len(expected):
                assert moment.after_s == pytest.approx(expected[place + 1][0])
            if place:
                assert moment.before_s == pytest.approx(expected[place - 1][0])


def test_value_a_silent_sensor_is_named_and_the_ends_are_there(car_bag, predictor):
    with open_bag(car_bag) as opened:
        reader = MomentReader(opened, predictor)
        silent = reader.at(1.4)
        assert "lidar" not in silent.used and silent.missing["lidar"] in ("dead", "stale", "timeout")
        assert reader.at(0.0).before_s is None
        last = reader.at(reader.end_s)
        assert last.after_s is None and last.frame is not None


def test_value_a_sensor_that_was_there_long_before_is_not_called_never_seen(tmp_path, predictor):
    """Four seconds in, a LiDAR that fell silent after one: the synchroniser of a jump there has not seen it."""
    lidar = fake_car.TOPICS.streams["lidar"]
    with Recording(fake_car.write_bag(tmp_path / "whole", 5.0)) as bag:
        entries = [(m.time_ns, m.topic, m.kind, m.data) for m in bag.messages()]
    last_ns = fake_car.START_NS + 1_000_000_000
    path = write_bag(tmp_path / "bag", [entry for entry in entries if entry[1] != lidar or entry[0] < last_ns])
    fake_car.write_calibration(path / "calibration.yaml")
    with open_bag(path) as opened:
        assert MomentReader(opened, predictor).at(4.5).missing["lidar"] == "silent"
        assert MomentReader(opened, predictor).at(0.0).missing["lidar"] == "never_seen"


def test_value_nothing_is_shown_where_nothing_was_recorded(tmp_path):
    """Two stretches of a second with four seconds between them: there, the sets beside are named."""
    entries = [*small_entries(10), *small_entries(10, start_ns=START_NS + 5_000_000_000)]
    with open_bag(write_bag(tmp_path / "bag", entries)) as opened:
        reader = MomentReader(opened, None)
        nothing = reader.at(3.0)
        assert nothing.frame is None and nothing.used == ()
        assert reader.at(0.9).after_s == pytest.approx(5.0)
        assert reader.at(5.0).frame is not None


def test_value_after_a_failure_moments_are_found_again(tmp_path, monkeypatch):
    """What breaks a stream in the middle ends it: what comes after is not silence."""
    with open_bag(write_bag(tmp_path / "bag", small_entries(20))) as opened:
        expected = [MomentReader(opened, None).at(time_s).time_s for time_s in (0.5, 0.9)]
        real = opened.sets

        def broken(*arguments, **options):
            yield from list(real(*arguments, **options))[:7]
            raise UserError("damaged", "bag-format")

        reader = MomentReader(opened, None)
        monkeypatch.setattr(opened, "sets", broken)
        with user_error("bag-format"):
            reader.at(0.9)
        monkeypatch.setattr(opened, "sets", real)
        assert [reader.at(time_s).time_s for time_s in (0.5, 0.9)] == expected


def test_value_stamps_of_another_clock_are_brought_to_the_start():
    assert clock_offset_ns(100, 0, 1000) == 0
    assert clock_offset_ns(90_000_000_000, 1_600_000_000_000_000_000, 1_600_000_030_000_000_000) == (
        1_600_000_000_000_000_000 - 90_000_000_000
    )


def test_value_survey_tells_when_a_sensor_was_silent(car_bag, predictor):
    with open_bag(car_bag) as opened:
        frames = list(survey(opened, predictor))
    times = [frame.time_s for frame in frames]
    assert times == sorted(times) and len(frames) >= 24
    silent = [frame.time_s for frame in frames if "lidar" not in frame.used and frame.time_s > 0.5]
    assert 1.0 < min(silent) < 1.3 and 1.4 < max(silent) < 1.8
    judged = [frame for frame in frames if frame.is_judged]
    assert all(0.0 < frame.confidence <= 1.0 for frame in judged)
    lowest = min(judged, key=lambda frame: frame.reliability.get("lidar", 1.0))
    assert 1.0 < lowest.time_s < 2.0


def test_value_survey_without_a_checkpoint_tells_what_was_there(car_bag):
    with open_bag(car_bag) as opened:
        frames = list(survey(opened, None))
    assert not any(frame.is_judged for frame in frames)
    assert {"rgb", "depth", "event", "lidar"} == set(frames[5].used)


def test_value_survey_marks_a_gap_of_all_sensors(tmp_path):
    entries = [*small_entries(10), *small_entries(10, start_ns=START_NS + 5_000_000_000)]
    with open_bag(write_bag(tmp_path / "bag", entries)) as opened:
        frames = list(survey(opened, None))
    assert [frame.used for frame in frames].count(()) == 1
    assert 0.9 < next(frame.time_s for frame in frames if not frame.used) < 5.0
