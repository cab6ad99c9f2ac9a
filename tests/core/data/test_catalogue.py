"""open_dataset: what lies in the folder is found, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_data import write_deliver
from fake_trees import write_mcubes, write_muses
from raised import user_error

from any2seg_core.data.catalogue import DATASETS, detect_kind, open_dataset


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    return {
        "deliver": write_deliver(tmp_path / "a", {"val": 1}),
        "muses": write_muses(tmp_path / "b", {"val": 1}),
        "mcubes": write_mcubes(tmp_path / "c" / "multimodal_dataset", {"val": 1}),
    }


def test_value_auto_finds_the_kind(roots: dict[str, Path]):
    for kind, root in roots.items():
        assert detect_kind(root) == kind
        for asked in (kind, "auto"):
            dataset = open_dataset(asked, root, "val")
            assert type(dataset) is DATASETS[kind]
            assert dataset.modalities == dataset.suite.members
    assert detect_kind(roots["mcubes"].parent) == "mcubes"
    assert len(open_dataset("auto", roots["muses"], "val", ["lidar"], ["fog"])) == 1


def test_exception_what_was_found_and_what_was_expected(roots: dict[str, Path], tmp_path: Path):
    (tmp_path / "odd" / "images").mkdir(parents=True)
    with user_error("data-unrecognised", "odd"):
        detect_kind(tmp_path / "odd")
    (roots["deliver"] / "frame_camera").mkdir()
    with user_error(
        "data-unrecognised", "event, frame_camera, hha, img, lidar, semantic", "list_folder", "db3", "dataset="
    ):
        detect_kind(roots["deliver"])
    (tmp_path / "drive").mkdir()
    (tmp_path / "drive" / "drive_0.mcap").touch()
    for bag in (tmp_path / "drive", tmp_path / "drive" / "drive_0.mcap"):
        assert detect_kind(bag) == "bag"
        with user_error("bag-format"):
            open_dataset("auto", bag, "train")
    with user_error("data-missing"):
        open_dataset("auto", tmp_path / "none", "val")
    with user_error("value-unknown", "'kitti'", "deliver, muses, mcubes, bag"):
        open_dataset("kitti", roots["muses"], "val")
    with user_error("option-unsupported", "source=raw", "multimodal_dataset"):
        open_dataset("auto", roots["mcubes"], "val", source="raw")
    with user_error("data-empty", "img/<condition>/val/<sequence>/*_rgb_front.png", "calib.json", "event_camera"):
        open_dataset("deliver", roots["muses"], "val")
