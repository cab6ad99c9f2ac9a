"""Moments without a set, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from bag_files import IMAGE, NS_PER_S, START_NS, small_entries, write_bag

from any2seg_core.bags.reader import Recording
from any2seg_core.bags.sets import SetStream
from any2seg_core.evaluation.recording.silence import ExpectedOutputMonitor, MissedOutput
from any2seg_core.messages import serialise
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.topics import TopicMap

MS = 1_000_000
TOPICS = TopicMap({"rgb": "/camera/image_raw"}, {}, truth="/semantic")


def truths(stamps_ms):
    pixels = np.full((3, 4), 2, np.uint8)
    pixels[0] = 255
    return [
        (START_NS + ms * MS, "/semantic", IMAGE, serialise.image(pixels, "mono8", START_NS + ms * MS, "camera"))
        for ms in stamps_ms
    ]


def missed_of(path, entries, lost_ms=range(0)):
    """(stamp in ms, has a truth, its pixels) of every missed moment; pictures of `lost_ms` are lost on the way."""
    with Recording(write_bag(path, sorted(entries))) as bag:
        sync = sync_config({}, ["rgb"], 50 * MS)
        watch = ExpectedOutputMonitor(TOPICS, sync, None, 25)
        kept = (
            message
            for message in watch.messages(bag.messages())
            if message.topic == "/semantic" or (message.stamp_ns - START_NS) // MS not in lost_ms
        )
        frames = list(watch.frames(SetStream(kept, TOPICS, sync, FrameBuilder(None, 50 * MS))))
    assert [found.stamp_ns for found in frames] == sorted(found.stamp_ns for found in frames)
    missed = [found for found in frames if isinstance(found, MissedOutput)]
    for found in missed:
        assert found.time_ns - found.stamp_ns <= 10 * MS
        assert found.truth is None or found.truth.pixels(25).tolist() == [0, 0, 8] + [0] * 22
    return [((found.stamp_ns - START_NS) // MS, found.truth is not None) for found in missed]


def test_value_a_whole_recording_misses_nothing_whatever_its_truth(tmp_path):
    for index, stamps_ms in enumerate(([], range(0, 4000, 25), range(50, 4000, 100), range(0, 4000, 1000))):
        assert missed_of(tmp_path / str(index), small_entries(40) + truths(stamps_ms)) == []


def test_value_a_single_picture_is_missed_where_a_truth_says_so(tmp_path):
    lost = range(1000, 1001)
    assert missed_of(tmp_path / "a", small_entries(40) + truths(range(0, 4000, 100)), lost) == [(1000, True)]
    assert missed_of(tmp_path / "b", small_entries(40), lost) == []  # it may as well be jitter
    assert missed_of(tmp_path / "c", small_entries(40), range(1000, 1200)) == [(1000, False), (1100, False)]


def test_value_a_truth_of_another_rate_weighs_a_silence_as_long_as_it_is(tmp_path):
    lost, due = range(1000, 2000), range(1000, 2000, 100)
    fast = missed_of(tmp_path / "fast", small_entries(40) + truths(range(0, 4000, 25)), lost)
    assert fast == [(ms, True) for ms in due]
    slow = missed_of(tmp_path / "slow", small_entries(40) + truths(range(0, 4000, 500)), lost)
    assert slow == [(ms, ms % 500 == 0) for ms in due]


def test_value_a_truth_after_the_last_picture_is_nobodys_fault_and_one_before_a_late_end_is(tmp_path):
    images = small_entries(20)
    stamps_ms = range(0, 4000, 100)
    assert missed_of(tmp_path / "a", images + truths(stamps_ms)) == []
    expected = [(ms, True) for ms in range(1500, 2000, 100)]
    assert missed_of(tmp_path / "b", images + truths(stamps_ms), range(1500, 2000)) == expected


@pytest.mark.parametrize("step_s", [-60, 3600])
def test_value_a_clock_that_is_set_is_no_silence(tmp_path, step_s):
    entries = small_entries(20)
    for k in range(20):
        time_ns = START_NS + (20 + k) * 100 * MS
        pixels = np.full((3, 4), k, np.uint8)
        data = serialise.image(pixels, "mono8", time_ns + step_s * NS_PER_S, "camera")
        entries.append((time_ns, "/camera/image_raw", IMAGE, data))
    with Recording(write_bag(tmp_path / "bag", entries)) as bag:
        sync = sync_config({}, ["rgb"], 50 * MS)
        watch = ExpectedOutputMonitor(TOPICS, sync, None, 25)
        sets = SetStream(watch.messages(bag.messages()), TOPICS, sync, FrameBuilder(None, 50 * MS))
        found = list(watch.frames(sets))
    assert len(found) >= 39
    assert not any(isinstance(frame, MissedOutput) for frame in found)


def paused(gap_s, more=()):
    """20 pictures, `gap_s` later 20 more; `more` are other messages."""
    later = small_entries(20, start_ns=START_NS + 2 * NS_PER_S + gap_s * NS_PER_S)
    return [*small_entries(20), *later, *more]


def found_in(path, entries, chosen=("/camera/image_raw",), lost=lambda message: False):
    """(sets, missed moments, pauses) of a recording of which `chosen` topics are read."""
    with Recording(write_bag(path, sorted(entries))) as bag:
        sync = sync_config({}, ["rgb"], 50 * MS)
        others = bag.messages([name for name in bag.topics if name not in chosen])
        watch = ExpectedOutputMonitor(TOPICS, sync, None, 25, others)
        kept = (message for message in watch.messages(bag.messages(chosen)) if not lost(message))
        frames = list(watch.frames(SetStream(kept, TOPICS, sync, FrameBuilder(None, 50 * MS))))
        missed = [frame for frame in frames if isinstance(frame, MissedOutput)]
        return len(frames) - len(missed), len(missed), watch.pauses


@pytest.mark.parametrize(("gap_s", "told"), [(11, "11.1 s"), (8 * 3600, "8.0 h"), (30 * 86400, "30.0 days")])
@pytest.mark.parametrize("latched_s", [None, -0.5])
def test_value_a_jump_of_the_clock_or_a_pause_of_the_recorder_is_no_silence(tmp_path, gap_s, told, latched_s):
    """As by NTP after the start: stamps and log times. What is latched may come again before the sensors do."""
    entries = paused(gap_s)
    if latched_s is not None:
        entries.append((START_NS + round((2 + gap_s + latched_s) * NS_PER_S), "/latched", IMAGE, entries[0][3]))
    sets, missed, pauses = found_in(tmp_path / "bag", entries)
    assert (sets, missed, len(pauses)) == (40, 0, 1)
    if latched_s is None:
        assert pauses[0].text(START_NS) == f"the clock jumps forward by {told} at 1.9 s, or recording was paused"


def test_value_sensors_that_are_silent_while_others_are_recorded_are_missed(tmp_path):
    """12 s in which the odometry goes on: the sensors were dead, and labels were due."""
    more = [(START_NS + k * NS_PER_S, "/odometry", IMAGE, small_entries(1)[0][3]) for k in range(16)]
    sets, missed, pauses = found_in(tmp_path / "bag", paused(12, more))
    assert (sets, pauses) == (40, ()) and 118 <= missed <= 121


def test_value_a_fault_that_takes_everything_is_missed_however_long(tmp_path):
    def lost(message):
        return 2 <= (message.stamp_ns - START_NS) / NS_PER_S < 22

    assert found_in(tmp_path / "bag", small_entries(240), lost=lost) == (40, 200, ())
    assert found_in(tmp_path / "end", small_entries(200), lost=lambda m: m.stamp_ns >= START_NS + 5 * NS_PER_S) == (
        50, 150, (),
    )  # fmt: skip


def test_value_what_is_missed_before_a_pause_counts_and_what_comes_after_it_is_a_start(tmp_path):
    """Pictures 15 to 22 are lost on the way; the recorder stops after picture 19."""
    def lost(message):
        index = round((message.stamp_ns - START_NS) / NS_PER_S * 10)
        return 15 <= index < 20 or 620 <= index < 623

    sets, missed, pauses = found_in(tmp_path / "bag", paused(60), lost=lost)
    assert (sets, missed, len(pauses)) == (32, 5, 1)
