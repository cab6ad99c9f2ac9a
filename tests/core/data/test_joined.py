"""Several data sets as one: what each frame has, names that stay unique, and data sets that do not belong together."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from bag_files import kitti_entries, labelled_kitti_entries, write_bag
from raised import user_error

from any2seg_core.data.bag import BagDataset
from any2seg_core.data.joined import JoinedDataset
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import Normalisation
from any2seg_core.vocabulary.modalities import MUSES, VEHICLE

CAMERA = CameraModel.from_fov(33, 26, 90.0, "camera_color_left")


@pytest.fixture
def parts(tmp_path: Path) -> list[BagDataset]:
    """Three sets with truth, and two of a bag of the same name."""
    first = write_bag(tmp_path / "a" / "drive", labelled_kitti_entries(3, CAMERA))
    second = write_bag(tmp_path / "b" / "drive", labelled_kitti_entries(2, CAMERA))
    return [BagDataset(first, "train", cache="ram"), BagDataset(second, "train", "camera", cache="ram")]


def test_value_frames_are_those_of_the_parts_in_a_row(parts):
    joined = JoinedDataset(parts)
    assert len(joined) == 5 and joined.modalities == ("rgb", "lidar") and joined.labelled
    names = [frame.name for frame in joined.frames]
    assert len(set(names)) == 5 and names[:3] == [frame.name for frame in parts[0].frames]
    assert names[3:] == [f"2:{frame.name}" for frame in parts[1].frames]
    for index, (part, own) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        found, expected = joined[index], parts[part][own]
        assert found.planes.keys() == expected.planes.keys() and found.frame.name == names[index]
        assert np.array_equal(found.planes["rgb"], expected.planes["rgb"])
        assert np.array_equal(found.labels, expected.labels) and np.array_equal(joined.labels(index), expected.labels)
        assert joined.present(found.frame) == parts[part].present(expected.frame)
    assert len({joined.recording(frame) for frame in joined.frames}) == 2
    assert joined.encodings == parts[0].encodings


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_value_a_part_without_labels_opens_none(parts, cache):
    chosen = JoinedDataset(parts).part([4, 0], cache, labelled=False)
    assert [frame.part for frame in chosen.frames] == [1, 0] and not chosen.labelled
    assert (chosen[0].labels == 254).all() and (chosen.labels(1) == 254).all()
    assert np.array_equal(chosen[1].planes["rgb"], parts[0][0].planes["rgb"])


def test_exception_what_does_not_belong_together(parts, tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\nclasses: [a, b]\n")
    other = BagDataset(parts[1].root, "train", bag={"label_space": str(tmp_path / "own.yaml")}, cache="ram")
    with user_error("label-space-mismatch", parts[1].root, "own"):
        JoinedDataset([parts[0], other])
    bare = write_bag(tmp_path / "bare", kitti_entries(2, CAMERA))
    muses = BagDataset(bare, "train", "camera", labelled=False, suite=MUSES)
    with user_error("value-conflict", bare, "muses"):
        JoinedDataset([parts[0], muses])


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_value_labels_of_some_are_labels_of_none(tmp_path, parts, cache):
    bare = write_bag(tmp_path / "bare", kitti_entries(2, CAMERA))
    every = [BagDataset(parts[0].root, "train", cache=cache), BagDataset(bare, "train", labelled=False, cache=cache)]
    joined = JoinedDataset(every)
    assert not joined.labelled and all((joined[index].labels == 254).all() for index in range(len(joined)))
    assert (joined.labels(0) == 254).all() and not (every[0][0].labels == 254).all()
    assert [part.is_in_memory for part in joined.parts] == [cache == "ram"] * 2


GREY = Normalisation(mean=(0.1, 0.1, 0.1), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "value"), [("event_window_ns", 7), ("normalisation", dict.fromkeys(VEHICLE.members, GREY))]
)
def test_exception_planes_that_are_made_otherwise(parts, name, value):
    other = copy.copy(parts[1])
    other.__class__ = type("Other", (BagDataset,), {name: property(lambda _: value)})
    other.modalities = ("rgb", "event")
    with user_error("plane-encoding", other.root, "event"):
        JoinedDataset([parts[0], other])
