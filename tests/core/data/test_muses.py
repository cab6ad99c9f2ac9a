"""MUSES: raw files through the rig against geometry written out by hand, the SDK's images, the published defects."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_trees import (
    CAMERA_K,
    EVENT_K,
    LIDAR_TO_CAMERA,
    write_cloud,
    write_event_file,
    write_muses,
    write_projection,
)  # fmt: skip
from raised import user_error

from any2seg_core.data import muses_files
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.muses import MusesDataset

SIZE = (54, 96)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_muses(tmp_path / "muses", {"train": 2, "val": 1, "test": 1}, SIZE)


def place(root: Path, folder: str, ending: str, scene: str = "val/clear/day") -> Path:
    return root / folder / scene / f"REC0000_frame_000000_{ending}"


def test_value_scenes_conditions_and_names(root: Path):
    dataset = MusesDataset(root, "train")
    assert [dataset.condition(frame) for frame in dataset.frames] == ["clear/day"] * 2 + ["fog/night"] * 2
    assert dataset.frames[3].name == "fog/night/REC0001_frame_000001"
    assert dataset.modalities == ("rgb", "event", "lidar")
    assert dataset.source == "raw"
    assert dataset.encodings == {
        "rgb": "rgb8",
        "event": "counts-recency-1",
        "lidar": "range-intensity-height-1",
    }


@pytest.mark.parametrize(("cases", "expected"), [(["fog"], 2), (["day"], 2), (["fog/night", "day"], 4)])
def test_value_cases_are_weather_time_or_both(root: Path, cases: list[str], expected: int):
    assert len(MusesDataset(root, "train", cases=cases)) == expected


def test_exception_cases(root: Path):
    with user_error("data-empty", "train", "fog/day"):
        MusesDataset(root, "train", cases=["fog/day"])
    with user_error("value-unknown", "'cloud'", "clear, fog, rain, snow, day, night"):
        MusesDataset(root, "train", cases=["cloud"])


def test_value_labels_are_train_ids_and_255_stays_ignored(root: Path):
    labels = MusesDataset(root, "val").labels(0)
    assert labels.shape == SIZE
    assert sorted(np.unique(labels)) == [0, 8, 13, 255]
    assert np.all(labels[0] == 255)


def test_value_raw_lidar_lands_where_pinhole_geometry_says(root: Path):
    """Oracle: OpenCV's projection at the size of the images; one point ahead, one inside the nearest metre."""
    cloud = np.array([[20.0, 3.0, 1.0, 102.0, 5, 0.0], [0.4, 0.1, 0.1, 255.0, 5, 0.0]])
    write_cloud(place(root, "lidar", "lidar.bin"), cloud)
    plane = MusesDataset(root, "val")[0].planes["lidar"]
    transform = np.array(LIDAR_TO_CAMERA)
    in_camera = transform[:3, :3] @ cloud[0, :3] + transform[:3, 3]
    uv = cv2.projectPoints(in_camera[None], np.zeros(3), np.zeros(3), np.array(CAMERA_K), None)[0].ravel()
    column, row = np.rint((uv + 0.5) * (SIZE[1] / 1920) - 0.5).astype(int)
    rows, columns = np.nonzero(plane[..., 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (row - 1, row + 1, column - 1, column + 1)
    distance = np.linalg.norm(in_camera)
    assert plane[row, column].tolist() == [int(2550 / (10 + distance) + 0.5), 102, round((-in_camera[1] + 4) * 20 + 1)]


def test_value_raw_events_count_in_the_last_30_ms(root: Path):
    stamps_us = np.array([0, 1000, 31_001, 31_001, 61_000])  # the newest one ends the window
    x, y, p = np.array([640, 640, 640, 640, 640]), np.array([360] * 5), np.array([1, 1, 1, 0, 1])
    path = place(root, "event_camera", "event_camera.h5")
    write_event_file(path, x, y, stamps_us, p)
    events = muses_files.read_events(path, 30_000_000)
    assert events["t"].tolist() == [31_001_000, 31_001_000, 61_000_000]
    assert events["p"].tolist() == [1, -1, 1]
    plane = MusesDataset(root, "val")[0].planes["event"]
    rows, columns = np.nonzero(plane[..., 2])
    target = np.linalg.inv(np.array(EVENT_K)) @ [640, 360, 1]
    uv = np.array(CAMERA_K) @ target
    assert abs(columns.mean() - ((uv[0] + 0.5) * SIZE[1] / 1920 - 0.5)) <= 0.5
    assert abs(rows.mean() - ((uv[1] + 0.5) * SIZE[0] / 1080 - 0.5)) <= 0.5
    assert plane[rows[0], columns[0]].tolist() == [80, 40, 255]


def test_value_disk_cache_gives_the_same_bytes_and_is_used(root: Path):
    fresh = [MusesDataset(root, "train")[index].planes for index in range(4)]
    keeping = MusesDataset(root, "train", cache="disk")
    assert [keeping.make_planes(index) for index in range(4)] == [2, 2, 2, 2]
    assert [keeping.make_planes(index) for index in range(4)] == [0, 0, 0, 0]
    place(root, "lidar", "lidar.bin", "train/clear/day").write_bytes(b"12345678" * 6)
    for dataset in (MusesDataset(root, "train"), MusesDataset(root, "train", cache="ram")):
        for index, planes in enumerate(fresh):
            for name, plane in planes.items():
                assert np.array_equal(dataset[index].planes[name], plane)


def test_value_another_calibration_makes_other_planes(root: Path):
    before = MusesDataset(root, "val", cache="disk")[0].planes["lidar"]
    document = json.loads((root / "calib.json").read_text())
    document["extrinsics"]["lidar2rgb"][1][3] += 2.0
    (root / "calib.json").write_text(json.dumps(document))
    after = MusesDataset(root, "val", cache="disk")[0].planes["lidar"]
    assert not np.array_equal(before, after)
    assert len(list((root / "any2seg_planes").iterdir())) == 2


def projection() -> np.ndarray:
    image = np.zeros((*SIZE, 3), np.float32)
    image[10, 20] = [40.0, 51.0, -1.5]
    image[30, 70] = [8.0, 255.0, 2.0]
    return image


@pytest.mark.parametrize("suffix", [".npz", ".png"])
def test_value_projections_of_the_sdk(root: Path, suffix: str):
    counts = np.zeros((*SIZE, 3), np.uint8)
    counts[5, 6] = [2, 9, 0]
    write_projection(place(root, "projected_to_rgb/lidar", f"lidar{suffix}"), projection())
    write_projection(place(root, "projected_to_rgb/event_camera", f"event_camera{suffix}"), counts)
    dataset = MusesDataset(root, "val", cases=["clear"], source="projected")
    planes = dataset[0].planes
    assert planes["lidar"][10, 20].tolist() == [51, 51, 51]
    assert planes["lidar"][30, 70].tolist() == [142, 255, 121]
    assert np.count_nonzero(planes["lidar"].any(axis=2)) == 2
    assert planes["event"][5, 6].tolist() == [80, 255, 0]
    assert np.count_nonzero(planes["event"]) == 2
    assert dataset.encodings["lidar"] == "muses-sdk-range-1"
    assert dataset.encodings["event"] == "muses-sdk-counts-1"


def test_value_hkust_parity_repeats_the_published_defects(root: Path):
    write_projection(place(root, "lidar", "lidar.png"), projection())
    counts = np.zeros((*SIZE, 3), np.uint8)
    counts[..., 0] = 7
    write_projection(place(root, "event_camera", "event_camera.png"), counts)
    with pytest.warns(UserWarning, match="count as road"):
        dataset = MusesDataset(root, "val", cases=["clear"], parity="hkust")
    sample = dataset[0]
    assert {plane.shape for plane in sample.planes.values()} == {(1024, 1024, 3)}
    assert sample.labels.shape == (1024, 1024)
    assert 255 not in sample.labels
    assert np.all(sample.labels[0] == 0)  # the ignored row became road
    assert (sample.planes["lidar"] == 58).mean() > 0.9  # an empty pixel: 15000 >> 8
    assert sample.planes["event"][500, 500].tolist() == [0, 0, 7]  # OpenCV wrote it, Pillow reads it: mirrored
    assert dataset.normalisation["rgb"].std == pytest.approx((1 / 255,) * 3)
    assert dataset.encodings["lidar"] == "muses-hkust-1"


def test_exception_what_is_missing_is_named(root: Path, tmp_path: Path):
    with user_error("data-unlabelled", "test"):
        MusesDataset(root, "test")
    with user_error(
        "frame-incomplete", "projected_to_rgb/event_camera/val/clear/day/REC0000_frame_000000_event_camera.npz"
    ):
        MusesDataset(root, "val", source="projected")
    place(root, "lidar", "lidar.bin").unlink()
    with user_error("frame-incomplete", "REC0000_frame_000000_lidar.bin"):
        MusesDataset(root, "val")
    assert len(MusesDataset(root, "val", ["rgb"])) == 2
    with user_error("sensor-unknown", "'depth'", "rgb (F, camera), event (E), lidar (L)"):
        MusesDataset(root, "val", ["rgb", "depth"])
    with user_error("option-unsupported", "cache=disk"):
        MusesDataset(root, "val", source="projected", cache="disk")


@pytest.mark.parametrize(
    ("change", "code", "key"),
    [
        (lambda d: d["intrinsics"].pop("event"), "key-missing", "intrinsics.event"),
        (lambda d: d["extrinsics"].pop("lidar2rgb"), "key-missing", "extrinsics.lidar2rgb"),
        (lambda d: d["extrinsics"].update(event2rgb=[[1, 2], [3, 4]]), "transform-invalid", "event_to_camera"),
        (lambda d: d.update(intrinsics=[1]), "key-missing", "intrinsics.rgb"),
    ],
)
def test_exception_calibration_names_the_key(root: Path, change, code: str, key: str):
    document = json.loads((root / "calib.json").read_text())
    change(document)
    (root / "calib.json").write_text(json.dumps(document))
    with user_error(code, "calib.json", key):
        MusesDataset(root, "val")


def test_exception_calibration_absent_or_no_json(root: Path):
    (root / "calib.json").write_text("{")
    with user_error("text-syntax", "calib.json"):
        MusesDataset(root, "val")
    (root / "calib.json").unlink()
    with user_error("file-missing", "calib.json"):
        MusesDataset(root, "val", source="raw")


@pytest.mark.parametrize(
    ("folder", "ending", "content", "told"),
    [
        ("lidar", "lidar.bin", b"x" * 47, ("file-content", "47 bytes", "6 float64")),
        ("lidar", "lidar.bin", b"", ("file-content", "0 bytes")),
        ("event_camera", "event_camera.h5", b"no hdf", ("file-format", "HDF5")),
        ("gt_semantic", "gt_labelTrainIds.png", b"", ("file-format",)),
    ],
)
def test_exception_corrupt_files_are_named_and_can_be_skipped(root: Path, folder, ending, content, told):
    place(root, folder, ending).write_bytes(content)
    with user_error(*told, ending, kind=CorruptFileError):
        MusesDataset(root, "val")[0]
    lenient = MusesDataset(root, "val", skip_corrupt=True)
    assert lenient.readable(0) is None
    assert lenient.skipped == ("clear/day/REC0000_frame_000000",)


def test_exception_a_label_of_another_data_set(root: Path):
    path = place(root, "gt_semantic", "gt_labelTrainIds.png")
    assert cv2.imwrite(str(path), np.full(SIZE, 19, np.uint8))
    with user_error("label-ids", "id 19", "0..18", kind=CorruptFileError):
        MusesDataset(root, "val").labels(0)


def test_exception_events_without_the_extra(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with user_error("package-missing", "any2seg[muses]"):
        MusesDataset(root, "val")[0]
