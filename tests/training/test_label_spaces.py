"""Label spaces of 3 and of 150 classes from training to a report, on a folder of somebody's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from folder_trees import SIZE, write_png
from tiny_run import ALONE, settings

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.evaluation.dataset import evaluate_dataset
from any2seg_core.evaluation.settings import EvaluateSettings
from any2seg_core.reports.dataset import text, write_documents
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.vocabulary.labels import label_space
from any2seg_training.train import train


def write_tree(root: Path, classes: int) -> Path:
    """Pictures with stripes of all classes, ids as raw values 7 above the train id, a row of 255; and their recipe."""
    rng = np.random.default_rng(classes)
    for split, count in (("train", 2), ("val", 2)):
        for number in range(count):
            ids = np.linspace(0, classes - 1, (SIZE[0] - 1) * SIZE[1]).round().reshape(SIZE[0] - 1, SIZE[1])
            ids = np.roll(ids.astype(np.uint8), int(rng.integers(SIZE[0])), axis=0)
            ids = np.concatenate([ids[:1], ids])  # (H,W), the first row is not labelled below
            picture = ids[..., None] + rng.integers(0, 9, (*SIZE, 3)).astype(np.uint8)  # (H,W,3)
            write_png(root / split / f"{number}.png", picture)
            raw = ids + 7
            raw[0] = 255
            write_png(root / f"{split}_labels" / f"{number}.png", raw)
    entries = [
        {"name": f"kind {k} of a thing", "colour": [k, 255 - k, (37 * k) % 256], "raw": k + 7} for k in range(classes)
    ]
    space = {"name": f"own-{classes}", "classes": entries}
    recipe = {
        "name": "own", "suite": "vehicle", "label_space": "space.yaml", "splits": {"train": "train", "val": "val"},
        "sensors": {"rgb": "{split}/{frame}.png"}, "labels": "{split}_labels/{frame}.png",
    }  # fmt: skip
    (root / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    (root / "any2seg_recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return root


@pytest.fixture(scope="module", params=[3, 150])
def run(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, Path]:
    """Number of classes, data and the folder of a run of two steps."""
    data = write_tree(tmp_path_factory.mktemp("own"), request.param)
    out = tmp_path_factory.mktemp("run")
    train(settings(data, out, steps=2, class_weight_power=0.5, ema_decay=0.0), ALONE)
    return request.param, data, out


def test_value_the_checkpoint_holds_the_classes(run):
    classes, data, out = run
    model, contract, provenance = load_checkpoint(out / "final.safetensors")
    assert model.config.num_classes == contract.num_classes == classes
    assert contract.label_space == label_space(data / "space.yaml")
    assert len(provenance["results"]["class_iou"]["R"]) == classes
    assert np.unique(open_dataset("auto", data, "val")[0].labels).tolist() == [*range(classes), 255]


def test_value_an_evaluation_counts_every_class(run):
    classes, data, out = run
    document = evaluate_dataset(EvaluateSettings(checkpoint=out / "final.safetensors", data=data), lambda *_: None)
    counts = np.array(document["confusion"]["counts"])
    assert counts.shape == (classes, classes + 1)
    assert (counts.sum(axis=1) > 0).all()
    assert counts.sum() == 2 * (SIZE[0] - 1) * SIZE[1]
    iou = list(document["class_iou"]["R"].values())
    assert document["subsets"]["R"]["miou_all"] == pytest.approx(sum(iou) / classes, abs=2e-3)
    assert "kind 2 of a thing" in text(document)
    json.dumps(document, allow_nan=False)


def test_value_a_report_shows_all_classes_and_at_most_30_in_the_confusion(run, tmp_path: Path):
    classes, data, out = run
    views: list = []
    document = evaluate_dataset(
        EvaluateSettings(checkpoint=out / "final.safetensors", data=data), lambda *_: None, views
    )
    write_documents(tmp_path, document, views)
    page = (tmp_path / "report.html").read_text()
    rows, columns = min(classes, 30), min(classes, 30) + (classes > 30)
    cells = page.count("of a thing taken for ")
    assert cells == rows * columns
    assert ("other classes" in page) == (classes > 30)
    assert page.count('<rect width="12" height="12"') == classes  # the legend
    for k in (0, classes - 1):
        assert f"kind {k} of a thing" in page
    assert len(page) < 3_000_000
