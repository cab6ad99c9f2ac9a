"""`any2seg predict` of many frames, as typed: what is written, what stays after trouble, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from any2seg_core.base.errors import UserError
from any2seg_core.base.video import VideoReader, VideoWriter
from any2seg_core.cli.main import app
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.prediction import outputs
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import DELIVER

HEIGHT, WIDTH = 37, 61
FORWARD = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("inputs")
    torch.manual_seed(0)
    save_checkpoint(path / "m.safetensors", Any2Seg(ModelConfig(head_width=32)), InputContract(height=32, width=64), {})
    camera = CameraModel.from_fov(WIDTH, HEIGHT, 90.0)
    save_calibration(path / "c.yaml", Calibration(camera, lidar_to_camera=FORWARD))
    random = np.random.default_rng(0)
    for folder in ("pictures", "clouds"):
        (path / folder).mkdir()
    for k in range(5):
        pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(path / "pictures" / f"{k:04d}.png")
    for k in (1, 2, 3):
        points = random.uniform([1, -3, -1, 0], [20, 3, 2, 1], (400, 4)).astype(np.float32)
        points.tofile(path / "clouds" / f"{k}.bin")
    return path


@pytest.fixture()
def predict(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        given = [str(inputs / word) if (inputs / word).exists() else word for word in words]
        return CliRunner().invoke(app, ["predict", *given, "--checkpoint", str(inputs / "m.safetensors"), "--json"])

    return run


def test_value_labels_are_those_of_the_predictor_and_everything_is_there(predict, inputs, tmp_path):
    done = predict("--rgb", "pictures", "--lidar", "clouds", "--calib", "c.yaml", "-o", "out", "--video", "v.webm",
                   "--confidence", "sure", "--color", "colours")  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["frames"], document["labelled"]) == (5, 5)
    assert document["used"] == {"rgb": 2, "rgb,lidar": 3}
    assert sum(document["share"].values()) == pytest.approx(1, abs=1e-3)
    assert "2 of 5 frames have no LiDAR: 0, 4" in done.stderr
    names = [f"{k:04d}" for k in range(5)]
    for folder, suffix in (("out/labels", "png"), ("out/overlay", "jpg"), ("sure", "png"), ("colours", "png")):
        assert sorted(each.name for each in (tmp_path / folder).iterdir()) == [f"{name}.{suffix}" for name in names]
    predictor = Predictor.load(inputs / "m.safetensors")
    pixels = np.asarray(Image.open(inputs / "pictures/0000.png"))
    label = Image.open(tmp_path / "out/labels/0000.png")
    expected = predictor({"rgb": pixels})
    np.testing.assert_array_equal(np.asarray(label), expected.labels)
    sure = np.asarray(Image.open(tmp_path / "sure/0000.png"))
    np.testing.assert_array_equal(sure, np.round(expected.confidence * 255))
    assert json.loads(label.text["classes"]) == json.loads((tmp_path / "out/legend.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "out/frames.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == names and lines[1]["used"] == ["rgb", "lidar"]
    reader = VideoReader(tmp_path / "v.webm")
    assert (reader.rate_hz, len(list(reader))) == (10, 5)
    assert not list(tmp_path.rglob("*partial*"))


def test_value_the_legend_names_every_class_with_id_and_colour(predict, tmp_path):
    assert predict("--rgb", "pictures", "-o", "out", "--every", "9").exit_code == 0
    legend = json.loads((tmp_path / "out/legend.json").read_text())
    assert [(entry["class_id"], entry["class_name"], tuple(entry["rgb"])) for entry in legend["class_map"]] == [
        (k, name, colour) for k, (name, colour) in enumerate(zip(DELIVER.classes, DELIVER.colours, strict=True))
    ]
    picture = np.asarray(Image.open(tmp_path / "out/legend.png")).reshape(-1, 3)
    assert {tuple(colour) for colour in DELIVER.colours} <= {tuple(colour) for colour in np.unique(picture, axis=0)}


def test_value_a_video_that_breaks_off_keeps_what_was_read(predict, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, HEIGHT + 1, WIDTH + 1, 3), np.uint8)
    with VideoWriter(tmp_path / "in.webm", 25) as video:
        for picture in noise:
            video.add(picture)
    whole = (tmp_path / "in.webm").read_bytes()
    (tmp_path / "in.webm").write_bytes(whole[: len(whole) // 2])
    done = predict("--rgb", "in.webm", "-o", "out", "--video", "v.webm")
    assert isinstance(done.exception, UserError) and done.exception.code == "file-format"
    count = json.loads(done.stdout)["labelled"]
    assert 3 < count < 17 and f"after {count} of 20" in str(done.exception)
    labels = sorted(each.name for each in (tmp_path / "out/labels").iterdir())
    assert labels == [f"{k:06d}.png" for k in range(count)]
    reader = VideoReader(tmp_path / "v.webm")
    assert (reader.rate_hz, len(list(reader))) == (25, count)
    assert len((tmp_path / "out/frames.jsonl").read_text().splitlines()) == count


def test_value_a_damaged_file_and_a_black_picture_cost_their_own_frame(predict, inputs, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 1, np.uint8)).save(folder / "0.png")
    for k in (1, 4):
        (folder / f"{k}.png").write_bytes((inputs / "pictures/0001.png").read_bytes())
    (folder / "2.png").write_text("no picture")
    done = predict("--rgb", "mixed", "-o", "out", "--video", "v.webm")
    assert isinstance(done.exception, UserError) and done.exception.code == "file-unreadable"
    document = json.loads(done.stdout)
    assert (document["frames"], document["labelled"], document["unreadable"]) == (4, 2, 1)
    assert document["without_labels"] == ["0", "2"] and any("black" in why for why in document["left_out"])
    assert sorted(each.name for each in (tmp_path / "out/labels").iterdir()) == ["1.png", "4.png"]
    assert len(list(VideoReader(tmp_path / "v.webm"))) == 4


def test_exception_nothing_is_written_where_no_frame_can_be_used(predict, tmp_path):
    (tmp_path / "dark").mkdir()
    for k in range(2):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "dark" / f"{k}.png")
    done = predict("--rgb", "dark", "-o", "out", "--video", "v.webm")
    assert isinstance(done.exception, UserError) and done.exception.code == "sensor-empty"
    (tmp_path / "dark/0.png").write_text("no picture")
    done = predict("--rgb", "dark", "-o", "out")
    assert isinstance(done.exception, UserError) and "0.png" in str(done.exception)
    assert [each.name for each in tmp_path.iterdir()] == ["dark"]


@pytest.mark.parametrize("full_after", [0, 1])
def test_exception_a_disk_that_is_full_before_the_first_frame_leaves_nothing(
    predict, tmp_path, monkeypatch, full_after
):
    """Linux says "No space left" when the legend's picture, or the list of frames, is written."""
    (tmp_path / "kept").mkdir()
    for name, step in (("write_image", 0), ("_Lines", 1)):
        if step == full_after:
            monkeypatch.setattr(outputs, name, no_space)
    for out in ("new/out", "kept"):
        done = predict("--rgb", "pictures", "-o", out)
        assert isinstance(done.exception, UserError) and done.exception.code == "output-unwritable"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and not any((tmp_path / "kept").iterdir())


def no_space(path, *_):
    raise UserError(f"cannot write {path} (No space left on device): choose another place", "output-unwritable")


def test_exception_what_is_there_is_not_overwritten_without_a_word(predict, tmp_path):
    assert predict("--rgb", "pictures", "-o", "out", "--every", "3").exit_code == 0
    before = (tmp_path / "out/frames.jsonl").read_bytes()
    done = predict("--rgb", "pictures", "-o", "out")
    assert isinstance(done.exception, UserError) and done.exception.code == "output-exists"
    assert (tmp_path / "out/frames.jsonl").read_bytes() == before
    assert predict("--rgb", "pictures", "-o", "out", "--overwrite").exit_code == 0
    assert len((tmp_path / "out/frames.jsonl").read_text().splitlines()) == 5
    (tmp_path / "v.webm").write_text("kept")
    done = predict("--rgb", "pictures", "-o", "new", "--video", "v.webm")
    assert done.exception.code == "output-exists" and (tmp_path / "v.webm").read_text() == "kept"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--rgb", "pictures", "-o", "o.png"), "file-name", "o.png"),
        (("--rgb", "pictures", "-o", "out", "--video", "v.avi"), "file-name", "v.webm"),
        (("--rgb", "pictures/0001.png", "-o", "o.png", "--video", "v.webm"), "value-conflict", "--video"),
        (("clouds", "--rgb", "pictures", "-o", "out"), "value-conflict", "--rgb"),
        (("--rgb", "pictures", "-o", "out", "--topic", "rgb=/a"), "value-conflict", "--topic"),
        (("--rgb", "pictures", "-o", "out", "--stream", "filter"), "value-conflict", "--stream filter"),
        (("--lidar", "clouds", "-o", "out"), "calibration-missing", "--lidar"),
        (("--rgb", "pictures", "-o", "out", "--color", "out"), "output-is-input", "out"),
        (("none.mcap", "-o", "out"), "bag-missing", "none.mcap"),
    ],
)
def test_exception_calls_that_cannot_work_write_nothing(predict, tmp_path, words, code, says):
    done = predict(*words)
    assert isinstance(done.exception, UserError) and done.exception.code == code, done.output
    assert says in str(done.exception) and list(tmp_path.iterdir()) == []
