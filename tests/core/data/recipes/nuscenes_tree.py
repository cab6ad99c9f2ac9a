"""A small tree in exactly nuScenes' layout: tables, key frames, one sweep between them, and nuScenes-lidarseg."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from street_trees import CLOUD, PICTURE, SIZE, K, write_png, write_rows, write_text

CAMERAS = ("CAM_FRONT", "CAM_BACK")
DRIVEN_M = 1.0
"""How far the vehicle drives on between the sweep and the picture of a key frame: the cloud is written so that `CLOUD`
is what the camera sees."""

_LIDAR_TURN = [0.7071067811865476, 0.0, 0.0, -0.7071067811865476]  # its y looks ahead, its x to the right
_CAMERA_TURNS = {"CAM_FRONT": [0.5, -0.5, 0.5, -0.5], "CAM_BACK": [0.5, -0.5, -0.5, 0.5]}


def token(*words: object) -> str:
    return hashlib.md5(repr(words).encode()).hexdigest()


def write_nuscenes(root: Path, version: str, scenes: Mapping[str, int], labels: Sequence[int] | None) -> Path:
    """``scenes``: name -> key frames. ``labels``: one id a point of CLOUD; None: lidarseg is not installed."""
    tables: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "scene",
            "sample",
            "sample_data",
            "ego_pose",
            "sensor",
            "calibrated_sensor",
            "lidarseg",
            "category",
        )
    }
    channels = ("LIDAR_TOP", *CAMERAS)
    for channel in channels:
        kind = "lidar" if channel == "LIDAR_TOP" else "camera"
        tables["sensor"].append({"token": token(channel), "channel": channel, "modality": kind})
        tables["calibrated_sensor"].append({
            "token": token("cs", channel), "sensor_token": token(channel), "translation": [1.5, 0.0, 1.6],
            "rotation": _CAMERA_TURNS.get(channel, _LIDAR_TURN), "camera_intrinsic": K if kind == "camera" else [],
        })  # fmt: skip
    for scene, count in scenes.items():
        tables["scene"].append({"token": token(scene), "name": scene, "description": "", "nbr_samples": count})
        for number in range(count):
            _key_frame(root, version, tables, scene, number, labels)
    for index, name in enumerate(("noise", "animal", "human.pedestrian.adult")):
        tables["category"].append({"token": token(name), "name": name, "description": "", "index": index})
    if labels is None:
        del tables["lidarseg"]
    for name, rows in tables.items():
        write_text(root / version / f"{name}.json", json.dumps(rows, indent=0))
    return root


def _key_frame(
    root: Path,
    version: str,
    tables: dict[str, list[dict[str, Any]]],
    scene: str,
    number: int,
    labels: Sequence[int] | None,
) -> None:
    stamp_us = 1_532_402_927_647_951 + int(scene[-4:]) * 20_000_000 + number * 500_000
    sample = token(scene, number)
    tables["sample"].append({"token": sample, "timestamp": stamp_us, "scene_token": token(scene)})
    for order, channel in enumerate(("LIDAR_TOP", *CAMERAS)):
        for is_key_frame in (True, False):  # a sweep in between belongs to the same sample
            at_us = stamp_us + 10_000 * order + 50_000 * (not is_key_frame)
            ending = "pcd.bin" if channel == "LIDAR_TOP" else "jpg"
            folder = "samples" if is_key_frame else "sweeps"
            file = f"{folder}/{channel}/n015-2018-07-24-11-22-45+0800__{channel}__{at_us}.{ending}"
            record = {
                "token": token(file), "sample_token": sample, "ego_pose_token": token("pose", file),
                "calibrated_sensor_token": token("cs", channel), "timestamp": at_us, "fileformat": ending.split(".")[0],
                "is_key_frame": is_key_frame, "height": 0, "width": 0, "filename": file, "prev": "", "next": "",
            }  # fmt: skip
            driven_m = 5.0 * number + (0.0 if channel == "LIDAR_TOP" else DRIVEN_M)
            pose = {"token": token("pose", file), "timestamp": at_us, "translation": [driven_m, 0.0, 0.0]}
            tables["ego_pose"].append(pose | {"rotation": [1.0, 0.0, 0.0, 0.0]})
            if channel != "LIDAR_TOP":
                record |= {"height": SIZE[0], "width": SIZE[1]}
                write_png(root / file, PICTURE)
            else:
                write_rows(root / file, _as_stored(CLOUD))
            tables["sample_data"].append(record)
            if channel == "LIDAR_TOP" and is_key_frame and labels is not None:
                name = f"lidarseg/{version}/{record['token']}_lidarseg.bin"
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                np.array(labels, np.uint8).tofile(root / name)
                entry = {"token": record["token"], "sample_data_token": record["token"], "filename": name}
                tables["lidarseg"].append(entry)


def _as_stored(cloud: np.ndarray) -> np.ndarray:
    """(N, 4) ahead, left, up, intensity 0..1 -> (N, 5) in the LiDAR's own axes, 0..255 and a ring."""
    ahead, left, up, strength = cloud.T
    return np.column_stack([-left, ahead + DRIVEN_M, up, 255.0 * strength, np.arange(len(cloud))])
