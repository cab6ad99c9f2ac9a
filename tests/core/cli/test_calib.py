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
from any2seg_core.sensors.places import SensorPlace

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


def test_value_show_takes_files_of_any_sensor_of_a_suite(tmp_path):
    """A camera that sees half of the picture's width at the same angle per pixel, and a depth image of a flat wall."""
    (tmp_path / "v.yaml").write_text(
        "name: v\nsensors:\n  front: {kind: image, letter: F}\n  left: {kind: image, letter: S, format: grey}\n"
        "  depth: {kind: depth, letter: D}\n"
    )
    whole = CameraModel(64, 48, [[40, 0, 31.5], [0, 40, 23.5], [0, 0, 1]])
    half = CameraModel(32, 48, [[40, 0, 15.5], [0, 40, 23.5], [0, 0, 1]])
    save_calibration(tmp_path / "c.yaml", Calibration(whole, sensors={"left": SensorPlace(half)}))
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    Image.new("L", (32, 48), 99).save(tmp_path / "l.png")
    Image.fromarray(np.full((48, 64), 256, np.uint16)).save(tmp_path / "d.png")
    given = (tmp_path / "c.yaml", "--suite", tmp_path / "v.yaml", "--rgb", tmp_path / "a.png", "-o", tmp_path / "o.png")
    done = run("show", *given, "--sensor", f"left={tmp_path / 'l.png'}")
    assert "the left sees 50% of the camera's picture" in done.output and "too few to judge" in done.output
    assert set(np.unique(np.asarray(Image.open(tmp_path / "o.png")))) == {0, 99}
    wish = ("--sensor", f"depth={tmp_path / 'd.png'}", "--depth-scale", 256, "--json")
    depth = json.loads(run("show", *given, *wish).stdout)
    assert (depth["points"], depth["inside"], depth["edges"], depth["sensor"]) == (64 * 48, 64 * 48, 0, "depth")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "sensor-none"),
        (("--rgb", "a.png"), "sensor-none"),
        (("--rgb", "a.png", "--lidar", "l.npy", "--sensor", "depth=d.png"), "sensor-none"),
        (("--rgb", "a.png", "--sensor", "depth"), "value-format"),
        (("--rgb", "a.png", "--sensor", "event=e.npy"), "option-unsupported"),
        (("--rgb", "a.png", "--sensor", "sonar=e.npy"), "sensor-unknown"),
        (("--rgb", "a.png", "--lidar", "l.npy", "--topic", "rgb=/x"), "value-conflict"),
    ],
)
def test_exception_show_says_which_files_it_needs(tmp_path, arguments, code):
    done = run("show", tmp_path / "c.yaml", *arguments, "-o", tmp_path / "o.png")
    assert getattr(done.exception, "code", "") == code
    assert not list(tmp_path.iterdir())


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
