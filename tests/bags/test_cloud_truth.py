"""Recordings whose truth is a semantic LiDAR: sparse labels for training, straight from the bag or extracted."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bag_files import CLOUD, KITTI_CAMERA, LIDAR_TO_CAMERA, STORE, kitti_entries, scan, write_bag
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.cli.main import app
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.sparse import SparseConfig
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.messages import serialise
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.sensors.lidar import project_labels
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER, IGNORE, NOT_ANNOTATED
from any2seg_core.vocabulary.truth_codings import CARLA_VERSION

TOPIC = "/kitti/semantic_lidar"
BAG = {"topics": {"truth": TOPIC}, "truth_coding": "tag", "carla_version": "0.9.14", "complete": True}
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
    run = CliRunner().invoke(app, [*arguments, "--truth-coding", "tag", "--carla-version", "0.9.14"])
    assert run.exit_code == 0, run.output
    direct = open_dataset("auto", recording, "train", cache="ram", bag=BAG, sparse=LIDAR)
    extracted = DeliverDataset(tmp_path / "out", "train", ("rgb", "lidar"), sparse=LIDAR)
    assert "has no labels of LiDAR points" not in caplog.text
    assert len(extracted) == len(direct)
    for number in range(len(direct)):
        np.testing.assert_array_equal(extracted[number].labels, direct[number].labels)


@pytest.mark.parametrize("rider", ["Pedestrian", "TwoWheeler"])
def test_value_riders_count_as_told(tmp_path: Path, rider: str):
    """All points have tag 13, CARLA's rider."""
    entries = kitti_entries(3)
    arrivals_ns = [arrival_ns for arrival_ns, _, kind, _ in entries if kind == CLOUD]
    for index, arrival_ns in enumerate(arrivals_ns, start=1):
        points = scan(index)
        cloud = serialise.semantic_cloud(points, np.zeros(len(points), np.uint8), arrival_ns - 20_000_000, "velo_link")
        message = STORE.deserialize_cdr(cloud, CLOUD)
        message.data = message.data.copy()
        message.data.reshape(len(points), -1)[:, 20] = 13
        entries.append((arrival_ns, TOPIC, CLOUD, bytes(STORE.serialize_cdr(message, CLOUD))))
    bag = write_bag(tmp_path / "drive", sorted(entries, key=lambda entry: entry[0]))
    dataset = open_dataset("auto", bag, "train", cache="ram", bag=BAG | {"rider": rider})
    labels = dataset[0].labels
    assert set(np.unique(labels)) == {DELIVER.id(rider), IGNORE}
    assert (labels != IGNORE).sum() > 200


def test_value_kept_planes_know_that_their_labels_are_of_points(recording: Path, tmp_path: Path):
    """Also the run that finds them on disk and reads no message."""
    settings = BAG | {"planes": str(tmp_path / "planes")}
    for _ in range(2):
        dataset = open_dataset("auto", recording, "train", cache="disk", bag=settings)
        assert dataset.has_lidar_labels


def test_exception_points_have_tags_and_say_of_which_list(recording: Path, tmp_path: Path):
    topics = {"topics": {"truth": TOPIC}}
    for coding in ("train_ids", "palette"):
        with user_error("value-conflict", TOPIC, "truth_coding=tag", "carla_version"):
            open_dataset("auto", recording, "train", bag=topics | {"truth_coding": coding})
    arguments = ["bag", "extract", str(recording), "--out", str(tmp_path / "out"), "--truth", TOPIC]
    assert CliRunner().invoke(app, arguments).exception.code == "value-conflict"
    with user_error("value-unknown", "'0.8'"):
        open_dataset("auto", recording, "train", bag=BAG | {"carla_version": "0.8"})
    assert list(tmp_path.iterdir()) == []


def test_value_evaluation_names_the_way_to_images_and_that_way_works(recording: Path, tmp_path: Path):
    """Truth of the frames is then that of the projected points."""
    torch.manual_seed(0)
    checkpoint = tmp_path / "tiny.safetensors"
    contract = InputContract(height=32, width=64, modalities=("rgb", "lidar"))
    save_checkpoint(checkpoint, Any2Seg(ModelConfig(head_width=16, modalities=contract.modalities)), contract, {})
    request = EvaluateRequest(recording, checkpoint, tmp_path / "out", truth=TOPIC, truth_coding="tag",
                              carla_version="0.9.14", subsets="all")  # fmt: skip
    with user_error("bag-topic-type", TOPIC, "any2seg bag extract") as caught:
        evaluate_bag(request)
    command = re.search("`any2seg (.*)`", str(caught.value))[1].replace("FOLDER", str(tmp_path / "truth"))
    run = CliRunner().invoke(app, shlex.split(command))
    assert run.exit_code == 0, run.output
    with user_error("value-conflict", "truth_coding=tag", "train_ids"):
        evaluate_bag(replace(request, truth=str(tmp_path / "truth")))
    request = replace(request, truth=str(tmp_path / "truth"), truth_coding="train_ids", carla_version=CARLA_VERSION)
    score = evaluate_bag(request).total()["RL"]
    assert score.with_truth == 5
    labels = [project_labels(scan(k), point_labels(k), LIDAR_TO_CAMERA, KITTI_CAMERA) for k in range(1, 6)]
    expected = sum(np.bincount(each.ravel(), minlength=256)[: len(DELIVER)] for each in labels)
    np.testing.assert_array_equal(score.confusion.counts.sum(axis=1), expected)
