"""Image, camera_info, calibration file and truth of different sizes: every road gives labels on the image's grid."""

from __future__ import annotations

import json
from itertools import product

import bag_files
import fake_car
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.cli.main import app
from any2seg_core.data.deliver_labels import read_labels
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.record import OUTPUTS
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.messages import image_to_array, serialise
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract

pytest.importorskip("rclpy")

SIZES = {"small": (32, 48), "middle": (64, 96), "large": (128, 192)}  # (H, W)
CASES = list(product(("small", "middle"), ("middle", "large"), ("none", "small", "large"), ("small", "middle")))
FRAMES = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("sizes") / "m.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, Any2Seg(ModelConfig(head_width=32)), InputContract(height=32, width=64), {})
    return path


def camera(size: str) -> CameraModel:
    height, width = SIZES[size]
    return CameraModel.from_fov(width, height, 91.0, "cam")


def resized(pixels: np.ndarray, size: str) -> np.ndarray:
    height, width = SIZES[size]
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.NEAREST))


def contents(image: str):
    """Camera image and cloud of one frame after the other."""
    random = np.random.default_rng(0)
    while True:
        pixels = resized(random.integers(0, 256, (*SIZES["large"], 3), np.uint8), image)
        yield pixels, random.uniform([2, -8, -2, 0], [40, 8, 2, 1], (800, 4)).astype(np.float32)


def recording(path, image: str, info: str, truth: str):
    poses = {"cam": np.eye(4), "lidar": np.array(fake_car.LIDAR_TO_CAMERA)}
    entries = [(fake_car.START_NS, "/tf_static", "tf2_msgs/msg/TFMessage",
                serialise.transforms("base", poses, fake_car.START_NS))]  # fmt: skip
    labels = np.full(SIZES["large"], 6, np.uint8)
    labels[: len(labels) // 2] = 12
    for index, (pixels, points) in zip(range(FRAMES), contents(image), strict=False):
        stamp_ns = fake_car.START_NS + index * fake_car.PERIOD_NS
        entries += [
            (stamp_ns, "/cam/camera_info", bag_files.INFO, serialise.camera_info(camera(info), stamp_ns)),
            (stamp_ns, "/cam/image_raw", bag_files.IMAGE, serialise.image(pixels, "rgb8", stamp_ns, "cam")),
            (stamp_ns, "/points", bag_files.CLOUD, serialise.point_cloud(points, stamp_ns, "lidar")),
            (stamp_ns, "/truth/label", bag_files.IMAGE,
             serialise.image(resized(labels, truth), "mono8", stamp_ns, "cam")),
        ]  # fmt: skip
    return bag_files.write_bag(path, entries)


def calibration_of(path, size: str):
    if size == "none":
        return None
    save_calibration(path, Calibration(camera(size), lidar_to_camera=np.array(fake_car.LIDAR_TO_CAMERA, float)))
    return path


def evaluated(bag, checkpoint, calibration, out):
    """Labels of `bag evaluate`, and how many of them had truth."""
    request = EvaluateRequest(bag, checkpoint, out, subsets="all", truth="/truth/label", calibration=calibration,
                              record=out / "labels.mcap")  # fmt: skip
    result = evaluate_bag(request)
    with Recording(out / "labels.mcap") as recorded:
        labels = [image_to_array(each.value) for each in recorded.messages([OUTPUTS["label"]])]
    lines = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()[1:]]
    assert {line["used"] for line in lines} == {"RL"}
    return labels, sum(score.with_truth for score in result.total().values())


def extracted(bag, checkpoint, calibration, out):
    """Labels of `bag extract --labels`, and shapes of all that it writes: planes, truth and labels."""
    with open_bag(bag, BagOptions(["truth=/truth/label"], calibration=calibration)) as opened:
        extract(opened, ExtractOptions(out, labels=checkpoint))
    shapes = {np.asarray(Image.open(path)).shape[:2] for path in out.rglob("*.png")}
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"img", "lidar", "semantic", "predicted"}
    return [read_labels(path) for path in sorted(out.rglob("*_predicted_front.png"))], shapes


def published(bag, checkpoint, calibration):
    """Labels of the node's segmenter."""
    from test_same_input import labels_of_node

    from any2seg_ros.parameter_table import TABLE
    from any2seg_ros.parameters import check

    defaults = {name: entry.default for name, entry in TABLE.items()}
    settings = check({**defaults, "checkpoint": str(checkpoint), "modalities": ["rgb", "lidar"],
                      "calibration_file": str(calibration or "")})  # fmt: skip
    return [labels for _, _, labels in labels_of_node(settings, bag, [])]


def predicted(folder, image: str, calibration, checkpoint):
    """Labels of `predict` for the first image and cloud, from files; for the image alone where no file says more."""
    pixels, points = next(contents(image))
    Image.fromarray(pixels).save(folder / "a.png")
    np.save(folder / "a.npy", points)
    options = ["predict", "--rgb", folder / "a.png", "-o", folder / "out.png", "--checkpoint", checkpoint]
    if calibration is not None:
        options += ["--lidar", folder / "a.npy", "--calib", calibration]
    done = CliRunner().invoke(app, [str(option) for option in options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return np.asarray(Image.open(folder / "out.png"))


@pytest.mark.parametrize(("image", "info", "calibrated", "truth"), CASES)
def test_value_every_road_gives_the_same_labels_on_the_grid_of_the_image(
    tmp_path, checkpoint, image, info, calibrated, truth
):
    bag = recording(tmp_path / "bag", image, info, truth)
    calibration = calibration_of(tmp_path / "calibration.yaml", calibrated)
    evaluate, with_truth = evaluated(bag, checkpoint, calibration, tmp_path / "out")
    assert len(evaluate) == with_truth == FRAMES
    extracts, shapes = extracted(bag, checkpoint, calibration, tmp_path / "extracted")
    by_file = predicted(tmp_path, image, calibration, checkpoint)
    assert shapes == {SIZES[image]} == {by_file.shape}
    node = published(bag, checkpoint, calibration)
    for one, other, third in zip(evaluate, extracts, node, strict=True):
        assert one.shape == SIZES[image]
        np.testing.assert_array_equal(other, one)
        np.testing.assert_array_equal(third, one)
    if calibration is not None:  # rounded intrinsics of the file instead of the camera_info's
        assert (by_file == evaluate[0]).mean() > 0.98
