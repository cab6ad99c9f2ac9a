"""`any2seg data init`: patterns of a folder, and the recipe that reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from folder_trees import LIDAR_TO_CAMERA, SIZE, cloud, write_cloud, write_png, write_yard
from PIL import Image
from raised import user_error
from street_trees import write_camvid_of_segnet

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.propose import CLASSES_FILE, propose_recipe, write_proposal
from any2seg_core.data.tree_groups import group_files
from any2seg_core.vocabulary.labels import shipped_space
from any2seg_core.vocabulary.modalities import SensorSuite


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("train/a.png", "val/b.png"), "{split}/{frame}.png"),
        (("trainannot/1.png", "testannot/2.png"), "{split}annot/{frame}.png"),
        (("left/train/ulm/ulm_1_l8.png", "left/val/bonn/bonn_2_l8.png"), "left/{split}/{drive}/{frame}_l8.png"),
        (("2011/d_1/velodyne/data/0.bin", "2012/d_2/velodyne/data/1.bin"), "{part1}/{drive}/velodyne/data/{frame}.bin"),
        (("img/img-0001.jpg", "img/img-0002.jpg"), "img/img-{frame}.jpg"),
        (("x/1.pcd.bin", "x/2.pcd.bin"), "x/{frame}.pcd.bin"),
    ],
)
def test_value_pattern_of_files(tmp_path, names, pattern):
    touch(tmp_path, *names, names[0] + ".txt")
    groups, alone, is_cut = group_files(tmp_path, 100)
    assert [group.pattern.text for group in groups] == [pattern] and not is_cut
    assert [path.suffix for path in alone] == [".txt"]
    for path in groups[0].files:
        assert groups[0].pattern.match(path.relative_to(tmp_path).as_posix()) is not None


def test_value_sensors_in_one_folder_are_told_by_their_endings(tmp_path):
    touch(tmp_path, "1_rgb.png", "2_rgb.png", "1_depth.png", "2_depth.png", "3_rgb.png")
    found = {group.pattern.text: len(group.files) for group in group_files(tmp_path, 100)[0]}
    assert found == {"{frame}_rgb.png": 3, "{frame}_depth.png": 2}


def test_value_numbers_of_frames_are_no_sensors(tmp_path):
    """As CamVid counts: Seq05VD_f00930.png beside 0001TP_006690.png; two numbered cameras are two patterns."""
    touch(tmp_path, *(f"img/seq_f{k:03d}.png" for k in range(5)), "img/other_f001.png", "img/a_0.png", "img/a_1.png")
    touch(tmp_path, *(f"both/{k}_cam{camera}.png" for k in range(3) for camera in range(2)))
    found = {group.pattern.text: len(group.files) for group in group_files(tmp_path, 100)[0]}
    assert found == {"img/{frame}.png": 8, "both/{frame}_cam0.png": 3, "both/{frame}_cam1.png": 3}


def test_value_a_limit_of_files_is_kept(tmp_path):
    touch(tmp_path, *(f"{number}.png" for number in range(9)))
    groups, _, is_cut = group_files(tmp_path, 5)
    assert len(groups[0].files) == 5 and is_cut


def test_value_a_proposed_recipe_reads_the_folder(tmp_path):
    """Planes and labels are those of a recipe by hand; ids keep their order as classes."""
    root = write_yard(tmp_path / "yard")
    proposal = propose_recipe(root)
    assert proposal.recipe["sensors"] == {
        "rgb": "image/{drive}/{frame}.png",
        "lidar": {"path": "cloud/{drive}/{frame}.bin", "columns": ["x", "y", "z", "intensity"]},
    }
    assert proposal.recipe["labels"] == "label/{drive}/{frame}.png"
    assert proposal.recipe["calibration"] == "car.yaml"
    assert proposal.recipe["share"] == {"val": "20%", "by": "drive"}
    assert [(finding.use, finding.frames) for finding in proposal.findings] == [
        ("lidar", 6), ("rgb", 6), ("labels", 6),
    ]  # fmt: skip
    written = write_proposal(proposal, tmp_path / "yard.yaml")
    assert [path.name for path in written] == ["yard.yaml", CLASSES_FILE]
    frames = [open_dataset(str(tmp_path / "yard.yaml"), root, split) for split in ("train", "val")]
    assert sum(map(len, frames)) == 6
    labels = frames[0][0].labels
    assert labels.shape == SIZE and np.unique(labels).tolist() == [0, 1, 255]  # of the files: 0, 6, 255


VAN = SensorSuite.of_document({
    "name": "van",
    "camera": "front",
    "sensors": {
        "left": {"kind": "image", "letter": "S", "format": "grey"},
        "front": {"kind": "image", "letter": "F"},
        "thermal": {"kind": "image", "letter": "T", "format": "thermal16", "range": [28000, 32000]},
        "lidar": {"kind": "points", "letter": "L"},
        "radar": {"kind": "points", "letter": "R", "range": [-20, 40]},
    },
})  # fmt: skip


def write_van(root: Path) -> Path:
    """Two drives of five sensors in folders of other names, a recording's numbers behind letters for two of them."""
    rng = np.random.default_rng(0)
    for drive, number in ((drive, number) for drive in ("d1", "d2") for number in range(2)):
        picture = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        write_png(root / drive / "CamFront" / f"img_{number:03d}.png", picture)
        write_png(root / drive / "CamLeft" / f"img_{number:03d}.png", picture[..., 0])
        write_png(root / drive / "flir" / f"t{number:03d}.png", np.full(SIZE, 30000, np.uint16))
        write_cloud(root / drive / "ars" / f"{number:03d}.bin", np.full((9, 4), (5, 0, 0, 12), "<f4"))
        write_cloud(root / drive / "velodyne" / f"{number:03d}.bin", cloud(rng))
        write_png(root / drive / "mask" / f"img_{number:03d}_mask.png", np.zeros(SIZE, np.uint8))
    camera = {"width": SIZE[1], "height": SIZE[0], "hfov_deg": 70}
    sensors = {"radar": {"to_camera": LIDAR_TO_CAMERA}}
    document = {"version": 1, "camera": camera, "lidar_to_camera": LIDAR_TO_CAMERA, "sensors": sensors}
    (root / "car.yaml").write_text(yaml.safe_dump(document))
    return root


def test_value_sensors_of_a_suite_are_found_and_read(tmp_path):
    """By their names, and radar, LiDAR and thermal camera by the words for these; the proposed recipe gives them."""
    root = write_van(tmp_path / "data")
    (tmp_path / "van.yaml").write_text(yaml.safe_dump(VAN.to_document(), sort_keys=False))
    (tmp_path / "recipes").mkdir()
    proposal = propose_recipe(root, VAN, tmp_path / "van.yaml")
    sensors = proposal.recipe["sensors"]
    assert list(sensors) == ["front", "left", "thermal", "lidar", "radar"]  # the camera says which frames there are
    paths = {name: entry if isinstance(entry, str) else entry["path"] for name, entry in sensors.items()}
    assert paths == {
        "front": "{drive}/CamFront/img_{frame}.png", "left": "{drive}/CamLeft/img_{frame}.png",
        "thermal": "{drive}/flir/t{frame}.png", "lidar": "{drive}/velodyne/{frame}.bin",
        "radar": "{drive}/ars/{frame}.bin",
    }  # fmt: skip
    assert "intensity_max" not in sensors["radar"]  # the suite says its range
    recipe, _ = write_proposal(proposal, tmp_path / "recipes" / "own.yaml")
    assert yaml.safe_load(recipe.read_text())["suite"] == "../van.yaml"
    samples = [sample for split in ("train", "val") for sample in open_dataset(str(recipe), root, split)]
    assert [set(sample.planes) for sample in samples] == [set(VAN.members)] * 4
    assert all(sample.planes["thermal"].max() in (127, 128) for sample in samples)  # 255 * (30000 - 28000) / 4000


def test_value_sensors_that_need_a_suite_are_told(tmp_path):
    proposal = propose_recipe(write_van(tmp_path))
    assert set(proposal.recipe["sensors"]) == {"rgb", "lidar"} and "suite" not in proposal.recipe
    told = [note for note in proposal.notes if "--suite" in note]
    assert [note.split("/")[1] for note in told] == ["CamLeft", "ars", "flir"]
    assert proposal.recipe["sensors"]["lidar"]["path"] == "{drive}/velodyne/{frame}.bin"


def test_value_a_shipped_layout_is_named_and_splits_are_read(tmp_path):
    root = write_camvid_of_segnet(tmp_path, {"train": 2, "val": 1, "test": 1}, np.zeros((37, 123), np.uint8))
    proposal = propose_recipe(root)
    assert "--dataset camvid-segnet" in " ".join(proposal.notes)
    assert "splits" not in proposal.recipe and "share" not in proposal.recipe
    assert proposal.recipe["label_space"] == "camvid-11" and proposal.label_space is None


def test_value_other_words_for_splits(tmp_path):
    for folder in ("training", "validation"):
        for number in range(2):
            write_png(tmp_path / folder / f"{number}.png", np.full((*SIZE, 3), number, np.uint8))
    proposal = propose_recipe(tmp_path)
    assert proposal.recipe["splits"] == {"train": "training", "val": "validation"}
    assert "labels" not in proposal.recipe


def test_value_a_palette_tells_the_label_space(tmp_path):
    space = shipped_space("voc-21")
    for number in range(2):
        write_png(tmp_path / "image" / f"{number}.png", np.full((*SIZE, 3), number, np.uint8))
        ids = np.full(SIZE, 5 + number, np.uint8)
        image = Image.fromarray(ids, "P")
        image.putpalette(np.asarray(space.colours, np.uint8).ravel().tolist())
        (tmp_path / "label").mkdir(exist_ok=True)
        image.save(tmp_path / "label" / f"{number}.png")
    proposal = propose_recipe(tmp_path)
    assert proposal.recipe["label_space"] == "voc-21" and proposal.label_space is None


def test_value_colours_tell_the_label_space(tmp_path):
    """Of CamVid's classes; a colour that nobody knows makes it a picture that is not used."""
    space = shipped_space("camvid-11")
    for number in range(2):
        write_png(tmp_path / "image" / f"{number}.png", np.full((*SIZE, 3), number, np.uint8))
        labels = np.zeros((*SIZE, 3), np.uint8)
        labels[number + 1 :] = space.file_colours[3 + number][0]
        write_png(tmp_path / "label" / f"{number}.png", labels)
    recipe = propose_recipe(tmp_path).recipe
    assert recipe["label_space"] == "camvid-11"
    assert recipe["labels"] == {"path": "label/{frame}.png", "coding": "raw_colours"}
    write_proposal(propose_recipe(tmp_path), tmp_path / "own.yaml")
    frames = [open_dataset(str(tmp_path / "own.yaml"), tmp_path, split) for split in ("train", "val")]
    assert sorted(int(part[0].labels[-1, -1]) for part in frames) == [3, 4]
    write_png(tmp_path / "label" / "0.png", np.full((*SIZE, 3), (1, 2, 3), np.uint8))
    assert "labels" not in propose_recipe(tmp_path).recipe


def test_exception_nothing_is_overwritten(tmp_path):
    root = write_yard(tmp_path / "yard", frames=1)
    proposal = propose_recipe(root)
    (tmp_path / CLASSES_FILE).write_text("mine")
    with user_error("output-exists", CLASSES_FILE):
        write_proposal(proposal, tmp_path / "yard.yaml")
    assert not (tmp_path / "yard.yaml").exists() and (tmp_path / CLASSES_FILE).read_text() == "mine"
    with user_error("file-name", "yard.txt"):
        write_proposal(proposal, tmp_path / "yard.txt")


@pytest.mark.parametrize("names", [(), ("a/1.bin", "a/2.bin")])
def test_exception_no_pictures(tmp_path, names):
    touch(tmp_path, *names)
    with user_error("data-empty", tmp_path):
        propose_recipe(tmp_path)
    with user_error("data-missing", "nowhere"):
        propose_recipe(tmp_path / "nowhere")
