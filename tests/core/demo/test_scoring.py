"""Scores against hand counts on a made-up recording."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from any2seg_core.demo.schedule import demo_phases
from any2seg_core.demo.scoring import (
    DemoRecording,
    LabelRecord,
    Published,
    load_published,
    score_demo,
)
from any2seg_core.demo.view import score_row
from any2seg_core.reports.demo import metrics_document
from any2seg_core.sync.association import nearest_truth
from any2seg_core.vocabulary.labels import DELIVER

START_NS = 100_000_000_000
MS = 1_000_000
PHASES = demo_phases(1.0)
TRUTH = np.array([[6, 6, 6], [12, 12, 255]], np.uint8)


def record(time_ms, latency_ms, labels=TRUTH, used=("rgb", "lidar"), reference="rgb"):
    stamp_ns = START_NS + time_ms * MS
    return LabelRecord(stamp_ns, stamp_ns + latency_ms * MS, labels, used, reference)


def published(sensor, time_ms):
    return Published(sensor, START_NS + time_ms * MS, START_NS + time_ms * MS)


def recording(labels, silent_camera=False):
    sent = [published("depth", time_ms) for time_ms in range(0, 8000, 100)]
    if not silent_camera:
        sent += [published("rgb", time_ms) for time_ms in range(0, 8000, 100) if not 1000 <= time_ms < 2000]
    truths = [(START_NS + time_ms * MS, TRUTH) for time_ms in range(0, 8000, 100)]
    return DemoRecording(START_NS, labels, truths, sent)


def test_value_counts_latency_and_gap_by_hand():
    labels = [record(0, 50), record(200, 70), record(600, 90), record(1100, 50, used=("depth",), reference="depth")]
    scores = score_demo(recording(labels), PHASES, DELIVER)
    first, second = scores.phases[:2]
    assert (first.frames_in, first.labels_out) == (10, 3)
    assert first.latency_p50_ms == pytest.approx(70.0)
    assert first.latency_p95_ms == pytest.approx(88.0)
    assert first.longest_gap_ms == pytest.approx(420.0)  # 270 -> 690
    assert first.used == {"RL": 3}
    assert (second.frames_in, second.labels_out) == (10, 1)  # the camera is away: depth is the reference
    assert second.longest_gap_ms == pytest.approx(460.0)  # 690 -> 1150, over the step into the phase
    assert scores.failures() == [phase.name for phase in PHASES[2:]]


def test_value_few_labels_of_a_busy_machine_are_no_figure():
    """10 frames a phase: 9 labels are enough, 4 are not, and none is a failure of its own."""
    labels = [record(at, 50) for at in (*range(0, 900, 100), *range(1000, 1400, 100))]
    scores = score_demo(recording(labels), PHASES, DELIVER)
    assert [score.coverage for score in scores.phases[:3]] == [90.0, 40.0, 0.0]
    assert [score.phase.name for score in scores.starved] == [PHASES[1].name]
    assert score_row(scores.phases[1])[3:7] == ("4", "40", "4.0", "machine too busy: 4 labels of 10")
    phases = metrics_document(scores, {"model": {}, "provenance": {}}, "")["phases"]
    assert [phase["is_starved"] for phase in phases[:3]] == [False, True, False]
    assert phases[0]["coverage"] == 90.0


def test_value_silent_phases_own_the_silence():
    scores = score_demo(recording([record(0, 50), record(7500, 50)]), PHASES, DELIVER)
    assert scores.phases[3].longest_gap_ms == pytest.approx(7500.0)
    assert scores.phases[7].longest_gap_ms == pytest.approx(7500.0)
    assert math.isnan(scores.phases[3].latency_p50_ms)
    assert math.isnan(scores.phases[3].miou_present)


def test_value_miou_by_hand():
    wrong = TRUTH.copy()
    wrong[0, 0] = 12  # road: 2 of 3; sky: 2 hits of 3 in the union
    scores = score_demo(recording([record(0, 50, wrong)]), PHASES, DELIVER)
    assert scores.phases[0].classes == 2
    assert scores.phases[0].miou_present == pytest.approx(100 * (2 / 3 + 2 / 3) / 2)
    assert scores.timeline[0].miou_present == pytest.approx(100 * 2 / 3)


def test_value_truth_is_the_nearest_within_the_tolerance():
    truths = [(START_NS, TRUTH), (START_NS + 100 * MS, TRUTH + 1)]
    assert nearest_truth(truths, START_NS + 50 * MS - 1) is truths[0][1]
    assert nearest_truth(truths, START_NS + 51 * MS) is truths[1][1]
    assert nearest_truth(truths, START_NS - 60 * MS) is truths[0][1]
    assert nearest_truth(truths, START_NS + 161 * MS) is None
    assert nearest_truth([], START_NS) is None


def test_value_label_without_known_publication_has_no_latency():
    scores = score_demo(recording([record(3, 50)]), PHASES, DELIVER)
    assert scores.phases[0].labels_out == 1
    assert math.isnan(scores.phases[0].latency_p50_ms)


def test_value_published_log_round_trip(tmp_path):
    entries = [published("rgb", 5), published("lidar", 6)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(vars(entry)) + "\n" for entry in entries))
    assert load_published(path) == entries
