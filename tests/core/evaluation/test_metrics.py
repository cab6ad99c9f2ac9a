"""Metrics against counts made by hand and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raised import user_error
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.vocabulary.labels import DELIVER

# Four classes: 0 and 1 in truth, 2 only predicted, 3 nowhere.
TRUTH = np.array([[0, 0, 0, 1, 1], [0, 1, 1, 255, 255]], np.uint8)
GUESS = np.array([[0, 0, 1, 1, 1], [2, 1, 0, 3, 0]], np.uint8)
# class 0: 2 hits, 2 missed, 1 wrong; class 1: 3 hits, 1 missed, 1 wrong; class 2: 1 wrong


@pytest.fixture
def matrix() -> ConfusionMatrix:
    matrix = ConfusionMatrix(4, other=1)
    matrix.update(GUESS, TRUTH)
    return matrix


def test_value_counts(matrix: ConfusionMatrix):
    assert matrix.counts.dtype == np.int64
    assert matrix.counts.tolist() == [[2, 1, 1, 0, 0], [1, 3, 0, 0, 0], [0] * 5, [0] * 5]
    assert matrix.support.tolist() == [4, 4, 0, 0]


def test_value_per_class(matrix: ConfusionMatrix):
    assert matrix.iou()[:3].tolist() == pytest.approx([2 / 5, 3 / 5, 0])
    assert np.isnan(matrix.iou()[3])
    assert matrix.f1()[:3].tolist() == pytest.approx([4 / 7, 6 / 8, 0])
    assert matrix.accuracy()[:2].tolist() == pytest.approx([2 / 4, 3 / 4])
    assert np.isnan(matrix.accuracy()[2:]).all()
    assert matrix.pixel_accuracy() == pytest.approx(5 / 8)


def test_value_three_means(matrix: ConfusionMatrix):
    assert matrix.miou("present") == pytest.approx((2 / 5 + 3 / 5) / 2)
    assert matrix.miou("all") == pytest.approx((2 / 5 + 3 / 5) / 4)
    assert matrix.miou("without_other") == pytest.approx((2 / 5) / 3)  # class 1 stands for "Other" here


def test_value_unlabelled_predictions_are_misses():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 255, 255]), np.array([0, 0, 1]))
    assert matrix.iou().tolist() == [0.5, 0.0]
    assert matrix.pixel_accuracy() == pytest.approx(1 / 3)


def test_value_merge_equals_one_update_and_reset_forgets(matrix: ConfusionMatrix):
    parts = [ConfusionMatrix(4) for _ in range(2)]
    parts[0].update(GUESS[0], TRUTH[0])
    parts[1].update(torch.from_numpy(GUESS[1]), torch.from_numpy(TRUTH[1]))
    parts[0].merge(parts[1])
    assert np.array_equal(parts[0].counts, matrix.counts)
    parts[0].reset()
    assert parts[0].counts.sum() == 0
    assert np.isnan(parts[0].miou("present"))
    assert np.isnan(parts[0].pixel_accuracy())


def test_value_counts_stay_exact_beyond_float32():
    matrix = ConfusionMatrix(2)
    matrix.counts[0, 0] = 2**24
    matrix.update(np.zeros(1, np.uint8), np.zeros(1, np.uint8))
    assert matrix.counts[0, 0] == 2**24 + 1


@pytest.mark.slow
def test_value_more_than_2_to_the_24_pixels_in_one_cell():
    """DELIVER's val has 2.1e9 pixels: a float32 histogram stops counting a cell at 16 777 216."""
    matrix = ConfusionMatrix(2)
    pixels = np.zeros((4096, 4099), np.uint8)
    matrix.update(pixels, pixels)
    matrix.update(pixels[:1, :3], pixels[:1, :3])
    assert matrix.counts[0, 0] == 4096 * 4099 + 3 > 2**24
    assert np.float32(matrix.counts[0, 0]) != matrix.counts[0, 0]


@pytest.mark.parametrize(("seed", "K"), [(0, 25), (1, 19), (2, 2)])
def test_value_equals_torchmetrics(seed: int, K: int):
    """Random ids at an odd size, a fifth unlabelled; with K = 25 the last class occurs nowhere."""
    generator = torch.Generator().manual_seed(seed)
    used = K - 1 if K == 25 else K
    truth, guess = (torch.randint(0, used, (3, 61, 37), generator=generator) for _ in range(2))
    guess = torch.where(torch.rand(truth.shape, generator=generator) < 0.6, truth, guess)
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = 255
    matrix = ConfusionMatrix(K)
    for one_truth, one_guess in zip(truth, guess, strict=True):
        matrix.update(one_guess, one_truth)

    def torchmetrics(function, average):
        return function(guess, truth, num_classes=K, average=average, ignore_index=255)

    counts = multiclass_confusion_matrix(guess, truth, num_classes=K, ignore_index=255)
    assert np.array_equal(matrix.counts[:, :K], counts.numpy())
    for ours, function in (
        (matrix.iou(), multiclass_jaccard_index),
        (matrix.f1(), multiclass_f1_score),
        (matrix.accuracy(), multiclass_accuracy),
    ):
        expected = torchmetrics(function, "none").numpy()
        assert ours[:used] == pytest.approx(expected[:used], abs=1e-6)
        assert np.nanmean(ours) == pytest.approx(float(torchmetrics(function, "macro")), abs=1e-6)
    assert matrix.pixel_accuracy() == pytest.approx(float(torchmetrics(multiclass_accuracy, "micro")), abs=1e-6)


def test_value_label_space_names_other():
    matrix = ConfusionMatrix.of(DELIVER)
    assert matrix.num_classes == 25
    assert DELIVER.classes[matrix.other] == "Other"


def test_shape_nothing_labelled():
    matrix = ConfusionMatrix(3)
    matrix.update(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8))
    matrix.update(np.zeros((1, 3), np.uint8), np.array([[255, 254, 255]], np.uint8))
    assert matrix.counts.sum() == 0


def test_exception_bad_input(matrix: ConfusionMatrix):
    with user_error("size-mismatch", "(2, 2)", "(2, 3)"):
        matrix.update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    for guess, truth in ((5, 0), (0, 5), (4, 3), (0, 4)):
        with user_error("label-ids", "below 4"):
            matrix.update(np.array([guess]), np.array([truth]))
    with user_error("value-conflict", "3 classes", "into 4"):
        matrix.merge(ConfusionMatrix(3))
    with user_error("value-unknown", "'best'"):
        matrix.miou("best")
