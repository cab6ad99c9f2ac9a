"""Augmentation: the same geometry for every plane and the label, sparse planes never averaged."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from any2seg_core.data.augment import Augment, jitter_colour
from any2seg_core.losses.pooling import labels_of_cells
from any2seg_core.vocabulary.modalities import MCUBES, MUSES, VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

SIZE = (70, 101)
MODALITIES = VEHICLE.members
SPARSE = ("event", "lidar")


def coded_planes(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    labels = rng.integers(0, 25, SIZE).astype(np.uint8)
    return {name: np.repeat(labels[..., None], 3, axis=2) for name in MODALITIES}, labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [(0.5, 0.5), (0.5, 2.0), (2.0, 2.0)])
def test_value_one_geometry_for_sparse_planes_and_label(seed: int, scale: tuple[float, float]):
    planes, labels = coded_planes(np.random.default_rng(seed))
    augment = Augment(64, 96, scale, jitter_probability=0, blur_probability=0)
    cropped, truth = augment(planes, labels, np.random.default_rng(seed))
    inside = truth != 255
    assert truth.shape == (64, 96)
    for name in SPARSE:
        assert np.array_equal(cropped[name][..., 0][inside], truth[inside])
        assert np.all(cropped[name][~inside] == 0)


def test_value_unit_scale_is_a_plain_crop_or_its_mirror():
    planes, labels = coded_planes(np.random.default_rng(0))
    augment = Augment(*SIZE, (1.0, 1.0), jitter_probability=0, blur_probability=0)
    seen = set()
    for seed in range(12):
        cropped, truth = augment(planes, labels, np.random.default_rng(seed))
        flipped = np.array_equal(truth, labels[:, ::-1])
        assert flipped or np.array_equal(truth, labels)
        for name in MODALITIES:
            assert np.array_equal(cropped[name][..., 0], truth)
        seen.add(flipped)
    assert seen == {True, False}


def test_value_dense_planes_match_a_resize_of_the_whole_image():
    """Oracle: OpenCV resizes the whole image when the window is the whole image."""
    rng = np.random.default_rng(1)
    plane = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    augment = Augment(140, 202, (2.0, 2.0), flip_probability=0, jitter_probability=0, blur_probability=0)
    cropped, _ = augment({"rgb": plane}, np.zeros(SIZE, np.uint8), rng)
    assert np.array_equal(cropped["rgb"], cv2.resize(plane, (202, 140), interpolation=cv2.INTER_LINEAR))


def test_value_small_image_is_padded_with_255_in_the_label():
    augment = Augment(64, 96, (0.5, 0.5), flip_probability=0)
    planes, labels = coded_planes(np.random.default_rng(2))
    _, truth = augment(planes, labels, np.random.default_rng(2))
    assert np.all(truth[35:] == 255)
    assert np.all(truth[:, 51:] == 255)
    assert np.all(truth[:35, :50] != 255)


def test_value_colour_changes_touch_the_camera_alone():
    rng = np.random.default_rng(3)
    planes = {name: rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8) for name in MODALITIES}
    labels = np.zeros(SIZE, np.uint8)
    calm = Augment(64, 64, jitter_probability=0, blur_probability=0)(planes, labels, np.random.default_rng(4))[0]
    wild = Augment(64, 64, jitter_probability=1, blur_probability=1)(planes, labels, np.random.default_rng(4))[0]
    assert not np.array_equal(calm["rgb"], wild["rgb"])
    for name in MODALITIES[1:]:
        assert np.array_equal(calm[name], wild[name])


def test_value_zero_jitter_changes_nothing():
    rgb = np.random.default_rng(5).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    assert np.abs(jitter_colour(rgb, np.random.default_rng(0), 0.0).astype(int) - rgb).max() <= 1


def test_value_same_generator_same_bytes_and_inputs_untouched():
    planes, labels = coded_planes(np.random.default_rng(6))
    before = {name: plane.copy() for name, plane in planes.items()}
    augment = Augment(32, 32, jitter_probability=1, blur_probability=1)
    first, second = (augment(planes, labels, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first[1], second[1])
    for name in MODALITIES:
        assert np.array_equal(first[0][name], second[0][name])
        assert np.array_equal(planes[name], before[name])


def test_shape_one_modality_without_camera():
    planes = {"lidar": np.zeros((*SIZE, 3), np.uint8)}
    cropped, truth = Augment(33, 47)(planes, np.zeros(SIZE, np.uint8), np.random.default_rng(0))
    assert cropped["lidar"].shape == (33, 47, 3)
    assert truth.shape == (33, 47)


def test_value_fine_planes_keep_their_depth_and_follow_the_same_jitter():
    """Planes of 16-bit files are float32 on the scale of bytes: the same draw changes both the same way."""
    rgb = np.random.default_rng(8).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    for strength in (0.0, 0.4):
        coarse = jitter_colour(rgb, np.random.default_rng(9), strength)
        fine = jitter_colour(rgb.astype(np.float32), np.random.default_rng(9), strength)
        assert fine.dtype == np.float32
        assert 0 <= fine.min() <= fine.max() <= 255
        assert np.abs(fine - coarse).max() <= 1.5  # the bytes are rounded twice
    planes = {"rgb": rgb + np.float32(0.25), "aolp": np.full((*SIZE, 3), -127.5, np.float32)}
    plain = {"flip_probability": 0, "jitter_probability": 0, "blur_probability": 0}
    augment = Augment(*SIZE, (1.0, 1.0), **plain, suite=MCUBES)
    cropped, _ = augment(planes, np.zeros(SIZE, np.uint8), np.random.default_rng(0))
    assert np.array_equal(cropped["rgb"], planes["rgb"])
    assert np.all(cropped["aolp"] == -127.5)  # sine and cosine are signed


@pytest.mark.parametrize("suite", [MCUBES, MUSES, VEHICLE], ids=lambda suite: suite.name)
@pytest.mark.parametrize("seed", range(4))
def test_property_every_plane_and_the_label_move_alike(suite: SensorSuite, seed: int):
    """Each plane holds its own pixel coordinates; where a pixel comes from must be the same in all of them."""
    names = suite.members
    height, width = SIZE
    row, column = np.mgrid[:height, :width]
    planes = {name: np.stack([row, column, row], axis=2).astype(np.float32) for name in names}
    labels = (row % 7 + column % 11).astype(np.uint8)
    augment = Augment(48, 64, jitter_probability=0, blur_probability=0, suite=suite)
    cropped, truth = augment(planes, labels, np.random.default_rng(seed))
    inside = truth != 255
    exact = cropped[names[-1]] if suite.sensors[-1].is_sparse else None
    for plane in cropped.values():
        assert np.abs(plane - cropped["rgb"])[inside].max() <= 1.01  # nearest against bilinear: one pixel at most
    if exact is not None:
        came_from = exact.astype(int)[inside]
        assert np.array_equal(labels[came_from[:, 0], came_from[:, 1]], truth[inside])


def test_value_cameras_are_recoloured_each_by_its_own_draw_and_measurements_stay():
    """Two colour cameras and a grey one change, each in its way; grey stays grey; thermal, planes and points stay."""
    kinds = {"front": "colour", "left": "colour", "grey": "grey", "thermal": "thermal8", "angle": "plane"}
    images = [Sensor(name, "ABCDE"[k], "image", format=each) for k, (name, each) in enumerate(kinds.items())]
    suite = SensorSuite("yard", (*images, Sensor("radar", "R", "points")))
    rng = np.random.default_rng(3)
    grey = np.repeat(rng.integers(0, 256, (*SIZE, 1)), 3, axis=2).astype(np.uint8)
    planes = dict.fromkeys(suite.members, grey)
    calm, wild = (
        Augment(64, 64, jitter_probability=how, blur_probability=how, suite=suite)(
            planes, np.zeros(SIZE, np.uint8), np.random.default_rng(4)
        )[0]
        for how in (0, 1)
    )
    for name in ("front", "left", "grey"):
        assert not np.array_equal(calm[name], wild[name])
        assert np.ptp(wild[name].astype(int), axis=2).max() <= 1  # no hue appears
    assert not np.array_equal(wild["front"], wild["left"])
    for name in ("thermal", "angle", "radar"):
        assert np.array_equal(calm[name], wild[name])
    assert set(np.unique(calm["radar"])) <= set(np.unique(grey)) | {0}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [(0.5, 0.5), (0.5, 2.0), (2.0, 2.0)])
def test_value_maps_move_with_the_planes(seed: int, scale: tuple[float, float]):
    """A ramp from left to right and one from top to bottom: as a plane, and as maps of a quarter of its sides."""
    height, width = 96, 128
    y, x = np.mgrid[:height, :width].astype(np.float32)
    augment = Augment(64, 96, scale, jitter_probability=0, blur_probability=0)
    plane = np.stack([x, y, np.ones_like(x)], axis=2)
    cropped, truth = augment({"depth": plane}, np.zeros((height, width), np.uint8), np.random.default_rng(seed))
    coarse = plane.reshape(height // 4, 4, width // 4, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)  # (K, h, w)
    found = augment.maps(coarse, (height, width), np.random.default_rng(seed))
    cells = cropped["depth"].reshape(16, 4, 24, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    inside = (truth.reshape(16, 4, 24, 4) == 0).all(axis=(1, 3))
    assert found.shape == (3, 16, 24) and found.dtype == np.float32
    assert np.array_equal(found[2] > 0, inside)
    assert np.abs(found - cells)[:, inside].max() < 2.5  # half a coarse cell, where the border is repeated
    assert np.median(np.abs(found - cells)[:, inside]) < 0.3


@pytest.mark.parametrize("seed", range(6))
def test_value_labels_of_cells_are_those_of_the_sample(seed: int):
    labels = np.random.default_rng(9).integers(0, 7, (53, 71), dtype=np.uint8)
    augment = Augment(64, 96, (0.5, 2.0))
    _, moved = augment({}, labels, np.random.default_rng(seed))
    expected = labels_of_cells(torch.from_numpy(moved)[None], 16, 24)[0].numpy()
    found = augment.cells(labels, np.random.default_rng(seed))
    assert np.array_equal(found, expected) and found.dtype == np.uint8
