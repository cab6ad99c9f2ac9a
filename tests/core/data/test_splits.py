"""Splits for few labels: stratified, spread over recordings, nested, seeded, never empty, repeatable by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.data.splits import ends_of_recordings, fair_sequence, labelled_count, labelling_order, read_names


class Listed:
    """Frames that are names alone: condition/recording/number."""

    root, split = Path("set"), "train"

    def __init__(self, recordings: dict[tuple[str, str], int]):
        self.frames = [
            SimpleNamespace(name=f"{condition}/{recording}/{number}", condition=condition, recording=recording)
            for (condition, recording), count in recordings.items()
            for number in range(count)
        ]

    def __len__(self) -> int:
        return len(self.frames)

    def condition(self, frame: SimpleNamespace) -> str:
        return frame.condition

    def recording(self, frame: SimpleNamespace) -> str:
        return frame.recording


@given(st.lists(st.integers(1, 30), min_size=1, max_size=9))
def test_property_no_group_is_ever_a_whole_turn_off_its_share(sizes: list[int]):
    sequence = fair_sequence(sizes)
    total = sum(sizes)
    assert Counter(sequence.tolist()) == dict(enumerate(sizes))
    turns = np.arange(1, total + 1)
    for group, size in enumerate(sizes):
        off = np.cumsum(sequence == group) * total - turns * size  # exact, in units of 1 / total
        assert np.abs(off).max() < total


KEYS = st.tuples(st.sampled_from(["fog", "night", "sun"]), st.sampled_from(["a", "b", "c"]))


@given(st.dictionaries(KEYS, st.integers(1, 25), min_size=1), st.integers(0, 9), st.floats(0.001, 1))
def test_property_splits_are_stratified_nested_and_seeded(recordings, seed: int, fraction: float):
    frames = Listed(recordings)
    order = labelling_order(frames, seed)
    assert sorted(order) == list(range(len(frames)))
    assert order == labelling_order(Listed(recordings), seed)
    count = labelled_count(len(frames), fraction)
    assert max(1, len(frames) * fraction - 1) <= count <= max(1, len(frames) * fraction + 1e-6)
    chosen = [frames.frames[index] for index in order[:count]]  # the smaller split is the beginning of the larger one
    by_condition = Counter(frame.condition for frame in frames.frames)
    taken = Counter(frame.condition for frame in chosen)
    for condition, size in by_condition.items():
        assert abs(taken[condition] - count * size / len(frames)) < 1
        own = Counter(frame.recording for frame in chosen if frame.condition == condition)
        for (weather, recording), frames_of_it in recordings.items():
            if weather == condition:
                assert abs(own[recording] - taken[condition] * frames_of_it / size) < 1


def test_value_equal_recordings_get_one_label_each_before_any_gets_two():
    frames = Listed({(condition, recording): 50 for condition in ("fog", "sun") for recording in "abc"})
    first = labelling_order(frames, 3)[:6]
    assert len({(frames.frames[i].condition, frames.frames[i].recording) for i in first}) == 6
    assert labelling_order(frames, 4)[:6] != first


def test_value_counts_are_those_of_the_papers():
    """Stanford Indoor 0.1 %, 0.2 %, 1 % of 49199; SUN RGBD 6.25 %, 12.5 %, 25 % of 4757."""
    assert [labelled_count(49199, share) for share in (0.001, 0.002, 0.01)] == [49, 98, 491]
    assert [labelled_count(4757, share) for share in (0.0625, 0.125, 0.25)] == [297, 594, 1189]
    assert [labelled_count(100, share) for share in (0.07, 0.57, 1.0, 0.0001)] == [7, 57, 100, 1]
    assert labelled_count(1, 0.001) == 1


def test_value_a_list_of_names_repeats_a_split(tmp_path: Path):
    frames = Listed({("fog", "a"): 3, ("sun", "b"): 2})
    path = tmp_path / "labelled.txt"
    path.write_text("# two frames\nsun/b/1\n\n  fog/a/0\n")
    assert read_names(path, frames) == [4, 0]
    path.write_bytes(b"\xef\xbb\xbfsun/b/1\r\nfog/a/0\r\n")  # as Windows' editor saves it
    assert read_names(path, frames) == [4, 0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fog/a/9\nsun/b/0\n", ("frame-unknown", "labelled.txt", "2 names", "fog/a/9", "train", "fog/a/0")),
        ("# nothing\n", ("frame-unknown", "labelled.txt", "train")),
        ("fog/a/0\nfog/a/0\n", ("value-twice", "fog/a/0")),
        (None, ("file-missing", "labelled.txt")),
    ],
)
def test_exception_lists_that_do_not_fit(tmp_path: Path, text: str | None, told: tuple[str, ...]):
    path = tmp_path / "labelled.txt"
    if text is not None:
        path.write_text(text)
    with user_error(*told):
        read_names(path, Listed({("fog", "a"): 3, ("sun", "b"): 2}))


@pytest.mark.parametrize(("share", "ends"), [(0.01, (1, 1)), (0.25, (2, 1)), (0.5, (4, 2)), (0.99, (7, 2))])
def test_value_the_end_of_each_recording_is_held_out(share: float, ends: tuple[int, int]):
    frames = Listed({("cloud", "a"): 8, ("night", "b"): 3, ("night", "c"): 1})
    before, after = ends_of_recordings(frames, share)
    assert sorted(before + after) == list(range(12)) and 11 in before  # one frame alone is not held out
    assert after == [*range(8 - ends[0], 8), *range(11 - ends[1], 11)]
