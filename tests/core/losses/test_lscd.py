"""LSCD against SciPy's relative entropy, row by row; planted signals: the student takes on the teacher's geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import rel_entr, softmax

from any2seg_core.losses.lscd import ClassGeometryLoss, ModalityCorrelationLoss, row_divergence
from any2seg_core.losses.pooling import masked_average_pooling
from any2seg_core.models.mff import MFF


def cosine(a, b) -> float:
    a, b = (np.asarray(x, np.float64).ravel() for x in (a, b))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def divergence(teacher: list[float], student: list[float], temperature: float) -> float:
    return float(rel_entr(softmax(np.array(teacher) / temperature), softmax(np.array(student) / temperature)).sum())


def modality_inputs(B: int, M: int, seed: int = 0):
    torch.manual_seed(seed)
    return torch.randn(B, M, 6, 3, 5), torch.randn(B, 6, 3, 5), torch.randn(B, M, 11), torch.randn(B, 11)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("present", [[[1, 1, 1, 1], [1, 0, 1, 0]], [[1, 1, 0, 0], [0, 0, 0, 1]]])
def test_value_modality_correlation_equals_scipy(temperature, present):
    features, fused, modality, scene = modality_inputs(2, 4)
    mask = torch.tensor(present, dtype=torch.bool)
    expected = []
    for b, row in enumerate(present):
        names = [m for m, there in enumerate(row) if there]
        if len(names) < 2:
            continue
        teacher = [cosine(modality[b, m], scene[b]) for m in names]
        expected.append(divergence(teacher, [cosine(features[b, m], fused[b]) for m in names], temperature))
    actual = ModalityCorrelationLoss(temperature)(features, fused, mask, modality, scene)
    assert float(actual) == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_value_class_geometry_equals_scipy(temperature):
    torch.manual_seed(1)
    fused, names = torch.randn(3, 6, 4, 3), torch.randn(5, 9)
    labels = torch.randint(0, 4, (3, 16, 12))
    labels[1] = torch.where(labels[1] < 2, labels[1], 255)
    labels[2] = 3  # one class alone: nothing to compare
    prototypes, _ = masked_average_pooling(fused, labels, 5)
    expected = []
    for b, classes in enumerate([(0, 1, 2, 3), (0, 1)]):
        rows = [
            divergence(
                [cosine(names[i], names[j]) for j in classes],
                [cosine(prototypes[b, i], prototypes[b, j]) for j in classes],
                temperature,
            )
            for i in classes
        ]
        expected.append(np.mean(rows))
    assert float(ClassGeometryLoss(temperature)(fused, labels, names)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_value_direction_is_teacher_to_student():
    teacher, student = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.0, 0.5, 0.3]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    forward = float(row_divergence(student, teacher, mask, 1.0))
    assert forward == pytest.approx(divergence([2.0, 0.0, -1.0], [0.0, 0.5, 0.3], 1.0), rel=1e-5)
    assert forward != pytest.approx(divergence([0.0, 0.5, 0.3], [2.0, 0.0, -1.0], 1.0), rel=0.02)


def test_value_equal_correlations_cost_nothing():
    torch.manual_seed(2)
    features, fused = torch.randn(2, 3, 4, 2, 2), torch.randn(2, 4, 2, 2)
    modality, scene = features.flatten(2), fused.flatten(1)
    present = torch.ones(2, 3, dtype=torch.bool)
    assert float(ModalityCorrelationLoss(0.1)(features, fused, present, modality, scene)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("M", [1, 2, 4])
def test_gradient_is_finite_for_any_number_of_modalities(M):
    features, fused, modality, scene = modality_inputs(1, M)
    features.requires_grad_()
    loss = ModalityCorrelationLoss()(features, fused, torch.ones(1, M, dtype=torch.bool), modality, scene)
    loss.backward()
    assert torch.isfinite(features.grad).all()
    assert (float(loss.detach()) == 0.0) == (M == 1)


def test_gradient_nothing_labelled_gives_zero_not_nan():
    fused = torch.randn(2, 4, 2, 3, requires_grad=True)
    loss = ClassGeometryLoss(0.1)(fused, torch.full((2, 8, 9), 255), torch.randn(5, 7))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(fused.grad, torch.zeros_like(fused))


def test_gradient_absent_modalities_and_the_teacher_get_none():
    features, fused, modality, scene = modality_inputs(1, 3)
    for tensor in (features, modality, scene):
        tensor.requires_grad_()
    ModalityCorrelationLoss()(features, fused, torch.tensor([[True, False, True]]), modality, scene).backward()
    assert features.grad[0, 1].abs().sum() == 0
    assert features.grad[0, 0].abs().sum() > 0
    assert modality.grad is None
    assert scene.grad is None


def test_value_bfloat16_features_give_a_float32_loss():
    features, fused, modality, scene = modality_inputs(2, 3)
    present = torch.ones(2, 3, dtype=torch.bool)
    loss = ModalityCorrelationLoss(0.1)
    low = loss(features.bfloat16(), fused.bfloat16(), present, modality, scene)
    assert low.dtype == torch.float32
    assert float(low) == pytest.approx(float(loss(features, fused, present, modality, scene)), rel=0.05)


def test_value_planted_modality_correlation_is_taken_on():
    """Through the real MFF: the teacher says depth is nearest to the scene and LiDAR farthest; the features follow."""
    torch.manual_seed(3)
    features = torch.randn(2, 4, 8, 3, 5, requires_grad=True)
    present = torch.ones(2, 4, dtype=torch.bool)
    wanted = torch.tensor([[0.5, 0.8, 0.3, 0.1], [0.4, 0.7, 0.6, 0.2]])  # cosines to the scene
    scene = F.one_hot(torch.zeros(2, dtype=torch.long), 6).float()
    modality = torch.zeros(2, 4, 6)
    modality[..., 0] = wanted
    modality[..., 1] = (1 - wanted.square()).sqrt()
    loss, mff = ModalityCorrelationLoss(0.1), MFF()

    def student() -> torch.Tensor:
        fused = mff(features, present)
        return F.cosine_similarity(features.flatten(2), fused.flatten(1)[:, None], dim=2)

    before = (student().softmax(1) - wanted.softmax(1)).abs().max()
    optimizer = torch.optim.Adam([features], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss(features, mff(features, present), present, modality, scene).backward()
        optimizer.step()
    reached = student().detach()
    assert reached.argsort(dim=1).tolist() == wanted.argsort(dim=1).tolist()
    difference = (reached - reached.mean(1, keepdim=True)) - (wanted - wanted.mean(1, keepdim=True))
    assert difference.abs().max() < 0.02  # a softmax knows cosines up to a constant
    assert before > 0.03


def test_value_planted_class_geometry_is_taken_on():
    """Class names with a known geometry (two near, one opposite): the prototypes of random features take it on."""
    torch.manual_seed(4)
    angle = torch.tensor([0.0, 0.3, 2.6, 1.5])
    names = torch.stack([angle.cos(), angle.sin()], dim=1)
    labels = torch.randint(0, 4, (2, 13, 21))
    fused = torch.randn(2, 8, 7, 11, requires_grad=True)
    loss = ClassGeometryLoss(0.2)

    def gap() -> float:
        prototypes, _ = masked_average_pooling(fused, labels, 4)
        unit = F.normalize(prototypes, dim=2)
        return float((unit @ unit.transpose(1, 2) - names @ names.T).abs().max())

    assert gap() > 0.5
    optimizer = torch.optim.Adam([fused], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        loss(fused, labels, names).backward()
        optimizer.step()
    assert gap() < 0.05
