"""Recordings whose truth is a semantic LiDAR: sparse labels for training, straight from the bag or extracted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bag_files import CLOUD, KITTI_CAMERA, LIDAR_TO_CAMERA, kitti_entries, scan, write_bag
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.cli.main import app
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.sparse import SparseConfig
from any2seg_core.messages import serialise
from any2seg_core.sensors.lidar import project_labels
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED

TOPIC = "/kitti/semantic_lidar"
BAG = {"topics": {"truth": TOPIC}, "truth_tags": "0.9.14", "complete": True}
LIDAR = SparseConfig(kind="lidar")


def point_labels(index: int) -> np.ndarray:
    return np.random.default_rng(index).choice([0, 6, 9, 24, 255], len(scan(index))).astype(np.uint8)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """The KITTI-like drive with what each point has hit, stamped and sent with the sweep."""
    entries = kitti_entries(6)
    arrivals_ns = [arrival_ns for arrival_ns, _, kind, _ in entries if kind == CLOUD]
    for index, arrival_ns in enumerate(arrivals_ns, start=1):  # the first image comes before any sweep
        cloud = serialise.semantic_cloud(scan(index), point_labels(index), arrival_ns - 20_000_000, "velo_link")
        entries.append((arrival_ns, TOPIC, CLOUD, cloud))
    return write_bag(tmp_path_factory.mktemp("tags") / "drive", sorted(entries, key=lambda entry: entry[0]))


def test_value_labels_are_those_of_the_projected_points(recording: Path):
    dense = open_dataset("auto", recording, "train", cache="ram", bag=BAG)
    sparse = open_dataset("auto", recording, "train", cache="ram", bag=BAG, sparse=LIDAR)
    assert len(dense) == len(sparse) == 5
    for number in range(5):
        index = number + 1
        expected = project_labels(scan(index), point_labels(index), LIDAR_TO_CAMERA, KITTI_CAMERA)
        assert (expected != IGNORE).sum() > 200
        np.testing.assert_array_equal(dense[number].labels, expected)
        np.testing.assert_array_equal(sparse[number].labels, np.where(expected == IGNORE, NOT_ANNOTATED, expected))


def test_value_extracted_folder_has_the_same_labels(recording: Path, tmp_path: Path, caplog):
    arguments = ["bag", "extract", str(recording), "--out", str(tmp_path / "out"), "--truth", TOPIC]
    run = CliRunner().invoke(app, [*arguments, "--truth-tags", "0.9.14"])
    assert run.exit_code == 0, run.output
    direct = open_dataset("auto", recording, "train", cache="ram", bag=BAG, sparse=LIDAR)
    extracted = DeliverDataset(tmp_path / "out", "train", ("rgb", "lidar"), sparse=LIDAR)
    assert "has no labels of LiDAR points" not in caplog.text
    assert len(extracted) == len(direct)
    for number in range(len(direct)):
        np.testing.assert_array_equal(extracted[number].labels, direct[number].labels)


def test_exception_tags_must_be_named_and_have_an_effect(recording: Path):
    with user_error("value-conflict", "CARLA"):
        open_dataset("auto", recording, "train", bag={"topics": {"truth": TOPIC}})
    with user_error("value-conflict", "/image", "truth_tags"):
        image = {"truth": "/kitti/camera_color_left/image"}
        open_dataset("auto", recording, "train", bag={"topics": image, "truth_tags": "0.9.14"})
    with user_error("value-unknown", "'0.8'"):
        open_dataset("auto", recording, "train", bag=BAG | {"truth_tags": "0.8"})
