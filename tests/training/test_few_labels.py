"""Runs with few labels: no label leaks, splits repeat from their list, other folders join, bad input says so."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_data import write_deliver
from fake_trees import write_mcubes, write_muses
from raised import user_error

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_training.batches import MixedNumbers, SampleNumbers, training_batches
from any2seg_training.build import build_run
from any2seg_training.config import TrainConfig, load_config
from any2seg_training.few_labels import FramePool, open_unlabelled
from any2seg_training.processes import Processes
from any2seg_training.sample_changes import build_augment
from any2seg_training.splits import open_split
from any2seg_training.train import main, train

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five train frames in each of two conditions."""
    return write_deliver(tmp_path_factory.mktemp("data") / "town", {"train": 5, "val": 1}, (64, 96))


def settings(root: Path, out: Path, group: dict | None = None, **changes: object) -> TrainConfig:
    small = {"height": 64, "width": 96, "crop_height": 64, "crop_width": 64, "head_width": 16, "batch_size": 2}
    short = {"steps": 2, "warmup_steps": 1, "workers": 0, "threads": 1, "device": "cpu", "log_every": 1}
    chosen = {"data": {"root": root, "labelled_fraction": "20%"} | (group or {}), "out": out, "method": "m3l"}
    return TrainConfig(**(small | short | chosen | changes))


def state(out: Path) -> dict:
    return torch.load(out / "last.pt", weights_only=True)


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = state(first), state(second)
    for part in ("model", "teacher"):
        assert all(torch.equal(value, two[part][name]) for name, value in one[part].items())


def logged(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "step"]


@pytest.mark.parametrize("method", ["m3l", "mean_teacher"])
@pytest.mark.parametrize("cache", ["none", "ram"])
def test_value_labels_of_unlabelled_frames_never_matter(data: Path, tmp_path: Path, method: str, cache: str):
    """Their label files are planted with one class, and one with no image at all: not a bit of the result changes."""
    options = {"method": method, "cache": cache, "class_weight_power": 0.3}
    train(settings(data, tmp_path / "true", **options), ALONE)
    keep = set((tmp_path / "true" / "labelled.txt").read_text().split())
    planted = Path(shutil.copytree(data, tmp_path / "planted"))
    files = sorted(planted.glob("semantic/*/train/*/*.png"))
    others = [path for path in files if f"{path.parts[-4]}/{path.parts[-2]}/{path.stem.split('_')[0]}" not in keep]
    assert len(keep) == 2 and len(others) == 8
    for path in others:
        cv2.imwrite(str(path), np.full((64, 96), 13, np.uint8))
    others[3].write_bytes(b"no image")
    train(settings(planted, tmp_path / "other", **options), ALONE)
    assert_same_weights(tmp_path / "true", tmp_path / "other")
    planted_label = planted / "semantic" / sorted(keep)[0].rsplit("/", 1)[0].replace("/", "/train/")
    cv2.imwrite(str(next(planted_label.glob(f"{sorted(keep)[0][-6:]}*"))), np.full((64, 96), 13, np.uint8))
    train(settings(planted, tmp_path / "third", **options), ALONE)
    with pytest.raises(AssertionError):  # a label that counts does change it
        assert_same_weights(tmp_path / "true", tmp_path / "third")


def test_value_the_list_of_a_run_repeats_its_split(data: Path, tmp_path: Path):
    train(settings(data, tmp_path / "first", {"labelled_fraction": 0.3}), ALONE)
    names = (tmp_path / "first" / "labelled.txt").read_text().split()
    assert sorted(name.split("/")[0] for name in names) in (["cloud", "cloud", "night"], ["cloud", "night", "night"])
    listed = {"labelled": tmp_path / "first" / "labelled.txt", "labelled_fraction": 1.0}
    train(settings(data, tmp_path / "second", listed), ALONE)
    assert (tmp_path / "second" / "labelled.txt").read_text().split() == names
    assert_same_weights(tmp_path / "first", tmp_path / "second")
    provenance = load_checkpoint(tmp_path / "second" / "final.safetensors")[2]
    assert provenance["train_frames"] == 3
    assert provenance["unlabelled_frames"] == {"town": 7}
    assert provenance["config"]["method"] == "m3l"
    assert str(tmp_path) not in json.dumps(provenance["config"])


def test_value_splits_of_a_run_are_nested_and_follow_the_seed(data: Path, tmp_path: Path):
    def names(fraction: float, seed: int = 1) -> set[str]:
        config = settings(data, tmp_path, {"labelled_fraction": fraction}, seed=seed, cache="none")
        return {frame.name for frame in build_run(config, ALONE).train_frames.frames}

    assert names(0.001) < names(0.2) < names(0.5) < names(1.0)
    assert len(names(0.001)) == 1
    assert any(names(0.2, seed) != names(0.2) for seed in range(2, 6))


def test_value_supervised_with_few_labels_sees_no_other_frame(data: Path, tmp_path: Path):
    config = settings(data, tmp_path / "run", method="supervised")
    run = build_run(config, ALONE)
    assert len(run.train_frames) == 2 and run.unlabelled is None
    assert run.prior.class_pixels().sum() == 2 * 62 * 96
    assert len(run.train_frames._samples) == 2  # and decodes no other
    train(config, ALONE)
    assert "l_u" not in logged(tmp_path / "run")[0]


def test_value_one_labelled_frame_and_what_is_logged(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    train(settings(data, tmp_path, {"labelled_fraction": "0.1%"}, unlabelled_batch_size=3, bf16=True), ALONE)
    assert len((tmp_path / "labelled.txt").read_text().split()) == 1
    for line in logged(tmp_path):
        assert line["loss"] == pytest.approx(line["l_sup"] + line["l_u"], rel=1e-3)
        assert 0.5 < line["pseudo_share"] <= 1
        assert 0 <= line["agreement"] <= 1
    first = capsys.readouterr().out.splitlines()[0]
    frames = len(build_run(settings(data, tmp_path, {"labelled_fraction": "0.1%"}), ALONE).unlabelled)
    assert first.startswith(f"1 labelled frames and {frames} without labels ({data.name} {frames}), ")
    assert "RDEL to 25 classes; m3l, " in first


def test_value_with_all_labels_the_masked_copies_still_learn(data: Path, tmp_path: Path):
    train(settings(data, tmp_path, {"labelled_fraction": "100%"}), ALONE)
    assert not (tmp_path / "labelled.txt").exists()
    assert logged(tmp_path)[0]["l_u"] > 0
    provenance = load_checkpoint(tmp_path / "final.safetensors")[2]
    assert (provenance["train_frames"], provenance["unlabelled_frames"]) == (10, {})


def test_value_batches_hold_labelled_and_unlabelled_samples(data: Path, tmp_path: Path):
    """Frames of a folder without truth and with one sensor less join; every part goes through all of its frames."""
    other = write_deliver(tmp_path / "night_drive", {"train": 2}, (48, 80), seed=5, modalities=("rgb", "lidar"))
    shutil.rmtree(other / "semantic")
    config = settings(data, tmp_path, {"unlabelled": other}, unlabelled_batch_size=3, cache="none", scale=(1, 1))
    run = build_run(config, ALONE)
    assert run.unlabelled.counts() == {"town": 8, "night_drive": 4}
    labelled, unlabelled = (len(frames) for frames in run.parts)
    numbers = MixedNumbers([SampleNumbers(labelled, 2, 7), SampleNumbers(unlabelled, 3, 7, part=1)])
    augment = build_augment(config, run.contract.suite)
    batches = training_batches(run.contract.modalities, run.parts, augment, numbers, 0)
    seen: list[str] = []
    for step in range(4):
        batch, keys = next(batches), numbers.batch(step)
        assert [key.part for key in keys] == [0, 0, 1, 1, 1]
        assert sorted(key.frame for key in keys[:2]) == [0, 1]
        assert batch.present[:2].all() and (batch.labels[:2] < 254).any()
        for row, key in enumerate(keys[2:], start=2):
            name = run.unlabelled.name(key.frame)
            foreign = name.startswith("night_drive/")
            assert batch.present[row].tolist() == [True, not foreign, not foreign, True]
            assert bool(batch.planes["depth"][row].any()) != foreign
            assert set(batch.labels[row].unique().tolist()) <= {254, 255}
            assert (batch.labels[row] == 255).any() == foreign  # 48 x 80 does not fill 64 x 64
            seen.append(name)
    assert len(set(seen)) == 12
    train(config, ALONE)
    assert np.isfinite(logged(tmp_path)[-1]["l_u"])


def test_value_corrupt_unlabelled_frames_are_skipped_and_counted(data: Path, tmp_path: Path):
    other = write_deliver(tmp_path / "other", {"train": 2}, (64, 96), seed=5)
    path = sorted(other.glob("lidar/*/train/*/*.png"))[0]
    path.write_bytes(b"broken")
    group = {"unlabelled": [other], "labelled_fraction": 1.0}
    train(settings(data, tmp_path / "run", group, skip_corrupt=True, unlabelled_batch_size=4), ALONE)
    assert logged(tmp_path / "run")[-1]["skipped"] == 1
    with user_error("file-format", path.name):
        train(settings(data, tmp_path / "run", group, unlabelled_batch_size=4), ALONE)


def test_value_a_pool_is_its_sources_in_a_row(data: Path, tmp_path: Path):
    other = write_deliver(tmp_path / "other", {"train": 1}, (64, 96), seed=5)
    frames = [open_dataset("deliver", root, "train", labelled=False) for root in (data, other)]
    pool = FramePool(frames)
    assert len(pool) == 12
    assert [pool.name(i) for i in (0, 9, 10, 11)] == [
        f"town/{frames[0].name(0)}", f"town/{frames[0].name(9)}", f"other/{frames[1].name(0)}",
        f"other/{frames[1].name(1)}",
    ]  # fmt: skip
    number, sample = pool.next_readable(11)
    assert number == 11
    assert np.array_equal(sample.planes["rgb"], frames[1][1].planes["rgb"])


def test_value_planes_of_another_encoding_are_said(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    other = write_deliver(tmp_path / "own", {"train": 1}, (64, 96))
    (other / "drive_train.json").write_text("{}")  # planes of this program, not DELIVER's
    with caplog.at_level(logging.WARNING):
        build_run(settings(data, tmp_path, {"unlabelled": other}, cache="none"), ALONE)
    assert "are encoded otherwise" in caplog.text and "lidar" in caplog.text


def test_value_unlabelled_frames_of_the_same_kind_follow_cases(data: Path, tmp_path: Path):
    """Nights of another drive too; a data set of another kind is taken whole."""
    other = write_deliver(tmp_path / "own", {"train": 2}, (64, 96))
    cubes = write_mcubes(tmp_path / "cubes", {"train": 3}, (64, 256))
    config = settings(data, tmp_path, {"unlabelled": [other, cubes]}, cache="none", cases=("night",))
    run = build_run(config, ALONE)
    assert run.unlabelled.counts() == {"town": 4, "own": 2, "cubes": 3}
    assert all("/night/" in run.unlabelled.name(index) for index in range(6))
    shutil.rmtree(other / "img" / "night")
    with user_error("data-empty", "own", "train"):
        build_run(config, ALONE)


@pytest.mark.parametrize("changes", [{"source": "raw"}, {"source": "projected"}, {"parity": "hkust"}], ids=str)
def test_value_unlabelled_frames_of_the_same_kind_are_read_alike(data: Path, tmp_path: Path, changes: dict):
    roots = [write_muses(tmp_path / name, {"train": 1, "val": 1}, (54, 96)) for name in ("a", "b")]
    group = {"unlabelled": [roots[1], data]}
    config = settings(roots[0], tmp_path, group, cache="none", modalities=("rgb",), **changes)
    like = open_split(config, "train", "none")
    alike, other = (open_unlabelled(config, path, like) for path in config.data.unlabelled)
    assert (alike.source, alike.parity) == (like.source, like.parity)
    assert alike.source == changes.get("source", "projected") and (alike.parity == "hkust") == ("parity" in changes)
    assert alike.encodings == like.encodings
    assert other.source == "projected"  # that of its own files: such settings are not for its kind


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data.labelled_fraction=0"], ("value-invalid", "data.labelled_fraction=0")),
        (["data.labelled_fraction=150%"], ("value-invalid", "data.labelled_fraction='150%'")),
        (["data.labelled_fraction=few"], ("value-invalid", "data.labelled_fraction='few'")),
        (["data.unlabeled=x"], ("key-unknown", "'data.unlabeled'", "unlabelled")),
        (["data.unlabelled=x"], ("value-invalid", "data.unlabelled", "method=supervised")),
        (["method=m3l", "data.unlabelled=[x, y, x]"], ("value-invalid", "data.unlabelled=['x', 'y', 'x']")),
        (["method=m3l", "m3l.lambda=2"], ("key-unknown", "'m3l.lambda'", "lambda_u")),
    ],
)
def test_exception_settings(arguments: list[str], told: tuple[str, ...]):
    with user_error(*told):
        load_config(["data=d", "out=o", *arguments])


def test_exception_unlabelled_frames_that_cannot_be_used(data: Path, tmp_path: Path, capsys):
    cubes = write_mcubes(tmp_path / "cubes", {"train": 1}, (64, 256))
    given = [f"data={data}", f"out={tmp_path / 'run'}", "method=m3l", "device=cpu", "cache=none"]
    for changes, message in (
        ([f"data.unlabelled={tmp_path / 'none'}"], "data.unlabelled: "),
        ([f"data.unlabelled={cubes}", "modalities=[depth, lidar]"], "and none of depth, lidar"),
        (["unlabelled_batch_size=4"], "there is no unlabelled frame"),
        ([f"data.labelled={tmp_path / 'none.txt'}"], "none.txt: cannot be read as a list of frames"),
    ):
        assert main([*given, *changes]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
