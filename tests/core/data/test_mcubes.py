"""MCubeS: crop, 16 bits, polarisation planes and honest splits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_trees import write_mcubes
from raised import user_error

from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.mcubes import McubesDataset

SIZE = (40, 256)
CROPPED = (40, 64)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_mcubes(tmp_path / "multimodal_dataset", {"train": 3, "val": 1, "test": 2}, SIZE)


def test_value_splits_are_those_of_the_lists(root: Path):
    assert [len(McubesDataset(root, split)) for split in ("train", "val", "test")] == [3, 1, 2]
    assert McubesDataset(root, "val").frames[0].name == "outval_0_0000000000"
    assert len(McubesDataset(root.parent, "test")) == 2  # the folder above will do


def test_value_lists_may_have_a_byte_order_mark_and_line_ends_of_windows(root: Path):
    expected = [frame.name for frame in McubesDataset(root, "train").frames]
    path = root / "list_folder" / "train.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_text().replace("\n", "\r\n").encode())
    assert [frame.name for frame in McubesDataset(root, "train").frames] == expected
    path.write_text(f"# own split\n\n{path.read_text('utf-8-sig')}")
    assert [frame.name for frame in McubesDataset(root, "train").frames] == expected


def test_value_planes_keep_16_bits_and_lose_the_left_192_columns(root: Path):
    dataset = McubesDataset(root, "train")
    sample = dataset[1]
    name = dataset.frames[1].name
    assert list(sample.planes) == ["rgb", "aolp", "dolp", "nir"]
    assert all(plane.shape == (*CROPPED, 3) for plane in sample.planes.values())
    assert all(plane.dtype == np.float32 for plane in sample.planes.values())
    stored = cv2.imread(str(root / "polL_color" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    np.testing.assert_allclose(sample.planes["rgb"] / 255, stored[:, 192:, ::-1] / 65535, rtol=1e-6)
    nir = cv2.imread(str(root / "NIR_warped" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(sample.planes["nir"] / 255, np.repeat(nir[:, 192:, None] / 255, 3, axis=2), atol=1e-6)


def test_value_polarisation_is_sine_cosine_sine_and_the_degree_thrice(root: Path):
    dataset = McubesDataset(root, "val")
    name = dataset.frames[0].name
    sine, cosine, degree = (
        np.load(root / f"polL_{what}" / f"{name}.npy")[:, 192:] for what in ("aolp_sin", "aolp_cos", "dolp")
    )
    planes = dataset[0].planes
    np.testing.assert_allclose(planes["aolp"] / 255, np.stack([sine, cosine, sine], axis=2), atol=1e-6)
    np.testing.assert_allclose(planes["dolp"] / 255, np.stack([degree] * 3, axis=2), atol=1e-6)
    assert planes["aolp"].min() < -100  # the sign survives


def test_value_labels_and_encodings(root: Path):
    dataset = McubesDataset(root, "val")
    labels = dataset.labels(0)
    assert labels.shape == CROPPED
    assert sorted(np.unique(labels)) == [0, 16, 255]
    assert dataset.encodings == {"rgb": "linear16-1", "aolp": "sin-cos-sin-1", "dolp": "degree-1", "nir": "nir-1"}
    assert len(dataset.label_space) == 20


def test_exception_errors_name_what_is_wrong(root: Path, tmp_path: Path):
    with user_error("value-unknown", "'night'"):
        McubesDataset(root, "val", cases=["night"])
    with user_error("option-unsupported", "cache=disk", "mcubes"):
        McubesDataset(root, "val", cache="disk")
    with user_error("sensor-unknown", "'lidar'", "rgb (I, camera), aolp"):
        McubesDataset(root, "val", ["lidar"])
    name = McubesDataset(root, "val").frames[0].name
    np.save(root / "polL_aolp_cos" / f"{name}.npy", np.zeros((40, 250), np.float32))
    with user_error("size-mismatch", "polL_aolp_sin/outval_0_0000000000.npy", "(40, 58)", kind=CorruptFileError):
        McubesDataset(root, "val")[0]
    np.save(root / "polL_dolp" / f"{name}.npy", np.zeros(SIZE, np.int32))
    with user_error("file-content", "polL_dolp/outval_0_0000000000.npy", "int32", kind=CorruptFileError):
        McubesDataset(root, "val", ["dolp"])[0]
    (root / "polL_dolp" / f"{name}.npy").write_bytes(b"\x93NUMPY")
    with user_error("file-format", "polL_dolp/outval_0_0000000000.npy", kind=CorruptFileError):
        McubesDataset(root, "val", ["dolp"])[0]
    (root / "polL_dolp" / f"{name}.npy").unlink()
    with user_error("frame-incomplete", name):
        McubesDataset(root, "val")
    (root / "list_folder" / "val.txt").unlink()
    with user_error("data-empty", "list_folder/val.txt"):
        McubesDataset(root, "val")


def test_exception_a_label_of_another_data_set(root: Path):
    dataset = McubesDataset(root, "val")
    path = root / "GT" / f"{dataset.frames[0].name}.png"
    assert cv2.imwrite(str(path), np.full(SIZE, 20, np.uint8))
    with user_error("label-ids", "id 20", "0..19", kind=CorruptFileError):
        dataset.labels(0)
