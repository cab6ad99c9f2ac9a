"""Sensor files: round trips written by NumPy, Pillow and OpenCV, and every kind of broken file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from raised import user_error

from any2seg_core.files.samples import FileOptions, read_depth_m, read_events, read_points, read_rgb, read_samples
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_shape_rgb_from_any_colour_mode(tmp_path, rng, mode):
    bands = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    pixels = rng.integers(0, 256, (7, 11, bands), dtype=np.uint8).squeeze()
    Image.fromarray(pixels, mode).save(tmp_path / "a.png")
    image = read_rgb(tmp_path / "a.png")
    assert image.shape == (7, 11, 3)
    assert image.dtype == np.uint8
    if mode != "L":
        assert (image == pixels[..., :3]).all()


def test_value_depth_png_is_millimetres_and_npy_is_metres(tmp_path):
    millimetres = np.array([[0, 1500], [65534, 20]], np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), millimetres)
    np.testing.assert_allclose(read_depth_m(tmp_path / "d.png"), [[0, 1.5], [65.534, 0.02]], rtol=1e-6)
    np.save(tmp_path / "d.npy", np.array([[1.25, 1000.0]]))
    assert read_depth_m(tmp_path / "d.npy").tolist() == [[1.25, 1000.0]]


def test_value_points_from_kitti_bin_and_npy(tmp_path, rng):
    points = np.column_stack([rng.normal(size=(5, 3)), rng.random(5)]).astype(np.float32)
    points.tofile(tmp_path / "p.bin")
    np.save(tmp_path / "p.npy", points[:, :3])
    assert (read_points(tmp_path / "p.bin") == points).all()
    from_npy = read_points(tmp_path / "p.npy")
    assert (from_npy[:, :3] == points[:, :3]).all()
    assert (from_npy[:, 3] == 1).all()


READERS = {"rgb.png": read_rgb, "depth.png": read_depth_m, "depth.npy": read_depth_m, "points.bin": read_points,
           "points.npy": read_points, "events.npz": read_events, "events.npy": read_events}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [None, b"", b"not what the name says"])
def test_exception_names_the_file(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code = "file-missing" if content is None else "file-format"
    if name == "points.bin" and content == b"":
        code = "file-content"
    with user_error(code, name) as caught:
        READERS[name](path)
    assert "\n" not in str(caught.value)


def test_exception_contents_of_another_kind(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with user_error("file-content", "colour.png", "16-bit"):
        read_depth_m(tmp_path / "colour.png")
    np.save(tmp_path / "flat.npy", np.zeros(8))
    with user_error("file-content", "flat.npy", "(N, 4)"):
        read_points(tmp_path / "flat.npy")
    with user_error("file-content", "flat.npy", "(H, W)"):
        read_depth_m(tmp_path / "flat.npy")


def test_exception_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with user_error("file-format", "p.npy"):
        read_points(tmp_path / "p.npy")


def test_exception_damaged_and_misnamed_archives(tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.arange(100))
    data = bytearray((tmp_path / "whole.npz").read_bytes())
    (tmp_path / "cut.npz").write_bytes(data[:-60])
    (tmp_path / "archive.npy").write_bytes(data)
    data[300] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(data)
    np.savez(tmp_path / "object.npz", x=np.array([1, None]))
    for name in ("cut.npz", "flipped.npz", "object.npz"):
        with user_error("file-format", name):
            read_events(tmp_path / name)
    for read in (read_depth_m, read_points):
        with user_error("file-content", "archive.npy", "(100,)"):
            read(tmp_path / "archive.npy")


def test_exception_camera_image_of_16_bits(tmp_path):
    cv2.imwrite(str(tmp_path / "i.png"), np.array([[0, 300, 65535]], np.uint16))
    with user_error("file-content", "i.png"):
        read_rgb(tmp_path / "i.png")
    for channels in (3, 4):  # of colours Pillow alone would keep the upper bits
        cv2.imwrite(str(tmp_path / "c.png"), np.full((2, 3, channels), 4000, np.uint16))
        with user_error("file-content", "c.png"):
            read_rgb(tmp_path / "c.png")


# What was done to an upright picture before it was stored, by the definition of each orientation in EXIF 2.3.
STORED = {
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a), 7: lambda a: a.swapaxes(0, 1)[::-1, ::-1], 8: lambda a: np.rot90(a, -1),
}  # fmt: skip


def oriented(path, pixels, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", STORED)
def test_value_a_picture_with_an_orientation_is_upright_unless_calibrated_as_stored(tmp_path, rng, caplog, orientation):
    upright = rng.integers(0, 256, (5, 8, 3), dtype=np.uint8)
    stored = STORED[orientation](upright)
    path = oriented(tmp_path / "a.png", stored, orientation)
    np.testing.assert_array_equal(read_rgb(path), upright)
    assert "a.png: has an EXIF orientation: turned upright" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(read_rgb(path, stored.shape[:2]), stored)
    assert "read as stored" in caplog.text
    other = upright.shape[:2] if upright.shape != stored.shape else (7, 7)
    np.testing.assert_array_equal(read_rgb(path, other), upright)


@pytest.mark.parametrize("orientation", [0, 1, 9, 300])
def test_value_no_or_unknown_orientation_changes_nothing(tmp_path, rng, caplog, orientation):
    pixels = rng.integers(0, 256, (5, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_rgb(oriented(tmp_path / "a.png", pixels, orientation)), pixels)
    assert caplog.text == ""


def test_value_depth_of_other_scales(tmp_path, caplog):
    """KITTI stores metres times 256. Without a scale, millimetres are taken and that is said."""
    cv2.imwrite(str(tmp_path / "d.png"), np.array([[0, 256, 20480]], np.uint16))
    assert read_depth_m(tmp_path / "d.png", 256.0).tolist() == [[0, 1, 80]]
    assert caplog.text == ""
    np.testing.assert_allclose(read_depth_m(tmp_path / "d.png"), [[0, 0.256, 20.48]])
    assert "d.png: depth is read as millimetres, up to 20.5 m (--depth-scale 256 for KITTI's)" in caplog.text
    for scale in (-1.0, np.nan, np.inf):
        with user_error("value-range"):
            read_depth_m(tmp_path / "d.png", scale)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_value_depth_arrays_of_whole_numbers_have_a_scale_and_floats_are_metres(tmp_path, suffix):
    save = np.save if suffix == ".npy" else np.savez
    path = tmp_path / f"d{suffix}"
    save(path, np.array([[0, 512], [1024, 256]], np.uint16))
    assert read_depth_m(path, 256.0).tolist() == [[0, 2], [4, 1]]
    save(path, np.array([[0, 2.5], [np.inf, 1000.0]]))  # CARLA's sky is at 1000 m
    assert read_depth_m(path).tolist() == [[0, 2.5], [np.inf, 1000.0]]
    save(path, np.array([[0, 2500.0], [1200.0, 700.0]]))
    with user_error("file-content", f"d{suffix}", "1200"):
        read_depth_m(path)


def test_value_all_sensors_of_one_set(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    np.savez(tmp_path / "e.npz", x=[3], y=[2], t=[7], p=[1])
    np.save(tmp_path / "l.npy", np.array([[1.0, 2.0, 3.0, 100.0]]))
    calibration = Calibration(CameraModel.from_fov(4, 3, 90.0))
    options = FileOptions(event_time_unit="us", intensity_max=200.0)
    paths = {"rgb": tmp_path / "a.png", "event": tmp_path / "e.npz", "lidar": tmp_path / "l.npy"}
    samples = read_samples(paths, calibration, options)
    assert samples["rgb"].shape == (3, 4, 3)
    assert samples["event"].tolist() == [(3, 2, 7000, 1)]
    assert samples["lidar"].tolist() == [[1, 2, 3, 0.5]]
    small = Calibration(CameraModel.from_fov(4, 3, 90.0), event_camera=CameraModel.from_fov(3, 3, 90.0))
    with user_error("calibration-size", "e.npz", "3x3"):
        read_samples(paths, small, options)


@pytest.mark.parametrize("name", ["d.png", "d.tif", "d.npy"])
def test_value_the_largest_of_16_bits_is_no_depth(tmp_path, name):
    """OpenCV saturates infinite millimetres there, and simulators write their sky so."""
    stored = np.array([[0, 512, 65535]], np.uint16)
    if name.endswith(".npy"):
        np.save(tmp_path / name, stored)
    else:
        cv2.imwrite(str(tmp_path / name), stored)
    assert read_depth_m(tmp_path / name, 256.0).tolist() == [[0, 2, 0]]
    np.save(tmp_path / "wide.npy", np.array([[65535, 65536]], np.int32))  # of 32 bits it is a number as others
    assert read_depth_m(tmp_path / "wide.npy", 256.0).tolist() == [[65535 / 256, 256]]


def test_value_a_tiff_of_floats_is_metres_as_in_a_message(tmp_path):
    metres = np.array([[0, 2.5], [np.nan, 40.0]], np.float32)
    cv2.imwrite(str(tmp_path / "d.tif"), metres)
    np.testing.assert_array_equal(read_depth_m(tmp_path / "d.tif"), metres)
    cv2.imwrite(str(tmp_path / "d.tif"), np.full((2, 2), 2500, np.float32))
    with user_error("file-content", "d.tif", "divide millimetres by 1000"):
        read_depth_m(tmp_path / "d.tif")


def test_exception_depth_of_8_bits_and_of_formats_that_are_not_read(tmp_path):
    np.save(tmp_path / "d.npy", np.full((2, 2), 7, np.uint8))
    with user_error("file-content", "d.npy", "at least 16 bits"):
        read_depth_m(tmp_path / "d.npy")
    (tmp_path / "d.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(60))
    with user_error("file-format", "d.exr", "16-bit PNG, a TIFF, or metres as a float .npy"):
        read_depth_m(tmp_path / "d.exr")


@pytest.mark.parametrize("name", READERS)
def test_exception_a_pointer_of_git_lfs_names_the_way_out(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with user_error("file-format", name, "git lfs pull"):
        READERS[name](tmp_path / name)
