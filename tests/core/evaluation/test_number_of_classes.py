"""Label spaces of 3 and of 150 classes on every road: predictor, recording, extracted folder, reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bag_files import IMAGE, NS_PER_S, START_NS, small_entries, write_bag
from raised import user_error

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.evaluation.dataset import evaluate_dataset
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.evaluation.settings import EvaluateSettings
from any2seg_core.messages import serialise
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.reports.dataset import dataset_report, text
from any2seg_core.reports.recording import write_evaluation
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import LabelSpace, save_label_space

TOPIC = "/labels"


def own(count: int) -> LabelSpace:
    return LabelSpace(
        f"own-{count}", tuple(f"class {k}" for k in range(count)), tuple((k % 256, k // 256, 9) for k in range(count))
    )


def checkpoint(path: Path, space: LabelSpace) -> Path:
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=16, modalities=("rgb",), num_classes=len(space)))
    save_checkpoint(path, model, InputContract(modalities=("rgb",), height=32, width=64, label_space=space), {})
    return path


def recording(path: Path, truth: np.ndarray, space: LabelSpace) -> Path:
    """Three camera images of 7x5 pixels with one truth."""
    entries = small_entries(3)
    for k in range(3):
        stamp_ns = START_NS + k * NS_PER_S // 10 + 1_000_000
        entries.append((stamp_ns, TOPIC, IMAGE, serialise.image(truth, "mono8", stamp_ns, "camera")))
    write_bag(path, sorted(entries))
    save_label_space(path / "own.yaml", space)
    (path / "any2seg.yaml").write_text(f"topics: {{truth: {TOPIC}}}\nlabel_space: own.yaml\n")
    return path


@pytest.mark.parametrize("count", [3, 150])
def test_value_a_recording_its_folder_and_their_reports(tmp_path, count):
    space = own(count)
    truth = np.full((5, 7), count - 1, np.uint8)
    truth[0], truth[1, :3] = 255, 0
    bag = recording(tmp_path / "drive", truth, space)
    model = checkpoint(tmp_path / "m.safetensors", space)
    expected = np.zeros(count, int)
    expected[[0, count - 1]] = 3 * 3, 3 * 25
    request = EvaluateRequest(bag=bag, checkpoint=model, out=tmp_path / "r", subsets="all")
    result = evaluate_bag(request, lambda *_: None, lambda found, folder: write_evaluation(found, folder, "test"))
    of_bag = result.total()["R"].confusion.counts
    assert of_bag.shape == (count, count + 1) and of_bag.sum(axis=1).tolist() == expected.tolist()
    assert f"class {count - 1}" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    with open_bag(bag, BagOptions(topics=[f"truth={TOPIC}"])) as opened:
        extract(opened, ExtractOptions(tmp_path / "data", "val"))
    settings = EvaluateSettings(checkpoint=model, data=tmp_path / "data", prior_from="val")
    document = evaluate_dataset(settings, lambda *_: None)
    np.testing.assert_array_equal(document["confusion"]["counts"], of_bag)
    assert document["label_space"]["name"] == space.name
    assert "R" in text(document) and f"class {count - 1}" in dataset_report(document).markdown()


@pytest.mark.parametrize(("count", "dtype"), [(3, np.uint8), (150, np.uint8), (255, np.uint8), (256, np.uint16)])
def test_value_labels_of_the_predictor(tmp_path, count, dtype):
    predictor = Predictor.load(checkpoint(tmp_path / "m.safetensors", own(count)))
    plane = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)
    result = predictor({"rgb": plane})
    assert result.labels.dtype == dtype and result.labels.shape == (37, 61) and int(result.labels.max()) < count
    assert predictor.label_space == own(count)


def test_exception_255_classes_have_no_room_in_a_truth(tmp_path):
    space = own(255)
    bag = recording(tmp_path / "drive", np.zeros((5, 7), np.uint8), space)
    request = EvaluateRequest(
        bag=bag, checkpoint=checkpoint(tmp_path / "m.safetensors", space), out=tmp_path / "r", subsets="all"
    )
    with user_error("value-range", 255, 254):
        evaluate_bag(request)
