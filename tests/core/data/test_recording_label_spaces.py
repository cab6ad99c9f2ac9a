"""Recordings whose classes are not DELIVER's: read, extracted, trained on and judged in the classes of any2seg.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bag_files import IMAGE, NS_PER_S, START_NS, small_entries, write_bag
from raised import user_error

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.data.catalogue import layout, open_dataset
from any2seg_core.data.check import check_tree
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.data.recording_truth import TruthCoding
from any2seg_core.evaluation.comparison import FrameCounts
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.messages import serialise
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import LabelSpace, label_space

TOPIC = "/labels"
YARD = """\
name: yard
classes:
  - {name: ground, colour: [81, 0, 81], raw: [1, 300]}
  - {name: crate, colour: [180, 140, 90], raw: 7}
  - {name: person, colour: [220, 20, 60], raw: 9}
void: {raw: 0}
"""
RAW = np.array([[0, 1, 1, 300, 7, 7, 9]] * 4 + [[255] * 7], np.uint16)  # 5 x 7
TRAIN = np.array([[255, 0, 0, 0, 1, 1, 2]] * 4 + [[255] * 7], np.uint8)


def recording(path: Path, pixels: np.ndarray, encoding: str, settings: str) -> Path:
    """Three camera images of 7x5 pixels, and the same truth a millisecond after each."""
    entries = small_entries(3)
    for k in range(3):
        stamp_ns = START_NS + k * NS_PER_S // 10 + 1_000_000
        entries.append((stamp_ns, TOPIC, IMAGE, serialise.image(pixels, encoding, stamp_ns, "camera")))
    write_bag(path, sorted(entries))
    (path / "yard.yaml").write_text(YARD)
    (path / "any2seg.yaml").write_text(f"topics: {{truth: {TOPIC}}}\n{settings}")
    return path


def checkpoint(path: Path, space: LabelSpace) -> Path:
    torch.manual_seed(0)
    contract = InputContract(height=32, width=64, modalities=("rgb",), label_space=space)
    model = ModelConfig(head_width=16, modalities=("rgb",), num_classes=len(space))
    save_checkpoint(path, Any2Seg(model), contract, {})
    return path


def extracted(bag: Path, out: Path, **changes: str) -> DeliverDataset:
    with open_bag(bag, BagOptions(topics=[f"truth={TOPIC}"])) as opened:
        extract(opened, ExtractOptions(out, **changes))
    return DeliverDataset(out, "train", ("rgb",))


OWN = "label_space: yard.yaml\ntruth_coding: raw_ids\n"


def test_value_raw_ids_of_own_classes_on_every_road(tmp_path):
    bag = recording(tmp_path / "drive", RAW, "mono16", OWN)
    yard = label_space(bag / "yard.yaml")
    direct, folder = open_dataset("auto", bag, "train", cache="ram"), extracted(bag, tmp_path / "out")
    assert direct.label_space == folder.label_space == layout("auto", bag).label_space == yard
    for frames in (direct, folder):
        assert len(frames) == 3
        np.testing.assert_array_equal(frames[1].labels, TRAIN)
    assert label_space(tmp_path / "out" / "label_space.yaml") == yard
    assert layout("auto", tmp_path / "out").label_space == yard
    assert json.loads((tmp_path / "out" / "bag_train.json").read_text())["truth_coding"] == {"kind": "raw_ids"}
    for place in (bag, tmp_path / "out"):
        assert {name: n for name, n in check_tree(place).class_pixels.items() if n} == {
            "ground": 36, "crate": 24, "person": 12
        }  # fmt: skip


def test_value_judged_in_own_classes_by_topic_and_by_folder(tmp_path):
    bag = recording(tmp_path / "drive", RAW, "mono16", OWN)
    extracted(bag, tmp_path / "data")
    request = {"bag": bag, "subsets": "all"}
    request["checkpoint"] = checkpoint(tmp_path / "m.safetensors", label_space(bag / "yard.yaml"))
    of_topic = evaluate_bag(EvaluateRequest(**request, out=tmp_path / "1"))
    of_folder = evaluate_bag(EvaluateRequest(**request, out=tmp_path / "2", truth=str(tmp_path / "data"),
                                             truth_coding="train_ids"))  # fmt: skip
    counts = of_topic.total()["R"].confusion.counts
    assert counts.sum(axis=1).tolist() == [36, 24, 12]
    np.testing.assert_array_equal(counts, of_folder.total()["R"].confusion.counts)
    assert of_topic.conditions["label_space"]["name"] == "yard" and of_topic.conditions["mapping"] is None


def test_value_colours_of_camvid(tmp_path):
    colours = [(0, 0, 0), (128, 64, 128), (128, 0, 192), (64, 0, 128), (64, 128, 192), (64, 64, 0), (0, 128, 192)]
    pixels = np.array([[colour[::-1] for colour in colours]] * 5, np.uint8)
    bag = recording(tmp_path / "drive", pixels, "bgr8", "label_space: camvid-11\ntruth_coding: raw_colours\n")
    labels = open_dataset("auto", bag, "train", cache="ram")[0].labels
    assert labels.tolist() == [[255, 3, 3, 8, 8, 9, 10]] * 5


@pytest.mark.parametrize(("kind", "encoding"), [("palette", "rgb8"), ("tag", "bgra8")])
def test_value_carlas_own_classes(tmp_path, kind, encoding):
    """Rider and train, which DELIVER does not have, are classes of CARLA's own list."""
    tags, colours = [0, 1, 13, 17, 28, 14, 11], {1: (128, 64, 128), 13: (255, 0, 0), 17: (0, 80, 100)}
    colours |= {0: (0, 0, 0), 28: (180, 165, 180), 14: (0, 0, 142), 11: (70, 130, 180)}
    pixels = np.array([[colours[tag] if kind == "palette" else (0, 0, tag, 255) for tag in tags]] * 5, np.uint8)
    settings = f"label_space: carla-0.9.14\ntruth_coding: {kind}\ncarla_version: 0.9.16\n"
    bag = recording(tmp_path / "drive", pixels, encoding, settings)
    labels = open_dataset("auto", bag, "train", cache="ram")[0].labels
    assert labels.tolist() == [[255, 0, 12, 16, 27, 13, 10]] * 5


def test_value_a_model_of_other_classes_through_a_mapping(tmp_path):
    """Truth of yard in two classes of street; labels are whatever the model says, counted one by one."""
    bag = recording(tmp_path / "drive", RAW, "mono16", OWN)
    (tmp_path / "street.yaml").write_text("name: street\nclasses: [flat, thing, sky]\n")
    (tmp_path / "map.yaml").write_text(
        "from: drive/yard.yaml\nto: street.yaml\nclasses: {ground: flat, crate: thing}\n"
    )
    model = checkpoint(tmp_path / "m.safetensors", label_space(tmp_path / "street.yaml"))
    request = EvaluateRequest(bag=bag, checkpoint=model, out=tmp_path / "1", subsets="all")
    with user_error("label-space-mismatch", "m.safetensors", "street", "yard", "--map"):
        evaluate_bag(request)
    request = EvaluateRequest(
        bag=bag, checkpoint=model, out=tmp_path / "2", subsets="all", map=str(tmp_path / "map.yaml")
    )
    result = evaluate_bag(request)
    score = result.total()["R"]
    assert score.confusion.counts.shape == (2, 3)
    assert score.confusion.counts.sum(axis=1).tolist() == [36, 24]  # people are no class of street
    mapping = result.conditions["mapping"]
    assert (mapping["compared"], mapping["left_out_percent"]) == (2, round(100 * 12 / 72, 3))
    read = FrameCounts.read(tmp_path / "2")  # `any2seg compare` knows by which mapping
    assert read.mapping["classes"] == {"ground": "flat", "crate": "thing"} and len(read.space) == 2


def test_exception_what_does_not_belong_together(tmp_path):
    bag = recording(tmp_path / "drive", RAW, "mono16", OWN)
    with user_error("label-ids", TOPIC, 300, "cityscapes-19"):
        TruthCoding("raw_ids", space=label_space("cityscapes-19")).read(
            serialise.typestore().deserialize_cdr(serialise.image(RAW, "mono16", 5, "c"), IMAGE), TOPIC
        )
    (bag / "any2seg.yaml").write_text("label_space: none.yaml\n")
    with user_error("file-missing", bag / "none.yaml"):
        open_dataset("auto", bag, "train")
    (bag / "any2seg.yaml").write_text("label_space: yard.yaml\ntruth_coding: tag\n")
    with user_error("label-space-mismatch", "yard", "deliver-25", "carla-0.9.10"):
        open_dataset("auto", bag, "train")


def test_exception_splits_of_one_folder_have_one_label_space(tmp_path):
    bag = recording(tmp_path / "drive", RAW, "mono16", OWN)
    extracted(bag, tmp_path / "out")
    (bag / "yard.yaml").write_text(YARD.replace("crate", "box"))
    with user_error("label-space-mismatch", tmp_path / "out", "yard (class 1 is crate)", "yard (class 1 is box)"):
        extracted(bag, tmp_path / "out", split="val")
