"""MixTransformer against Hugging Face transformers' SegFormer with the same random weights."""

from __future__ import annotations

import pytest
import torch
from raised import user_error
from safetensors.torch import load_file

from any2seg_core.models.key_maps import from_hugging_face, from_official
from any2seg_core.models.mit import VARIANTS, DropPath, MixTransformer, to_map


@pytest.mark.parametrize("variant", ["b0", "b2"])
def test_value_equals_hugging_face_segformer(variant, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = VARIANTS[variant]
    torch.manual_seed(3)
    reference = transformers.SegformerModel(
        transformers.SegformerConfig(depths=list(config.depths), hidden_sizes=list(config.widths))
    ).eval()
    reference.save_pretrained(tmp_path)  # the published file format, whatever the names are in memory
    encoder = MixTransformer(variant).eval()
    encoder.load_state_dict(from_hugging_face(load_file(tmp_path / "model.safetensors")), strict=True)
    images = torch.randn(2, 3, 96, 160)
    with torch.no_grad():
        expected = reference(images, output_hidden_states=True).hidden_states
        actual = encoder(images)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_value_official_names_load_strictly():
    """Official names are rebuilt from ours by the documented pattern; loading them must restore the same weights."""
    encoder = MixTransformer("b0")
    official = {}
    for name, value in encoder.state_dict().items():
        _, index, rest = name.split(".", 2)
        number = int(index) + 1
        part, tail = rest.split(".", 1)
        head = {"embed": f"patch_embed{number}", "blocks": f"block{number}", "norm": f"norm{number}"}[part]
        official[f"{head}.{tail}".replace(".dwconv.", ".dwconv.dwconv.")] = value
    official["head.weight"] = torch.zeros(1000, 256)
    loaded = MixTransformer("b0")
    loaded.load_state_dict(from_official(official), strict=True)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name]), name


@pytest.mark.parametrize("variant", ["b0", "b1"])
@pytest.mark.parametrize("size", [(32, 64), (64, 96)])
def test_shape_four_levels(variant, size):
    height, width = size
    features = MixTransformer(variant).eval()(torch.zeros(1, 3, height, width))
    expected = [(1, c, height >> (j + 2), width >> (j + 2)) for j, c in enumerate(VARIANTS[variant].widths)]
    assert [tuple(f.shape) for f in features] == expected


def test_value_encoder_parameter_count_of_b2():
    assert sum(p.numel() for p in MixTransformer("b2").parameters()) == 24_196_288


def test_gradient_reaches_every_parameter():
    encoder = MixTransformer("b0")
    sum(f.square().mean() for f in encoder(torch.randn(2, 3, 64, 32))).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_value_drop_path_is_identity_in_evaluation_and_keeps_the_mean_in_training():
    layer = DropPath(0.25)
    x = torch.ones(4000, 3, 2)
    assert torch.equal(layer.eval()(x), x)
    torch.manual_seed(0)
    dropped = layer.train()(x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert (dropped.flatten(1).std(dim=1) == 0).all()


def test_exception_unknown_variant():
    with user_error("encoder-unknown", "b7", "b0"):
        MixTransformer("b7")


def test_value_maps_are_channels_last_at_batch_one_too():
    """The strides that PyTorch itself gives a channels-last tensor; with others its slow kernels are chosen."""
    for batch in (1, 2):
        mapped = to_map(torch.randn(batch, 6 * 5, 8), 6, 5)
        assert mapped.stride() == torch.empty(batch, 8, 6, 5).to(memory_format=torch.channels_last).stride()
