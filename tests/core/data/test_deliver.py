"""DELIVER reader: layout, label ids, cases, odd files. Files are written with OpenCV, read back through the reader."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from raised import user_error

from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.deliver_labels import read_labels
from any2seg_core.data.images import CorruptFileError, read_plane
from any2seg_core.vocabulary.contract import default_encodings
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE

SIZE = (6, 10)


def write(root: Path, folder: str, place: str, name: str, image: np.ndarray) -> Path:
    path = root / folder / place / f"{name}_front.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def write_frame(root: Path, place: str, stem: str = "000010", value: int = 7) -> None:
    for name in VEHICLE.members:
        entry = VEHICLE.sensor(name)
        image = np.full((*SIZE, 3), value, np.uint8)
        write(root, entry.folder, place, f"{stem}_{entry.suffix}", image)
    write(root, "semantic", place, f"{stem}_semantic", np.full(SIZE, value, np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sequences; the root's own name contains folder and condition names, which must not matter."""
    root = tmp_path / "img" / "rain"
    write_frame(root, "cloud/train/MAP_1_point1")
    write_frame(root, "night/train/MAP_1_point2_motionblur")
    write_frame(root, "rain/train/MAP_2_point1_lidarjitter")
    write_frame(root, "rain/val/MAP_3_point1")
    return root


def test_value_frames_are_sorted_and_described(root: Path):
    dataset = DeliverDataset(root, "train")
    assert [(f.condition, f.failure) for f in dataset.frames] == [
        ("cloud", None),
        ("night", "motionblur"),
        ("rain", "lidarjitter"),
    ]
    assert dataset.frames[1].name == "night/MAP_1_point2_motionblur/000010"


@pytest.mark.parametrize(
    ("cases", "expected"),
    [(["rain"], 1), (["night", "rain"], 2), (["motionblur"], 1), (["cloud", "lidarjitter"], 2)],
)
def test_value_cases_match_folder_or_suffix_never_a_substring(root: Path, cases: list[str], expected: int):
    assert len(DeliverDataset(root, "train", cases=cases)) == expected  # "rain" is within "train" and within root


def test_value_label_ids(tmp_path: Path):
    raw = np.array([[0, 1, 25], [13, 2, 255]], np.uint8)
    path = write(tmp_path, "semantic", "x", "grey", raw)
    expected = [[255, 0, 24], [12, 1, 255]]
    assert read_labels(path).tolist() == expected
    colour = np.zeros((2, 3, 4), np.uint8)
    colour[..., 2] = raw  # OpenCV order: the file's first channel is red
    colour[..., 0] = 77
    assert read_labels(write(tmp_path, "semantic", "x", "rgba", colour)).tolist() == expected
    assert len(DELIVER) == 25


@pytest.mark.parametrize("wrong", [26, 200, 254])
def test_exception_label_id_out_of_range_names_file_and_id(tmp_path: Path, wrong: int):
    path = write(tmp_path, "semantic", "x", "bad", np.array([[1, wrong]], np.uint8))
    with user_error("label-ids", "bad_front.png", wrong, "0..25", kind=CorruptFileError):
        read_labels(path)


def test_value_skip_corrupt_leaves_frames_out_and_counts_them(root: Path, caplog: pytest.LogCaptureFixture):
    broken = root / "event" / "night" / "train" / "MAP_1_point2_motionblur" / "000010_event_front.png"
    broken.write_bytes(broken.read_bytes()[:20])
    strict = DeliverDataset(root, "train")
    with user_error("file-format", "000010_event_front.png", kind=CorruptFileError):
        strict[1]
    with user_error("file-format", "000010_event_front.png", kind=CorruptFileError):
        strict.readable(1)
    with user_error("file-format", "000010_event_front.png", kind=CorruptFileError):
        DeliverDataset(root, "train", cache="ram")
    for cache in ("none", "ram"):
        caplog.clear()
        lenient = DeliverDataset(root, "train", cache=cache, skip_corrupt=True)
        assert lenient.readable(1) is None
        assert lenient.readable(0) is not None
        assert lenient.next_readable(1)[0] == 2
        assert lenient.next_readable(1)[1].frame == lenient.frames[2]
        assert lenient.skipped == ("night/MAP_1_point2_motionblur/000010",)
        assert [record.message.count("000010_event_front.png") for record in caplog.records] == [1]
    assert len(list(lenient.readable_labels())) == 3  # its label can be read


def test_exception_nothing_readable_at_all(root: Path):
    for path in (root / "img").rglob("*.png"):
        path.write_bytes(b"")
    with user_error("data-unreadable", "3 train"):
        DeliverDataset(root, "train", skip_corrupt=True).next_readable(0)


def test_value_encodings_say_who_made_the_planes(root: Path):
    published = DeliverDataset(root, "train").encodings
    assert published == {"rgb": "rgb8", "depth": "deliver-hha", "event": "deliver-event", "lidar": "deliver-lidar"}
    marker = root / "hha" / "encoding.json"
    marker.write_text('{"encoding": "hha-1"}')
    assert DeliverDataset(root, "train").encodings == published | {"depth": "hha-1"}
    marker.write_text("[]")
    with user_error("file-content", "hha/encoding.json"):
        _ = DeliverDataset(root, "train").encodings
    marker.unlink()
    (root / "drive_train.json").write_text("{}")
    assert DeliverDataset(root, "train").encodings == default_encodings()


def test_value_planes_are_rgb_without_alpha(tmp_path: Path):
    bgra = np.zeros((*SIZE, 4), np.uint8)
    bgra[:] = (1, 2, 3, 200)
    plane = read_plane(write(tmp_path, "img", "x", "a", bgra))
    assert plane.shape == (*SIZE, 3)
    assert plane[0, 0].tolist() == [3, 2, 1]
    grey = read_plane(write(tmp_path, "img", "x", "b", np.full(SIZE, 9, np.uint8)))
    assert grey.shape == (*SIZE, 3)
    assert np.all(grey == 9)


def test_value_smaller_plane_is_brought_to_the_label_grid(root: Path):
    small = np.zeros((SIZE[0] // 2, SIZE[1] // 2, 3), np.uint8)
    small[1, 2] = 250
    write(root, "event", "cloud/train/MAP_1_point1", "000010_event", small)
    plane = DeliverDataset(root, "train")[0].planes["event"]
    assert plane.shape == (*SIZE, 3)
    assert np.argwhere(plane[..., 0] == 250).tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]
    assert set(np.unique(plane)) == {0, 250}


def test_value_ram_cache_equals_files(root: Path):
    cached, plain = DeliverDataset(root, "train", cache="ram"), DeliverDataset(root, "train")
    for index in range(len(plain)):
        assert np.array_equal(cached.labels(index), plain.labels(index))
        for name in VEHICLE.members:
            assert np.array_equal(cached[index].planes[name], plain[index].planes[name])


def test_shape_single_modality(root: Path):
    sample = DeliverDataset(root, "val", ["lidar"])[0]
    assert list(sample.planes) == ["lidar"]
    assert sample.labels.shape == SIZE
    assert sample.labels.dtype == np.uint8


def pack_carla(depth_m: np.ndarray) -> np.ndarray:
    """BGR as OpenCV writes it: red is the low byte, blue the high one."""
    code = np.round(depth_m.astype(np.float64) / 1000 * (2**24 - 1)).astype(np.int64)
    return np.stack([code >> 16, (code >> 8) & 255, code & 255], axis=2).astype(np.uint8)


def test_value_hha_is_made_from_raw_depth_and_kept(root: Path):
    """Oracle: a wall at 12 m has the codes that the encoding's definition says."""
    place = "cloud/train/MAP_1_point1"
    for sequence in (place, "night/train/MAP_1_point2_motionblur", "rain/train/MAP_2_point1_lidarjitter"):
        write(root, "depth", sequence, "000010_depth", pack_carla(np.full(SIZE, 12.0)))
    millimetres = np.full(SIZE, 12_000, np.uint16)
    write(root, "depth", place, "000010_depth", millimetres)
    raw = DeliverDataset(root, "train", source="raw", cache="disk")
    assert raw.encodings["depth"] == "hha-1"
    assert DeliverDataset(root, "train").source == "projected"  # there is a folder hha
    expected = raw[0].planes["depth"]
    assert np.all(expected[..., 0] == round(255 * 10 / 22))
    assert np.abs(expected[..., 2].astype(int) - 128).max() <= 1
    assert np.array_equal(raw[1].planes["depth"][..., 0], expected[..., 0])
    assert [raw.make_planes(index) for index in range(3)] == [0, 0, 1]
    for path in (root / "depth" / "cloud").rglob("*.png"):
        path.write_bytes(b"")  # from now on the kept plane is read
    again = DeliverDataset(root, "train", source="raw")
    assert np.array_equal(again[0].planes["depth"], expected)
    shutil.rmtree(root / "hha")
    assert DeliverDataset(root, "train").source == "raw"
    write(root, "depth", "night/train/MAP_1_point2_motionblur", "000010_depth", np.full(SIZE, 9, np.uint8))
    for kept in (root / "any2seg_planes").rglob("*motionblur/*.png"):
        kept.unlink()
    with user_error("file-content", "000010_depth_front.png", "CARLA", "16-bit", kind=CorruptFileError):
        again[1]
    with user_error("option-unsupported", "cache=disk"):
        DeliverDataset(root, "train", source="projected", cache="disk")


def test_exception_missing_partner_names_the_file(root: Path):
    lost = root / "hha" / "cloud" / "train" / "MAP_1_point1" / "000010_depth_front.png"
    lost.unlink()
    with user_error("frame-incomplete", "000010_depth_front.png"):
        DeliverDataset(root, "train")
    assert len(DeliverDataset(root, "train", ["rgb", "lidar"])) == 3


def test_exception_bad_arguments(root: Path, tmp_path: Path):
    with user_error("value-unknown", "'dev'"):
        DeliverDataset(root, "dev")
    with user_error("data-missing", "nowhere"):
        DeliverDataset(tmp_path / "nowhere", "train")
    with user_error("value-unknown", "'snow'"):
        DeliverDataset(root, "train", cases=["snow"])
    with user_error("data-empty", "val"):
        DeliverDataset(root, "val", cases=["fog"])


def test_exception_damaged_images(root: Path):
    path = root / "img" / "cloud" / "train" / "MAP_1_point1" / "000010_rgb_front.png"
    path.write_bytes(b"not a png")
    with user_error("file-format", "000010_rgb_front.png"):
        DeliverDataset(root, "train")[0]
    assert cv2.imwrite(str(path), np.zeros(SIZE, np.uint16))
    with user_error("file-content", "000010_rgb_front.png", "8-bit"):
        DeliverDataset(root, "train")[0]


def test_value_labels_read_ahead_come_in_order_and_errors_come_out(tmp_path: Path):
    for number in range(23):
        write_frame(tmp_path, "fog/train/MAP_1_point1", f"{number:06d}", value=number + 1)
    dataset = DeliverDataset(tmp_path, "train")
    assert [int(labels[0, 0]) for labels in dataset.readable_labels()] == list(range(23))
    assert [int(labels[0, 0]) for labels in dataset.readable_labels([9, 2, 2])] == [9, 2, 2]
    assert int(next(dataset.readable_labels())[0, 0]) == 0  # nobody has to take them all
    for number in (4, 20):
        (tmp_path / f"semantic/fog/train/MAP_1_point1/{number:06d}_semantic_front.png").write_bytes(b"")
    with user_error("file-format", "000004_semantic_front.png", "000004_semantic", kind=CorruptFileError):
        list(dataset.readable_labels())
    lenient = DeliverDataset(tmp_path, "train", skip_corrupt=True)
    assert len(list(lenient.readable_labels())) == 21
    assert len(lenient.skipped) == 2
