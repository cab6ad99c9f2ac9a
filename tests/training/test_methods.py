"""Teacher and student: moving average, masking, which rows learn from what; every figure against a hand computation."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.batches import ModelBatch, SampleKey
from any2seg_training.config import TrainConfig
from any2seg_training.methods import StudentBatch, Supervised, TeacherStudent, build_method, one_or_none
from any2seg_training.objective import Objective

TWO = ("rgb", "lidar")
K = 5


def settings(**changes: object) -> TrainConfig:
    return TrainConfig(**({"data": "d", "out": "o", "method": "m3l", "modality_dropout": 1.0} | changes))


def make(modalities: tuple[str, ...], seed: int = 0) -> Any2Seg:
    """In evaluation mode, so that rows do not depend on each other.

    Without MFF's selection: of two modalities of equal norm, which LayerNorm makes, both are equally near the mean, and
    rounding decides.
    """
    torch.manual_seed(seed)
    config = ModelConfig(head_width=8, num_classes=K, modalities=modalities, mff={"select": False})
    return Any2Seg(config).eval()


def batch(modalities: tuple[str, ...], labelled: int, unlabelled: int) -> ModelBatch:
    """Images 32 x 64, truth of the labelled samples with some pixels to ignore and some unlabelled, keys."""
    torch.manual_seed(1)
    count = labelled + unlabelled
    images = {name: torch.randn(count, 3, 32, 64) for name in modalities}
    labels = torch.randint(0, K, (count, 32, 64))
    labels[:, :3], labels[:, 5:9], labels[labelled:, 3:] = 255, 254, 254
    available = torch.ones(count, len(modalities), dtype=torch.bool)
    keys = [SampleKey(0, 40 + n, n % 2) for n in range(labelled)] + [SampleKey(1, 70 + n, n) for n in range(unlabelled)]
    return ModelBatch(images, labels, available, keys)


def teach(
    config: TrainConfig, model: Any2Seg, given: ModelBatch, objective: Objective
) -> tuple[TeacherStudent, StudentBatch]:
    """A method with a teacher that is not the student, and the student's batch."""
    method = build_method(config, VEHICLE, model)
    method.teacher.model = make(model.modalities, seed=9)
    return method, method.student_batch(given, step=0)


def ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the pixels below 254, by the formula."""
    picked = torch.log_softmax(logits, 1).gather(1, labels.where(labels < 254, 0)[:, None])[:, 0]
    return -picked[labels < 254].mean()


@pytest.mark.parametrize("name", ["m3l", "mean_teacher"])
def test_value_the_teacher_does_not_see_planted_faults(name):
    model, objective = make(TWO), Objective(CrossEntropy(), settings(method=name))
    given = batch(TWO, 2, 1)
    images = given.images
    method, whole = teach(settings(method=name), model, given, objective)
    broken = images | {TWO[0]: torch.randn_like(images[TWO[0]])}
    student = method.student_batch(replace(given, images=broken, clean={TWO[0]: images[TWO[0]]}), step=0)
    assert torch.equal(student.pseudo, whole.pseudo)
    assert not torch.equal(method.student_batch(replace(given, images=broken), step=0).pseudo, whole.pseudo)
    assert torch.equal(student.images[TWO[0]][:2], broken[TWO[0]][:2])


@pytest.mark.parametrize("modalities", [TWO, VEHICLE.members], ids=len)
@pytest.mark.parametrize("reading", ["paper", "released"])
def test_value_m3l_is_supervised_plus_pseudo_labels(modalities, reading):
    config = settings(m3l={"lambda_u": 0.7, "labels": reading})
    model, objective = make(modalities), Objective(CrossEntropy(), config)
    given = batch(modalities, 3, 2)
    images, labels, available, keys = given.images, given.labels, given.available, given.keys
    method, student = teach(config, model, given, objective)
    loss, terms = method.loss(objective, model, student, model(student.images, student.present))

    masked = method.masked(available, modalities, keys)
    truth = labels[:3]
    pseudo = method.teacher.model(images).logits.argmax(1)
    pseudo[labels == 255] = 255  # and not 254
    full = model({name: image[:3] for name, image in images.items()}).logits
    hidden = model(images, masked).logits
    if reading == "paper":
        l_sup, l_u = ce(full, truth), ce(hidden, pseudo)
    else:
        l_sup = ce(torch.cat([full, hidden[:3]]), torch.cat([truth, truth]))
        l_u = ce(torch.cat([full, hidden]), torch.cat([pseudo[:3], pseudo]))
    torch.testing.assert_close(loss, l_sup + 0.7 * l_u)
    torch.testing.assert_close(terms["l_sup"], l_sup)
    torch.testing.assert_close(terms["l_u"], l_u)
    assert student.frames == [0, 1, 0] * (1 if reading == "paper" else 2)
    assert float(terms["pseudo_share"]) == pytest.approx(29 / 32)
    given_rows = hidden if reading == "paper" else torch.cat([full, hidden])
    targets = pseudo if reading == "paper" else torch.cat([pseudo[:3], pseudo])
    same = given_rows.argmax(1)[:, ::4, ::4] == targets[:, ::4, ::4]
    assert float(terms["agreement"]) == pytest.approx(float(same[:, 1:].float().mean()))


def test_value_mean_teacher_masks_nothing_and_forwards_nothing_twice():
    config = settings(method="mean_teacher", modality_dropout={"R": 1})
    model, objective = make(TWO), Objective(CrossEntropy(), config)
    given = batch(TWO, 3, 2)
    images, labels = given.images, given.labels
    method, student = teach(config, model, given, objective)
    assert student.present.tolist() == [[True, False]] * 3 + [[True, True]] * 2
    prediction = model(student.images, student.present)
    loss, _ = method.loss(objective, model, student, prediction)
    pseudo = method.teacher.model(images).logits.argmax(1).masked_fill(labels == 255, 255)
    assert len(prediction.logits) == 5
    torch.testing.assert_close(loss, ce(prediction.logits[:3], labels[:3]) + ce(prediction.logits, pseudo))


@pytest.mark.parametrize("method", ["m3l", "mean_teacher"])
def test_value_pseudo_labels_begin_to_count_step_by_step(method):
    """lambda_u 0.8 over 4 steps: 0, 0.2, 0.4, 0.6, 0.8, 0.8, ...; without a warm-up 0.8 from the first step."""
    config = settings(method=method, m3l={"lambda_u": 0.8, "warmup_steps": 4})
    model, objective = make(TWO), Objective(CrossEntropy(), config)
    teacher, given = build_method(config, VEHICLE, model), batch(TWO, 2, 2)
    for step, weight in ((0, 0.0), (1, 0.2), (2, 0.4), (3, 0.6), (4, 0.8), (5, 0.8), (999, 0.8)):
        student = teacher.student_batch(given, step=step)
        loss, terms = teacher.loss(objective, model, student, model(student.images, student.present))
        torch.testing.assert_close(loss, terms["l_sup"] + weight * terms["l_u"])
        assert float(terms["l_u"]) > 0.1
    assert settings(m3l={"lambda_u": 0.8}).m3l.weight(0) == 0.8


def test_value_without_unlabelled_samples_the_copies_still_learn():
    config = settings()
    model, objective = make(TWO), Objective(CrossEntropy(), config)
    given = batch(TWO, 2, 0)
    images, labels, available, keys = given.images, given.labels, given.available, given.keys
    method, student = teach(config, model, given, objective)
    loss, _ = method.loss(objective, model, student, model(student.images, student.present))
    pseudo = method.teacher.model(images).logits.argmax(1).masked_fill(labels == 255, 255)
    hidden = model(images, method.masked(available, TWO, keys)).logits
    torch.testing.assert_close(loss, ce(model(images).logits, labels) + ce(hidden, pseudo))


def test_value_supervised_is_the_objective_itself():
    config = settings(method="supervised", modality_dropout={"R": 1})
    model, objective = make(TWO), Objective(CrossEntropy(), config)
    method = build_method(config, VEHICLE, model)
    given = batch(TWO, 3, 0)
    images, labels = given.images, given.labels
    student = method.student_batch(given, step=0)
    prediction = model(student.images, student.present)
    loss, terms = method.loss(objective, model, student, prediction)
    assert type(method) is Supervised
    torch.testing.assert_close(loss, ce(model({"rgb": images["rgb"]}).logits, labels))
    assert terms == {} and method.teacher is None


def test_gradient_reaches_the_student_alone():
    config = settings()
    model, objective = make(VEHICLE.members).train(), Objective(CrossEntropy(), config)
    given = batch(VEHICLE.members, 2, 2)
    given.labels.fill_(254)  # no label at all: what is learned comes from the teacher
    method, student = teach(config, model, given, objective)
    method.loss(objective, model, student, model(student.images, student.present))[0].backward()
    assert not student.pseudo.requires_grad
    assert all(p.grad is None for p in method.teacher.model.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "bias" not in n)


def test_value_the_teacher_follows_by_the_ramp():
    """Decays 0, 1/2, 2/3, 0.7, 0.7 after steps 0..4; BatchNorm's statistics are averaged, its counter is copied."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    method = TeacherStudent(settings(m3l={"decay": 0.7}), VEHICLE, model)
    expected = None
    for step, (weight, decay) in enumerate(zip([2.0, 4.0, 8.0, -1.0, 5.0], [0.0, 1 / 2, 2 / 3, 0.7, 0.7], strict=True)):
        with torch.no_grad():
            model[0].weight.fill_(weight)
            model[1].running_mean.fill_(10 * weight)
            model[1].num_batches_tracked.fill_(step)
        method.after_step(model, step)
        expected = weight if expected is None else decay * expected + (1 - decay) * weight
        assert float(method.teacher.model[0].weight) == pytest.approx(expected)
        assert float(method.teacher.model[1].running_mean) == pytest.approx(10 * expected)
        assert int(method.teacher.model[1].num_batches_tracked) == step
    assert not any(p.requires_grad for p in method.teacher.model.parameters())
    assert not method.teacher.model.training


@pytest.mark.parametrize("modalities", [("rgb",), TWO, VEHICLE.members], ids=len)
def test_value_one_modality_or_none_is_hidden_equally_often(modalities):
    method = build_method(settings(), VEHICLE, make(modalities))
    count, columns = 6000, len(modalities)
    keys = [SampleKey(n % 2, n, 0) for n in range(count)]
    present = method.masked(torch.ones(count, columns, dtype=torch.bool), modalities, keys)
    kinds = columns + 1 if columns > 1 else 1
    assert len(one_or_none(modalities, VEHICLE)) == kinds
    assert float(present.all(1).float().mean()) == pytest.approx(1 / kinds, abs=0.02)
    if columns > 1:
        assert (present.sum(1) >= columns - 1).all()
        for column in range(columns):
            assert float((~present[:, column]).float().mean()) == pytest.approx(1 / kinds, abs=0.02)


def test_value_masking_follows_the_number_of_the_sample_and_what_it_has():
    method = build_method(settings(m3l={"masking": {"R": 1, "L": 1}}), VEHICLE, make(TWO))
    keys = [SampleKey(part, number, 0) for part in (0, 1) for number in range(200)]
    whole = method.masked(torch.ones(400, 2, dtype=torch.bool), TWO, keys)
    assert torch.equal(method.masked(torch.ones(30, 2, dtype=torch.bool), TWO, keys[50:80]), whole[50:80])
    assert not torch.equal(whole[:200], whole[200:])  # a copy and the unlabelled sample of the same number differ
    available = torch.tensor([[True, False]]).repeat(400, 1)
    assert torch.equal(method.masked(available, TWO, keys), available)  # its last sensor is never taken away


def test_value_a_teacher_starts_as_the_student():
    model = make(TWO)
    method = build_method(settings(), VEHICLE, model)
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "supervised", "data": {"root": "d", "unlabelled": "x"}}, "data.unlabelled has no effect"),
        ({"method": "supervised", "unlabelled_batch_size": 3}, "unlabelled_batch_size has no effect"),
        ({"method": "supervised", "m3l": {"lambda_u": 0.5}}, "m3l has no effect"),
        ({"method": "mean_teacher", "m3l": {"masking": 0.5}}, "it masks nothing"),
        ({"data": {"root": "d", "labelled": "f", "labelled_fraction": 0.5}}, "exclude each other"),
    ],
)
def test_exception_settings_without_effect(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
