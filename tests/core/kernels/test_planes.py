"""Resized planes against torch's antialiased interpolate in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from any2seg_core.kernels.planes import picked_plane, resized_plane
from any2seg_core.runtime.preprocess import normalise, planes_to_tensor, resize_planes
from any2seg_core.vocabulary.contract import InputContract

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = [(97, 61, 32, 64), (37, 51, 64, 96), (1, 1, 3, 5), (64, 7, 9, 64), (130, 200, 65, 50), (40, 40, 40, 20)]


def plane_of(height: int, width: int, dtype: type) -> np.ndarray:
    return (np.random.default_rng(height).random((height, width, 3)) * 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", SIZES)
def test_value_equals_torch(size: tuple[int, int, int, int], dtype: type):
    plane = plane_of(*size[:2], dtype)
    pixels = torch.from_numpy(plane).double().permute(2, 0, 1)[None]  # (1, C, H, W)
    resized = F.interpolate(pixels, size[2:], mode="bilinear", align_corners=False, antialias=True)[0].numpy() / 255.0
    expected = (resized - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    found = resized_plane(plane, *size[2:], MEAN, STD)
    assert (found.dtype, found.shape) == (np.float32, (3, *size[2:]))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [*SIZES, (1042, 1040, 256, 320), (3, 999, 7, 998)])
def test_value_picks_the_pixels_that_torch_picks(size: tuple[int, int, int, int]):
    places = np.arange(size[0] * size[1], dtype=np.float32).reshape(size[:2])
    plane = np.repeat(places[..., None], 3, axis=2)  # (H, W, 3)
    expected = F.interpolate(torch.from_numpy(places)[None, None], size[2:], mode="nearest-exact")[0, 0].numpy()
    found = picked_plane(plane, *size[2:], (0.0,) * 3, (1.0 / 255.0,) * 3)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-6)


@pytest.mark.parametrize("name", ["rgb", "depth", "event", "lidar"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [(101, 83), (64, 32)])
def test_value_input_is_the_same_on_every_road(name: str, size: tuple[int, int], dtype: type):
    """Other devices go through torch; a plane of the wanted size is not resized."""
    contract, plane = InputContract(height=64, width=32), plane_of(*size, dtype)
    pixels = torch.from_numpy(plane).permute(2, 0, 1)[None]  # (1, C, H, W)
    expected = normalise(resize_planes(pixels, contract.suite.sensor(name), 64, 32), name, contract)
    found = planes_to_tensor({name: plane}, contract)[name]
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)


def test_value_threads_change_no_bit():
    plane, threads = plane_of(300, 200, np.uint8), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = resized_plane(plane, 150, 99, MEAN, STD)
        torch.set_num_threads(2)
        assert np.array_equal(resized_plane(plane, 150, 99, MEAN, STD), alone)
    finally:
        torch.set_num_threads(threads)
