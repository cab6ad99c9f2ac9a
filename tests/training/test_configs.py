"""Every shipped configuration says its result and trains on a tiny tree."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_deliver
from fake_trees import write_camvid, write_mcubes, write_muses

import any2seg_training.build
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.samples import FrameDataset
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.teachers.cached import write_embeddings
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.config import load_config
from any2seg_training.processes import Processes
from any2seg_training.study import StudyConfig, arguments, read_study
from any2seg_training.train import train

ALONE = Processes(0, 1, torch.device("cpu"))
FOLDER = Path(any2seg_training.build.__file__).parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
# Not narrower: PyTorch 2.13 convolves bfloat16 maps of width 2 with what lies behind them in memory (on a CPU).
TINY = [
    "height=64", "width=64", "crop_height=64", "crop_width=64", "steps=1", "max_minutes=null", "batch_size=1",
    "head_width=16", "workers=0", "threads=1", "device=cpu", "compile_fusion=false", "log_every=1", "eval_frames=1",
    "init=null",
]  # fmt: skip


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By a word of a configuration's name."""
    root = tmp_path_factory.mktemp("trees")
    deliver = write_deliver(root / "deliver", {"train": 2, "val": 1}, (64, 64))
    return {
        "drive": deliver,
        "deliver": deliver,
        "muses": write_muses(root / "muses", {"train": 1, "val": 1}, (54, 96)),
        "mcubes": write_mcubes(root / "mcubes", {"train": 1, "val": 1}, (64, 256)),
        "camvid": write_camvid(root / "camvid", {"train": 2, "val": 1}, (60, 80)),
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_value_says_its_result(path: Path):
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any("Result:" in line or "mIoU" in line for line in comment)


def assert_predicts(path: Path, frames: FrameDataset) -> None:
    """The checkpoint labels a frame from all its sensors, and from one alone."""
    predictor = Predictor.load(path)
    sample = frames[0]
    for names in (predictor.contract.modalities, predictor.contract.modalities[-1:]):
        result = predictor({name: sample.planes[name] for name in names})
        assert result.labels.shape == sample.labels.shape
        assert result.labels.max() < predictor.contract.num_classes
        assert np.isfinite(result.confidence).all()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_smoke_every_configuration_trains_a_step(path: Path, trees: dict[str, Path], tmp_path: Path):
    word = next(word for word in path.stem.split("_") if word in trees)
    data = trees[word]
    config = load_config([str(path), *TINY, f"data={data}", f"out={tmp_path}"])
    results = train(config, ALONE)
    model, contract, provenance = load_checkpoint(tmp_path / "final.safetensors")
    assert provenance["steps"] == 1
    assert provenance["dataset"] == {"drive": "deliver", "camvid": "camvid-segnet"}.get(word, word)
    assert model.config.encoder == config.encoder
    assert model.config.num_classes == contract.num_classes
    letters = contract.suite.subset_letters(contract.modalities)
    assert list(results["subsets"])[-1] == letters
    assert len(results["subsets"]) == 2 ** len(letters) - 1
    assert math.isfinite(results["subset_mean"]["miou_present"])
    assert_predicts(tmp_path / "final.safetensors", any2seg_training.build.open_split(config, "val", "none"))


def study_variants() -> list[tuple[str, str]]:
    """(study, variant) of all studies; of variants that differ in numbers alone, the first."""
    chosen: dict[str, tuple[str, str]] = {}
    for path in sorted((FOLDER / "study").glob("*.yaml")):
        for name, variant in read_study(StudyConfig(study=path.stem, data="d", out="o")).items():
            chosen.setdefault(re.sub(r"[0-9.]+", "", json.dumps(variant, sort_keys=True)), (path.stem, name))
    return list(chosen.values())


@pytest.fixture(scope="module")
def teacher(trees: dict[str, Path]) -> Path:
    """Embeddings of the frames, as the studies make them with the text teacher."""
    folder, frames = trees["drive"].parent / "teacher", DeliverDataset(trees["drive"], "train").frames
    rng = np.random.default_rng(0)
    names = {"class_names": rng.normal(size=(25, 5))}
    write_embeddings(folder / "classes.safetensors", names, {"classes": DELIVER.classes})
    arrays = {"scene": rng.normal(size=(len(frames), 5)), "modality": rng.normal(size=(len(frames), 4, 5))}
    facts = {"frames": [frame.name for frame in frames], "modalities": VEHICLE.members}
    write_embeddings(folder / "train.safetensors", arrays, facts)
    return folder


@pytest.mark.parametrize(("study", "name"), study_variants())
def test_smoke_every_kind_of_variant_trains_a_step(
    study: str, name: str, trees: dict[str, Path], teacher: Path, tmp_path: Path
):
    settings = StudyConfig(study=study, data=trees["drive"], out=tmp_path, teacher=teacher, variants=(name,))
    for needed, variant in read_study(settings).items():  # what it starts from comes first
        given = arguments(settings, needed, variant, seed=1)
        tiny = [word for word in TINY if word != "init=null" or "freeze_norm" not in variant]
        tiny += ["distil.frame_floor=0"] if "taught_by" in variant else []  # a teacher of one step is sure of nothing
        config = load_config([*given, *tiny, "batch_size=2", "bf16=false"])
        results = train(config, ALONE)
    assert len(results["subsets"]) in (1, 15)
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    assert all(math.isfinite(log[0][key]) for key in ("loss", "norm"))
    assert_predicts(config.out / "final.safetensors", any2seg_training.build.open_split(config, "val", "none"))


def test_value_the_papers_recipe():
    """The figures of the published trainer, wherever a configuration follows it."""
    for name in ("deliver_b0", "deliver_b2", "muses_b0", "muses_b2", "mcubes_b0", "mcubes_b2"):
        config = load_config([str(FOLDER / f"{name}.yaml")])
        assert (config.lr, config.weight_decay, config.poly_power) == (6e-5, 0.01, 0.9)
        assert (config.loss, config.ohem_threshold, config.head_width) == ("ohem", 0.7, 256)
        assert config.flip_probability == 0.5
        assert config.encoder == f"mit_{name[-2:]}"
        assert config.crop_height == (512 if name.startswith("mcubes") else 1024)
