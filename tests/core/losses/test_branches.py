"""The loss over ensemble and branches, against means taken by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from any2seg_core.losses.branches import branch_loss
from any2seg_core.losses.segmentation import CrossEntropy, OhemCrossEntropy
from any2seg_core.models import Encoded, Fused, Prediction

K = 5


def make(exists: list[list[bool]], seed: int = 0) -> tuple[Prediction, torch.Tensor]:
    """Labels without holes, so that the mean over pixels is the mean over samples."""
    rows = torch.tensor(exists)  # (B, M)
    generator = torch.Generator().manual_seed(seed)
    batch, modalities = rows.shape
    logits = torch.randn(batch, K, 7, 11, generator=generator, requires_grad=True)
    branches = torch.randn(batch, modalities, K, 7, 11, generator=generator, requires_grad=True)
    labels = torch.randint(0, K, (batch, 7, 11), generator=generator)
    encoded = Encoded([torch.zeros(batch, modalities, 3, 7, 11)], rows, ("rgb", "depth", "lidar")[:modalities])
    return Prediction(logits, Fused(logits=logits), encoded, branches, rows), labels


def test_value_all_branches_give_the_mean_of_three_losses():
    prediction, labels = make([[True, True]] * 3)
    labels[0, :4] = 255
    three = [prediction.logits, prediction.branches[:, 0], prediction.branches[:, 1]]
    expected = sum(F.cross_entropy(logits, labels, ignore_index=255) for logits in three) / 3
    torch.testing.assert_close(branch_loss(CrossEntropy(), prediction, labels), expected)


def test_value_every_labelled_pixel_of_every_prediction_counts_alike():
    """One mean over all of them as if they were one batch; samples have very different numbers of labels."""
    exists = [[True, False], [True, True], [False, True]]
    prediction, labels = make(exists)
    labels[0, 2:], labels[2, :, 5:] = 255, 254
    logits, truths = [*prediction.logits], [*labels]
    for b in range(3):
        logits += [prediction.branches[b, m] for m in range(2) if exists[b][m]]
        truths += [labels[b] for m in range(2) if exists[b][m]]
    truth = torch.stack(truths)
    expected = F.cross_entropy(torch.stack(logits), truth.masked_fill(truth == 254, 255), ignore_index=255)
    torch.testing.assert_close(branch_loss(CrossEntropy(), prediction, labels), expected)


def test_value_ohem_mines_each_prediction_and_counts_samples():
    prediction, labels = make([[True, False], [True, True]])
    loss, rows = OhemCrossEntropy(), slice(1, 2)
    expected = 2 * loss(prediction.logits, labels) + 2 * loss(prediction.branches[:, 0], labels)
    expected = (expected + loss(prediction.branches[rows, 1], labels[rows])) / 5
    torch.testing.assert_close(branch_loss(loss, prediction, labels), expected)


def test_value_mean_over_the_samples_of_all_processes():
    """Two processes played by one: what the second one adds to sums and weights."""
    whole, labels = make([[True, False], [True, True], [False, True]])
    labels[0, 2:] = 255
    first, second = whole.samples(slice(0, 1)), whole.samples(slice(1, 3))
    sent: list[torch.Tensor] = []
    branch_loss(CrossEntropy(), second, labels[1:], lambda values: sent.append(values) or values)
    together = branch_loss(CrossEntropy(), first, labels[:1], lambda values: values + sent[0])
    torch.testing.assert_close(together, branch_loss(CrossEntropy(), whole, labels))


def test_value_missing_branches_leave_the_mean_over_those_there_are():
    exists = [[True, False, True], [True, True, True], [False, False, True]]
    prediction, labels = make(exists)
    every = [F.cross_entropy(prediction.logits[b : b + 1], labels[b : b + 1]) for b in range(3)]
    every += [
        F.cross_entropy(prediction.branches[b, m : m + 1], labels[b : b + 1])
        for b in range(3) for m in range(3) if exists[b][m]
    ]  # fmt: skip
    assert len(every) == 9
    loss = branch_loss(CrossEntropy(), prediction, labels)
    torch.testing.assert_close(loss, torch.stack(every).mean())
    loss.backward()
    reached = prediction.branches.grad.abs().sum(dim=(2, 3, 4)) > 0
    assert torch.equal(reached, prediction.exists)


@pytest.mark.parametrize("pixel_loss", [CrossEntropy(), OhemCrossEntropy()], ids=["ce", "ohem"])
def test_value_without_branches_it_is_the_pixel_loss(pixel_loss):
    prediction, labels = make([[True]])
    plain = Prediction(prediction.logits, prediction.fused, prediction.encoded)
    assert torch.equal(branch_loss(pixel_loss, plain, labels), pixel_loss(prediction.logits, labels))


def test_value_a_branch_that_is_nowhere_has_no_influence():
    prediction, labels = make([[True, False]] * 2)
    expected = (CrossEntropy()(prediction.logits, labels) + CrossEntropy()(prediction.branches[:, 0], labels)) / 2
    torch.testing.assert_close(branch_loss(CrossEntropy(), prediction, labels), expected)


def test_value_no_labelled_pixel_gives_zero_and_zero_gradients():
    prediction, labels = make([[True, True], [False, True]])
    loss = branch_loss(CrossEntropy(), prediction, torch.full_like(labels, 255))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(prediction.branches.grad, torch.zeros_like(prediction.branches))


def test_value_some_samples_of_a_prediction():
    prediction, labels = make([[True, True], [True, False], [False, True]])
    part = prediction.samples(slice(1, 3))
    assert torch.equal(part.logits, prediction.logits[1:])
    assert torch.equal(part.encoded.present, prediction.encoded.present[1:])
    expected = (2 * CrossEntropy()(prediction.logits[1:], labels[1:])
                + CrossEntropy()(prediction.branches[1:2, 0], labels[1:2])
                + CrossEntropy()(prediction.branches[2:, 1], labels[2:])) / 4  # fmt: skip
    torch.testing.assert_close(branch_loss(CrossEntropy(), part, labels[1:]), expected)
