"""Small trees in exactly the layouts of MUSES (raw and as its SDK projects it), MCubeS and CamVid."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import h5py
import numpy as np

CAMERA_K = [[1000.0, 0.0, 960.0], [0.0, 1000.0, 540.0], [0.0, 0.0, 1.0]]
EVENT_K = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
LIDAR_TO_CAMERA = [[0.0, -1.0, 0.0, 0.1], [0.0, 0.0, -1.0, -0.3], [1.0, 0.0, 0.0, -0.5], [0.0, 0.0, 0.0, 1.0]]
EVENT_TO_CAMERA = [[1.0, 0.0, 0.0, 0.2], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
SCENES = (("clear", "day"), ("fog", "night"))


def write_muses(root: Path, scenes: dict[str, int], size: tuple[int, int] = (54, 96), seed: int = 0) -> Path:
    """``scenes[split]`` raw scenes per pair of SCENES; labels hold classes 0, 8, 13 and a row of 255."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    intrinsics = {"rgb": {"K": CAMERA_K}, "event": {"K": EVENT_K}}
    extrinsics = {"lidar2rgb": LIDAR_TO_CAMERA, "event2rgb": EVENT_TO_CAMERA, "lidar2gnss": np.eye(4).tolist()}
    (root / "calib.json").write_text(json.dumps({"intrinsics": intrinsics, "extrinsics": extrinsics}))
    meta = {}
    for split, count in scenes.items():
        for weather, time in SCENES:
            for number in range(count):
                name = f"REC{number:04d}_frame_{number:06d}"
                write_scene(root, f"{split}/{weather}/{time}", name, size, rng)
                meta[name] = {"split": split, "weather": weather, "time_of_day": time}
                meta[name] |= {
                    f"path_to_{sensor}": f"{sensor}/{split}/{weather}/{time}/{name}_{sensor}{suffix}"
                    for sensor, suffix in (("frame_camera", ".png"), ("event_camera", ".h5"), ("lidar", ".bin"))
                }
    (root / "meta.json").write_text(json.dumps(meta))
    return root


def write_scene(root: Path, place: str, name: str, size: tuple[int, int], rng: np.random.Generator) -> None:
    """All raw files of one scene."""
    height, width = size
    labels = np.full(size, 8, np.uint8)
    labels[height // 2 :] = 0
    labels[height // 3 : height // 2, width // 4 : width // 2] = 13
    labels[0] = 255
    image = (labels[..., None] * np.array([9, 5, 14]) % 200 + rng.integers(0, 40, (*size, 3))).astype(np.uint8)
    _png(root / "frame_camera" / place / f"{name}_frame_camera.png", image[..., ::-1])
    if "test" not in place.split("/"):
        _png(root / "gt_semantic" / place / f"{name}_gt_labelTrainIds.png", labels)
    cloud = np.column_stack([
        rng.uniform(2, 60, 400), rng.uniform(-20, 20, 400), rng.uniform(-2, 4, 400),
        rng.integers(0, 256, 400), rng.integers(0, 128, 400), rng.uniform(0, 0.1, 400),
    ])  # fmt: skip
    write_cloud(root / "lidar" / place / f"{name}_lidar.bin", cloud)
    count = 3000
    stamps_us = np.sort(rng.integers(0, 60_000, count)) + 5_000_000
    x, y, p = rng.integers(0, 1280, count), rng.integers(0, 720, count), rng.integers(0, 2, count)
    write_event_file(root / "event_camera" / place / f"{name}_event_camera.h5", x, y, stamps_us, p)


def write_cloud(path: Path, rows: np.ndarray) -> None:
    """(N, 6) float64: x front, y left, z up, intensity 0..255, ring, time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.astype("<f8").tofile(path)


def write_event_file(path: Path, x: np.ndarray, y: np.ndarray, t_us: np.ndarray, p: np.ndarray) -> None:
    """Datasets events/x, y, t (microseconds), p (0 or 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values, kind in (("x", x, "u2"), ("y", y, "u2"), ("t", t_us, "i8"), ("p", p, "u1")):
            file.create_dataset(f"events/{name}", data=np.asarray(values).astype(kind), compression="gzip")


def write_projection(path: Path, image: np.ndarray) -> None:
    """As the SDK stores it: `.npz` as it is; `.png` of a float image as (value + 100) * 150 in 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez_compressed(path, image)
    else:
        stored = ((image + 100) * 150).astype(np.uint16) if image.dtype.kind == "f" else image
        assert cv2.imwrite(str(path), stored)


def write_mcubes(root: Path, items: dict[str, int], size: tuple[int, int] = (40, 256), seed: int = 0) -> Path:
    """``items[split]`` items; `size` includes the 192 columns that are cropped."""
    rng = np.random.default_rng(seed)
    for split, count in items.items():
        names = [f"out{split}_{number}_{number:010d}" for number in range(count)]
        for name in names:
            write_item(root, name, size, rng)
        (root / "list_folder").mkdir(exist_ok=True)
        (root / "list_folder" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def write_item(root: Path, name: str, size: tuple[int, int], rng: np.random.Generator) -> None:
    """All files of one item."""
    height, width = size
    labels = np.full(size, 16, np.uint8)
    labels[height // 2 :] = 0
    labels[:2] = 255
    _png(root / "GT" / f"{name}.png", labels)
    _png(root / "polL_color" / f"{name}.png", rng.integers(0, 65536, (*size, 3)).astype(np.uint16))
    _png(root / "NIR_warped" / f"{name}.png", rng.integers(0, 256, size).astype(np.uint8))
    angle = rng.uniform(0, np.pi, size)
    _npy(root / "polL_aolp_sin" / f"{name}.npy", np.sin(2 * angle))
    _npy(root / "polL_aolp_cos" / f"{name}.npy", np.cos(2 * angle))
    _npy(root / "polL_dolp" / f"{name}.npy", rng.uniform(0, 1, size))


def _png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def _npy(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array.astype(np.float32))


def write_camvid(root: Path, counts: dict[str, int], size: tuple[int, int], seed: int = 0) -> Path:
    """``counts[split]`` pictures as the SegNet tutorial packs them: sky over road with a car, and a row of void."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        for number in range(count):
            labels = np.zeros(size, np.uint8)
            labels[size[0] // 2 :] = 3
            labels[size[0] // 3 : size[0] // 2, : size[1] // 3] = 8
            labels[0] = 11
            noise = rng.integers(0, 40, (*size, 3))
            image = (labels[..., None] * np.array([9, 5, 14]) + noise).astype(np.uint8)
            _png(root / split / f"0001TP_{number:06d}.png", image)
            _png(root / f"{split}annot" / f"0001TP_{number:06d}.png", labels)
    return root
