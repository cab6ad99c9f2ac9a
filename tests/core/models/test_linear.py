"""Linear Fusion against plain MiTs that run in lockstep, loops by hand and counted parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from raised import user_error
from torch import Tensor, nn

from any2seg_core.evaluation.batches import EvaluationBatch
from any2seg_core.evaluation.subsets import FILL_INS, subset_logits
from any2seg_core.losses.branches import branch_loss
from any2seg_core.losses.segmentation import CrossEntropy
from any2seg_core.models import Any2Seg, LinearFusionConfig, ModelConfig
from any2seg_core.models.linear import LinearFusion, LinearRows, ModalityNorm
from any2seg_core.models.mit import MixTransformer, to_map
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.preprocess import logits_to_labels, planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract

NAMES = ("rgb", "depth", "lidar")
EVERY = [[True, True, True]] * 2
SOME = [[True, False, True], [False, True, False]]


def build(names: tuple[str, ...] = NAMES, **changes) -> Any2Seg:
    """Norms and ensemble weights as unlike as after a long training, and attention that matters."""
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=16, num_classes=7, modalities=names, fusion="linear", linear=changes)).eval()
    with torch.no_grad():
        for module in model.encoder.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
            elif isinstance(module, nn.Linear):
                module.weight.mul_(4.0)
        if hasattr(model.fusion, "weight"):
            model.fusion.weight.normal_()
    return model


def images(batch: int = 2, names: tuple[str, ...] = NAMES, size: tuple[int, int] = (32, 64)) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(batch, 3, *size, generator=generator) for name in names}


def mixed_by_hand(streams: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Eq. 5 over the streams of one sample."""
    mixed = {}
    for name, tokens in streams.items():
        others = [other for key, other in streams.items() if key != name]
        mixed[name] = alpha * tokens + (1 - alpha) * torch.stack(others).mean(0) if others else tokens
    return mixed


def plain_encoders(model: Any2Seg) -> dict[str, MixTransformer]:
    """One MiT of nn.LayerNorms per modality, with that modality's norms out of ``model``."""
    encoders = {}
    for name in model.modalities:
        others = tuple(other for other in model.modalities if other != name)
        state = {key.replace(f".{name}.", "."): value for key, value in model.encoder.state_dict().items()
                 if not any(f".{other}." in key for other in others)}  # fmt: skip
        encoders[name] = MixTransformer("b0").eval()
        encoders[name].load_state_dict(state, strict=True)
    return encoders


def lockstep(encoders: dict[str, MixTransformer], sample: dict[str, Tensor], alpha: float) -> dict[str, list[Tensor]]:
    """Features of one sample, (1, 3, H, W) per modality, block by block in plain MiTs with Eq. 5 in between."""
    features: dict[str, list[Tensor]] = {name: [] for name in sample}
    streams = dict(sample)
    for number in range(4):
        stages = {name: encoders[name].stages[number] for name in sample}
        tokens, shape = {}, (0, 0)
        for name, stage in stages.items():
            convolved = stage.embed.proj(streams[name])
            shape = convolved.shape[-2:]
            tokens[name] = stage.embed.norm(convolved.flatten(2).transpose(1, 2))
        for block in range(len(stages[next(iter(sample))].blocks)):
            blocks = {name: stage.blocks[block] for name, stage in stages.items()}
            attended = {name: one.attn(one.norm1(tokens[name]), *shape) for name, one in blocks.items()}
            fused = mixed_by_hand(attended, alpha)
            for name, one in blocks.items():
                tokens[name] = tokens[name] + fused[name]
                tokens[name] = tokens[name] + one.mlp(one.norm2(tokens[name]), *shape)
        for name, stage in stages.items():
            streams[name] = to_map(stage.norm(tokens[name]), *shape)
            features[name].append(streams[name])
    return features


@pytest.mark.parametrize(
    ("alpha", "tokens", "expected"),
    [
        (0.8, [5.0], [5.0]),
        (0.8, [1.0, 2.0], [1.2, 1.8]),
        (0.7, [1.0, 2.0, 3.0, 6.0], [0.7 + 0.3 * 11 / 3, 1.4 + 0.3 * 10 / 3, 2.1 + 0.3 * 9 / 3, 4.2 + 0.3 * 6 / 3]),
        (1.0, [1.0, 2.0], [1.0, 2.0]),
        (0.0, [1.0, 2.0], [2.0, 1.0]),
    ],
)
def test_value_mixing_of_one_two_and_four(alpha, tokens, expected):
    rows = LinearRows(torch.ones(1, len(tokens), dtype=torch.bool), alpha)
    values = torch.tensor(tokens)[:, None, None].expand(-1, 3, 2)  # (M, N, C)
    torch.testing.assert_close(rows.mixed(values), torch.tensor(expected)[:, None, None].expand(-1, 3, 2))


def test_value_mixing_where_samples_lack_different_modalities():
    exists = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1], [1, 0, 1, 0]], dtype=torch.bool)
    dense = torch.randn(5, 4, 7, 3)  # (B, M, N, C)
    rows = LinearRows(exists, 0.6)
    mixed = rows.spread(rows.mixed(rows.gathered(dense)))
    expected = torch.zeros_like(dense)
    for b in range(5):
        streams = {m: dense[b, m] for m in range(4) if exists[b, m]}
        for m, tokens in mixed_by_hand(streams, 0.6).items():
            expected[b, m] = tokens
    torch.testing.assert_close(mixed, expected)


def test_value_mixing_where_all_samples_lack_the_same_modality():
    exists = torch.tensor([[True, False, True]] * 3)
    dense = torch.randn(3, 3, 5, 2)
    rows = LinearRows(exists, 0.8)
    mixed = rows.mixed(rows.gathered(dense))
    assert mixed.shape == (6, 5, 2)
    torch.testing.assert_close(mixed[:3], 0.8 * dense[:, 0] + 0.2 * dense[:, 2])
    torch.testing.assert_close(mixed[3:], 0.8 * dense[:, 2] + 0.2 * dense[:, 0])


@pytest.mark.parametrize("counts", [[2, 1, 3], [2, 0, 1], [0, 0, 4], [1, 0, 0]])
@pytest.mark.parametrize("grad", [True, False])
def test_value_norm_of_each_row_is_the_layer_norm_of_its_modality(counts, grad):
    norm = ModalityNorm(NAMES, 5)
    for name in NAMES:
        nn.init.normal_(norm[name].weight)
        nn.init.normal_(norm[name].bias)
    tokens = torch.randn(sum(counts), 4, 5)
    with torch.set_grad_enabled(grad):
        actual = norm(tokens, counts)
    owners = [name for name, count in zip(NAMES, counts, strict=True) for _ in range(count)]
    for row, name in enumerate(owners):
        expected = nn.functional.layer_norm(tokens[row], (5,), norm[name].weight, norm[name].bias)
        torch.testing.assert_close(actual[row], expected)
    if grad:  # a modality without rows gets a gradient of zero, not none: processes wait for every parameter
        actual.square().sum().backward()
        for name, count in zip(NAMES, counts, strict=True):
            assert (norm[name].weight.grad.abs().sum() > 0) == (count > 0)


@torch.no_grad()
@pytest.mark.parametrize("present", [EVERY, SOME], ids=["all", "some"])
def test_value_equals_plain_encoders_in_lockstep(present):
    model, data, there = build(alpha=0.7), images(), torch.tensor(present)
    prediction = model(data, there)
    encoders = plain_encoders(model)
    for b in range(2):
        given = {name: data[name][b : b + 1] for m, name in enumerate(NAMES) if there[b, m]}
        levels = lockstep(encoders, given, alpha=0.7)
        logits = {
            name: nn.functional.interpolate(model.head(levels[name]), (32, 64), mode="bilinear") for name in given
        }
        chosen = torch.stack([model.fusion.weight[NAMES.index(name)] for name in given])
        weights = chosen.exp() / chosen.exp().sum()
        expected = sum(weight * logits[name] for weight, name in zip(weights, given, strict=True))
        torch.testing.assert_close(prediction.logits[b], expected[0], rtol=1e-4, atol=1e-4)
        for m, name in enumerate(NAMES):
            branch = logits[name][0] if name in given else torch.zeros(7, 32, 64)
            torch.testing.assert_close(prediction.branches[b, m], branch, rtol=1e-4, atol=1e-4)
    assert torch.equal(prediction.exists, there)


@torch.no_grad()
def test_value_without_mixing_and_with_equal_norms_it_is_one_plain_model_per_modality():
    plain = Any2Seg(ModelConfig(head_width=16, num_classes=7, modalities=NAMES, fusion="mean_predictions")).eval()
    linear = build(alpha=1.0, ensemble="fixed")
    linear.head.load_state_dict(plain.head.state_dict())
    shared = plain.encoder.state_dict()
    for key, value in linear.encoder.state_dict().items():
        source = next((key.replace(f".{name}.", ".") for name in NAMES if f".{name}." in key), key)
        value.copy_(shared[source])
    data, there = images(), torch.tensor(SOME)
    torch.testing.assert_close(linear(data, there).logits, plain(data, there).logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_value_one_modality_alone_is_not_changed_by_alpha(name):
    data = images(batch=1, names=(name,), size=(96, 32))
    first, second = build(alpha=0.8)(data), build(alpha=0.1)(data)
    assert torch.equal(first.logits, second.logits)
    assert first.exists.tolist() == [[other == name for other in NAMES]]
    torch.testing.assert_close(first.branches[:, NAMES.index(name)], first.logits)


def test_value_ensemble_weights():
    fusion = LinearFusion(LinearFusionConfig(), NAMES, 8)
    assert fusion.weight.tolist() == [0.0, 0.0, 0.0]  # equal shares to begin with
    with torch.no_grad():
        fusion.weight.copy_(torch.tensor([1.0, 2.0, 4.0]).log())
    branches = torch.arange(1.0, 7.0).reshape(2, 3, 1, 1, 1)
    exists = torch.tensor([[True, True, True], [True, False, True]])
    ensemble = fusion(branches, exists)
    torch.testing.assert_close(ensemble.flatten(), torch.tensor([(1 + 4 + 12) / 7, (4 + 4 * 6) / 5]))


def test_gradient_of_the_ensemble_reaches_weights_and_branches_or_neither():
    exists = torch.tensor([[True, True, False]])
    branches = torch.randn(1, 3, 4, 2, 2, requires_grad=True)
    trainable = LinearFusion(LinearFusionConfig(), NAMES, 8)
    trainable(branches, exists).square().sum().backward()
    assert (trainable.weight.grad != 0).tolist() == [True, True, False]
    assert (branches.grad != 0).flatten(2).any(2).tolist() == [[True, True, False]]
    fixed = LinearFusion(LinearFusionConfig(ensemble="fixed"), NAMES, 8)
    assert list(fixed.parameters()) == []
    ensemble = fixed(branches, exists)
    assert not ensemble.requires_grad
    torch.testing.assert_close(ensemble, branches.detach()[:, :2].mean(1))


@torch.no_grad()
def test_value_the_hidden_map_of_a_training_step_is_what_the_ensemble_classifies():
    model = build().train()
    model.head.dropout.p = 0.0
    prediction = model(images(), torch.tensor(SOME))
    assert prediction.hidden.shape == (2, 16, 8, 16)
    torch.testing.assert_close(model.head.classify(prediction.hidden), prediction.fused.logits, rtol=1e-4, atol=1e-5)
    assert model.eval()(images()).hidden is None


@torch.no_grad()
@pytest.mark.parametrize("absent", ["leave_out", "token", "zero"])
def test_value_what_is_absent_has_no_influence(absent):
    model, data = build(absent=absent), images()
    there = torch.tensor(SOME)
    expected = model(data, there)
    poisoned = {
        name: torch.where(there[:, m, None, None, None], image, torch.nan)
        for m, (name, image) in enumerate(data.items())
    }
    actual = model(poisoned, there)
    assert torch.equal(actual.logits, expected.logits)
    assert torch.equal(actual.branches, expected.branches)
    assert torch.equal(actual.exists, there if absent == "leave_out" else torch.ones_like(there))
    named = model({"rgb": data["rgb"][:1], "lidar": data["lidar"][:1]})
    torch.testing.assert_close(named.logits, expected.logits[:1], rtol=1e-4, atol=1e-5)
    assert named.branches.shape == (1, 3, 7, 32, 64)


@torch.no_grad()
def test_value_zero_is_the_model_given_images_of_zeros():
    data, there = images(), torch.tensor(SOME)
    zeroed = {name: image * there[:, m, None, None, None] for m, (name, image) in enumerate(data.items())}
    torch.testing.assert_close(build(absent="zero")(data, there).logits, build()(zeroed).logits)


@torch.no_grad()
def test_value_the_token_stands_for_every_token_of_the_first_stage():
    model, data = build(absent="token"), images()
    rows = model.fusion.rows(torch.tensor(SOME))
    embedded = torch.randn(6, 10, 32)
    filled = rows.filled(embedded).unflatten(0, (3, 2))  # (M, B, N, C)
    for m, name in enumerate(NAMES):
        for b in range(2):
            token = model.fusion.tokens[name].expand(10, 32)
            expected = embedded.unflatten(0, (3, 2))[m, b] if SOME[b][m] else token
            assert torch.equal(filled[m, b], expected)
    before = model(data, torch.tensor(EVERY)).logits, model(data, torch.tensor(SOME)).logits
    model.fusion.tokens["depth"].add_(1.0)
    assert torch.equal(model(data, torch.tensor(EVERY)).logits, before[0])
    changed = (model(data, torch.tensor(SOME)).logits != before[1]).flatten(1).any(1)
    assert changed.tolist() == [True, False]  # only the first sample lacks depth


@pytest.mark.parametrize(
    ("present", "masked"),
    [(EVERY, []), (SOME, ["depth", "rgb", "lidar"]), ([[True, True, False], [True, True, True]], ["lidar"])],
)
def test_gradient_reaches_a_token_exactly_when_its_modality_is_masked(present, masked):
    model = build(absent="token").train()
    labels = torch.randint(0, 7, (2, 32, 64))
    branch_loss(CrossEntropy(), model(images(), torch.tensor(present)), labels).backward()
    reached = {name for name, token in model.fusion.tokens.items() if token.grad.abs().sum() > 0}
    assert reached == set(masked)


@pytest.mark.parametrize("absent", ["leave_out", "token", "zero"])
@pytest.mark.parametrize("present", [EVERY, SOME, [[True, False, False]] * 2], ids=["all", "some", "one"])
def test_gradient_exists_for_every_parameter_whatever_is_absent(absent, present):
    """DistributedDataParallel waits for all of them."""
    model = build(absent=absent).train()
    labels = torch.randint(0, 7, (2, 32, 64))
    branch_loss(CrossEntropy(), model(images(), torch.tensor(present)), labels).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []


def test_value_parameters_of_the_papers_model():
    """24.75 M: MiT-B2 with two of every LayerNorm, the head of width 256 for 25 classes, one weight per modality."""
    model = Any2Seg(ModelConfig(encoder="mit_b2", fusion="linear", modalities=("rgb", "depth")))
    norms = sum(2 * width * (2 + 2 * depth + (depth if width < 512 else 0))  # embedding, stage, two per block, sr
                for width, depth in ((64, 3), (128, 4), (320, 6), (512, 3)))  # fmt: skip
    one = sum(p.numel() for p in Any2Seg(ModelConfig(encoder="mit_b2", modalities=("rgb", "depth"))).parameters())
    total = sum(p.numel() for p in model.parameters())
    assert (norms, total - one) == (25_984, norms + 2)
    assert round(total / 1e6, 2) == 24.75
    indoor = total - (25 - 13) * 257  # Stanford Indoor's 13 classes, for which the paper's table counts
    assert round(indoor / 1e6, 2) == 24.75


@torch.no_grad()
@pytest.mark.parametrize(
    ("names", "batch", "size"), [(("event",), 1, (32, 96)), (NAMES, 1, (96, 160)), (NAMES, 3, (32, 32))]
)
def test_shape_of_a_prediction(names, batch, size):
    prediction = build(names)(images(batch, names, size))
    assert prediction.logits.shape == (batch, 7, *size)
    assert prediction.branches.shape == (batch, len(names), 7, *size)
    assert prediction.fused.logits.shape == (batch, 7, size[0] // 4, size[1] // 4)


@pytest.mark.parametrize("absent", ["leave_out", "token"])
def test_value_bfloat16_is_close(absent):
    model, data, there = build(absent=absent), images(), torch.tensor(SOME)
    expected = model(data, there).logits
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(data, there).logits
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(actual.float(), expected, rtol=0, atol=0.05 * scale)


@pytest.mark.parametrize("absent", ["leave_out", "token", "zero"])
def test_value_predictor_and_evaluation_give_what_the_model_gives(absent):
    model = Any2Seg(ModelConfig(head_width=16, modalities=NAMES, fusion="linear", linear={"absent": absent})).eval()
    contract = InputContract(modalities=NAMES, height=32, width=64)
    planes = {name: np.random.default_rng(m).integers(0, 256, (32, 64, 3), np.uint8) for m, name in enumerate(NAMES)}
    predictor = Predictor(model, contract)
    several = predictor.subsets(planes, [("depth",), ("rgb", "lidar"), NAMES])
    data = planes_to_tensor(planes, contract)
    frames = EvaluationBatch(data, torch.zeros(1, 32, 64, dtype=torch.uint8), (0,))
    judged = dict(subset_logits(model, frames, list(several)))
    for subset, segmentation in several.items():
        with torch.no_grad():
            expected = model({name: data[name] for name in subset})
        torch.testing.assert_close(judged[subset], expected.fused.logits, rtol=1e-4, atol=1e-5)
        alone = predictor({name: planes[name] for name in subset})
        labels, confidence = logits_to_labels(expected.fused.logits, 32, 64)
        for actual in (segmentation, alone):
            assert (actual.labels == labels[0].numpy()).mean() > 0.999
            np.testing.assert_allclose(actual.confidence, confidence[0].numpy(), atol=1e-4)
    with user_error("model-unsuitable"):
        Predictor(model, contract, stream="anchor")


@torch.no_grad()
def test_value_protocol_zero_of_the_evaluation_is_the_model_trained_on_zeros():
    data = images()
    batch = EvaluationBatch(data, torch.zeros(2, 32, 64, dtype=torch.uint8), (0, 1))
    subsets = [("rgb",), ("depth", "lidar")]
    judged = dict(subset_logits(build(), batch, subsets, FILL_INS["zero"]))
    trained = build(absent="zero")
    for subset in subsets:
        expected = trained({name: data[name] for name in subset}).fused.logits
        torch.testing.assert_close(judged[subset], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fusion": "mff", "linear": {"alpha": 0.5}}, "settings of linear have no effect with fusion=mff"),
        ({"mff": {"select": False}}, "settings of mff have no effect with fusion=linear"),
        ({"encoder": "timm/convnext_tiny"}, "mixes tokens inside the blocks of a MiT"),
        ({"linear": {"alpha": 1.2}}, "less than or equal to 1"),
        ({"linear": {"absent": "skip"}}, "'leave_out', 'token' or 'zero'"),
    ],
)
def test_exception_settings_without_effect(changes, words):
    with pytest.raises(ValidationError, match=words):
        ModelConfig(**({"fusion": "linear"} | changes))
