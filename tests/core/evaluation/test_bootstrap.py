"""Frames drawn again: blocks hold what the frames hold, and the error is that of the textbook."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.evaluation.bootstrap import MOST_BLOCKS, FrameBlocks, drawn_blocks, drawn_miou
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.monotonicity import monotonicity
from any2seg_core.evaluation.scores import SubsetScore
from any2seg_core.vocabulary.labels import DELIVER


def frame(rng: np.random.Generator, right: float) -> SubsetScore:
    """5 x 7 pixels of three classes, so many of them right."""
    truth = rng.integers(0, 3, (5, 7))
    labels = np.where(rng.random(truth.shape) < right, truth, (truth + 1) % 3)
    score = SubsetScore.of(DELIVER)
    score.add(labels.astype(np.uint8), truth.astype(np.uint8))
    return score


@pytest.mark.parametrize("frames", [1, 7, MOST_BLOCKS - 1, MOST_BLOCKS, 3 * MOST_BLOCKS + 5])
def test_property_blocks_hold_all_frames(frames):
    rng, blocks, whole = np.random.default_rng(0), FrameBlocks(DELIVER), ConfusionMatrix.of(DELIVER)
    for _ in range(frames):
        score = frame(rng, 0.7)
        whole.merge(score.confusion)
        blocks.add({"R": score, "RL": score})
    counts = blocks.counts()
    assert list(counts) == ["R", "RL"]
    assert len(counts["R"]) == -(-frames // blocks.size) < MOST_BLOCKS + 1
    assert np.array_equal(counts["RL"].sum(axis=0), np.stack(whole.class_counts(), axis=-1))
    sizes = counts["R"][..., 1].sum(axis=1) // 35
    assert set(sizes[:-1]) <= {blocks.size}


def test_value_frames_without_a_truth_are_passed_by():
    blocks = FrameBlocks(DELIVER)
    blocks.add({"R": SubsetScore.of(DELIVER)})
    assert blocks.counts() == {}


def test_value_error_of_a_share_is_the_binomial_one():
    """One class, each frame right or wrong as a whole: mIoU of N frames is k / (2 N - k)."""
    frames, hits = 400, 300
    counts = np.zeros((frames, 1, 3), np.int64)
    counts[:, 0, 1], counts[:, 0, 2], counts[:hits, 0, 0] = 1, 1, 1
    drawn = drawn_miou(counts, drawn_blocks(frames, 4000, seed=1), "present")
    p = hits / frames
    slope = 2 / (2 - p) ** 2  # of p / (2 - p)
    assert drawn.std() == pytest.approx(100 * slope * (p * (1 - p) / frames) ** 0.5, rel=0.05)
    assert drawn.mean() == pytest.approx(100 * p / (2 - p), abs=0.1)


def test_value_a_clear_violation_is_sure_and_a_close_one_is_not():
    rng, blocks, board = np.random.default_rng(3), FrameBlocks(DELIVER), {}
    for _ in range(60):
        scores = {"R": frame(rng, 0.8), "L": frame(rng, 0.2), "RL": frame(rng, 0.5)}  # RL far below R, far above L
        blocks.add(scores)
        for letters, score in scores.items():
            board.setdefault(letters, SubsetScore.of(DELIVER)).merge(score)
    table = {letters: 100 * score.confusion.miou() for letters, score in board.items()}
    found = monotonicity(table, blocks.counts(), "present")
    assert (found["violations"], found["violations_low"], found["violations_high"]) == (1, 1.0, 1.0)
    assert found["violations_std"] == 0.0
    assert found["worst"][0]["low"] < table["RL"] - table["R"] < found["worst"][0]["high"] < -1
    assert monotonicity(table)["violations"] == 1
    assert "violations_std" not in monotonicity(table)


def test_value_a_drop_up_to_one_point_is_tolerated():
    assert monotonicity({"R": 40.0, "L": 10.0, "RL": 39.0})["violations"] == 0
    assert monotonicity({"R": 40.0, "L": 10.0, "RL": 38.9})["violations"] == 1
