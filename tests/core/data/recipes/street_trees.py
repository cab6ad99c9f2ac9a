"""Small trees in exactly the layouts of Cityscapes, KITTI (raw and object), KITTI-360, SemanticKITTI, nuScenes, CamVid.

All of one frame is known by hand: `PICTURE`, the cloud `CLOUD` whose points fall on `PIXELS`, and labels written by the
tests. Sizes are odd and not square.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZE = (37, 123)
"""H, W."""
FOCAL, CENTRE = 60.0, (61.0, 18.0)
K = [[FOCAL, 0.0, CENTRE[0]], [0.0, FOCAL, CENTRE[1]], [0.0, 0.0, 1.0]]
PICTURE = np.zeros((*SIZE, 3), np.uint8)
PICTURE[:, 50:] = (200, 100, 50)  # RGB
PICTURE[9, 7] = (1, 2, 3)

CLOUD = np.array(
    [[10.0, 1.0, -0.5, 1.0], [20.0, -2.0, 1.0, 0.0], [5.0, 0.0, 0.0, 0.4], [-9.0, 1.0, 0.0, 0.9]], np.float32
)
"""x forward, y left, z up, intensity 0..1; the LiDAR sits in the camera. The last point lies behind it."""
PIXELS = ((21, 55), (15, 67), (18, 61))
"""Row and column of the first three: 18 - 60 z / x, 61 - 60 y / x."""
CODES = ((127, 255, 71), (85, 0, 101), (170, 102, 81))
"""Their colours in a LiDAR plane: 2550 / (10 + range), 255 intensity, 81 + 20 height over the camera."""

LIDAR_TO_CAMERA = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]])


def write_png(path: Path, image: np.ndarray) -> None:
    """(H, W) or RGB (H, W, 3), 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image if image.ndim == 2 else image[..., ::-1])


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_rows(path: Path, rows: np.ndarray) -> None:
    """Rows of float32 without a head, as all of them write clouds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.astype("<f4").tofile(path)


def numbers(matrix: Any) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(np.asarray(matrix, float)))


def projection(offset: float = 0.0) -> np.ndarray:
    """P of a rectified camera whose fourth column moves points by ``offset`` metres along x."""
    return np.column_stack([np.array(K), [FOCAL * offset, 0.0, 0.0]])


def write_cityscapes(
    root: Path, frames: Mapping[str, Sequence[str]], labels: np.ndarray, disparity: np.ndarray
) -> Path:
    """``frames``: split -> names such as ulm_000000_000019; test labels are hidden, as there: all 0."""
    for split, names in frames.items():
        for name in names:
            city = name.split("_")[0]
            write_png(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", PICTURE)
            ids = labels if split != "test" else np.zeros_like(labels)
            write_png(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
            write_png(root / "gtFine" / split / city / f"{name}_gtFine_color.png", PICTURE)
            write_png(root / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", ids.astype(np.uint16))
            write_text(root / "gtFine" / split / city / f"{name}_gtFine_polygons.json", "{}")
            write_png(root / "disparity" / split / city / f"{name}_disparity.png", disparity)
            camera = {
                "extrinsic": {"baseline": 0.2, "pitch": 0.03, "roll": 0.0, "x": 1.7, "y": 0.1, "yaw": -0.02, "z": 1.2},
                "intrinsic": {"fx": FOCAL, "fy": FOCAL, "u0": CENTRE[0], "v0": CENTRE[1]},
            }
            write_text(root / "camera" / split / city / f"{name}_camera.json", json.dumps(camera))
    return root


def write_kitti_raw(root: Path, drives: Mapping[str, int], offset: float = 0.0) -> Path:
    """``drives``: name, as 2011_09_26_drive_0001_sync -> frames. The LiDAR sits in camera 0."""
    for drive, count in drives.items():
        date = drive[:10]
        lines = ["calib_time: 09-Jan-2012 13:57:47", "corner_dist: 9.950000e-02"]
        for number in range(4):
            lines += [f"S_0{number}: 1.392000e+03 5.120000e+02", f"K_0{number}: {numbers(K)}"]
            lines += [f"S_rect_0{number}: {SIZE[1]:e} {SIZE[0]:e}", f"R_rect_0{number}: {numbers(np.eye(3))}"]
            lines += [f"P_rect_0{number}: {numbers(projection(offset if number == 2 else 0.0))}"]
        write_text(root / date / "calib_cam_to_cam.txt", "\n".join(lines))
        pose = f"R: {numbers(LIDAR_TO_CAMERA[:, :3])}\nT: {numbers([0, 0, 0])}\ndelta_f: 0 0\ndelta_c: 0 0\n"
        write_text(root / date / "calib_velo_to_cam.txt", f"calib_time: 15-Mar-2012 11:37:16\n{pose}")
        write_text(root / date / "calib_imu_to_velo.txt", pose)
        folder = root / date / drive
        stamps = "".join(f"2011-09-26 13:02:25.{number:09d}\n" for number in range(count))
        for number in range(count):
            for camera in range(4):
                shown = PICTURE if camera > 1 else PICTURE[..., 0]
                write_png(folder / f"image_0{camera}" / "data" / f"{number:010d}.png", shown)
                write_text(folder / f"image_0{camera}" / "timestamps.txt", stamps)
            write_rows(folder / "velodyne_points" / "data" / f"{number:010d}.bin", CLOUD)
            write_text(folder / "oxts" / "data" / f"{number:010d}.txt", "49.0 8.4 112.8")
        for name in ("timestamps", "timestamps_start", "timestamps_end"):
            write_text(folder / "velodyne_points" / f"{name}.txt", stamps)
    return root


def write_kitti_object(root: Path, counts: Mapping[str, int]) -> Path:
    """``counts``: training and testing -> frames; boxes for the first alone."""
    for part, count in counts.items():
        for number in range(count):
            write_png(root / part / "image_2" / f"{number:06d}.png", PICTURE)
            write_rows(root / part / "velodyne" / f"{number:06d}.bin", CLOUD)
            lines = [f"P{camera}: {numbers(projection())}" for camera in range(4)]
            lines += [f"R0_rect: {numbers(np.eye(3))}", f"Tr_velo_to_cam: {numbers(LIDAR_TO_CAMERA)}"]
            lines += [f"Tr_imu_to_velo: {numbers(LIDAR_TO_CAMERA)}", ""]
            write_text(root / part / "calib" / f"{number:06d}.txt", "\n".join(lines))
            if part == "training":
                write_text(root / part / "label_2" / f"{number:06d}.txt", "Car 0.0 0 1.5 1 1 2 2 1 1 1 0 0 9 0\n")
    return root


def write_kitti_360(root: Path, frames: Mapping[str, Sequence[tuple[int, int]]], labels: np.ndarray) -> Path:
    """``frames``: train and val -> (drive, frame); each picture is there, also one more that no list names."""
    camera_to_lidar = np.vstack([LIDAR_TO_CAMERA, [0, 0, 0, 1]])
    rows = numbers(np.linalg.inv(camera_to_lidar)[:3])
    write_text(root / "calibration" / "calib_cam_to_velo.txt", f"{rows}\n")
    write_text(root / "calibration" / "calib_sick_to_velo.txt", f"{rows}\n")
    write_text(root / "calibration" / "calib_cam_to_pose.txt", "".join(f"image_0{n}: {rows}\n" for n in range(4)))
    lines = ["calib_time: 01-Jan-2014 00:00:00", "corner_dist: 1e-01"]
    for number in range(2):
        lines += [f"S_rect_0{number}: {SIZE[1]} {SIZE[0]}", f"R_rect_0{number}: {numbers(np.eye(3))}"]
        lines += [f"P_rect_0{number}: {numbers(projection(-0.6 * number))}"]
    write_text(root / "calibration" / "perspective.txt", "\n".join(lines))
    for split, entries in frames.items():
        listed = []
        for drive_number, frame in entries:
            drive = f"2013_05_28_drive_{drive_number:04d}_sync"
            for camera in ("image_00", "image_01"):
                image = f"data_2d_raw/{drive}/{camera}/data_rect/{frame:010d}.png"
                label = f"data_2d_semantics/train/{drive}/{camera}/semantic/{frame:010d}.png"
                write_png(root / image, PICTURE)
                write_png(root / label, labels)
                write_png(root / label.replace("/semantic/", "/semantic_rgb/"), PICTURE)
                write_png(root / label.replace("/semantic/", "/confidence/"), np.full(SIZE, 65535, np.uint16))
                if camera == "image_00":
                    listed.append(f"{image} {label}\n")
            write_png(root / f"data_2d_raw/{drive}/image_00/data_rect/{frame + 1:010d}.png", PICTURE)
            write_rows(root / f"data_3d_raw/{drive}/velodyne_points/data/{frame:010d}.bin", CLOUD)
            write_text(root / f"data_poses/{drive}/poses.txt", f"{frame} {numbers(np.eye(4)[:3])}\n")
        write_text(root / f"data_2d_semantics/train/2013_05_28_drive_{split}_frames.txt", "".join(listed))
    return root


def write_semantic_kitti(root: Path, sequences: Mapping[str, int], labels: Sequence[int]) -> Path:
    """``sequences``: "00" to "21" -> frames; 11 and above have no labels. ``labels``: one raw id a point of CLOUD."""
    for sequence, count in sequences.items():
        folder = root / "sequences" / sequence
        lines = [f"P{camera}: {numbers(projection())}" for camera in range(4)] + [f"Tr: {numbers(LIDAR_TO_CAMERA)}", ""]
        write_text(folder / "calib.txt", "\n".join(lines))
        write_text(folder / "times.txt", "".join(f"{number / 10:e}\n" for number in range(count)))
        write_text(folder / "poses.txt", f"{numbers(np.eye(4)[:3])}\n" * count)
        for number in range(count):
            write_png(folder / "image_2" / f"{number:06d}.png", PICTURE)
            write_rows(folder / "velodyne" / f"{number:06d}.bin", CLOUD)
            if int(sequence) < 11:
                instances = np.arange(1, len(labels) + 1, dtype=np.uint32) << 16  # the upper half of each
                path = folder / "labels" / f"{number:06d}.label"
                path.parent.mkdir(exist_ok=True)
                (np.array(labels, np.uint32) | instances).astype("<u4").tofile(path)
    return root


def write_camvid_of_segnet(root: Path, counts: Mapping[str, int], labels: np.ndarray) -> Path:
    """Layout of the SegNet tutorial: train, trainannot, train.txt and so on; ids 0 to 10, 11 unlabelled."""
    for split, count in counts.items():
        lines = []
        for number in range(count):
            name = f"0016E5_{number:05d}.png"
            write_png(root / split / name, PICTURE)
            write_png(root / f"{split}annot" / name, labels)
            lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
        write_text(root / f"{split}.txt", "".join(lines))
    return root


def write_camvid_original(root: Path, names: Sequence[str], colours: np.ndarray) -> Path:
    """Layout of the archives of Cambridge: pictures, and labels as colours in files that end with _L."""
    for name in names:
        write_png(root / "701_StillsRaw_full" / f"{name}.png", PICTURE)
        write_png(root / "LabeledApproved_full" / f"{name}_L.png", colours)
    write_text(root / "label_colors.txt", "64 128 64\tAnimal\n192 0 128\tArchway\n")
    return root
