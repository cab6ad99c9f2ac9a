"""`any2seg calib show` of recordings: moments from all over them, the calibration of the recording or another one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from bag_files import CLOUD, IMAGE, INFO, LIDAR_TO_CAMERA, NS_PER_S, START_NS, small_entries, tf_message, write_bag
from PIL import Image
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner
from van_files import VAN, entries

from any2seg_core.cli.calib import calib_app
from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel

CAMERA = CameraModel.from_fov(161, 97, 70.0, "camera")
BOXES = [(-2.0, -0.8, -1.2, 0.9), (0.4, 1.7, -0.4, 1.3)]  # left, right, top, bottom in metres, 6 m ahead of the camera


def run(*arguments: object):
    return CliRunner().invoke(calib_app, ["show", *(str(argument) for argument in arguments)])


def boxes_ahead(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(picture, (N, 4) points in the LiDAR's frame): dark boxes at 6 m before a bright wall at 20 m."""
    random = np.random.default_rng(seed)
    rays = CAMERA.rays().astype(float)
    depth_m = np.full(rays.shape[:2], 20.0)
    for left, right, top, bottom in BOXES:
        inside = (rays[..., 0] * 6 > left) & (rays[..., 0] * 6 < right)
        depth_m[inside & (rays[..., 1] * 6 > top) & (rays[..., 1] * 6 < bottom)] = 6.0
    picture = np.where(depth_m < 10, 60, 200)[..., None] + random.integers(0, 3, (*depth_m.shape, 3))
    inverse = np.linalg.inv(LIDAR_TO_CAMERA)
    xyz = (rays * depth_m[..., None])[::2, ::2].reshape(-1, 3) @ inverse[:3, :3].T + inverse[:3, 3]
    points = np.column_stack([xyz, random.random(len(xyz))]).astype(np.float32)
    return picture.astype(np.uint8), points


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """One second of camera, camera_info and LiDAR at 10 Hz, with the LiDAR's pose in /tf_static."""
    found = [(START_NS, "/tf_static", "tf2_msgs/msg/TFMessage",
              tf_message([("camera", "velodyne", LIDAR_TO_CAMERA)], START_NS))]  # fmt: skip
    for index in range(11):
        stamp_ns = START_NS + index * NS_PER_S // 10
        picture, points = boxes_ahead(index)
        found += [
            (stamp_ns, "/cam/camera_info", INFO, serialise.camera_info(CAMERA, stamp_ns)),
            (stamp_ns, "/cam/image_raw", IMAGE, serialise.image(picture, "rgb8", stamp_ns, "camera")),
            (stamp_ns, "/velodyne_points", CLOUD, serialise.point_cloud(points, stamp_ns, "velodyne")),
        ]
    return write_bag(tmp_path_factory.mktemp("show") / "drive", found)


@pytest.fixture(scope="module")
def van(tmp_path_factory):
    """The van's recording and its suite."""
    folder = tmp_path_factory.mktemp("van")
    (folder / "van.yaml").write_text(yaml.safe_dump(VAN.to_document(), sort_keys=False))
    return write_bag(folder / "drive", entries(0.6)), folder / "van.yaml"


@pytest.mark.parametrize(("count", "starts_s"), [(1, [0.0]), (3, [0.0, 0.4, 0.7]), (5, [0.0, 0.2, 0.4, 0.6, 0.8])])
def test_value_moments_are_spread_over_the_recording(bag, tmp_path, count, starts_s):
    out = tmp_path / "seen.png"
    done = run(bag, "-o", out, "--frames", count, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    found = document["frames"]
    assert [frame["time_s"] for frame in found] == pytest.approx(starts_s, abs=0.06)  # a set waits for its sensors
    assert document["sensor"] == "lidar" and document["calibration"] == "camera_info and tf of the recording"
    assert all(frame["points"] == frame["inside"] == 49 * 81 for frame in found)
    assert (document["points"], document["edges"]) == (count * 49 * 81, sum(frame["edges"] for frame in found))
    mean = np.average([frame["closeness"] for frame in found], weights=[frame["edges"] for frame in found])
    assert document["closeness"] == pytest.approx(mean) and mean > 0.8
    assert document["best_move"] == "" and document["out"] == str(out)
    picture = np.asarray(Image.open(out))
    columns = {1: 1, 3: 2, 5: 2}[count]
    assert picture.shape[1] == 161 * columns + 6 * (columns - 1) and picture.shape[0] >= 97 * -(-count // columns)


def test_value_another_calibration_wins_and_the_move_back_is_named(bag, tmp_path):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("y", 2, degrees=True).as_matrix()
    save_calibration(tmp_path / "c.yaml", Calibration(CAMERA, lidar_to_camera=turn @ LIDAR_TO_CAMERA))
    done = run(bag, "--calib", tmp_path / "c.yaml", "-o", tmp_path / "seen.png", "--frames", 2)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert sum(" s: " in line and "better" in line for line in lines) == 2
    assert "meet better, best with the LiDAR turned by -1 degree about the camera's y" in done.output


@pytest.mark.parametrize(("sensor", "says"), [
    ("", "points fall into the picture"), ("radar", "points fall into the picture"),
    ("left", "the left sees"), ("thermal", "the thermal sees"),
])  # fmt: skip
def test_value_further_sensors_of_a_suite(van, tmp_path, sensor, says):
    recording, suite = van
    wish = ("--sensor", sensor) if sensor else ()
    done = run(recording, "--suite", suite, *wish, "-o", tmp_path / "seen.png", "--frames", 2)
    assert done.exit_code == 0, done.output
    assert says in done.output
    document = json.loads(run(recording, "--suite", suite, *wish, "-o", tmp_path / "seen.png", "--json").stdout)
    assert document["sensor"] == (sensor or "lidar") and 1 <= len(document["frames"]) <= 6
    assert 0 < document["inside"] <= document["points"]
    if sensor == "thermal":  # 70 of 91 degrees wide, 48 of 64 rows at its focal length, by the tangents
        wide, tall = (np.tan(np.radians(35)) * size / np.tan(np.radians(45.5)) for size in (1, 48 / 64 * 96 / 64))
        assert document["inside"] / document["points"] == pytest.approx(wide * tall, abs=0.06)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--sensor", "event"), "option-unsupported"),
        (("--sensor", "rgb"), "option-unsupported"),
        (("--sensor", "depth"), "bag-sensor-missing"),
        (("--topic", "rgb=none"), "bag-sensor-missing"),
        (("--rgb", "a.png"), "value-conflict"),
        (("--calib", "none.yaml"), "file-missing"),
    ],
)
def test_exception_what_cannot_be_shown_writes_nothing(bag, tmp_path, arguments, code):
    done = run(bag, *arguments, "-o", tmp_path / "seen.png")
    assert getattr(done.exception, "code", "") == code, done.output
    assert not list(tmp_path.iterdir())


def test_exception_a_lidar_whose_pose_nobody_knows(bag, tmp_path):
    save_calibration(tmp_path / "c.yaml", Calibration(CAMERA))
    done = run(bag, "--calib", tmp_path / "c.yaml", "-o", tmp_path / "seen.png")
    assert done.exception.code == "transform-unknown" and "lidar_to_camera" in str(done.exception)
    alone = write_bag(tmp_path / "alone", small_entries())
    assert run(alone, "-o", tmp_path / "seen.png").exception.code == "bag-sensor-missing"
