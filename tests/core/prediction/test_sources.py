"""Frames of files by name: hand-made folders."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from raised import user_error

from any2seg_core.base.video import VideoWriter
from any2seg_core.files.samples import FileOptions
from any2seg_core.prediction.sources import FileFrames, is_one_file
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel

CALIBRATION = Calibration(CameraModel.from_fov(8, 5, 90.0), lidar_to_camera=np.eye(4))


def picture(path, size=(8, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size[::-1], 3), 99, np.uint8)).save(path)


def cloud(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ones((7, 4), np.float32))


def frames(every=1, **inputs):
    return FileFrames({name: str(path) for name, path in inputs.items()}, CALIBRATION, None, FileOptions(), every)


def seen(source):
    return [(frame.name, *sorted(frame.samples)) for frame in source]


def test_value_folders_meet_by_name_and_what_is_missing_is_told_in_one_line(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / "pictures" / f"{name}.png")
    for name in ("b", "c", "d"):
        cloud(tmp_path / "clouds" / f"{name}.npy")
    (tmp_path / "pictures" / "notes.txt").write_text("")
    (tmp_path / "pictures" / "._a.png").write_text("")
    source = frames(rgb=tmp_path / "pictures", lidar=tmp_path / "clouds")
    assert seen(source) == [("a", "rgb"), ("b", "lidar", "rgb"), ("c", "lidar", "rgb"), ("d", "lidar")]
    assert source.total == 4
    assert source.notes == ["1 of 4 frames have no camera: d", "1 of 4 frames have no LiDAR: a"]


def test_value_numbers_are_numbers(tmp_path):
    for number in (2, 10, 9):
        picture(tmp_path / "pictures" / f"frame_{number}.png")
    assert [frame.name for frame in frames(rgb=tmp_path / "pictures")] == ["frame_2", "frame_9", "frame_10"]
    picture(tmp_path / "kitti" / "0000000007.png")
    cloud(tmp_path / "velodyne" / "000007.npy")
    assert seen(frames(rgb=tmp_path / "kitti", lidar=tmp_path / "velodyne")) == [("0000000007", "lidar", "rgb")]


def test_value_words_that_all_files_of_a_sensor_have_in_their_names_do_not_part_frames(tmp_path):
    for number in (8, 9, 10):
        picture(tmp_path / "cam" / f"img_{number:03d}_rgb.png")
        cloud(tmp_path / "velo" / f"t{number:05d}.npy")
    assert seen(frames(rgb=tmp_path / "cam", lidar=tmp_path / "velo" / "t*.npy")) == [
        ("img_008_rgb", "lidar", "rgb"), ("img_009_rgb", "lidar", "rgb"), ("img_010_rgb", "lidar", "rgb"),
    ]  # fmt: skip
    cloud(tmp_path / "velo" / "other_00008.npy")  # its files have no common beginning: names count as they are
    with user_error("frame-incomplete", "cam", "velo"):
        frames(rgb=tmp_path / "cam", lidar=tmp_path / "velo")


def test_value_a_pattern_keeps_the_folders_below_its_fixed_part(tmp_path):
    for drive in ("x", "y"):
        picture(tmp_path / drive / "image_02" / "1.png")
        cloud(tmp_path / drive / "velodyne" / "1.npy")
    source = frames(rgb=tmp_path / "*" / "image_02" / "*.png")
    assert seen(source) == [("x/image_02/1", "rgb"), ("y/image_02/1", "rgb")]
    assert seen(frames(rgb=tmp_path / "x" / "image_02" / "*.png", lidar=tmp_path / "x" / "velodyne" / "*")) == [
        ("1", "lidar", "rgb")
    ]


def test_value_pictures_of_a_video_are_numbered_and_meet_files_of_that_number(tmp_path):
    with VideoWriter(tmp_path / "a.webm", 20) as video:
        for _ in range(5):
            video.add(np.full((6, 8, 3), 99, np.uint8))
    cloud(tmp_path / "clouds" / "0002.npy")
    source = frames(rgb=tmp_path / "a.webm", lidar=tmp_path / "clouds", every=2)
    assert (source.total, source.rate_hz) == (3, 10)
    assert seen(source) == [("000000", "rgb"), ("000002", "lidar", "rgb"), ("000004", "rgb")]


def test_value_intensity_has_one_scale_in_all_files_and_is_said_once(tmp_path, caplog):
    """255 means 1 in a file that is dark, too: 0.5 of 255, not of 1."""
    for number, strength in enumerate((200.0, 0.5, 100.0)):
        cloud(tmp_path / "clouds" / f"{number}.npy")
        np.save(tmp_path / "clouds" / f"{number}.npy", np.full((40, 4), (3, 1, 1, strength), np.float32))
    shares = [frame.samples["lidar"][0, 3] for frame in frames(lidar=tmp_path / "clouds")]
    np.testing.assert_allclose(shares, np.array((200, 0.5, 100)) / 255, rtol=1e-6)
    assert [record.getMessage().count("0..255") for record in caplog.records] == [1]
    list(frames(lidar=tmp_path / "clouds"))
    assert len(caplog.records) == 2  # a second pass says it again


def test_value_what_files_do_not_say_is_told_once_for_each_sensor(tmp_path, caplog):
    rows = np.random.default_rng(0).uniform(-20, 20, (400, 5)).astype("<f4")
    rows[:, 2], rows[:, 3], rows[:, 4] = 0.1 * rows[:, 2], 0.01 * rows[:, 3] ** 2, np.arange(400) % 32
    for number in range(3):
        (tmp_path / "clouds").mkdir(exist_ok=True)
        rows.tofile(tmp_path / "clouds" / f"{number}.bin")
    assert len(list(frames(lidar=tmp_path / "clouds"))) == 3
    assert sum("rows of 5 float32" in record.getMessage() for record in caplog.records) == 1


def test_value_a_damaged_file_costs_its_own_sensor(tmp_path):
    picture(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "b.png").write_text("none")
    picture(tmp_path / "pictures" / "c.png", (5, 8))
    source = FileFrames({"rgb": str(tmp_path / "pictures")}, CALIBRATION, tmp_path / "c.yaml", FileOptions())
    found = list(source)
    assert [sorted(frame.samples) for frame in found] == [["rgb"], [], []]
    assert [frame.problems["rgb"].code for frame in found[1:]] == ["file-format", "calibration-size"]
    assert "c.png is 5x8" in str(found[2].problems["rgb"])


def test_value_a_link_that_leads_nowhere_is_a_frame_that_is_missed(tmp_path):
    """As git-annex leaves for files that were not fetched; folders and patterns alike."""
    picture(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "b.png").symlink_to(tmp_path / "annex" / "b.png")
    for given in (tmp_path / "pictures", tmp_path / "pictures" / "*.png"):
        found = list(frames(rgb=given))
        assert [sorted(frame.samples) for frame in found] == [["rgb"], []]
        assert found[1].problems["rgb"].code == "file-missing" and "b.png" in str(found[1].problems["rgb"])


def test_exception_inputs_that_give_no_frame(tmp_path):
    cloud(tmp_path / "clouds" / "a.npy")
    with user_error("file-missing", "clouds", ".png"):
        frames(rgb=tmp_path / "clouds")
    with user_error("file-missing", "*.png"):
        frames(rgb=tmp_path / "clouds" / "*.png")
    picture(tmp_path / "pictures" / "b.png")
    with user_error("frame-incomplete", "pictures", "clouds", "a", "b"):
        frames(rgb=tmp_path / "pictures", lidar=tmp_path / "clouds")
    picture(tmp_path / "pictures" / "b.jpg")
    with user_error("value-twice", "b.jpg", "b.png"):
        frames(rgb=tmp_path / "pictures")
    with user_error("file-format", "--lidar", "a.mp4"):
        frames(lidar=tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.png", True), ("none.png", True), ("folder", False), ("a.mp4", False), ("*.png", False), ("a[1].png", True)],
)
def test_value_what_is_one_file(tmp_path, name, expected):
    (tmp_path / "folder").mkdir()
    picture(tmp_path / "a[1].png")
    assert is_one_file(tmp_path / name) is expected
