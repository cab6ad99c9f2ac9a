from __future__ import annotations

import pytest
import torch

from any2seg_core.contract import InputContract
from any2seg_core.errors import UserError
from any2seg_core.evaluation.noise import NOISE_LEVELS, add_noise, noise_level

CONTRACT = InputContract()


def images(value=0.25):
    return {name: torch.full((1, 3, 96, 128), value) for name in CONTRACT.modalities}


@pytest.mark.parametrize("name", NOISE_LEVELS)
def test_value_mean_and_spread_are_those_of_a_mixture(name):
    """Per value: with probability p 0 or 1 (half each), else 0.25; plus a Gaussian. Moments by hand."""
    level = noise_level(name)
    noisy = add_noise(images(), level, CONTRACT, 3, 77)
    p = level.salt_and_pepper
    mean = 0.25 + p * (0.5 - 0.25)
    variance = (1 - p) * 0.25**2 + p * 0.5 - mean**2 + level.sigma**2
    for sensor in ("depth", "lidar"):  # their values are 0..1
        assert noisy[sensor].mean().item() == pytest.approx(mean, abs=0.01)
        assert noisy[sensor].var().item() == pytest.approx(variance, rel=0.05)
    assert torch.equal(noisy["event"], images()["event"])


def test_value_salt_and_pepper_of_the_camera_are_white_and_black():
    level = NOISE_LEVELS["low"]
    noisy = add_noise(images(), level, CONTRACT, 3, 77)["rgb"]
    statistics = CONTRACT.normalisation["rgb"]
    for channel in range(3):
        for value in (0.0, 1.0):
            extreme = (value - statistics.mean[channel]) / statistics.std[channel]
            share = ((noisy[:, channel] - extreme).abs() < 5 * level.sigma).float().mean().item()
            assert share == pytest.approx(level.salt_and_pepper / 2, abs=0.006)


def test_value_draw_depends_on_seed_frame_and_sensor_alone():
    level = NOISE_LEVELS["mid"]
    first = add_noise(images(), level, CONTRACT, 3, 77)
    again = add_noise({"lidar": images()["lidar"]}, level, CONTRACT, 3, 77)
    assert torch.equal(first["lidar"], again["lidar"])
    assert not torch.equal(first["lidar"], first["depth"])
    assert not torch.equal(first["lidar"], add_noise(images(), level, CONTRACT, 4, 77)["lidar"])
    assert not torch.equal(first["lidar"], add_noise(images(), level, CONTRACT, 3, 78)["lidar"])


def test_exception_unknown_level_lists_the_known():
    with pytest.raises(UserError, match="low, mid, high"):
        noise_level("loud")
