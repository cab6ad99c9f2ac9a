"""A /tf_static that changes while it is recorded: every set has the value of its time."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from bag_files import (
    CLOUD,
    LIDAR_TO_CAMERA,
    NS_PER_S,
    PAN_CAMERA,
    START_NS,
    pan_entries,
    scan,
    tf_message,
    write_bag,
    write_ros1,
    write_split,
)  # fmt: skip

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.static_transforms import StaticFollower, StaticTransforms
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.extract import ExtractOptions, extract
from any2seg_core.messages import serialise
from any2seg_core.messages.transforms import TransformTree
from any2seg_core.sensors.calibration import Calibration, load_calibration
from any2seg_core.sensors.rig import SensorRig

TF = "tf2_msgs/msg/TFMessage"
CHANGE_NS = START_NS + NS_PER_S // 2
TOPICS = ("event=none",)


def moved(metres: float) -> np.ndarray:
    """(4, 4) LiDAR to base, so far to the front of where LIDAR_TO_CAMERA has it."""
    pose = np.eye(4)
    pose[0, 3] = metres
    return pose


def static(metres: float, stamp_ns: int, time_ns: int | None = None, edge=("base", "lidar")):
    """An entry of /tf_static."""
    message = tf_message([(*edge, moved(metres))], stamp_ns)
    return stamp_ns if time_ns is None else time_ns, "/tf_static", TF, message


def drive(*statics, count=10):
    """Camera and LiDAR of the same stamps at 10 Hz, and what /tf_static says."""
    entries = [e for e in pan_entries(count) if "dvs" not in e[1] and "tf" not in e[1] and e[2] != CLOUD]
    camera = ("base", PAN_CAMERA.frame_id, np.linalg.inv(LIDAR_TO_CAMERA))
    entries.append((START_NS - NS_PER_S, "/tf_static", TF, tf_message([camera], START_NS - NS_PER_S)))
    for index in range(count):
        stamp_ns = START_NS + index * NS_PER_S // 10
        cloud = serialise.point_cloud(scan(index), stamp_ns, "lidar")
        entries.append((stamp_ns + 3_000_000, "/lidar/points", CLOUD, cloud))
    return sorted([*entries, *statics], key=lambda entry: entry[0])


def places(path, **options):
    """Metres to the front of each set, by its planes against those of both places."""
    found = []
    with open_bag(path, BagOptions(topics=TOPICS, **options)) as opened:
        for bag_set in opened.sets():
            plane = bag_set.frame().planes["lidar"]
            index = round((bag_set.stamp_ns - START_NS) / 1e8)
            for metres in (0.0, 2.0):
                mount = LIDAR_TO_CAMERA @ moved(metres)
                expected = SensorRig(Calibration(PAN_CAMERA, lidar_to_camera=mount)).planes({"lidar": scan(index)}, 0)
                if (plane == expected["lidar"]).mean() > 0.999:
                    found.append(metres)
        notes = opened.notes
    return found, [note for note in notes if "/tf_static" in note]


FIRST, SECOND = static(0.0, START_NS - NS_PER_S), static(2.0, CHANGE_NS)
HALF = [0.0] * 5 + [2.0] * 5


@pytest.mark.parametrize("write", [write_bag, write_ros1])
def test_value_a_sensor_that_is_calibrated_anew_has_each_value_at_its_time(tmp_path, write):
    found, (note,) = places(write(tmp_path / "drive.bag", drive(FIRST, SECOND)))
    assert found == HALF
    assert "lidar: /tf_static changes its transform to the camera once, first 1.5 s after the start by 2.00 m" in note


@pytest.mark.parametrize(
    ("statics", "expected"),
    [
        ([static(0.0, START_NS + NS_PER_S // 4), SECOND], HALF),  # the first value also counts before it
        ([FIRST, static(2.0, CHANGE_NS, START_NS - NS_PER_S)], HALF),  # copied to the begin: its stamp says since when
        ([FIRST, static(2.0, START_NS - NS_PER_S // 2, START_NS - NS_PER_S)], [2.0] * 10),  # both before the piece
        ([FIRST, static(2.0, START_NS + 9 * NS_PER_S, START_NS - NS_PER_S)], [0.0] * 10),  # of a later piece
        ([static(0.0, 0, START_NS - NS_PER_S), static(2.0, 0, CHANGE_NS)], HALF),  # no stamps: the bag's time
        ([FIRST, SECOND, (CHANGE_NS + NS_PER_S // 5, *FIRST[1:])], HALF),  # a copy of an old message is no change
        ([FIRST, (CHANGE_NS, *FIRST[1:]), (CHANGE_NS + 9, *FIRST[1:])], [0.0] * 10),  # latched ones recorded again
        ([FIRST, SECOND, static(0.0, CHANGE_NS + NS_PER_S // 5)], [0.0] * 5 + [2.0] * 2 + [0.0] * 3),  # and back
    ],
)
def test_value_which_value_holds(tmp_path, statics, expected):
    found, notes = places(write_bag(tmp_path / "bag", drive(*statics)))
    assert found == expected
    assert notes or len(set(expected)) == 1


def test_value_pieces_that_hold_copies_of_all_static_transforms(tmp_path):
    """A recording in two pieces; each begins with both values, at its own time of the bag."""
    entries = [e for e in drive() if e[1] != "/tf_static"]
    camera = next(e for e in drive() if e[1] == "/tf_static")
    cut_ns = CHANGE_NS + NS_PER_S // 5
    copies = [(cut_ns, *entry[1:]) for entry in (camera, FIRST, SECOND)]
    parts = [
        [camera, FIRST, (FIRST[0], *SECOND[1:]), *(e for e in entries if e[0] < cut_ns)],
        [*copies, *(e for e in entries if e[0] >= cut_ns)],
    ]
    assert places(write_split(tmp_path / "both", parts))[0] == HALF
    assert places(write_bag(tmp_path / "first", parts[0]))[0] == HALF[:7]
    found, notes = places(write_bag(tmp_path / "second", parts[1]))
    assert (found, notes) == ([2.0] * 3, [])


def test_value_stamps_of_another_clock_than_the_bags(tmp_path):
    """Log times 37 s behind the stamps: the change takes place where both say it does."""
    late = [(time_ns - 37 * NS_PER_S, *rest) for time_ns, *rest in drive(FIRST, SECOND)]
    assert places(write_bag(tmp_path / "bag", late))[0] == HALF


def test_value_values_of_one_time_that_no_stamp_tells_apart_are_told(tmp_path):
    one, other = static(0.0, 0, START_NS - NS_PER_S), static(2.0, 0, START_NS - NS_PER_S)
    found, (note,) = places(write_bag(tmp_path / "bag", drive(one, other)))
    assert found == [2.0] * 10 and "base to lidar has several values from the same time on" in note


def test_value_a_moving_head_on_a_mount_that_changes(tmp_path):
    """/tf moves the head, /tf_static says where the LiDAR is on it: both are those of the time."""
    entries = pan_entries(10)
    again = static(2.0, CHANGE_NS, edge=("head", "lidar"))
    before, after = (
        write_bag(tmp_path / name, sorted(found)) for name, found in (("plain", entries), ("new", [*entries, again]))
    )
    with open_bag(before, BagOptions(topics=TOPICS)) as one, open_bag(after, BagOptions(topics=TOPICS)) as other:
        assert any("/tf_static changes" in note for note in other.notes)
        for was, now in zip(one.sets(), other.sets(), strict=True):
            expected = was.extrinsics["lidar"] @ moved(2.0 if was.stamp_ns >= CHANGE_NS else 0.0)
            np.testing.assert_allclose(now.extrinsics["lidar"], expected, atol=1e-9)


def test_value_inspect_extract_and_training_say_it(tmp_path):
    path = write_bag(tmp_path / "bag", drive(FIRST, SECOND))
    (note,) = [line for line in inspect_bag(path).notes if "/tf_static changes" in line]
    with open_bag(path, BagOptions(topics=TOPICS)) as opened:
        extract(opened, ExtractOptions(tmp_path / "out"))
    written = json.loads((tmp_path / "out" / "bag_train.json").read_text())
    assert note in written["warnings"] and "2 values" in written["extrinsics"]["lidar_to_camera"]
    assert load_calibration(tmp_path / "out" / "calibration_train.yaml").lidar_to_camera is None
    data = BagDataset(path, "train", ("rgb", "lidar"), labelled=False, cache="ram")
    assert note in data.index.warnings
    mounts = [LIDAR_TO_CAMERA @ moved(metres) for metres in HALF]
    for index, (frame, mount) in enumerate(zip(data.frames, mounts, strict=True)):
        expected = SensorRig(Calibration(PAN_CAMERA, lidar_to_camera=mount)).planes({"lidar": scan(index)}, 0)["lidar"]
        assert (data.read_plane(frame, "lidar") == expected).mean() > 0.999


def test_value_back_in_time_the_first_value_holds_again():
    def message(metres: float, stamp_ns: int):
        header = SimpleNamespace(frame_id="base", stamp=SimpleNamespace(sec=stamp_ns // NS_PER_S, nanosec=0))
        place = SimpleNamespace(translation=SimpleNamespace(x=metres, y=0, z=0),
                                rotation=SimpleNamespace(x=0, y=0, z=0, w=1))  # fmt: skip
        return SimpleNamespace(transforms=[SimpleNamespace(header=header, child_frame_id="lidar", transform=place)])

    values = [(k * NS_PER_S, message(float(k), k * NS_PER_S)) for k in (1, 5, 8)]
    tree = TransformTree()
    follower = StaticFollower(StaticTransforms(values), tree)
    seen = []
    for time_s in (0, 4, 5, 9, 6, 0, 8):
        follower.go_to(time_s * NS_PER_S)
        seen.append(tree.lookup("base", 0, "lidar", 0)[0, 3])
    assert seen == [1, 1, 5, 8, 5, 1, 8]
