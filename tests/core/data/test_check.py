"""`any2seg data check`: every defect that is planted is found, named and counted; the exit code says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_files import IMAGE, KITTI_CAMERA, START_NS, kitti_entries, write_bag
from fake_data import write_deliver
from fake_trees import write_mcubes, write_muses
from PIL import Image
from raised import user_error
from typer.testing import CliRunner

from any2seg_core.base.errors import UserError
from any2seg_core.cli.main import app
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.check import check_tree
from any2seg_core.messages import serialise
from any2seg_core.vocabulary.labels import NOT_ANNOTATED

SIZE = (20, 30)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_deliver(tmp_path / "deliver", {"train": 2, "val": 1}, SIZE)


def file(root: Path, folder: str, name: str, sequence: str = "cloud/train/MAP_1_point1") -> Path:
    return root / folder / sequence / f"{name}_front.png"


def test_value_a_sound_tree_has_counts_sizes_and_classes(root: Path):
    seen = []
    report = check_tree(root, progress=lambda *step: seen.append(step))
    assert report.count == 0
    assert report.kind == "deliver"
    assert report.frames == {
        "train": {"cloud": 2, "night, motionblur": 2},
        "val": {"cloud": 1, "night, motionblur": 1},
    }
    assert report.sizes == {name: {"30x20": 6} for name in ("rgb", "depth", "event", "lidar", "labels")}
    assert seen[-1] == ("val", 2, 2)
    labels = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (root / "semantic").rglob("*.png")]
    assert report.class_pixels["Cars"] == sum(int((image == 10).sum()) for image in labels)
    assert report.unlabelled == pytest.approx(2 / 20)
    assert "test: no frames" in report.notes
    assert "train: 4 frames; deliver as published has 3983" in report.notes


def test_value_every_planted_defect_is_named(root: Path):
    file(root, "hha", "000000_depth").unlink()
    file(root, "img", "000001_rgb").write_bytes(b"")
    assert cv2.imwrite(str(file(root, "semantic", "000001_semantic")), np.full(SIZE, 77, np.uint8))
    assert cv2.imwrite(str(file(root, "lidar", "000000_lidar")), np.zeros((10, 15, 3), np.uint8))
    stray = file(root, "event", "000009_event")
    assert cv2.imwrite(str(stray), np.zeros((*SIZE, 3), np.uint8))
    odd = root / "img" / "cloudy" / "train"
    odd.mkdir(parents=True)
    lonely = file(root, "img", "000000_rgb", "sun/train/MAP_1_point3_rainy")
    lonely.parent.mkdir(parents=True)
    assert cv2.imwrite(str(lonely), np.zeros((2, 2, 3), np.uint8))
    report = check_tree(root)
    text = "\n".join(report.problems["train"])
    assert "hha/cloud/train/MAP_1_point1/000000_depth_front.png: missing" in text
    assert "img/cloud/train/MAP_1_point1/000001_rgb_front.png: not a readable image" in text
    assert "000001_semantic_front.png: label id 77 is out of range" in text
    assert f"{stray}: has no partner in img" in text
    assert "'cloudy' is no condition of DELIVER" in text
    assert "sequence MAP_1_point3_rainy: is not named" in text
    assert text.count("MAP_1_point3_rainy/000000") == 4  # its four partners
    assert len(report.problems["train"]) == 10
    assert report.problems["val"] == []
    assert "lidar: 1 file(s) of 15x10, the others have 30x20" in report.notes


@pytest.mark.parametrize("colour", [(90, 30, 0), (30, 30, 255)], ids=["red is 0", "red is 255"])
def test_value_labels_of_which_none_is_one_are_a_problem_of_their_split(root: Path, colour):
    """Pictures of colours for people (blue, green, red): DELIVER reads the red channel."""
    for path in (root / "semantic").glob("*/train/*/*.png"):
        assert cv2.imwrite(str(path), np.full((*SIZE, 3), colour, np.uint8))
    report = check_tree(root)
    (line,) = report.problems["train"]
    assert line.startswith("no pixel of any label image has a label") and report.problems["val"] == []
    assert CliRunner().invoke(app, ["data", "check", str(root)]).exit_code == 1


def test_value_a_recording_whose_truth_has_no_label(tmp_path: Path):
    truth = serialise.image(np.full((375, 1242), 255, np.uint8), "mono8", START_NS, KITTI_CAMERA.frame_id)
    entries = kitti_entries(2)
    stamps_ns = [entry[0] for entry in entries if entry[2] == IMAGE]
    entries += [(stamp_ns, "/segmentation/labels", IMAGE, truth) for stamp_ns in stamps_ns]
    report = check_tree(write_bag(tmp_path / "bag", sorted(entries, key=lambda entry: entry[0])), modalities=["rgb"])
    (line,) = [line for lines in report.problems.values() for line in lines]
    assert line.startswith("no pixel of any label image has a label")
    assert check_tree(write_bag(tmp_path / "other", kitti_entries(2)), modalities=["rgb"]).count == 0  # without truth


def test_value_quick_looks_but_does_not_read(root: Path):
    file(root, "img", "000001_rgb").write_bytes(b"")
    assert check_tree(root, read=False).count == 0
    file(root, "event", "000001_event").unlink()
    assert check_tree(root, read=False).count == 1
    assert check_tree(root, read=False, modalities=["rgb", "lidar"]).count == 0


def test_value_other_data_sets(tmp_path: Path):
    muses = write_muses(tmp_path / "muses", {"train": 1, "test": 1})
    report = check_tree(muses)
    assert report.count == 0
    assert report.frames["test"] == {"clear/day": 1, "fog/night": 1}
    assert "test: no labels: its labels are withheld by the authors of MUSES (scored on Codabench)" in report.notes
    (muses / "lidar/train/fog/night/REC0000_frame_000000_lidar.bin").write_bytes(b"xy")
    (muses / "frame_camera/train/clear/day/REC0000_frame_000000_frame_camera.png").unlink()
    lines = check_tree(muses).problems["train"]
    assert sum("has no camera image" in line for line in lines) == 3
    assert sum("has 2 bytes" in line for line in lines) == 1
    assert len(lines) == 4
    mcubes = write_mcubes(tmp_path / "mcubes", {"train": 2, "val": 1})
    (mcubes / "polL_dolp" / "outval_0_0000000000.npy").unlink()
    report = check_tree(mcubes)
    assert report.frames == {"train": {"all": 2}, "val": {"all": 1}}
    assert report.problems["val"] == [f"{mcubes}/polL_dolp/outval_0_0000000000.npy: missing"]


def test_value_the_command_exits_with_0_1_or_2(root: Path, tmp_path: Path):
    run = CliRunner().invoke
    sound = run(app, ["data", "check", str(root)])
    assert sound.exit_code == 0
    assert "nothing wrong" in sound.output
    file(root, "hha", "000000_depth").unlink()
    broken = run(app, ["data", "check", str(root), "--json"])
    assert broken.exit_code == 1
    document = json.loads(broken.stdout)
    assert document["ok"] is False
    assert [len(lines) for lines in document["problems"].values()] == [1, 0]
    shown = run(app, ["data", "check", str(root)])
    assert "000000_depth_front.png: missing" in shown.output.replace("\n", "")
    nothing = run(app, ["data", "check", str(tmp_path / "none")])
    assert isinstance(nothing.exception, UserError)  # the entry point turns it into one line and exit code 2


def test_value_parts_of_a_data_set_and_recordings_without_truth(root: Path):
    shutil.rmtree(root / "hha")
    shutil.rmtree(root / "semantic")
    for sequence in list(root.glob("*/*/*/MAP_1_point1")):
        sequence.rename(sequence.with_name("drive0001_bag"))
    report = check_tree(root)
    assert report.count == 0
    assert list(report.encodings) == ["rgb", "event", "lidar"]
    assert "there is no folder for depth: not looked for" in report.notes
    assert "train: no labels: there is no folder semantic" in report.notes
    assert check_tree(root, modalities=["rgb", "depth"]).count == 6
    with user_error("data-unlabelled", "train"):
        open_dataset("auto", root, "train", ["rgb"])
    assert np.all(open_dataset("auto", root, "train", ["rgb"], labelled=False)[0].labels == NOT_ANNOTATED)


def test_exception_nothing_to_check(tmp_path: Path):
    (tmp_path / "semantic" / "fog").mkdir(parents=True)
    with user_error("data-empty"):
        check_tree(tmp_path)
    with user_error("value-unknown", "'x'"):
        check_tree(tmp_path, "x")


def copied_by_a_mac_and_windows(root: Path) -> None:
    """What such copies leave behind: an attribute file beside each file, an index in each folder."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100))
        else:
            (path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
            (path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")


@pytest.mark.parametrize(
    "write",
    [
        lambda root: write_deliver(root, {"train": 2, "val": 1}, SIZE),
        lambda root: write_muses(root, {"train": 1, "val": 1}, (54, 96)),
        lambda root: write_mcubes(root, {"train": 2, "val": 1}),
    ],
    ids=["deliver", "muses", "mcubes"],
)
def test_value_files_that_operating_systems_leave_are_no_frames(tmp_path: Path, write):
    root = write(tmp_path / "tree")
    before = check_tree(root).as_json()
    copied_by_a_mac_and_windows(root)
    assert check_tree(root).as_json() == before
    assert before["ok"]
    with user_error("data-empty") as caught:
        open_dataset("auto", root, "test")
    assert "._" not in str(caught.value) and "Thumbs" not in str(caught.value)


@pytest.mark.parametrize("kind", ["deliver", "muses", "mcubes"])
def test_value_a_palette_label_counts_by_its_indices(tmp_path: Path, kind):
    """Written by Pillow; three classes a third each, whose colours say something else."""
    names = {"deliver": ("semantic", 1), "muses": ("gt_semantic", 0), "mcubes": ("GT", 0)}
    folder, offset = names[kind]
    root = {
        "deliver": lambda: write_deliver(tmp_path, {"train": 1}, (6, 9)),
        "muses": lambda: write_muses(tmp_path, {"train": 1}, (6, 9)),
        "mcubes": lambda: write_mcubes(tmp_path, {"train": 1}, (6, 192 + 9)),
    }[kind]()
    paths = list((root / folder).rglob("*.png"))
    for path in paths:
        height, width = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2]
        ids = np.zeros((height, width), np.uint8)
        ids[:, -6:], ids[:, -3:] = 13, 17
        image = Image.frombytes("P", (width, height), (ids + offset).astype(np.uint8).tobytes())
        image.putpalette([0, 0, 142] * 256)
        image.save(path)
    dataset = open_dataset(kind, root, "train", modalities=("rgb",))
    for index in range(len(paths)):
        found, counts = np.unique(dataset.labels(index), return_counts=True)
        assert (found.tolist(), counts.tolist()) == ([0, 13, 17], [18, 18, 18])


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["deliver", "muses", "mcubes"])
def test_value_an_exif_orientation_is_not_followed(tmp_path: Path, kind, orientation):
    """Labels were drawn on the pixels as they are stored, and so are planes read."""
    root, folders = {
        "deliver": lambda: (write_deliver(tmp_path, {"train": 1}, SIZE), ("img", "semantic")),
        "muses": lambda: (write_muses(tmp_path, {"train": 1}, SIZE), ("frame_camera", "gt_semantic")),
        "mcubes": lambda: (write_mcubes(tmp_path, {"train": 1}, (20, 192 + 30)), ("NIR_warped", "GT")),
    }[kind]()
    name = "nir" if kind == "mcubes" else "rgb"
    before = open_dataset(kind, root, "train", modalities=(name,))[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder in folders:
        for path in (root / folder).rglob("*.png"):
            with Image.open(path) as image:
                image.load()
            image.save(path, exif=exif)
    after = open_dataset(kind, root, "train", modalities=(name,))[0]
    np.testing.assert_array_equal(after.planes[name], before.planes[name])
    np.testing.assert_array_equal(after.labels, before.labels)
