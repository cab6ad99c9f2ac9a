"""The first pictures of a process are computed in NumPy: the labels and planes of the kernels, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from any2seg_core.kernels import labels, plain, planes, running

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("size", [(97, 161), (64, 96), (1, 1), (7, 5), (300, 40)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_value_planes_are_those_of_the_kernels(size, dtype):
    plane = (np.random.default_rng(0).random((*size, 3)) * 255.99).astype(dtype)
    for found, expected in (
        (plain.resized_plane(plane, 64, 96, MEAN, STD), planes.resized_plane(plane, 64, 96, MEAN, STD)),
        (plain.picked_plane(plane, 64, 96, MEAN, STD), planes.picked_plane(plane, 64, 96, MEAN, STD)),
        (plain.scaled_plane(plane, MEAN, STD), planes.scaled_plane(plane, MEAN, STD)),
    ):
        assert found.dtype == np.float32 and found.flags.c_contiguous
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)  # any processor
        assert (found != expected).mean() <= 1e-4 or not has_fused_multiply_add()


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("ties", "temperature"), [(False, 1.0), (True, 1.0), (False, 1.7)])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 16, 24, 25), (97, 161)), ((2, 8, 6, 3), (3, 5)), ((1, 1, 1, 1), (9, 9)), ((1, 5, 9, 300), (40, 30)),
     ((1, 16, 16, 255), (16, 16))],
)  # fmt: skip
def test_value_labels_are_those_of_the_kernels(shape, size, ties, temperature, align_corners):
    logits = np.random.default_rng(1).normal(size=shape).astype(np.float32) * 10
    logits = np.round(logits / 4) if ties else logits
    found, share = plain.upsampled_labels(logits, *size, True, align_corners, temperature)
    expected, expected_share = labels.upsampled_labels(logits, *size, True, align_corners, temperature)
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    assert share is not None and share.dtype == np.float32
    np.testing.assert_allclose(share, expected_share, rtol=1e-5)  # any processor
    assert (share != expected_share).mean() <= 1e-4 or not has_fused_multiply_add()
    assert plain.upsampled_labels(logits, *size, False, align_corners)[1] is None


def has_fused_multiply_add() -> bool:
    with open("/proc/cpuinfo") as file:
        return " fma " in file.read() + " "


def test_value_few_values_are_left_to_numpy_until_numba_is_there(monkeypatch):
    monkeypatch.delitem(running.sys.modules, "numba", raising=False)
    workload = running.Workload()
    assert not workload.is_for_kernels(1 << 22) and not workload.is_for_kernels(1 << 22)
    assert workload.is_for_kernels(1)
    expecting = running.Workload()
    expecting.expect_more()
    assert expecting.is_for_kernels(1)
    monkeypatch.setitem(running.sys.modules, "numba", running)
    assert running.Workload().is_for_kernels(1)
