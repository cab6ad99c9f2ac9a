"""Truth images of recordings: the data set, the extracted folder and `bag evaluate` read the same ids of a topic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bag_files import IMAGE, NS_PER_S, START_NS, small_entries, write_bag
from raised import user_error

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.check import check_tree
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.messages import serialise
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER, MUSES, LabelSpace

TOPIC = "/carla/ego_vehicle/semantic_front/image"
# name: tag up to 0.9.13, tag since 0.9.14, RGB of CARLA's palette (both lists), class of DELIVER; by CARLA's documents
CARLA = {
    "road": (7, 1, (128, 64, 128), "Road"),
    "car": (10, 14, (0, 0, 142), "Cars"),
    "pedestrian": (4, 12, (220, 20, 60), "Pedestrian"),
    "nothing": (0, 0, (0, 0, 0), None),
    "rider": (None, 13, (255, 0, 0), None),
}
SCENE = [
    ["road"] * 7, ["car"] * 7, ["road", "pedestrian"] * 3 + ["car"], ["nothing"] * 7, ["car", "road"] * 3 + ["road"],
]  # fmt: skip


def scene(with_rider: bool) -> list[list[str]]:
    """5 rows of 7 names."""
    return [["rider" if with_rider and name == "pedestrian" else name for name in row] for row in SCENE]


def picture(names: list[list[str]], kind: str, version: str, factor: int = 1) -> np.ndarray:
    """(5 f, 7 f, 4) BGRA as CARLA sends it."""
    is_new = version >= "0.9.14"
    bgr = {name: each[2][::-1] if kind == "palette" else (0, 0, each[is_new]) for name, each in CARLA.items()}
    rows = np.array([[bgr[name] for name in row] for row in names], np.uint8)
    pixels = np.dstack([rows, np.full((5, 7), 255, np.uint8)])
    return np.kron(pixels, np.ones((factor, factor, 1), np.uint8))


def ids(names: list[list[str]], rider: str) -> np.ndarray:
    """(5, 7) train ids of DELIVER."""
    classes = {name: entry[3] for name, entry in CARLA.items()} | {"rider": None if rider == "ignore" else rider}
    return np.array([[255 if classes[name] is None else DELIVER.id(classes[name]) for name in row] for row in names])


def recording(path: Path, pixels: np.ndarray, encoding: str = "bgra8") -> Path:
    """Three camera images of 7x5 pixels, and the same truth a millisecond after each."""
    entries = small_entries(3)
    for k in range(3):
        stamp_ns = START_NS + k * NS_PER_S // 10 + 1_000_000
        entries.append((stamp_ns, TOPIC, IMAGE, serialise.image(pixels, encoding, stamp_ns, "camera")))
    return write_bag(path, sorted(entries))


def checkpoint(path: Path, space: LabelSpace = DELIVER) -> Path:
    torch.manual_seed(0)
    contract = InputContract(height=32, width=64, modalities=("rgb",), label_space=space.name)
    model = ModelConfig(head_width=16, modalities=("rgb",), num_classes=len(space))
    save_checkpoint(path, Any2Seg(model), contract, {})
    return path


def extracted(bag: Path, out: Path, **changes) -> DeliverDataset:
    with open_bag(bag, BagOptions(topics=[f"truth={TOPIC}"])) as opened:
        extract(opened, ExtractOptions(out, **changes))
    return DeliverDataset(out, "train", ("rgb",))


@pytest.mark.parametrize(
    ("kind", "version", "rider", "factor"),
    [
        ("palette", "0.9.13", "ignore", 1), ("palette", "0.9.16", "TwoWheeler", 2), ("tag", "0.9.13", "ignore", 3),
        ("tag", "0.9.16", "ignore", 1), ("tag", "0.9.14", "Pedestrian", 3),
    ],
)  # fmt: skip
def test_value_carlas_truth_is_the_same_for_training_extraction_and_evaluation(tmp_path, kind, version, rider, factor):
    """Truth may be finer than the camera image: each pixel of 7x5 has its name in a square of factor x factor."""
    names = scene(with_rider=version >= "0.9.14")
    bag = recording(tmp_path / "drive", picture(names, kind, version, factor))
    coding = {"truth_coding": kind, "carla_version": version, "rider": rider}
    folder = extracted(bag, tmp_path / "out", **coding)
    direct = open_dataset("auto", bag, "train", cache="ram", bag={"topics": {"truth": TOPIC}, **coding})
    assert len(folder) == len(direct) == 3
    for number in range(3):
        np.testing.assert_array_equal(folder[number].labels, ids(names, rider))
        np.testing.assert_array_equal(direct[number].labels, ids(names, rider))
    told = {"kind": kind, "carla_version": version, "rider": rider}
    assert json.loads((tmp_path / "out" / "bag_train.json").read_text())["truth_coding"] == told
    request = {"bag": bag, "checkpoint": checkpoint(tmp_path / "m.safetensors"), "subsets": "all"}
    of_topic = evaluate_bag(EvaluateRequest(**request, out=tmp_path / "1", truth=TOPIC, **coding)).total()["R"]
    of_folder = evaluate_bag(EvaluateRequest(**request, out=tmp_path / "2", truth=str(tmp_path / "out"))).total()["R"]
    np.testing.assert_array_equal(of_topic.confusion.counts, of_folder.confusion.counts)
    expected = 3 * np.bincount(ids(names, rider).ravel(), minlength=256)[: len(DELIVER)]
    np.testing.assert_array_equal(of_topic.confusion.counts.sum(axis=1), expected)


def test_value_settings_beside_the_recording_say_how_truth_is_coded(tmp_path):
    """`data check` counts the pixels of each class that way."""
    bag = recording(tmp_path / "drive", picture(scene(True), "tag", "0.9.16"))
    text = f"topics: {{truth: {TOPIC}}}\ntruth_coding: tag\ncarla_version: 0.9.16\nrider: TwoWheeler\n"
    (bag / "any2seg.yaml").write_text(text)
    pixels = {name: count for name, count in check_tree(bag).class_pixels.items() if count}
    assert pixels == {"Road": 3 * 14, "Cars": 3 * 11, "TwoWheeler": 3 * 3}


def test_value_train_ids_that_are_not_annotated_are_ignored_on_both_roads(tmp_path):
    """254 and 255 do not count in an evaluation; files in DELIVER's layout have one word for both."""
    labels = np.full((5, 7), 24, np.uint8)
    labels[0, 0], labels[4, 6] = 254, 255
    bag = recording(tmp_path / "drive", labels, "mono8")
    expected = np.where(labels >= 254, 255, labels)
    np.testing.assert_array_equal(extracted(bag, tmp_path / "out")[0].labels, expected)
    np.testing.assert_array_equal(open_dataset("auto", bag, "train", cache="ram")[0].labels, expected)


def test_exception_another_coding_version_or_view_than_the_topic_has(tmp_path):
    new_tags = recording(tmp_path / "tags", picture(scene(True), "tag", "0.9.16"))
    other_view = recording(tmp_path / "view", picture(scene(True), "tag", "0.9.16")[:, :3])
    high_tags = recording(tmp_path / "high", np.full((5, 7, 4), 27, np.uint8))  # a rail track since 0.9.14
    for bag, coding, words in (
        (new_tags, {}, ("3 truth unreadable", "bgra8", "--truth-coding", "truth_coding")),
        (new_tags, {"truth_coding": "palette"}, ("3 truth unreadable", "palette")),
        (high_tags, {"truth_coding": "tag"}, ("3 truth unreadable", "0.9.10-0.9.13", "version")),
        (other_view, {"truth_coding": "tag", "carla_version": "0.9.16"}, ("3 truth unreadable", "3x5", "7x5")),
    ):
        with user_error("bag-no-sets", *words):
            extracted(bag, tmp_path / "out", **coding)
        with user_error("bag-no-sets", *words):
            open_dataset("auto", bag, "train", cache="ram", bag={"topics": {"truth": TOPIC}, **coding})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["high", "tags", "view"]


@pytest.mark.parametrize(
    ("coding", "told"),
    [
        ({"truth_coding": "colours"}, ("value-unknown", "'colours'", "palette")),
        ({"truth_coding": "tag", "carla_version": "0.8.4"}, ("value-unknown", "0.8.4")),
        ({"truth_coding": "palette", "rider": "Cyclist"}, ("value-unknown", "Cyclist")),
        ({"carla_version": "0.9.16"}, ("value-conflict", "carla_version=0.9.16", "truth_coding")),
        ({"rider": "Pedestrian"}, ("value-conflict", "rider=Pedestrian", "truth_coding")),
    ],
)
def test_exception_a_coding_that_cannot_be_or_has_no_effect_is_refused_by_all(tmp_path, coding, told):
    bag = recording(tmp_path / "drive", picture(scene(True), "tag", "0.9.16"))
    with user_error(*told):
        extracted(bag, tmp_path / "out", **coding)
    with user_error(*told):
        read_settings(bag, coding)
    path = checkpoint(tmp_path / "m.safetensors")
    with user_error(*told):
        evaluate_bag(EvaluateRequest(bag, path, tmp_path / "out", truth=TOPIC, **coding))


def test_exception_carlas_truth_for_a_checkpoint_of_other_classes(tmp_path):
    bag = recording(tmp_path / "drive", picture(scene(True), "tag", "0.9.16"))
    path = checkpoint(tmp_path / "m.safetensors", MUSES)
    coding = {"truth_coding": "tag", "carla_version": "0.9.16"}
    with user_error("label-space-mismatch", MUSES.name, "deliver-25"):
        evaluate_bag(EvaluateRequest(bag, path, tmp_path / "out", truth=TOPIC, **coding))
