"""The NM protocol against hand counts, and against what the benchmark's script does, written out value by value."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.evaluation.noise import NOISE_LEVELS, NoiseLevel, add_noise, noise_level
from any2seg_core.vocabulary.modalities import VEHICLE


def images() -> dict[str, torch.Tensor]:
    """Values inside -2..2, whose extremes -3 and 4 stand in one channel each."""
    generator = torch.Generator().manual_seed(0)
    made = {name: 4 * torch.rand(1, 3, 95, 127, generator=generator) - 2 for name in VEHICLE.members}
    for image in made.values():
        image[0, 0, 0, 0], image[0, 2, 5, 7] = 4.0, -3.0
    return made


@pytest.mark.parametrize("name", NOISE_LEVELS)
def test_value_salt_and_pepper_hits_single_values_of_every_sensor(name):
    """n = p N / 2 draws with replacement touch 1 - (1 - 1/N)^n of N values; pepper comes second and covers salt."""
    level = NoiseLevel(noise_level(name).salt_and_pepper, 0.0)
    clean = images()
    noisy = add_noise(clean, level, 3, 77)
    total = clean["rgb"].numel()
    touched = 1 - (1 - 1 / total) ** math.ceil(level.salt_and_pepper * total / 2)
    for sensor in VEHICLE.members:
        pepper, salt = noisy[sensor] == -3.0, noisy[sensor] == 4.0
        assert float(pepper.float().mean()) == pytest.approx(touched, abs=0.003)
        assert float(salt.float().mean()) == pytest.approx(touched * (1 - touched), abs=0.003)
        assert torch.equal(noisy[sensor][~pepper & ~salt], clean[sensor][~pepper & ~salt])
        assert not torch.equal(pepper[:, 0], pepper[:, 1])  # values, not pixels


def test_value_gaussian_noise_is_on_all_but_events():
    level = NoiseLevel(0.0, 0.5)
    clean = images()
    noisy = add_noise(clean, level, 3, 77)
    assert torch.equal(noisy["event"], clean["event"])
    for sensor in ("rgb", "depth", "lidar"):
        added = noisy[sensor] - clean[sensor]
        assert float(added.mean()) == pytest.approx(0.0, abs=0.01)
        assert float(added.std()) == pytest.approx(0.5, rel=0.02)


def test_value_levels_of_the_benchmark():
    assert [(level.salt_and_pepper, level.sigma) for level in NOISE_LEVELS.values()] == [
        (0.05, 0.1), (0.1, 0.2), (0.2, 0.5)
    ]  # fmt: skip


def test_value_extremes_are_those_of_each_image():
    batch = torch.stack([torch.linspace(0, 1, 3 * 17 * 31), torch.linspace(5, 9, 3 * 17 * 31)]).view(2, 3, 17, 31)
    noisy = add_noise({"depth": batch}, NoiseLevel(0.2, 0.0), 0, 0)["depth"]
    assert noisy[0].max() <= 1.0
    assert noisy[1].min() >= 5.0
    assert np.count_nonzero(noisy[1].numpy() == 9.0) > 50


def test_value_draw_depends_on_seed_frame_and_sensor_alone():
    level = NOISE_LEVELS["mid"]
    first = add_noise(images(), level, 3, 77)
    again = add_noise({"lidar": images()["lidar"]}, level, 3, 77)
    assert torch.equal(first["lidar"], again["lidar"])
    assert not torch.equal(first["lidar"], first["depth"])
    assert not torch.equal(first["lidar"], add_noise(images(), level, 4, 77)["lidar"])
    assert not torch.equal(first["lidar"], add_noise(images(), level, 3, 78)["lidar"])


def test_exception_unknown_level_lists_the_known():
    with user_error("value-unknown", "low, mid, high"):
        noise_level("loud")
