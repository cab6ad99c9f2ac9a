from __future__ import annotations

import numpy as np
import pytest
from raised import user_error

from any2seg_core.evaluation.live import LiveScorer
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.vocabulary.labels import label_space

MS = 1_000_000
SPACE = label_space("deliver-25")


def image(value: int, other: int | None = None) -> np.ndarray:
    """3x5 pixels of one class; the first row of another one."""
    labels = np.full((3, 5), value, np.uint8)
    if other is not None:
        labels[0] = other
    return labels


def test_value_subsets_are_counted_apart_against_the_nearest_truth():
    """By hand: RL half right on two classes in a 10:5 split, L all right."""
    scorer = LiveScorer(SPACE)
    scorer.add_label(100 * MS, image(6), ("rgb", "lidar"))
    scorer.add_truth(40 * MS, image(1))
    scorer.add_truth(90 * MS, image(6, other=12))
    scorer.add_label(200 * MS, image(3), ("lidar",))
    scorer.add_truth(200 * MS, image(3))
    scorer.finish()
    summary = scorer.summary()
    assert list(summary["subsets"]) == ["RL", "L"]
    assert (summary["labels"], summary["judged"], summary["rejected"]) == (2, 2, 0)
    assert summary["subsets"]["RL"]["miou_present"] == pytest.approx(100 * (10 / 15 + 0) / 2, abs=0.01)
    assert summary["subsets"]["L"]["miou_present"] == 100.0


@pytest.mark.parametrize("truth_first", [True, False])
def test_property_order_of_arrival_does_not_matter(truth_first):
    random = np.random.default_rng(0)
    pairs = [(random.integers(0, 25, (3, 5)), random.integers(0, 25, (3, 5))) for _ in range(300)]
    expected = ConfusionMatrix.of(SPACE)
    scorer = LiveScorer(SPACE)
    for index, (labels, truth) in enumerate(pairs):
        expected.update(labels, truth)
        if truth_first:
            scorer.add_truth(index * 100 * MS, truth)
        scorer.add_label(index * 100 * MS, labels, ["rgb"])
        if not truth_first:
            scorer.add_truth(index * 100 * MS, truth)
    scorer.finish()
    assert scorer.judged == 300
    assert scorer.summary()["subsets"]["R"]["miou_all"] == pytest.approx(100 * expected.miou("all"), abs=0.01)


def test_value_bag_that_loops_counts_both_rounds():
    scorer = LiveScorer(SPACE)
    for _ in range(2):
        for index in range(5):
            scorer.add_label(index * 100 * MS, image(6), ("rgb",))
            scorer.add_truth(index * 100 * MS, image(6))
    scorer.finish()
    assert scorer.judged == 10


def test_value_labels_that_cannot_be_judged_are_counted():
    scorer = LiveScorer(SPACE)
    scorer.add_truth(0, image(6))
    scorer.add_label(0, np.zeros((6, 5), np.uint8), ("rgb",))
    scorer.add_label(500 * MS, image(6), ("rgb",))
    scorer.finish()
    assert (scorer.labels, scorer.judged, scorer.rejected) == (2, 0, 1)
    with user_error("truth-missing", "2 labels"):
        scorer.summary()


def test_value_truth_of_twice_the_size_scores_the_same():
    truth, labels = image(6, 2), image(6, 3)
    summaries = []
    for given in (truth, truth.repeat(2, axis=0).repeat(2, axis=1)):
        scorer = LiveScorer(SPACE)
        scorer.add_truth(0, given)
        scorer.add_label(0, labels, ("rgb",))
        scorer.finish()
        summaries.append(scorer.summary())
    assert summaries[0] == summaries[1]
