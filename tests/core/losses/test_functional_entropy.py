"""Fisher information against autograd and hand-made softmaxes; R_p and R_f balance what was unbalanced."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from any2seg_core.losses.functional_entropy import (
    FisherConfig,
    balance_penalty,
    feature_information,
    gradient_information,
    logit_information,
    prediction_information,
    softmax_information,
)
from any2seg_core.models import Any2Seg, ModelConfig

EXACT = FisherConfig(sigma=0.0, locations=None)
K = 5


def scene(B: int = 2, M: int = 4, h: int = 3, w: int = 5, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(B, M, K, h, w, generator=generator)
    labels = torch.randint(0, K, (B, 4 * h, 4 * w), generator=generator)
    return logits, labels, torch.ones(B, M, dtype=torch.bool)


def test_value_closed_form_equals_autograd():
    """|grad_z CE|^2 / CE for hard and soft targets."""
    torch.manual_seed(0)
    scores = torch.randn(7, K, dtype=torch.float64, requires_grad=True)
    hard = F.one_hot(torch.randint(0, K, (7,)), K).double()
    for target in (hard, torch.randn(7, K, dtype=torch.float64).softmax(dim=1)):
        loss = F.cross_entropy(scores, target, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), scores)
        expected = gradient.square().sum(dim=1) / loss
        torch.testing.assert_close(softmax_information(scores, target), expected, rtol=1e-4, atol=1e-6)


def test_value_closed_form_by_hand():
    """Two classes at probability 0.8 / 0.2, the first is true: (0.2^2 + 0.2^2) / -log 0.8."""
    scores = torch.tensor([[0.8, 0.2]]).log()
    value = float(softmax_information(scores, torch.tensor([[1.0, 0.0]])))
    assert value == pytest.approx(0.08 / 0.22314355, rel=1e-4)


@pytest.mark.parametrize("scale", [0.0, 1e3, -1e3])
def test_gradient_saturated_softmax_stays_finite(scale):
    scores = torch.tensor([[scale, 0.0, 0.0]], requires_grad=True)
    value = softmax_information(scores, torch.tensor([[1.0, 0.0, 0.0]]))
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(scores.grad).all()


def test_value_logit_information_is_the_mean_over_labelled_pixels_of_present_samples():
    logits, labels, present = scene()
    labels[0, :4] = 255
    present[1, 2] = False
    actual = logit_information(logits, labels, present, EXACT)
    truth = labels[:, 2::4, 2::4]  # the pixel at the centre of each 4x4 cell
    for m in range(4):
        parts = []
        for b in range(2):
            if present[b, m]:
                probability = logits[b, m].softmax(dim=0)
                for y, x in (truth[b] != 255).nonzero().tolist():
                    error = probability[:, y, x] - F.one_hot(truth[b, y, x], K)
                    parts.append(error.square().sum() / -probability[truth[b, y, x], y, x].log())
        assert float(actual[m]) == pytest.approx(float(torch.stack(parts).mean()), rel=1e-4)


def test_value_gradient_information_of_logits_is_the_closed_form():
    """One modality whose logits are the prediction: the general route through autograd gives the ratio of sums."""
    logits, labels, _ = scene(M=2)
    present = torch.ones(2, 2, dtype=torch.bool)
    inputs = logits.clone().requires_grad_()
    information = gradient_information(inputs[:, 0] * 1.0 + 0.0 * inputs[:, 1], labels, [inputs], present)
    probability, truth = logits[:, 0].softmax(dim=1), labels[:, 2::4, 2::4]
    error = (probability - F.one_hot(truth, K).permute(0, 3, 1, 2)).square().sum(dim=(1, 2, 3))
    loss = F.cross_entropy(logits[:, 0], truth, reduction="none").sum(dim=(1, 2))
    assert float(information[0].detach()) == pytest.approx(float((error / loss).mean()), rel=1e-4)
    assert float(information[1].detach()) == 0.0


def test_value_feature_information_by_hand():
    torch.manual_seed(1)
    level = torch.randn(1, 2, 6, 3, 1)
    actual = feature_information(level, torch.ones(1, 2, dtype=torch.bool), EXACT)
    target = level.mean(dim=1)[0].softmax(dim=0)  # (C, h, w)
    for m in range(2):
        probability = level[0, m].softmax(dim=0)
        ratio = (probability - target).square().sum(dim=0) / -(target * probability.log()).sum(dim=0)
        assert float(actual[m]) == pytest.approx(float(ratio.mean()), rel=1e-4)


def test_value_samples_with_one_modality_have_nothing_to_balance():
    logits, labels, _ = scene()
    single = torch.eye(4, dtype=torch.bool)[:2]
    information = logit_information(logits, labels, single, EXACT)
    assert information.isnan().all()
    assert float(balance_penalty(information, EXACT)) == 0.0
    assert logit_information(*scene(M=1), EXACT).isnan().all()


def test_value_a_modality_that_never_occurs_is_marked_and_has_no_gradient():
    logits, labels, present = scene()
    present[:, 3] = False
    logits.requires_grad_()
    information = logit_information(logits, labels, present, FisherConfig())
    assert information.isnan().tolist() == [False, False, False, True]
    balance_penalty(information, EXACT).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[:, 3].abs().sum() == 0


def test_value_penalty_norms_and_limit():
    information = torch.tensor([0.5, 0.25, torch.nan, 0.0])
    reciprocals = [1 / 0.6, 1 / 0.35, 10.0]
    assert float(balance_penalty(information, FisherConfig(limit=10))) == pytest.approx(sum(reciprocals), rel=1e-5)
    expected = sum(r * r for r in reciprocals) ** 0.5
    assert float(balance_penalty(information, FisherConfig(limit=10, norm="l2"))) == pytest.approx(expected, rel=1e-5)


def test_value_noise_has_the_standard_deviation_of_the_channel():
    """Constant channels get none; doubling sigma doubles the mean squared change of the scores' spread."""
    logits, labels, present = scene(h=16, w=16)
    constant = torch.zeros_like(logits)
    torch.manual_seed(3)
    noisy = logit_information(constant, labels, present, FisherConfig(locations=None))
    torch.testing.assert_close(noisy, logit_information(constant, labels, present, EXACT))
    assert not torch.allclose(logit_information(logits, labels, present, FisherConfig()),
                              logit_information(logits, labels, present, EXACT), rtol=1e-3)  # fmt: skip


def test_value_sampled_locations_estimate_the_mean_over_all():
    logits, labels, present = scene(h=24, w=24)
    torch.manual_seed(4)
    sampled = FisherConfig(sigma=0.0, locations=64)
    draws = torch.stack([logit_information(logits, labels, present, sampled) for _ in range(200)])
    torch.testing.assert_close(
        draws.mean(dim=0), logit_information(logits, labels, present, EXACT), rtol=0.03, atol=0.0
    )


def test_value_bfloat16_is_computed_in_float32():
    logits, labels, present = scene()
    low = logit_information(logits.bfloat16(), labels, present, EXACT)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, logit_information(logits, labels, present, EXACT), rtol=0.03, atol=1e-3)


@pytest.mark.parametrize("fusion", ["mff", "mean_predictions"])
@pytest.mark.parametrize("wrt", ["logits", "features", "input"])
def test_gradient_every_estimator_trains_the_encoder(fusion, wrt):
    torch.manual_seed(5)
    names = ("rgb", "depth", "lidar")
    model = Any2Seg(ModelConfig(head_width=16, num_classes=K, modalities=names, fusion=fusion)).train()
    images = {name: torch.randn(2, 3, 32, 64) for name in names}
    present = torch.tensor([[True, True, False], [True, True, True]])
    prediction = model(images, present)
    labels = torch.randint(0, K, (2, 32, 64))
    seen = {name: value.clone() for name, value in model.named_buffers()}
    information = prediction_information(model, images, prediction.encoded, labels, FisherConfig(wrt=wrt))
    for name in ("head.norm.running_mean", "head.norm.running_var"):  # noise and single modalities leave no trace
        assert torch.equal(model.get_buffer(name), seen[name]), name
    assert model.head.norm.momentum == 0.1
    assert information.shape == (3,)
    assert (information.detach() > 0).all()
    balance_penalty(information, FisherConfig()).backward()
    for name in ("stages.0.embed.proj.weight", "stages.3.blocks.1.mlp.fc1.weight"):
        gradient = model.encoder.get_parameter(name).grad
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


def spread(information: torch.Tensor) -> float:
    return float(information.std() / information.mean())


def test_value_planted_imbalance_of_predictions_is_reduced():
    """One modality has saturated (it answers with certainty) and three are unsure: R_p evens their information out."""
    logits, labels, present = scene(B=1, h=4, w=5)
    truth = F.one_hot(labels[:, 2::4, 2::4], K).permute(0, 3, 1, 2).float()  # (B, K, h, w)
    logits = 0.2 * logits
    logits[:, 0] += 8.0 * truth
    logits.requires_grad_()
    before = logit_information(logits, labels, present, EXACT).detach()
    assert spread(before) > 0.4
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        balance_penalty(logit_information(logits, labels, present, EXACT), EXACT).backward()
        optimizer.step()
    after = logit_information(logits, labels, present, EXACT).detach()
    assert spread(after) < 0.1 * spread(before)
    assert after.min() > 2 * before.min()


def test_value_planted_imbalance_of_features_is_reduced():
    """Three modalities share a fixed total of gain, and the first has most: R_f gives each a third.

    Their features are one map, shifted by a third of the image each, so that at equal gain their information is equal.
    """
    torch.manual_seed(6)
    one = torch.randn(8, 24, 25)
    base = torch.stack([one.roll(8 * m, dims=1) for m in range(3)])[None]  # (B, M, C, h, w)
    share = torch.tensor([2.0, 0.0, -0.5], requires_grad=True)
    present = torch.ones(1, 3, dtype=torch.bool)

    def information() -> torch.Tensor:
        gain = 6.0 * share.softmax(dim=0)
        return feature_information(gain[:, None, None, None] * base, present, EXACT)

    before = information().detach()
    optimizer = torch.optim.Adam([share], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        balance_penalty(information(), EXACT).backward()
        optimizer.step()
    after = information().detach()
    assert spread(before) > 0.3
    assert spread(after) < 0.1 * spread(before)
    torch.testing.assert_close(share.detach().softmax(dim=0), torch.full((3,), 1 / 3), atol=0.02, rtol=0)


@pytest.mark.parametrize("changes", [{"samples": 0}, {"sigma": -1.0}, {"wrt": "weights"}, {"limit": 0.0}, {"n": 2}])
def test_exception_settings_out_of_range(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        FisherConfig(**changes)
