"""Parts of a recording against the whole: the same lines, frame by frame."""

from __future__ import annotations

from contextlib import ExitStack

import fake_car
import numpy as np
import pytest
import torch

from any2seg_core.evaluation.recording.judged import frame_line
from any2seg_core.evaluation.recording.prepared import PreparedSet
from any2seg_core.evaluation.recording.run import RecordingRun
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.evaluation.recording.span import JUDGED, LEAD_IN, PASSED, WHOLE, RecordingSpan
from any2seg_core.faults.grammar import read_plan
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.runtime.frame import Frame
from any2seg_core.runtime.reliability import ReliabilityMonitor
from any2seg_core.vocabulary.contract import InputContract

SECOND = 10**9
PLAN = read_plan(["camera@1:2,lidar@1.5:"], ["noise:event@0.5:1,rate_hz=9", "freeze:depth@0.3:1.9"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model with random weights and 2.5 s of the fake car."""
    path = tmp_path_factory.mktemp("span")
    torch.manual_seed(0)
    save_checkpoint(path / "m.safetensors", Any2Seg(ModelConfig(head_width=16)), InputContract(height=32, width=64), {})
    fake_car.write_bag(path / "bag", 2.5)
    return path


def judged_in(folder, span=WHOLE, **changes):
    request = EvaluateRequest(folder / "bag", folder / "m.safetensors", subsets="R,DL,all", **changes)
    with ExitStack() as stack:
        run = RecordingRun(request, stack, span=span, with_pooled=True)
        return [(frame_line(each, run.suite), each) for each in run.frames()], run


def borders_of(run, *seconds):
    edges = [None, *(run.result.conditions["bag"]["start_ns"] + int(each * SECOND) for each in seconds), None]
    return [RecordingSpan(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]


@pytest.mark.parametrize(("changes", "seconds"), [
    ({"faults": PLAN, "seed": 3}, (0.7, 1.21, 1.93)),
    ({"every": 3}, (0.5, 1.5)),
    ({"faults": read_plan(["camera,lidar,depth,event@0.6:1.9"]), "truth": "none"}, (0.8, 1.2)),
])  # fmt: skip
def test_value_the_parts_of_a_recording_are_the_whole(folder, changes, seconds):
    whole, run = judged_in(folder, **changes)
    parts = [judged_in(folder, span, **changes)[0] for span in borders_of(run, *seconds)]
    assert all(parts) and len(whole) > len(parts)
    found = [pair for part in parts for pair in part]
    assert [line | {"reliability": 0} for line, _ in found] == [line | {"reliability": 0} for line, _ in whole]
    for (_, mine), (_, other) in zip(found, whole, strict=True):
        assert (mine.segmented is None) == (other.segmented is None)
        if mine.segmented is not None:
            assert mine.segmented.observed == other.segmented.observed
            pooled = mine.segmented.segmentation.pooled
            assert pooled.keys() == mine.prepared.frame.planes.keys()
            for name, means in other.segmented.segmentation.pooled.items():
                np.testing.assert_array_equal(pooled[name], means)


def test_value_reliability_is_a_fold_of_what_the_sets_say(folder):
    """So that the scores of parts can be made when all of them are there."""
    whole, run = judged_in(folder, faults=PLAN)
    monitor = ReliabilityMonitor.of(run.sync, run.suite)
    for _, each in whole:
        scores = monitor.update(each.prepared.time_ns, each.observed)
        told = {name: found["score"] for name, found in each.reliability.items()}
        assert told == {name: round(found.score, 3) for name, found in scores.items()}
    assert {each.observed is None for _, each in whole} == {False, True}


def prepared(time_s, is_skipped=False, is_missed=False):
    frame = None if is_skipped or is_missed else Frame(int(time_s * SECOND), {}, {}, {})
    return PreparedSet(int(time_s * SECOND), frame=frame, is_skipped=is_skipped, missed_ns=1 if is_missed else None)


def test_value_roles_cut_one_sequence_whatever_the_order_of_times():
    """A missed moment before the set that it follows counts with that; skipped sets are no lead-in."""
    items = [prepared(1), prepared(2), prepared(2.5, is_skipped=True), prepared(3), prepared(2.9, is_missed=True),
             prepared(4, is_skipped=True), prepared(5)]  # fmt: skip
    span = RecordingSpan(3 * SECOND, 5 * SECOND)
    assert [(each.time_ns / SECOND, role) for each, role in span.roles(items)] == [
        (1, PASSED), (2, LEAD_IN), (3, JUDGED), (2.9, JUDGED), (4, JUDGED)
    ]  # fmt: skip
    assert [role for _, role in RecordingSpan(None, 3 * SECOND).roles(items)] == [JUDGED] * 3
    assert [role for _, role in RecordingSpan(6 * SECOND, None).roles(items)] == [PASSED] * 4
    assert WHOLE.is_whole and not span.is_whole
