"""Which frames are chosen, and the way from there to a data set."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from raised import user_error
from store_tables import IDS, frames_table, recordings_table, topics_table

from any2seg_core.fleet.selection import farthest_first, select
from any2seg_core.fleet.store import FleetStore


@given(points=arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=st.integers(-9, 9)),
       count=st.integers(1, 6))  # fmt: skip
def test_property_farthest_first_covers_at_most_twice_as_far_as_the_best(points, count):
    """Gonzalez' bound, against all sets of so many centres."""
    chosen = farthest_first(points, count)

    def reach(centres):
        apart = np.linalg.norm(points[:, None].astype(float) - points[None, list(centres)], axis=2)
        return apart.min(axis=1).max()

    best = min(map(reach, itertools.combinations(range(len(points)), min(count, len(points)))))
    assert reach(chosen) <= 2 * best + 1e-6
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen) <= count


def stored(folder, parts):
    store = FleetStore.create(folder)
    store.write_index(recordings_table([{"vehicle": "a"}, {"vehicle": "b"}]), topics_table())
    store.write_evaluation("b0", {})
    for recording_id, rows in parts.items():
        store.write_part("b0", recording_id, frames_table(recording_id, rows))
    return store


def test_value_unsure_frames_unlike_each_other_and_those_near_failures_are_chosen(tmp_path):
    s = 1_000_000_000
    sure = [{"stamp_ns": at * s, "used": "RL", "confidence": 0.95, "embedding": [0, 0, at / 64]} for at in range(40)]
    sure[5] |= {"confidence": 0.1, "embedding": [4, 0, 0]}
    sure[20] |= {"used": "R", "embedding": [0, 4, 0]}  # the LiDAR is lost for one frame
    other = [{"stamp_ns": at * s, "used": "RL", "confidence": 0.2, "embedding": [3.9, 0, 0]} for at in range(5)]
    other += [{"stamp_ns": 9 * s, "used": "RL", "confidence": 0.15}, {"stamp_ns": 8 * s, "used": "", "confidence": 0.0}]
    found = select(stored(tmp_path / "store", {IDS[0]: sure, IDS[1]: other}), 3)
    assert [(row["url"], row["stamp_ns"] // s, row["why"]) for row in found[:2]] == [
        ("/bags/000", 5, "unsure"), ("/bags/000", 20, "sensors changed"),
    ]  # fmt: skip
    assert found[2]["url"] == "/bags/000"  # those of the other drive look like the first
    assert {row["evaluation"] for row in found} == {"b0"}


def test_exception_nothing_to_choose_from(tmp_path):
    store = stored(tmp_path / "store", {IDS[0]: [{"confidence": 0.5, "used": "R"}]})
    with user_error("embeddings-missing", "b0"):
        select(store, 5)
    with user_error("value-range", "0"):
        select(store, 0)
    with user_error("value-unknown", "b1"):
        select(store, 5, "b1")


@pytest.mark.parametrize("budget", [1, 4, 50])
def test_shape_no_more_than_the_budget(tmp_path, budget):
    random = np.random.default_rng(1)
    rows = [{"stamp_ns": at, "used": "R", "confidence": float(random.random()), "embedding": list(random.random(4))}
            for at in range(30)]  # fmt: skip
    found = select(stored(tmp_path / "store", {IDS[0]: rows}), budget)
    assert len(found) == min(budget, 30)
    assert len({row["stamp_ns"] for row in found}) == len(found)
