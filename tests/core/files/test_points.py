"""Bare rows of float32: written with a known number of columns, found again or refused, never mixed up."""

from __future__ import annotations

import numpy as np
import pytest
from raised import user_error

from any2seg_core.files.points import read_points

FITS_ALL = 600  # rows whose bytes are whole rows of 3, 4, 5 and 6 columns


def scan(count: int = FITS_ALL, seed: int = 0, full: float = 1.0, rings: int = 32) -> np.ndarray:
    """(N, 6): a flat scene all around, intensity 0..full, ring and time, in firing order."""
    rng = np.random.default_rng(seed)
    ring = np.arange(count) % rings
    range_m, angle = rng.uniform(3, 60, count), rng.uniform(-np.pi, np.pi, count)
    height = range_m * np.tan(np.radians(-25 + 30 * ring / rings)) * 0.2
    rows = [range_m * np.cos(angle), range_m * np.sin(angle), height, rng.uniform(0, full, count), ring,
            np.linspace(0, 0.1, count)]  # fmt: skip
    return np.column_stack(rows).astype("<f4")


def write(path, rows):
    np.ascontiguousarray(rows, "<f4").tofile(path)
    return path


@pytest.mark.parametrize("columns", [3, 4, 5, 6])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("full", [1.0, 255.0])
def test_value_columns_are_found_by_size_and_values(tmp_path, columns, seed, full):
    rows = scan(seed=seed, full=full)
    found = read_points(write(tmp_path / "a.bin", rows[:, :columns]))
    np.testing.assert_array_equal(found[:, :3], rows[:, :3])
    expected = np.ones(len(rows)) if columns == 3 else rows[:, 3] / full
    np.testing.assert_allclose(found[:, 3], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["a.pcd.bin", "a.bin"])
@pytest.mark.parametrize("count", [600, 601, 604, 34688])
def test_value_nuscenes_equals_kitti_of_the_same_scan(tmp_path, name, count):
    rows = scan(count)
    bytes_of = rows[:, :5].copy()
    bytes_of[:, 3] *= 255
    kitti = read_points(write(tmp_path / "kitti.bin", rows[:, :4]))
    np.testing.assert_allclose(read_points(write(tmp_path / name, bytes_of)), kitti, atol=1e-6)


def test_value_waymo_like_columns_without_rings(tmp_path):
    rows = scan()
    rows[:, 4] = np.random.default_rng(1).uniform(0, 1.5, len(rows))  # elongation
    np.testing.assert_allclose(read_points(write(tmp_path / "a.bin", rows[:, :5])), rows[:, :4], atol=1e-6)
    named = read_points(write(tmp_path / "b.bin", rows[:, :5] - 3), columns="5")  # below 0: no guess, but named
    np.testing.assert_allclose(named[:, :3], rows[:, :3] - 3)


@pytest.mark.parametrize("columns", [4, 5, 6])
def test_value_intensity_is_scaled_clipped_and_may_be_missing_somewhere(tmp_path, columns, caplog):
    rows = scan(full=254.0)
    rows[:3, 3] = np.nan, np.inf, -1
    found = read_points(write(tmp_path / "a.bin", rows[:, :columns]))
    assert found[:3, 3].tolist() == [0, 1, 0]
    np.testing.assert_allclose(found[3:, 3], rows[3:, 3] / 255, rtol=1e-6)
    assert "intensity is read as 0..255" in caplog.text
    caplog.clear()
    half = read_points(tmp_path / "a.bin", intensity_max=508)
    np.testing.assert_allclose(half[3:, 3], rows[3:, 3] / 508, rtol=1e-6)
    assert "intensity is read" not in caplog.text


def test_value_rays_without_a_return_are_dropped(tmp_path):
    rows = scan()
    holes = rows.copy()
    holes[::3], holes[1::3, :3], holes[2, 0] = 0, np.nan, np.inf
    found = read_points(write(tmp_path / "a.bin", holes[:, :4]))
    np.testing.assert_array_equal(found, rows[5::3, :4])
    np.save(tmp_path / "a.npy", holes[:, :4])
    np.testing.assert_array_equal(read_points(tmp_path / "a.npy"), found)
    assert read_points(write(tmp_path / "dead.bin", np.zeros((600, 4)))).shape == (0, 4)


@pytest.mark.parametrize("columns", [3, 4, 5, 6])
@pytest.mark.parametrize("hole", [0.0, np.nan])
def test_value_no_return_at_all_is_an_empty_cloud(tmp_path, columns, hole):
    rows = scan()
    rows[:, :3] = hole  # intensity, ring and time stay
    assert read_points(write(tmp_path / "blind.bin", rows[:, :columns])).shape == (0, 4)


@pytest.mark.parametrize("columns", [3, 4, 5, 6])
def test_value_npy_says_its_columns_itself(tmp_path, columns):
    np.save(tmp_path / "a.npy", scan()[:, :columns].astype(np.float64))
    assert read_points(tmp_path / "a.npy").shape == (FITS_ALL, 4)


def test_exception_what_is_ambiguous_is_refused_with_the_way_out(tmp_path):
    rows = scan()
    tower = rows[:, :3] * [0.1, 0.1, 9]  # x y z, as one could draw a mast
    mixed = rows[:, :4].copy()
    mixed[::2, 3] = -0.5  # no intensity
    whole = np.abs(np.round(rows[:, :5]))
    for name, values in {"tower": tower, "mixed": mixed, "whole": whole}.items():
        with user_error("points-ambiguous", f"{name}.bin", "--point-columns") as caught:
            read_points(write(tmp_path / f"{name}.bin", values))
        assert "\n" not in str(caught.value)
    assert read_points(tmp_path / "tower.bin", columns="3").shape == (FITS_ALL, 4)
    for columns, code in (("7", "value-format"), ("5", "file-content")):
        with user_error(code, columns):
            read_points(write(tmp_path / "a.bin", rows[:3, :4]), columns)


def test_exception_numbers_of_another_type_are_no_points(tmp_path):
    rows = scan() + np.pi
    for name, kind in {"double": "<f8", "big": ">f4", "whole": "<i4"}.items():
        (tmp_path / f"{name}.bin").write_bytes((rows * 100).astype(kind).tobytes())
        with user_error("points-ambiguous", name):
            read_points(tmp_path / f"{name}.bin")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_value_signalling_nans_are_nans_without_a_warning_of_numpy(tmp_path):
    """Numbers of another type hold them by chance; in the columns of a scan they are rays without a return."""
    rows = scan()[:, :4].astype("<f4")
    rows.view(np.uint32)[[3, 11], [0, 2]] = 0x7F800001
    expected = np.delete(rows, [3, 11], axis=0)
    np.testing.assert_array_equal(read_points(write(tmp_path / "a.bin", rows)), expected)
    doubles = scan()[:, :4].astype("<f8")
    doubles.view(np.uint64)[[3, 11], [0, 2]] = 0x7FF0000000000001
    np.save(tmp_path / "a.npy", doubles)
    np.testing.assert_array_equal(read_points(tmp_path / "a.npy"), expected)
    (tmp_path / "b.bin").write_bytes(np.full((60, 4), 0x7F800001, "<u4").tobytes())
    assert read_points(tmp_path / "b.bin").shape == (0, 4)


def test_value_columns_by_name_in_any_order(tmp_path):
    rows = scan()
    order = [4, 2, 3, 0, 1]  # ring, z, intensity, x, y
    path = write(tmp_path / "a.bin", rows[:, order])
    found = read_points(path, "_, z, intensity, x, y")
    np.testing.assert_array_equal(found, rows[:, :4])
    np.save(tmp_path / "a.npy", rows[:, order])
    np.testing.assert_array_equal(read_points(tmp_path / "a.npy", "ring,z,intensity,x,y"), found)
    without = read_points(write(tmp_path / "b.bin", rows[:, [0, 1, 2, 5]]), "x,y,z,time")
    np.testing.assert_array_equal(without, np.column_stack([rows[:, :3], np.ones(len(rows))]))


@pytest.mark.parametrize("columns", ["x,y", "x,y,z,z", "intensity", "x y z", "x,y,z,intensity,intensity", "0.5", "-3"])
def test_exception_columns_that_are_none(tmp_path, columns):
    with user_error("value-format", columns):
        read_points(write(tmp_path / "a.bin", scan()[:, :4]), columns)


def test_exception_files_that_say_themselves_what_they_are(tmp_path):
    heads = {
        "a.las": (b"LASF" + bytes(92), "LAS"),
        "a.xyz": (b"1.0 2.0 3.0 0.5\n" * 60, "text"),
        "a.csv": (b"x,y,z,intensity\r\n1,2,3,4\r\n" * 48, "text"),
    }
    for name, (data, kind) in heads.items():
        (tmp_path / name).write_bytes(data)
        with user_error("file-format", name, kind) as caught:
            read_points(tmp_path / name)
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "b.npy", scan())
    (tmp_path / "b.npy").rename(tmp_path / "b.bin")
    with user_error("file-format", "b.bin", "npy"):
        read_points(tmp_path / "b.bin")
