"""One scorer: the same labels score the same as a data set, as a recording, live and in the demonstration."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_jaccard_index, multiclass_recall

from any2seg_core.demo.schedule import demo_phases
from any2seg_core.demo.scoring import DemoRecording, LabelRecord, score_demo
from any2seg_core.evaluation.live import LiveScorer
from any2seg_core.evaluation.recording.scores import FrameScorer
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore
from any2seg_core.evaluation.tables import render, summarise
from any2seg_core.runtime.predictor import Segmentation
from any2seg_core.vocabulary.labels import DELIVER

SPACE = DELIVER
MS = 1_000_000


def frames(count: int, size: tuple[int, int] = (7, 13)) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Labels, truth with unlabelled pixels, confidence; ten of the 25 classes."""
    random = np.random.default_rng(3)
    made = []
    for _ in range(count):
        truth = random.integers(0, 10, size).astype(np.uint8)
        labels = np.where(random.random(size) < 0.6, truth, random.integers(0, 12, size)).astype(np.uint8)
        truth[0] = 255
        made.append((labels, truth, random.random(size).astype(np.float32)))
    return made


def test_value_four_users_of_the_scorer_agree():
    given = frames(5)
    board, by_recording, live = Scoreboard(SPACE), Scoreboard(SPACE), LiveScorer(SPACE)
    recorder = FrameScorer(SPACE, ["RL"])
    records, truths = [], []
    for index, (labels, truth, confidence) in enumerate(given):
        score = SubsetScore.of(SPACE)
        score.add(labels, truth, confidence)
        board.add({"RL": score})
        result = Segmentation(labels, confidence, ("rgb", "lidar"), index * 100 * MS)
        by_recording.add(recorder.score({"RL": result}, result, truth, {}))
        live.add_label(index * 100 * MS, labels, ("rgb", "lidar"))
        live.add_truth(index * 100 * MS, truth)
        records.append(LabelRecord(index * 100 * MS, 0, labels, ("rgb", "lidar")))
        truths.append((index * 100 * MS, truth))
    live.finish()
    expected = summarise(board.total, SPACE, len(given))
    for found in (summarise(by_recording.total, SPACE, len(given)), live.summary()):
        for measure in ("miou", "f1", "accuracy"):
            for policy in ("present", "all", "without_other"):
                key = f"{measure}_{policy}"
                assert found["subsets"]["RL"][key] == expected["subsets"]["RL"][key]
        assert found["class_f1"] == expected["class_f1"]
    demo = score_demo(DemoRecording(0, records, truths, []), demo_phases(1.0), SPACE)
    assert demo.phases[0].miou_present == pytest.approx(expected["subsets"]["RL"]["miou_present"], abs=6e-4)


def followed(*frames) -> list[tuple[int, int, int, int]]:
    """Frames of (labels, truth, planes) -> changed, followed, flickering and steady pixels of each."""
    scorer, counts = FrameScorer(SPACE, ["RL"]), []
    for labels, truth, planes in frames:
        result = Segmentation(np.array(labels, np.uint8), None, ("rgb",))
        truth = None if truth is None else np.array(truth, np.uint8)
        score = scorer.score({"RL": result}, result, truth, planes)["RL"]
        counts.append((score.changed, score.followed, score.flickering, score.steady))
    return counts


def test_value_flicker_is_what_changes_where_the_truth_stays():
    """Counted by hand: of six pixels four keep a labelled truth, and two of them another label."""
    before = [[1, 1, 2], [3, 3, 4]], [[1, 1, 2], [3, 255, 4]], {}
    after = [[1, 2, 5], [3, 4, 5]], [[1, 1, 5], [3, 255, 4]], {}
    assert followed(before, after) == [(0, 0, 0, 0), (4, 6, 2, 4)]


def test_value_without_a_truth_flicker_is_what_changes_where_no_plane_does():
    """A step of 8 codes is noise, one of 9 is something new; a sensor that only one frame has says nothing."""
    grey, changed = np.full((1, 3, 3), 90, np.uint8), np.full((1, 3, 3), 90, np.uint8)
    changed[0, 0, 1], changed[0, 1, 2] = 98, 81
    one, two = [[1, 1, 1]], [[2, 2, 1]]
    only_once = {"lidar": np.zeros((1, 3, 3), np.uint8)}
    assert followed((one, None, {"rgb": grey}), (two, None, {"rgb": changed, **only_once}))[1] == (2, 3, 1, 2)
    assert followed((one, None, {"rgb": grey}), (two, None, only_once))[1] == (2, 3, 0, 0)
    assert followed((one, [[1, 1, 1]], {"rgb": grey}), (two, None, {"rgb": grey}))[1] == (2, 3, 0, 0)


def test_value_figures_are_those_of_torchmetrics_in_percent():
    given = frames(4, (11, 6))
    score = SubsetScore.of(SPACE)
    for labels, truth, confidence in given:
        score.add(labels, truth, confidence)
    labels = torch.from_numpy(np.stack([labels for labels, _, _ in given])).long()
    truth = torch.from_numpy(np.stack([truth for _, truth, _ in given])).long()
    classes = score.class_document(SPACE)
    for name, measure in (
        ("iou", multiclass_jaccard_index), ("f1", multiclass_f1_score), ("accuracy", multiclass_recall),
    ):  # fmt: skip
        reference = 100 * measure(labels, truth, len(SPACE), average="none", ignore_index=255).numpy()
        assert list(classes[name].values()) == pytest.approx(reference[:10], abs=6e-4)
        key = {"iou": "miou"}.get(name, name)
        assert score.document()[f"{key}_present"] == pytest.approx(reference[:10].mean(), abs=6e-4)
    assert score.document()["confidence"] == pytest.approx(100 * np.mean([c for _, _, c in given]), abs=1e-3)


def test_value_mean_and_deviation_over_the_subsets():
    table = {}
    for name, wrong in (("R", 0), ("L", 4), ("RL", 2)):
        truth = np.zeros((1, 8), np.uint8)
        labels = np.arange(8, dtype=np.uint8)[None] < wrong
        table[name] = SubsetScore.of(SPACE)
        table[name].add(labels.astype(np.uint8), truth)
    summary = summarise(table, SPACE, 1)
    assert [summary["subsets"][name]["miou_present"] for name in table] == [100.0, 50.0, 75.0]
    assert summary["subset_mean"]["miou_present"] == 75.0
    assert summary["subset_std"]["miou_present"] == pytest.approx(np.std([100.0, 50.0, 75.0]), abs=6e-4)
    assert f"{'std':>8} {summary['subset_std']['miou_present']:8.2f}" in render(summary)


def test_value_a_frame_without_labels_is_missed_and_without_truth_has_no_miou():
    score = SubsetScore.of(SPACE)
    score.add(None, np.array([[6, 255]], np.uint8))
    document = score.document()
    assert (document["coverage"], document["miou_present"], document["confidence"]) == (0.0, 0.0, None)
    score = SubsetScore.of(SPACE)
    score.add(np.array([[6]], np.uint8), None, np.array([[0.5]]))
    assert "miou_present" not in score.document()
    assert score.document()["confidence"] == 50.0
    json.dumps(score.document(), allow_nan=False)


def test_property_merging_frames_equals_counting_them_together():
    together, merged = SubsetScore.of(SPACE), SubsetScore.of(SPACE)
    for labels, truth, confidence in frames(3):
        together.add(labels, truth, confidence)
        one = SubsetScore.of(SPACE)
        one.add(labels, truth, confidence)
        merged.merge(one)
    assert merged.document() == together.document()
    right, in_truth, predicted = together.class_counts()["3"]
    assert together.class_document(SPACE)["iou"][SPACE.classes[3]] == pytest.approx(
        100 * right / (in_truth + predicted - right), abs=6e-4
    )


def test_value_results_of_older_checkpoints_are_still_shown():
    old = {
        "subsets": {"R": {"miou_present": 1.0, "miou_all": 1.0, "miou_without_other": 1.0, "f1_present": 2.0,
                          "accuracy_present": None}},
        "subset_mean": {"miou_present": 1.0, "miou_all": 1.0, "miou_without_other": 1.0},
        "class_iou": {"R": {"Road": 1.0}},
        "floors": {"constant": 1.3, "constant_class": "Sky", "pixel_prior": 9.7},
    }  # fmt: skip
    shown = render(old)
    assert "constant Sky 1.30, per-pixel prior 9.70" in shown
    assert "std" not in shown
