"""AGMM: every term against values worked out by hand or in loops, degenerate labels, and a planted region."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from any2seg_core.losses.gaussian_mixture import (
    GaussianMixtureConfig,
    GaussianMixtureLoss,
    absence_loss,
    contrast_loss,
    gaussian_mixture,
    self_loss,
    sparse_loss,
)
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED

K = 6
EPS = 1e-6


def config(**changes: object) -> GaussianMixtureConfig:
    return GaussianMixtureConfig(weight=1.0, **changes)


def scene(B: int = 2, size: tuple[int, int] = (13, 18), clicks: int = 9, seed: int = 0):
    """Features at about a quarter of the size, logits, and labels with a few clicks and padding on the right."""
    generator = torch.Generator().manual_seed(seed)
    H, W = size
    features = torch.randn(B, 5, -(-H // 4), -(-W // 4), generator=generator)
    logits = 2 * torch.randn(B, K, H, W, generator=generator)
    labels = torch.full((B, H, W), NOT_ANNOTATED)
    for b in range(B):
        for place in torch.randperm(H * W, generator=generator)[:clicks].tolist():
            labels[b, place // W, place % W] = int(torch.randint(0, K, (1,), generator=generator))
    labels[:, :, -3:] = IGNORE
    return features, logits, labels


def by_hand(features: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, sigma: str) -> dict[str, float]:
    """All terms pixel by pixel, from the equations."""
    B, H, W = labels.shape
    h, w = features.shape[2:]
    p = logits.softmax(dim=1)
    large = F.interpolate(features, (H, W), mode="bilinear", align_corners=False)
    terms = {"l_self": [], "l_spar": [], "l_cls": []}
    prototypes: dict[int, list[torch.Tensor]] = {}
    distances: dict[tuple[int, int], torch.Tensor] = {}
    spreads_of: dict[tuple[int, int], float | None] = {}
    for b in range(B):
        own = sorted({int(k) for k in labels[b].unique() if k < NOT_ANNOTATED})
        for k in own:
            mu = large[b, :, labels[b] == k].mean(dim=1)
            prototypes.setdefault(k, []).append(mu)
            d = (features[b] - mu[:, None, None]).abs().mean(dim=0)  # (h, w)
            spread = 0.5
            if sigma == "labelled":
                cells = torch.zeros(h, w)  # how much each cell has to do with the labelled pixels
                for y, x in (labels[b] == k).nonzero().tolist():
                    probe = torch.zeros(1, 1, h, w, requires_grad=True)
                    F.interpolate(probe, (H, W), mode="bilinear")[0, 0, y, x].backward()
                    cells += probe.grad[0, 0]
                rows, columns = cells.nonzero().T
                extent = max(rows.max() - rows.min(), columns.max() - columns.min()) + 1
                spread = float((d**2 * cells).sum() / cells.sum()) if extent > 3 else None
            elif sigma == "predicted":
                real = F.interpolate((labels[b] != IGNORE)[None, None].float(), (h, w), mode="nearest-exact")[0, 0]
                q = F.interpolate(logits[b : b + 1], (h, w), mode="bilinear").softmax(dim=1)[0, k] * real
                spread = float((d**2 * q).sum() / q.sum())
            distances[b, k], spreads_of[b, k] = d, spread
    for b in range(B):
        known = [value for (image, _), value in spreads_of.items() if image == b and value is not None]
        usual = sum(known) / len(known) if known else 0.5
        own = sorted(k for image, k in distances if image == b)
        density = {}
        for k in own:
            d, spread = distances[b, k], spreads_of[b, k]
            exponent = -(d**2) / (2 * max(usual if spread is None else spread, 0.05**2))
            density[k] = F.interpolate(exponent.exp()[None, None], (H, W), mode="bilinear")[0, 0]
        for y in range(H):
            for x in range(W):
                if labels[b, y, x] == IGNORE or not own:
                    continue
                both = [0.0, 0.0]
                for k in own:
                    q, g = (min(max(float(v), EPS), 1 - EPS) for v in (p[b, k, y, x], density[k][y, x]))
                    soft = float(density[k][y, x])
                    both[0] -= (soft * math.log(q) + (1 - soft) * math.log(1 - q)) / 2 / len(own)
                    both[1] -= (math.log(g) if labels[b, y, x] == k else math.log(1 - g)) / 2 / len(own)
                terms["l_self"].append(both[0])
                if labels[b, y, x] < NOT_ANNOTATED:
                    terms["l_spar"].append(both[1])
                absent = [k for k in range(K) if k not in own]
                terms["l_cls"].append(-sum(math.log(1 - float(p[b, k, y, x])) for k in absent))
    values = {name: sum(entries) / max(1, len(entries)) for name, entries in terms.items()}
    mean = [torch.stack(entries).mean(dim=0) for _, entries in sorted(prototypes.items())]
    pairs = [
        math.exp(-(float((mean[i] - mean[j]).abs().mean()) ** 2)) for i in range(len(mean)) for j in range(i)
    ]
    return values | {"l_con": sum(pairs) / max(1, len(pairs))}


def squared_distance(features: torch.Tensor, prototype: torch.Tensor) -> torch.Tensor:
    """(h, w) of the only image."""
    return (features[0] - prototype[:, None, None]).abs().mean(dim=0) ** 2


@pytest.mark.parametrize("sigma", ["unit", "labelled", "predicted"])
@pytest.mark.parametrize(("B", "size", "clicks"), [(2, (13, 18), 9), (1, (8, 8), 1), (3, (5, 21), 4)])
def test_value_all_terms_by_hand(sigma, B, size, clicks):
    features, logits, labels = scene(B, size, clicks)
    terms = GaussianMixtureLoss(config(sigma=sigma, l_cls=True))(features, logits, labels)
    expected = by_hand(features, logits, labels, sigma)
    assert set(terms) == set(expected)
    for name, value in terms.items():
        assert float(value) == pytest.approx(expected[name], rel=2e-4, abs=1e-6), name


def test_value_one_pixel_on_paper():
    """Feature 0.5 everywhere, both clicks on it: G = 1 for the one class, so L_spar = 0 and L_self = -log p / 2."""
    labels = torch.full((1, 4, 4), NOT_ANNOTATED)
    labels[0, 0, 0] = labels[0, 3, 2] = 2
    logits = torch.zeros(1, 4, 4, 4)  # p = 1/4
    terms = GaussianMixtureLoss(config(l_cls=True))(torch.full((1, 7, 1, 1), 0.5), logits, labels)
    assert float(terms["l_self"]) == pytest.approx(math.log(4) / 2, rel=1e-5)
    assert float(terms["l_spar"]) == pytest.approx(0.0, abs=2e-6)
    assert float(terms["l_con"]) == 0.0
    assert float(terms["l_cls"]) == pytest.approx(-3 * math.log(0.75), rel=1e-5)


def test_value_contrast_on_paper():
    """Three prototypes at 0, 1 and 3 in both channels: (e^-1 + e^-9 + e^-4) / 3."""
    prototypes = torch.tensor([[[0.0, 0.0], [9.0, 9.0], [1.0, 1.0], [3.0, 3.0]]])
    present = torch.tensor([[True, False, True, True]])
    expected = (math.exp(-1) + math.exp(-9) + math.exp(-4)) / 3
    assert float(contrast_loss(prototypes, present)) == pytest.approx(expected, rel=1e-6)


def test_property_twice_the_same_batch_changes_nothing():
    """With the sum of prototypes, as in the released code, L_con would."""
    features, logits, labels = scene(3)
    loss = GaussianMixtureLoss(config(l_cls=True, sigma="labelled"))
    once = loss(features, logits, labels)
    twice = loss(features.repeat(2, 1, 1, 1), logits.repeat(2, 1, 1, 1), labels.repeat(2, 1, 1))
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=1e-5, atol=1e-7)


def test_value_spread_of_labelled_pixels():
    """Two clicks of a class at features 0 and 1: prototype 0.5, sigma 0.5, so G is e^-0.5 at both of them."""
    features = torch.tensor([[[[0.0, 0.5, 0.5, 1.0]]]])
    labels = torch.tensor([[[3, NOT_ANNOTATED, NOT_ANNOTATED, 3]]])
    logits = torch.zeros(1, K, 1, 4)
    mixture = gaussian_mixture(features, logits, labels, config(sigma="labelled"))
    expected = torch.tensor([math.exp(-0.5), 1.0, 1.0, math.exp(-0.5)])
    torch.testing.assert_close(mixture.density[0, 0, 0], expected)
    assert mixture.classes.tolist() == [[3]]
    labels[0, 0, 3] = 5  # now one click each: no spread is known, so it is that of unit
    one = gaussian_mixture(features, logits, labels, config(sigma="labelled"))
    torch.testing.assert_close(one.density, gaussian_mixture(features, logits, labels, config(sigma="unit")).density)


@pytest.mark.parametrize("zoom", [1, 2])
def test_value_a_zoomed_click_has_no_spread_of_its_own(zoom):
    """Its pixels share one feature: their tiny spread must not become that of the whole image."""
    features = torch.randn(1, 5, 12, 12, generator=torch.Generator().manual_seed(0))
    labels = torch.full((1, 48, 48), NOT_ANNOTATED)
    labels[0, 4::10, 5] = 2  # spread over the height
    wide = gaussian_mixture(features, torch.zeros(1, K, 48, 48), labels, config(sigma="labelled"))
    labels[0, 21 : 21 + zoom, 30 : 30 + zoom] = 1
    both = gaussian_mixture(features, torch.zeros(1, K, 48, 48), labels, config(sigma="labelled"))
    assert both.classes.tolist() == [[1, 2]]
    torch.testing.assert_close(both.density[:, 1], wide.density[:, 0])
    sigma = [float((-(squared) / (2 * density.log())).sqrt()) for squared, density in (
        (squared_distance(features, both.prototypes[0, k])[0, 3], both.density[0, place, 0, 3])
        for place, k in enumerate((1, 2))
    )]  # fmt: skip
    assert sigma[0] == pytest.approx(sigma[1], rel=1e-3)


@pytest.mark.parametrize("sigma", ["unit", "labelled", "predicted"])
@pytest.mark.parametrize("fill", [NOT_ANNOTATED, IGNORE])
def test_gradient_without_a_label_all_terms_are_zero(sigma, fill):
    features, logits, labels = scene(2)
    features.requires_grad_()
    logits.requires_grad_()
    terms = GaussianMixtureLoss(config(sigma=sigma, l_cls=True))(features, logits, torch.full_like(labels, fill))
    total = sum(terms.values())
    total.backward()
    assert float(total.detach()) == 0.0
    assert torch.equal(features.grad, torch.zeros_like(features))
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("sigma", ["unit", "labelled", "predicted"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gradient_finite_with_one_click_and_any_scale(sigma, scale):
    """One labelled pixel in one of two images; features all alike, usual, or far apart; saturated logits."""
    features, logits, labels = scene(2)
    labels.fill_(NOT_ANNOTATED)
    labels[1, 7, 5] = 4
    features, logits = (scale * features).requires_grad_(), (100 * logits).requires_grad_()
    terms = GaussianMixtureLoss(config(sigma=sigma, l_cls=True))(features, logits, labels)
    sum(terms.values()).backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert torch.isfinite(features.grad).all() and torch.isfinite(logits.grad).all()
    assert torch.equal(logits.grad[0], torch.zeros_like(logits[0]))  # no label, no prototype, no opinion


def test_gradient_flows_both_ways_unless_stopped():
    features, logits, labels = scene(2)
    features.requires_grad_()
    logits.requires_grad_()
    terms = GaussianMixtureLoss(config())(features, logits, labels)
    through = torch.autograd.grad(terms["l_self"], [features, logits])
    assert all(float(gradient.abs().sum()) > 0 for gradient in through)
    stopped = GaussianMixtureLoss(config(stop_gradient=True))(features, logits, labels)["l_self"]
    assert float(stopped.detach()) == pytest.approx(float(terms["l_self"].detach()), rel=1e-6)
    gradients = torch.autograd.grad(stopped, [features, logits], allow_unused=True)
    assert gradients[0] is None
    torch.testing.assert_close(gradients[1], through[1])


def test_gradient_equals_differences():
    features, logits, labels = scene(1, (6, 9), 4)
    features, logits = features.double().requires_grad_(), logits.double().requires_grad_()

    def total(f: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return sum(GaussianMixtureLoss(config(sigma="unit"))(f, z, labels).values())  # no gradient flows to others

    total(features, logits).backward()
    for tensor in (features, logits):
        place = tuple(int(n) // 2 for n in tensor.shape)
        shift = torch.zeros_like(tensor)
        shift[place] = 1e-2
        pair = [(features + s, logits) if tensor is features else (features, logits + s) for s in (shift, -shift)]
        difference = (total(*pair[0]) - total(*pair[1])).detach() / 2e-2
        assert float(tensor.grad[place]) == pytest.approx(float(difference), rel=2e-2, abs=1e-5)


def test_value_bfloat16_is_computed_in_float32():
    features, logits, labels = scene(2)
    exact = GaussianMixtureLoss(config())(features.bfloat16().float(), logits.bfloat16().float(), labels)
    half = GaussianMixtureLoss(config())(features.bfloat16(), logits.bfloat16(), labels)
    for name, value in exact.items():
        assert half[name].dtype == torch.float32
        torch.testing.assert_close(half[name], value)


def test_property_padding_and_classes_without_a_label_do_not_count():
    features, logits, labels = scene(2, (16, 16))
    labels[:, :, 12:] = IGNORE
    loss = GaussianMixtureLoss(config(sigma="unit"))
    before = loss(features, logits, labels)
    logits = logits.clone()
    logits[:, :, :, 12:] = 50 * torch.randn(2, K, 16, 4)
    after = loss(features, logits, labels)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value)


def test_value_switches():
    features, logits, labels = scene()
    assert list(GaussianMixtureLoss(config(l_self=False, l_con=False))(features, logits, labels)) == ["l_spar"]
    assert list(GaussianMixtureLoss(config(l_spar=False))(features, logits, labels)) == ["l_self", "l_con"]
    only = GaussianMixtureLoss(config(l_self=False, l_spar=False, l_con=False, l_cls=True))
    assert list(only(features, logits, labels)) == ["l_cls"]
    with pytest.raises(ValidationError, match="all terms are switched off"):
        config(l_self=False, l_spar=False, l_con=False)
    with pytest.raises(ValidationError, match="level=3 has no effect"):
        config(level=3)


def test_shape_terms_alone():
    """Called with what they say they take: two classes in one image, one in the other."""
    probability = torch.full((2, 2, 3, 5), 0.5)
    exists = torch.tensor([[True, True], [True, False]])
    labels = torch.full((2, 3, 5), NOT_ANNOTATED)
    labels[0, 1, 1], labels[1, 2, 4] = 1, 0
    classes = torch.tensor([[1, 3], [0, 1]])
    half = math.log(2) / 2
    assert float(self_loss(probability, probability, exists, labels)) == pytest.approx(half, rel=1e-5)
    assert float(sparse_loss(probability, classes, exists, labels)) == pytest.approx(half, rel=1e-5)
    present = torch.zeros(2, 4, dtype=torch.bool)
    present[0, [1, 3]] = present[1, 0] = True
    expected = math.log(2) * (2 + 3) / 2  # two absent classes in one image, three in the other
    assert float(absence_loss(torch.full((2, 4, 3, 5), 0.5), present, labels)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma", ["unit", "labelled", "predicted"])
def test_value_a_click_spreads_over_the_region_that_looks_alike(sigma):
    """Two halves with features of their own and noise, one click in each; the logits of every pixel are free.

    Partial cross entropy moves the two clicked pixels, AGMM both halves.
    """

    def learn(weight: float) -> float:
        generator = torch.Generator().manual_seed(0)
        half = torch.arange(24) >= 11
        truth = half.long().expand(1, 16, 24)
        features = torch.where(half, 1.0, -1.0) + 0.3 * torch.randn(1, 40, 16, 24, generator=generator)
        labels = torch.full((1, 16, 24), NOT_ANNOTATED)
        labels[0, 8, 4], labels[0, 3, 20] = 0, 1
        logits = torch.randn(1, 2, 16, 24, generator=generator).requires_grad_()
        optimizer = torch.optim.Adam([logits], 0.1)
        mixture = GaussianMixtureLoss(config(sigma=sigma))
        for _ in range(40):
            loss = CrossEntropy()(logits, labels) + weight * sum(mixture(features, logits, labels).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float((logits.argmax(dim=1) == truth).float().mean())

    assert learn(0.0) < 0.6
    assert learn(1.0) > 0.99
