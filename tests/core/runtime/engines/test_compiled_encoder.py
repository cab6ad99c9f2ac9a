"""The compiled Mix Transformer against the module whose weights it has."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import torch
from torch import nn

from any2seg_core.models.mit import MixTransformer
from any2seg_core.runtime.engines.compiled_encoder import CompiledEncoder, Workspace


def trained(variant: str, **options: object) -> MixTransformer:
    """No bias is 0 and no norm is the identity, as in a new one."""
    torch.manual_seed(0)
    encoder = MixTransformer(variant, **options).eval()
    for parameter in encoder.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, parameter.mean().item(), 0.2)
    return encoder


@torch.inference_mode()
@pytest.mark.parametrize(
    ("variant", "batch", "height", "width"),
    [("b0", 1, 32, 32), ("b0", 3, 32, 96), ("b0", 1, 160, 64), ("b1", 1, 64, 32), ("b2", 2, 96, 160), ("b3", 1, 32, 64),
     ("b5", 1, 32, 32)],  # fmt: skip
)
def test_value_equals_the_module(variant, batch, height, width):
    encoder = trained(variant)
    images = torch.randn(batch, 3, height, width)
    found, expected = CompiledEncoder(encoder)(images), encoder(images)
    for level, other in zip(found, expected, strict=True):
        assert level.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_value_more_channels_and_another_eps():
    encoder = trained("b0", in_channels=12, norm=partial(nn.LayerNorm, eps=1e-3))
    images = torch.randn(1, 12, 64, 96)
    for level, other in zip(CompiledEncoder(encoder)(images), encoder(images), strict=True):
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_value_some_of_the_stages():
    encoder, level_2 = trained("b0"), torch.randn(2, 64, 12, 8)  # planar, as nothing of ours leaves it
    found, expected = CompiledEncoder(encoder)(level_2, slice(2, 4)), encoder(level_2, slice(2, 4))
    for level, other in zip(found, expected, strict=True):
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_value_large_maps_are_worked_on_in_strips():
    encoder = trained("b0")
    images = torch.randn(1, 3, 416, 544)
    for level, other in zip(CompiledEncoder(encoder)(images), encoder(images), strict=True):
        torch.testing.assert_close(level, other, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_value_a_sample_is_the_same_bits_whatever_stands_beside_and_before_it():
    compiled = CompiledEncoder(trained("b0"))
    images = torch.randn(3, 3, 64, 96)
    together = compiled(images)
    compiled(torch.full((1, 3, 96, 128), torch.nan))  # what is left in memory is never read
    for b, image in enumerate(images):
        for level, whole in zip(compiled(image[None]), together, strict=True):
            assert torch.equal(level[0], whole[b])


def test_value_memory_of_inference_mode_serves_outside_of_it():
    """An engine is tried in that mode, and an evaluation runs without."""
    encoder = trained("b0")
    compiled, images = CompiledEncoder(encoder), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = compiled(images)
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(compiled(images), expected, strict=True))


@torch.inference_mode()
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_value_an_image_that_is_not_finite_has_no_finite_feature(bad):
    encoder = trained("b0")
    images = torch.randn(1, 3, 64, 64)
    images[0, 1, 40, 3] = bad
    for level, other in zip(CompiledEncoder(encoder)(images), encoder(images), strict=True):
        assert not level.isfinite().any() and not other.isfinite().any()


@torch.inference_mode()
def test_value_threads_share_it():
    compiled = CompiledEncoder(trained("b0"))
    images = torch.randn(4, 1, 3, 64, 96)
    expected = [compiled(image) for image in images]
    found: dict[int, list[torch.Tensor]] = {}

    def work(n: int) -> None:
        with torch.inference_mode():
            for _ in range(5):
                found[n] = compiled(images[n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, levels in enumerate(expected):
        for level, other in zip(found[n], levels, strict=True):
            assert torch.equal(level, other)


def test_value_which_encoders_are_known():
    assert CompiledEncoder.knows(MixTransformer("b0"))
    assert not CompiledEncoder.knows(MixTransformer("b0", norm=lambda width: nn.GroupNorm(1, width)))
    assert not CompiledEncoder.knows(nn.Identity())


def test_value_room_is_used_again_and_grows():
    space = Workspace()
    small = space.room("tokens", 2, 3)
    assert space.room("tokens", 2, 3) is small
    assert space.room("tokens", 3, 1).data_ptr() == small.data_ptr()
    large = space.room("tokens", 5, 7)
    assert large.shape == (5, 7)
    assert space.room("tokens", 2, 3).data_ptr() == large.data_ptr()  # not what was held before
    assert space.room("keys", 2, 3).data_ptr() != large.data_ptr()


def test_value_room_remembers_a_bounded_number_of_shapes():
    space = Workspace()
    for size in range(1, 2000):
        assert space.room("tokens", size).shape == (size,)
    assert len(space._views) <= 256
