"""`any2seg calib`: what other programs and recordings know becomes our YAML; a look at it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bag_files import KITTI_CAMERA, LIDAR_TO_CAMERA, kitti_entries, small_entries, write_bag, write_ros1
from PIL import Image
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.cli.calib import calib_app, example
from any2seg_core.sensors.calibration import Calibration, load_calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel

TF = "tf2_msgs/msg/TFMessage"


def run(*arguments: object):
    return CliRunner().invoke(calib_app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("write", [write_bag, write_ros1])
def test_value_from_a_bag(tmp_path, write):
    bag, out = write(tmp_path / "kitti.bag", kitti_entries(3)), tmp_path / "car.yaml"
    done = run("from-bag", bag, out)
    assert done.exit_code == 0, done.output
    assert "car.yaml: camera, lidar_to_camera" in done.output
    found = load_calibration(out)
    np.testing.assert_allclose(found.lidar_to_camera, LIDAR_TO_CAMERA, atol=1e-9)
    np.testing.assert_array_equal(found.camera.K, KITTI_CAMERA.K)
    assert (found.camera.frame_id, found.lidar_frame) == (KITTI_CAMERA.frame_id, "velo_link")


def test_value_a_bag_without_transforms_says_what_is_missing(tmp_path):
    entries = [entry for entry in kitti_entries(3) if entry[2] != TF]
    done = run("from-bag", write_bag(tmp_path / "bag", entries), tmp_path / "car.yaml")
    assert done.exit_code == 0
    assert "lidar_to_camera is not known" in done.output
    assert load_calibration(tmp_path / "car.yaml").lidar_to_camera is None


def test_exception_a_bag_without_a_camera_info_writes_nothing(tmp_path):
    done = run("from-bag", write_bag(tmp_path / "bag", small_entries()), tmp_path / "car.yaml")
    assert getattr(done.exception, "code", "") == "calibration-missing"
    assert not (tmp_path / "car.yaml").exists()


def test_value_the_example_is_written(tmp_path):
    assert run("example", tmp_path / "new" / "car.yaml").exit_code == 0
    assert load_calibration(tmp_path / "new" / "car.yaml").camera.width == 1280


def test_exception_the_example_replaces_no_calibration(tmp_path):
    (tmp_path / "car.yaml").write_text("mine")
    with user_error("output-exists", tmp_path / "car.yaml"):
        example(tmp_path / "car.yaml")
    assert (tmp_path / "car.yaml").read_text() == "mine"


def test_value_show_draws_and_counts(tmp_path):
    camera = CameraModel.from_fov(65, 49, 80.0)
    axes = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    save_calibration(tmp_path / "c.yaml", Calibration(camera, lidar_to_camera=axes))
    Image.new("RGB", (65, 49)).save(tmp_path / "a.png")
    np.save(tmp_path / "l.npy", np.array([[5.0, 0, 0, 1], [5.0, 1, 1, 1], [-5.0, 0, 0, 1]]))
    files = ("--rgb", tmp_path / "a.png", "--lidar", tmp_path / "l.npy")
    done = run("show", tmp_path / "c.yaml", *files, "-o", tmp_path / "o.png")
    assert "2 of 3 points fall into the picture" in done.output
    assert "too few to judge" in done.output
    assert np.asarray(Image.open(tmp_path / "o.png")).shape == (49, 65, 3)
    document = json.loads(run("show", tmp_path / "c.yaml", *files, "-o", tmp_path / "o.png", "--json").stdout)
    assert (document["inside"], document["points"], document["closeness"]) == (2, 3, None)


@pytest.mark.parametrize(
    ("change", "code"),
    [("size", "calibration-size"), ("jpg", "file-name"), ("lidar", "file-missing"), ("pose", "extrinsics-missing")],
)
def test_exception_show(tmp_path, change, code):
    camera = CameraModel.from_fov(65, 49, 80.0)
    save_calibration(tmp_path / "c.yaml", Calibration(camera, lidar_to_camera=None if change == "pose" else np.eye(4)))
    Image.new("RGB", (49, 65) if change == "size" else (65, 49)).save(tmp_path / "a.png")
    if change != "lidar":
        np.save(tmp_path / "l.npy", np.ones((3, 4)))
    out = tmp_path / ("o.jpg" if change == "jpg" else "o.png")
    files = ("--rgb", tmp_path / "a.png", "--lidar", tmp_path / "l.npy", "-o", out)
    done = run("show", tmp_path / "c.yaml", *files)
    assert getattr(done.exception, "code", "") == code
    assert not out.exists()


def test_exception_a_size_that_is_none(tmp_path):
    done = run("from-kitti", tmp_path, tmp_path / "o.yaml", "--size", "12 by 9")
    assert getattr(done.exception, "code", "") == "value-format"
