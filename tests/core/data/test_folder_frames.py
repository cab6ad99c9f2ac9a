"""Which frames belong to which split of a folder: by share, by list, by value; files without a partner."""

from __future__ import annotations

import numpy as np
import pytest
from folder_trees import SIZE, cloud, write_cloud, write_png, write_recipe, write_yard, yard_recipe
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.folder import RECIPE_FILE
from any2seg_core.data.folder_frames import drawn_splits
from any2seg_core.data.recipe_parts import Shares


def names(root, split: str) -> list[str]:
    return [frame.name for frame in open_dataset("folder", root, split, labelled=False).frames]


@given(units=st.sets(st.text("abc123", min_size=1, max_size=5), min_size=3, max_size=60), data=st.data())
def test_property_shares_divide_every_unit_and_leave_no_split_empty(units, data):
    val = data.draw(st.floats(0.01, 0.6))
    test = data.draw(st.floats(0.01, 0.98 - val))
    drawn = drawn_splits(units, Shares(val=val, test=test), "recipe")
    assert set(drawn) == units and set(drawn.values()) == {"train", "val", "test"}
    assert drawn == drawn_splits(sorted(units, reverse=True), Shares(val=val, test=test), "recipe")


def test_value_shares_are_kept_and_no_unit_moves_when_others_come():
    few = [f"drive_{number}" for number in range(4000)]
    before = drawn_splits(few, Shares(val=0.2, test=0.1), "recipe")
    after = drawn_splits([*few, *(f"new_{number}" for number in range(900))], Shares(val=0.2, test=0.1), "recipe")
    assert all(after[unit] == split for unit, split in before.items())
    counts = {split: list(before.values()).count(split) for split in ("val", "test")}
    assert abs(counts["val"] - 800) < 100 and abs(counts["test"] - 400) < 80  # four standard deviations


def test_exception_fewer_units_than_splits():
    with user_error("data-empty", "2", "frame"):
        drawn_splits(["a", "b"], Shares(val=0.2, test=0.2), "recipe")


def test_value_a_drive_is_never_divided_unless_said(tmp_path):
    root = write_yard(tmp_path / "yard", frames=5)
    document = {key: value for key, value in yard_recipe().items() if key != "splits"}
    write_recipe(root / RECIPE_FILE, document | {"share": {"val": "30%"}})
    drives = [{name.split("/")[0] for name in names(root, split)} for split in ("train", "val")]
    assert drives[0] | drives[1] == {"d1", "d2", "d3"} and not drives[0] & drives[1]
    write_recipe(root / RECIPE_FILE, document | {"share": {"val": "30%", "by": "frame"}})
    frames = [{name.split("/")[1] for name in names(root, split)} for split in ("train", "val")]
    assert frames[0] | frames[1] == {f"{number:04d}" for number in range(5)} and not frames[0] & frames[1]


def test_value_a_list_says_frames_in_its_order(tmp_path):
    root = write_yard(tmp_path / "yard")
    (root / "train.txt").write_text("# mine\nd2/0001 more words\n\nd1/0000\n")
    rule = {"listed": "{split}.txt", "line": "{drive}/{frame}"}
    write_recipe(root / RECIPE_FILE, yard_recipe() | {"splits": {"train": rule, "val": {"drive": "d3"}}})
    assert names(root, "train") == ["d2/0001", "d1/0000"]
    assert names(root, "val") == ["d3/0000", "d3/0001"]


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("d1/0000\nd1/0000\n", "value-twice", "line 2"),
        ("d1\n", "value-format", "line 1"),
        ("d9/0000\n", "frame-incomplete", "0000.png"),
    ],
)
def test_exception_lists(tmp_path, text, code, named):
    root = write_yard(tmp_path / "yard")
    (root / "train.txt").write_text(text + ("d1/0001\n" if code == "frame-incomplete" else ""))
    rule = {"listed": "{split}.txt", "line": "{drive}/{frame}"}
    write_recipe(root / RECIPE_FILE, yard_recipe() | {"splits": {"train": rule}})
    with user_error(code, named):
        names(root, "train")


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ({"drive": ["d1", "d3"]}, {"drive": "d3"}),
        ({"drive": "d*"}, {"drive": "d3"}),
        ({"drive": "d3"}, {"listed": "val.txt", "line": "{drive}/{frame}"}),
        ({"listed": "val.txt", "line": "{drive}/{frame}"}, {"drive": "d*"}),
        ({"listed": "val.txt", "line": "{drive}/{frame}"}, {"listed": "val.txt", "line": "{drive}/{frame}"}),
    ],
)
def test_exception_what_is_trained_on_judges_nothing(tmp_path, train, val):
    root = write_yard(tmp_path / "yard")
    (root / "val.txt").write_text("d3/0001\n")
    write_recipe(root / RECIPE_FILE, yard_recipe() | {"splits": {"train": train, "val": val}})
    for split in ("train", "val"):
        with user_error("value-conflict", RECIPE_FILE, "splits.train", "splits.val", "d3/000"):
            names(root, split)
    others = train | {"without": {"drive": "d3"}} if "listed" in train else {"drive": ["d1", "d2"]}
    apart = {"train": others, "val": val}
    write_recipe(root / RECIPE_FILE, yard_recipe() | {"splits": apart | {"trainval": {"drive": "d*"}}})
    assert names(root, "val") and len(names(root, "trainval")) == 6


def test_exception_a_list_leads_out_of_the_folder(tmp_path):
    root = write_yard(tmp_path / "yard")
    (root / "train.txt").write_text("../0000\n")
    rule = {"listed": "{split}.txt", "line": "{drive}/{frame}"}
    write_recipe(root / RECIPE_FILE, yard_recipe() | {"splits": {"train": rule}})
    with user_error("value-format", "train.txt", "line 1"):
        names(root, "train")


def test_value_globs_and_exclusions(tmp_path):
    root = write_yard(tmp_path / "yard", frames=3)
    rule = {"where": {"drive": "d*"}, "without": {"drive": ["d2"], "frame": ["0000", "0002"]}}
    write_recipe(root / RECIPE_FILE, yard_recipe() | {"splits": {"train": rule}, "only": {"drive": ["d1", "d2"]}})
    assert names(root, "train") == ["d1/0000", "d1/0001", "d1/0002", "d2/0001"]


def test_value_an_optional_sensor_may_be_missing_and_another_may_not(tmp_path):
    root = write_yard(tmp_path / "yard")
    (root / "cloud" / "d1" / "0001.bin").unlink()
    document = yard_recipe()
    write_recipe(root / RECIPE_FILE, document)
    with user_error("frame-incomplete", "cloud/d1/0001.bin"):
        open_dataset("folder", root, "train")
    document["sensors"]["lidar"]["optional"] = True
    write_recipe(root / RECIPE_FILE, document)
    frames = open_dataset("folder", root, "train")
    assert [tuple(frames[number].planes) for number in (0, 1)] == [("rgb", "lidar"), ("rgb",)]
    assert [frame.name for frame in open_dataset("folder", root, "train", "lidar").frames] == [
        "d1/0000", "d2/0000", "d2/0001",
    ]  # fmt: skip


def test_value_frames_without_labels_are_left_out_where_some_are_allowed_to_lack_them(tmp_path):
    root = write_yard(tmp_path / "yard")
    (root / "label" / "d2" / "0000.png").unlink()
    write_recipe(root / RECIPE_FILE, yard_recipe() | {"labels": {"path": "label/{drive}/{frame}.png", "partial": True}})
    labelled = open_dataset("folder", root, "train")
    assert [frame.name for frame in labelled.frames] == ["d1/0000", "d1/0001", "d2/0001"]
    assert len(names(root, "train")) == 4


def test_value_files_without_a_partner_are_told(tmp_path):
    root = write_yard(tmp_path / "yard")
    write_png(root / "label" / "d3" / "0009.png", np.zeros(SIZE, np.uint8))
    write_recipe(root / RECIPE_FILE, yard_recipe())
    told = [line for split in ("train", "val") for line in open_dataset("folder", root, split).strays()]
    assert len(told) == 1 and "label/d3/0009.png" in told[0] and "rgb" in told[0]


def test_value_the_nearest_stamp_counts_up_to_a_limit(tmp_path):
    """Times of the camera 0, 100, 200 ms; of the LiDAR 8, 93, 260 ms in one drive, and near ones in another."""
    root = write_yard(tmp_path / "yard", frames=1)
    for stamp in ("10.000", "10.1", "10.200"):
        write_png(root / "picture" / "d1" / f"{stamp}.png", np.zeros((*SIZE, 3), np.uint8))
    for drive, stamps in (("d1", ("10.008", "10.093", "10.26")), ("d2", ("10.0", "10.1", "10.2"))):
        for stamp in stamps:
            write_cloud(root / "scan" / drive / f"{stamp}.bin", cloud(np.random.default_rng(0)))
    document = yard_recipe()
    document["sensors"] = {
        "rgb": "picture/{drive}/{frame}.png",
        "lidar": {"path": "scan/{drive}/{frame}.bin", "columns": 4, "nearest_ms": 10, "optional": True},
    }
    write_recipe(root / RECIPE_FILE, document | {"frame_unit": "s"})
    frames = open_dataset("folder", root, "train", labelled=False)
    found = [frame.files.get("lidar") for frame in frames.frames]
    assert [path and path.name for path in found] == ["10.008.bin", "10.093.bin", None]
    assert not any("scan" in line for line in frames.strays())
    write_cloud(root / "scan" / "d1" / "first.bin", cloud(np.random.default_rng(0)))
    with user_error("value-format", "first"):
        open_dataset("folder", root, "train", labelled=False)
    write_recipe(root / RECIPE_FILE, document)
    with user_error("value-invalid", "frame_unit"):
        open_dataset("folder", root, "train", labelled=False)
