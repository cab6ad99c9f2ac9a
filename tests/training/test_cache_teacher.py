"""The cache of embeddings: written once, resumed from its parts, never half; and training that learns from it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_data import write_deliver

import any2seg_training.cache_teacher as module
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.teachers.base import Teacher
from any2seg_core.teachers.cached import read_embeddings
from any2seg_core.teachers.captions import Caption
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.cache_teacher import main


class CountingTeacher(Teacher):
    """Embeds a text as counts of its letters and a plane as its mean colour; remembers how often it was asked."""

    name = "counting"

    def __init__(self):
        self.frames = 0

    def embed_texts(self, sentences: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "aeiouy"] for text in sentences], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True).clip(1)

    def embed_modalities(self, planes: dict[str, np.ndarray], caption: Caption, suite: SensorSuite) -> np.ndarray:
        self.frames += 1
        return np.stack([np.tile(plane.mean(axis=(0, 1)), 2) for plane in planes.values()]).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 3, "val": 1}, (64, 96))


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> CountingTeacher:
    counting = CountingTeacher()
    monkeypatch.setattr(module, "build_teacher", lambda *_: counting)
    monkeypatch.setattr(module, "_PART", 2)
    return counting


def test_value_the_cache_holds_every_frame_in_order(data, teacher, tmp_path):
    assert main(["teacher=text", f"data={data}", f"out={tmp_path}"]) == 0
    arrays, facts = read_embeddings(tmp_path / "train.safetensors")
    assert arrays["scene"].shape == (6, 6)
    assert arrays["modality"].shape == (6, 4, 6)
    assert facts["modalities"] == ["rgb", "depth", "event", "lidar"]
    assert [name.split("/")[0] for name in facts["frames"]] == ["cloud"] * 3 + ["night"] * 3
    assert all("night" in text and "blurred" in text for text in facts["captions"][3:])
    np.testing.assert_allclose(arrays["scene"], teacher.embed_texts(facts["captions"]), rtol=1e-6)
    names, class_facts = read_embeddings(tmp_path / "classes.safetensors")
    assert names["class_names"].shape == (25, 6)
    assert class_facts["classes"][6] == "Road"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.safetensors", "train.safetensors"]
    assert facts["captions_from"] == "a template of the labels, which sees the truth"


class CountingCaptioner:
    """Says the mean red of an image; remembers how often it was asked."""

    name = "counting (git)"
    asked = 0

    def __init__(self, *_: object):
        pass

    def describe(self, image: np.ndarray) -> str:
        type(self).asked += 1
        return f"red {image[..., 0].mean():.3f}"


def test_value_a_model_describes_the_camera_image_and_an_interruption_costs_little(
    data, teacher, tmp_path, monkeypatch, capsys
):
    """Captions follow the picture alone; the setting for sensors without one still follows the condition."""
    monkeypatch.setattr(module, "Captioner", CountingCaptioner)
    monkeypatch.setattr(CountingCaptioner, "asked", 0)
    arguments = ["teacher=text", f"data={data}", f"out={tmp_path}", "captioner=model"]
    embed = module.embed_part
    monkeypatch.setattr(module, "embed_part", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(arguments) == 130
    monkeypatch.setattr(module, "embed_part", embed)
    monkeypatch.setattr(DeliverDataset, "labels", lambda *_: pytest.fail("the truth was read"))
    assert main(arguments) == 0
    assert CountingCaptioner.asked == 6
    assert "captions from the model counting (git), which sees the camera image and not the truth" in (
        capsys.readouterr().err
    )
    _, facts = read_embeddings(tmp_path / "train.safetensors")
    assert facts["captions_from"].startswith("the model counting (git)")
    frames = DeliverDataset(data, "train")
    expected = [f"red {frames[number].planes['rgb'][..., 0].mean():.3f}" for number in range(6)]
    assert facts["captions"] == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.safetensors", "train.safetensors"]


def test_exception_a_model_needs_the_camera(data, teacher, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "Captioner", CountingCaptioner)
    given = ["teacher=text", f"data={data}", f"out={tmp_path}", "captioner=model"]
    assert main([*given, "modalities=depth+lidar"]) == 2
    assert main([*given, "captions=c.json"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cache_teacher")]
    assert len(errors) == 2
    assert "rgb" in errors[0] and "[sensor-absent]" in errors[0]
    assert "exclude each other" in errors[1]


def test_value_an_interrupted_run_goes_on_from_its_parts(data, teacher, tmp_path, monkeypatch):
    arguments = ["teacher=text", f"data={data}", f"out={tmp_path}"]
    embed = module.embed_part

    def stop_at_the_third(*given):
        if given[3].start == 4:
            raise KeyboardInterrupt
        return embed(*given)

    monkeypatch.setattr(module, "embed_part", stop_at_the_third)
    assert main(arguments) == 130
    assert not (tmp_path / "train.safetensors").exists()
    monkeypatch.setattr(module, "embed_part", embed)
    damaged = tmp_path / ".train.parts" / "00000002.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert main(arguments) == 0
    assert teacher.frames == 4 + 4  # two parts before; then the damaged one and the third
    whole = tmp_path / "whole"
    assert main(["teacher=text", f"data={data}", f"out={whole}"]) == 0
    assert (whole / "train.safetensors").read_bytes() == (tmp_path / "train.safetensors").read_bytes()


def test_value_parts_of_other_captions_are_not_reused(data, teacher, tmp_path, monkeypatch):
    frames = read_frames(data, tmp_path / "names")
    rows = [(name, f"scene number {number}") for number, name in enumerate(frames)]
    with (tmp_path / "c.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("frame", "caption"), *rows])
    out = tmp_path / "out"
    embed = module.embed_part
    monkeypatch.setattr(module.shutil, "rmtree", lambda _: None)  # the parts stay, as after an interruption
    assert main(["teacher=text", f"data={data}", f"out={out}"]) == 0
    monkeypatch.setattr(module, "embed_part", embed)
    assert main(["teacher=text", f"data={data}", f"out={out}", f"captions={tmp_path / 'c.csv'}"]) == 0
    assert read_embeddings(out / "train.safetensors")[1]["captions"] == [text for _, text in rows]


def read_frames(data: Path, out: Path) -> list[str]:
    assert main(["teacher=text", f"data={data}", f"out={out}"]) == 0
    return read_embeddings(out / "train.safetensors")[1]["frames"]


def test_exception_one_line_each(data, teacher, tmp_path, capsys):
    (tmp_path / "c.json").write_text('{"cloud/MAP_1_point1/000000": "a road"}')
    out = f"out={tmp_path / 'o'}"
    assert main(["teacher=text", f"data={data}", out, f"captions={tmp_path / 'c.json'}"]) == 2
    assert main(["teacher=clip", f"data={data}", out]) == 2
    assert main(["teacher=text", f"data={tmp_path / 'none'}", out]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "no caption of frame cloud/MAP_1_point1/000001" in errors[0]
    assert "teacher='clip'" in errors[1]
    assert not (tmp_path / "o").exists()
