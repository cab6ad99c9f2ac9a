"""`any2seg evaluate --map`: a model of one label space on truth of another, against counts made pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_deliver
from PIL import Image
from raised import assert_refused

from any2seg_core.cli.main import main
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.evaluation.batches import evaluation_batches
from any2seg_core.evaluation.comparison import FrameCounts, compare
from any2seg_core.evaluation.dataset import evaluate_dataset
from any2seg_core.evaluation.settings import CompareSettings, EvaluateSettings
from any2seg_core.evaluation.subsets import subset_predictions
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.reports.dataset import dataset_report, text
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.vocabulary.class_mapping import class_mapping
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER, LabelSpace, label_space

NAME = "cityscapes-19_to_deliver-25"


def write_checkpoint(path: Path, space: LabelSpace, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    names = ("rgb", "depth")
    model = Any2Seg(ModelConfig(head_width=16, modalities=names, num_classes=len(space))).eval()
    contract = InputContract(modalities=names, height=32, width=64, label_space=space)
    save_checkpoint(path, model, contract, {"command": "test"})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mapping")
    write_deliver(root / "data", {"train": 1, "val": 2}, (37, 66))
    rng = np.random.default_rng(0)
    for path in (root / "data" / "semantic").rglob("*.png"):  # all classes, also those that are not compared
        Image.fromarray(rng.integers(0, 26, (37, 66), np.uint8)).save(path)
    write_checkpoint(root / "city.safetensors", label_space("cityscapes-19"))
    write_checkpoint(root / "deliver.safetensors", DELIVER)
    return root


def evaluated(folder: Path, checkpoint: str, **settings: str) -> dict:
    asked = EvaluateSettings(checkpoint=folder / checkpoint, data=folder / "data", **settings)
    return evaluate_dataset(asked, lambda *_: None)


def counted(folder: Path) -> tuple[np.ndarray, int, int]:
    """[truth, label or no class] of all sensors, pixel by pixel; pixels left out, and labelled ones."""
    model, contract, _ = load_checkpoint(folder / "city.safetensors")
    mapping, city = class_mapping(NAME), label_space("cityscapes-19")
    theirs, compared = dict(mapping.classes), mapping.compared.classes
    frames = open_dataset("deliver", folder / "data", "val", model.modalities)
    batches = evaluation_batches(frames, range(len(frames)), contract, torch.device("cpu"))
    counts, left_out, labelled = np.zeros((len(compared), len(compared) + 1), int), 0, 0
    for batch, _, labels, _ in subset_predictions(model, batches, [model.modalities]):
        for true, said in zip(batch.truth.flatten().tolist(), labels.flatten().tolist(), strict=True):
            if true == 255:
                continue
            labelled += 1
            name = DELIVER.classes[true]
            if name not in compared:
                left_out += 1
                continue
            guess = theirs.get(city.classes[said])
            counts[compared.index(name), len(compared) if guess is None else compared.index(guess)] += 1
    return counts, left_out, labelled


def test_value_a_cityscapes_model_on_truth_of_deliver(folder: Path):
    document = evaluated(folder, "city.safetensors", map=NAME)
    counts, left_out, labelled = counted(folder)
    assert 0 < left_out < labelled
    np.testing.assert_array_equal(document["confusion"]["counts"], counts)
    mapping = document["mapping"]
    assert (mapping["compared"], mapping["labels"], mapping["truth"]) == (16, "cityscapes-19", "deliver-25")
    assert mapping["left_out_percent"] == pytest.approx(100 * left_out / labelled, abs=0.001)
    assert document["data_set"] is None and document["published"] == []
    assert "16 classes" in text(document) and NAME in dataset_report(document).markdown()
    json.dumps(document, allow_nan=False)


def test_value_compared_with_a_model_of_the_other_classes(folder: Path, tmp_path: Path):
    """Both evaluated with the same mapping are of the same classes and truth."""
    for name in ("city", "deliver"):
        (tmp_path / f"{name}.json").write_text(json.dumps(evaluated(folder, f"{name}.safetensors", map=NAME)))
    found = [FrameCounts.read(tmp_path / f"{name}.json") for name in ("city", "deliver")]
    settings = CompareSettings(first=tmp_path / "city.json", second=tmp_path / "deliver.json", resamples=100)
    assert compare(*found, settings)["frames"] == 4


def test_exception_no_mapping_or_the_wrong_one(folder: Path, monkeypatch, capsys):
    for more, told in (
        ([], ("city.safetensors was trained on labels cityscapes-19", "deliver with deliver-25", "--map")),
        (["--map", "sunrgbd-37_to_stanford-13"], ("sunrgbd-37", "stanford-13", "cityscapes-19")),
    ):
        words = ["any2seg", "evaluate", str(folder / "city.safetensors"), str(folder / "data"), *more]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        assert_refused(capsys.readouterr().err, "label-space-mismatch", *told)
