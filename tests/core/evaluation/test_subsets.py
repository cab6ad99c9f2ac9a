"""Subset evaluation against one plain forward per subset, baselines against hand counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from raised import user_error

from any2seg_core.evaluation.batches import EvaluationBatch, resized_truth, spread
from any2seg_core.evaluation.calibration import CalibrationHistogram
from any2seg_core.evaluation.metrics import ConfusionMatrix
from any2seg_core.evaluation.scores import Scoreboard
from any2seg_core.evaluation.subsets import (
    PriorStatistics,
    evaluate_subsets,
    frame_scores,
    prior_baselines,
    subset_mean,
    subset_predictions,
    zeros,
)
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.engines.choice import choose_engine
from any2seg_core.runtime.preprocess import logits_to_labels
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE, all_subsets


@pytest.fixture(scope="module")
def model() -> Any2Seg:
    """Random norms: with those of a new model all features have one length, and MFF of two of them is a tie."""
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=32)).eval()
    for stage in model.encoder.stages:
        torch.nn.init.uniform_(stage.norm.weight, 0.2, 2.0)
        torch.nn.init.normal_(stage.norm.bias)
    return model


@pytest.fixture(scope="module")
def batches() -> list:
    generator = torch.Generator().manual_seed(1)
    made = []
    for B in (2, 1):
        images = {name: torch.randn(B, 3, 32, 64, generator=generator) for name in VEHICLE.members}
        truth = torch.randint(0, 25, (B, 30, 61), generator=generator).to(torch.uint8)
        made.append(EvaluationBatch(images, truth, tuple(range(B))))
    return made


def plain_forward(model: Any2Seg, images: dict, size: tuple[int, int]) -> torch.Tensor:
    with torch.no_grad():
        logits = model.decode(model.fuse(model.encode(images)))
    return F.interpolate(logits, size, mode="bilinear").argmax(dim=1)


def test_value_one_encoding_equals_one_forward_per_subset(model: Any2Seg, batches: list):
    table = evaluate_subsets(model, batches, DELIVER)
    assert list(table) == [VEHICLE.subset_letters(subset) for subset in all_subsets()]
    for subset in all_subsets():
        expected = ConfusionMatrix.of(DELIVER)
        for images, truth, _ in batches:
            guess = plain_forward(model, {name: images[name] for name in subset}, truth.shape[-2:])
            expected.update(guess, truth)
        # A few pixels may fall on a tie that another order of summation resolves differently.
        assert np.abs(table[VEHICLE.subset_letters(subset)].counts - expected.counts).sum() <= 4


@pytest.mark.parametrize("size", [(30, 61), (128, 256)])
def test_value_one_pass_gives_the_labels_and_confidences_of_separate_passes(model: Any2Seg, size: tuple[int, int]):
    """Whoever has only these sensors runs this: encode them, fuse, decode, upsample, softmax, argmax; every bit."""
    generator = torch.Generator().manual_seed(2)
    images = {name: torch.randn(1, 3, 64, 128, generator=generator) for name in VEHICLE.members}
    batch = EvaluationBatch(images, torch.zeros(1, *size, dtype=torch.uint8), (0,))
    found = {letters: rest for _, letters, *rest in subset_predictions(model, [batch], all_subsets())}
    engine = choose_engine(model)
    for subset in all_subsets():
        given = {name: images[name] for name in subset}
        labels, confidence = found[VEHICLE.subset_letters(subset)]
        with torch.inference_mode():
            plain = engine.decode(engine.fuse(engine.encode(given)))
            own_labels, own_confidence = logits_to_labels(plain, *size)
        assert torch.equal(labels, own_labels)
        torch.testing.assert_close(confidence, own_confidence, rtol=0, atol=1e-6)
        reference = F.interpolate(plain, size, mode="bilinear").softmax(dim=1).amax(dim=1)
        torch.testing.assert_close(confidence, reference, rtol=0, atol=2e-6)


@pytest.mark.parametrize("fill_in", [None, zeros])
def test_value_of_sensors_that_frames_lack_nothing_is_made_up(model: Any2Seg, batches: list, fill_in):
    """drop: a subset is what is left of it, and all pixels are missed where that is nothing; zero: zeros for them."""
    images, truth, indices = batches[1]
    there = {name: images[name] for name in ("rgb", "lidar")}
    batch = EvaluationBatch(there, truth, indices)
    found = {letters: rest for _, letters, *rest in subset_predictions(model, [batch], all_subsets(), fill_in)}
    assert len(found) == 15
    for subset in all_subsets():
        left = {name: there[name] for name in subset if name in there}
        labels, confidence = found[VEHICLE.subset_letters(subset)]
        if fill_in is not None:
            left = {name: left.get(name, torch.zeros_like(images[name])) for name in VEHICLE.members}
        if left:
            assert (labels != plain_forward(model, left, truth.shape[-2:])).sum() <= 1  # a tie
        else:
            assert VEHICLE.subset_letters(subset) in ("D", "E", "DE")
            assert (labels == 255).all() and not confidence.any() and labels.shape == confidence.shape == truth.shape
    if fill_in is None:
        board = Scoreboard(DELIVER)
        for frame in frame_scores(model, [batch], DELIVER):
            board.add(frame.scores)
        score = board.total["DE"]
        assert score.confusion.miou("present") == 0.0
        assert score.confusion.support.sum() == truth.numel()
        assert score.calibration.sums.sum() == 0
        assert (score.frames, score.labelled, board.total["RD"].labelled) == (len(truth), 0, len(truth))


def test_value_zero_protocol_feeds_zeros(model: Any2Seg, batches: list):
    table = evaluate_subsets(model, batches, DELIVER, [("rgb", "lidar")], zeros)
    expected = ConfusionMatrix.of(DELIVER)
    for images, truth, _ in batches:
        zeroed = images | {name: torch.zeros_like(images[name]) for name in ("depth", "event")}
        expected.update(plain_forward(model, zeroed, truth.shape[-2:]), truth)
    assert np.abs(table["RL"].counts - expected.counts).sum() <= 4


def test_value_scores_add_up_over_conditions_and_know_their_confidence(model: Any2Seg, batches: list):
    board = Scoreboard(DELIVER)
    for frame in frame_scores(model, batches, DELIVER):
        board.add(frame.scores, ("night", "rain") if frame.number else ("night",))
    scores, table = board.total, evaluate_subsets(model, batches, DELIVER)
    assert list(scores) == list(table)
    for letters, score in scores.items():
        assert np.array_equal(score.confusion.counts, table[letters].counts)
        assert np.array_equal(board.groups["night"][letters].confusion.counts, table[letters].counts)
    first, second = batches
    rain = ConfusionMatrix.of(DELIVER)
    calibration = CalibrationHistogram()
    for images, truth, _ in (first, second):
        with torch.no_grad():
            logits = F.interpolate(model.decode(model.fuse(model.encode(images))), truth.shape[-2:], mode="bilinear")
        confidence, guess = logits.softmax(dim=1).max(dim=1)
        calibration.update(confidence.clamp(max=1.0), guess, truth)
        rain.update(guess[1:], truth[1:])
    assert np.abs(board.groups["rain"]["RDEL"].confusion.counts - rain.counts).sum() <= 4
    assert scores["RDEL"].calibration.ece() == pytest.approx(calibration.ece(), abs=1e-3)


def test_value_spread_and_truth_size():
    assert spread(7, 3) == [0, 3, 6]
    assert spread(3, 9) == spread(3, None) == [0, 1, 2]
    labels = np.repeat(np.repeat(np.array([[1, 255], [3, 4]], np.uint8), 20, axis=0), 30, axis=1)  # (40, 60)
    small = resized_truth(labels, 20)
    assert small.shape == (20, 30)
    assert small[::10, ::15].tolist() == [[1, 255], [3, 4]]
    assert resized_truth(labels, None) is labels


def test_exception_training_mode(model: Any2Seg, batches: list):
    model.train()
    try:
        with user_error("model-unsuitable", "model.eval()"):
            evaluate_subsets(model, batches, DELIVER)
    finally:
        model.eval()


def test_value_subset_mean_is_unweighted():
    perfect, wrong = ConfusionMatrix(2), ConfusionMatrix(2)
    perfect.update(np.zeros(900, np.uint8), np.zeros(900, np.uint8))
    wrong.update(np.ones(1, np.uint8), np.zeros(1, np.uint8))
    assert subset_mean({"R": perfect, "D": wrong}) == pytest.approx(0.5)


def test_value_prior_baselines():
    prior = PriorStatistics(25)
    for labels in ([[0, 6, 6, 255]], [[0, 6, 9, 255]], [[0, 6, 9, 3]]):
        prior.update(np.array(labels, np.uint8))
    assert prior.most_frequent().tolist() == [[0, 6, 9, 3]]
    assert prior.class_pixels()[[0, 3, 6, 9]].tolist() == [3, 1, 4, 2]

    truths = [np.array([[0, 0, 9, 255]], np.uint8), np.array([[0, 6, 6, 0]], np.uint8)]
    baselines = prior_baselines(prior, truths, DELIVER)
    # Truth: class 0 four, class 6 two, class 9 one. Always 0: IoU 4/7, mean over three classes.
    assert baselines.constant_class == 0
    assert baselines.constant == pytest.approx(4 / 7 / 3)
    # The prior hits one 0 of four, one 6 (twice guessed, twice there), one 9 (twice guessed, once there)
    expected = (2 / 4 + 1 / 3 + 1 / 2) / 3
    assert baselines.pixel_prior == pytest.approx(expected)
    assert baselines.best == pytest.approx(expected)


def test_value_prior_resizes_to_its_first_size():
    prior = PriorStatistics(2)
    prior.update(np.array([[0, 1]], np.uint8))
    prior.update(np.array([[0, 0, 1, 1], [0, 0, 1, 1]], np.uint8))
    assert prior.class_pixels().tolist() == [2, 2]
    baselines = prior_baselines(prior, [np.array([[0, 0, 1, 1]], np.uint8)], DELIVER)
    assert baselines.pixel_prior == pytest.approx(1.0)


def test_value_prior_of_clicks_falls_back_to_the_most_frequent_class():
    """Sparse labels leave pixels that no image says anything about."""
    prior = PriorStatistics(3)
    prior.update(np.array([[2, 254, 1, 2]], np.uint8))
    prior.update(np.array([[254, 254, 1, 255]], np.uint8))
    prior.update(np.array([[2, 254, 254, 254]], np.uint8))
    assert prior.most_frequent().tolist() == [[2, 2, 1, 2]]
