"""What is measured on: a street with walls as camera, depth camera, event camera and LiDAR see it, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from any2seg_core.messages.images import array_to_image_fields
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS, EVENT_DTYPE
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE

STAMP_NS = 1_700_000_000_000_000_000
LIDAR_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, -0.1], [1, 0, 0, -0.3], [0, 0, 0, 1]], np.float64)
POINTS, EVENTS = 120_000, 200_000
_BEAMS = 64
_UINT8, _UINT16, _FLOAT32, _FLOAT64 = 2, 4, 7, 8  # sensor_msgs/PointField
_CARLA_EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<f8"), ("pol", "i1")])
_HFOV_DEG = 91.0
_PACKET_US = 10_000


def camera(width: int, height: int) -> CameraModel:
    """A pinhole camera of 91 degrees."""
    return CameraModel.from_fov(width, height, _HFOV_DEG)


def calibration(view: CameraModel) -> Calibration:
    """All cameras in one place; the LiDAR above them."""
    return Calibration(view, view, view, LIDAR_TO_CAMERA, np.eye(4), np.eye(4))


def image(view: CameraModel, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8."""
    coarse = rng.integers(0, 256, (max(2, view.height // 16), max(2, view.width // 16), 3), dtype=np.uint8)
    return cv2.resize(coarse, (view.width, view.height))


def depth(view: CameraModel, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32 metres: a road 1.5 m below, walls 8 m to the sides, sky, 1 cm of noise."""
    rays = view.rays()
    down, side = np.maximum(rays[..., 1], 1e-6), np.maximum(np.abs(rays[..., 0]), 1e-6)
    depth_m = np.minimum(np.minimum(1.5 / down, 8.0 / side), 1000.0)
    depth_m[rays[..., 1] < -0.5] = 1000.0
    return (depth_m + rng.normal(0, 0.01, depth_m.shape)).astype(np.float32)


def cloud(count: int, rng: np.random.Generator, half_angle_rad: float = np.pi) -> np.ndarray:
    """(N, 4) float32: a road 1.8 m below the LiDAR and a wavy wall, column by column of 64 beams as a LiDAR turns.

    Args:
        count: about N; whole columns. half_angle_rad: to both sides of the forward direction.
    """
    columns = max(1, count // _BEAMS)
    azimuth = np.repeat(np.linspace(-half_angle_rad, half_angle_rad, columns, endpoint=False), _BEAMS)
    elevation = np.tile(np.radians(np.linspace(-25, 15, _BEAMS)), columns)
    road_m = np.minimum(1.8 / np.maximum(np.sin(-elevation), 1e-3), 60)
    range_m = np.where(elevation < -0.02, road_m, 20 + 15 * np.sin(5 * azimuth))
    flat_m = range_m * np.cos(elevation)
    position = [flat_m * np.cos(azimuth), flat_m * np.sin(azimuth), range_m * np.sin(elevation)]
    return np.stack([*position, rng.random(azimuth.size)], axis=1).astype(np.float32)


def events(count: int, view: CameraModel, rng: np.random.Generator) -> np.ndarray:
    """(N,) EVENT_DTYPE within the window before STAMP_NS, in order of time: half of them at edges, half everywhere."""
    found = np.zeros(count, EVENT_DTYPE)
    columns = rng.integers(0, view.width, max(1, view.width // 40))  # where edges stand
    at_edge = np.clip(rng.choice(columns, count) + rng.normal(0, 2, count).round(), 0, view.width - 1)
    found["x"] = np.where(rng.random(count) < 0.5, at_edge, rng.integers(0, view.width, count))
    found["y"] = rng.integers(0, view.height, count)
    found["t"] = STAMP_NS - np.sort(rng.integers(0, DEFAULT_WINDOW_NS, count))[::-1]
    found["p"] = rng.choice(np.array([-1, 1], np.int8), count)
    return found


def messages(view: CameraModel, points: int, event_count: int, rng: np.random.Generator) -> dict[str, Any]:
    """One message per sensor: bgra8, 32FC1, events of CARLA's 13 bytes, points of 16 bytes."""
    pixels = np.dstack([image(view, rng), np.full((view.height, view.width), 255, np.uint8)])
    given = events(event_count, view, rng)
    sent = np.zeros(event_count, _CARLA_EVENT)
    for name, source in (("x", "x"), ("y", "y"), ("t", "t"), ("pol", "p")):
        sent[name] = given[source]
    named = cloud(points, rng).view([(name, "<f4") for name in ("x", "y", "z", "intensity")]).ravel()
    return {
        "rgb": SimpleNamespace(**array_to_image_fields(pixels, "bgra8")),
        "depth": SimpleNamespace(**array_to_image_fields(depth(view, rng), "32FC1")),
        "event": _cloud_message(sent, (_UINT16, _UINT16, _FLOAT64, _UINT8)),
        "lidar": _cloud_message(named, (_FLOAT32,) * 4),
    }


def planes(contract: InputContract, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """(H, W, 3) uint8 per sensor, of the size of the network's input; sensors of other suites see noise."""
    view = camera(contract.width, contract.height)
    sight = {"rgb": image(view, rng), "depth": depth(view, rng), "lidar": cloud(POINTS, rng)}
    sight["event"] = events(contract.width * contract.height // 8, view, rng)
    made = SensorRig(calibration(view)).planes(sight, STAMP_NS) if contract.suite == VEHICLE else {}
    return {
        name: made[name] if name in made else rng.integers(0, 256, (view.height, view.width, 3), np.uint8)
        for name in contract.modalities
    }


def evt3_packets(count: int, rng: np.random.Generator, width: int = 1280, height: int = 720) -> list[SimpleNamespace]:
    """EventPackets of 10 ms with about so many events: nearly all words are vectors, as sensors send them."""
    packets: list[list[int]] = [[]]
    time_us, high, made = 4096, -1, 0
    while made < count:
        time_us += int(rng.exponential(8)) + 1
        if time_us // _PACKET_US >= len(packets) and packets[-1]:
            packets.append([])
            high = -1
        words = packets[-1]
        if time_us >> 12 != high:
            high = time_us >> 12
            words.append(0x8000 | high & 0xFFF)
        words.append(0x6000 | time_us & 0xFFF)
        for _ in range(rng.integers(1, 6)):
            row, number = _evt3_row(rng, width, height)
            words += row
            made += number
    return [_packet(seq, words, width, height) for seq, words in enumerate(packets)]


def _evt3_row(rng: np.random.Generator, width: int, height: int) -> tuple[list[int], int]:
    """Words of one row, and its events: a single one, or of 32 pixels in vectors of 12, 12 and 8."""
    row, on = int(rng.integers(height)), int(rng.integers(2)) << 11
    if rng.random() < 0.25:
        return [row, 0x2000 | on | int(rng.integers(width))], 1
    bits = rng.random(32) < rng.choice([0.1, 0.3, 0.6])
    mask = int(np.packbits(bits, bitorder="little").view("<u4")[0])
    vectors = [0x4000 | mask & 0xFFF, 0x4000 | mask >> 12 & 0xFFF, 0x5000 | mask >> 24]
    return [row, 0x3000 | on | 32 * int(rng.integers(width // 32)), *vectors], int(bits.sum())


def _packet(seq: int, words: list[int], width: int, height: int) -> SimpleNamespace:
    return SimpleNamespace(
        header=_header(STAMP_NS + seq * _PACKET_US * 1000), height=height, width=width, seq=seq, time_base=0,
        encoding="evt3", is_bigendian=False, events=np.array(words, "<u2").tobytes(),
    )  # fmt: skip


def _header(stamp_ns: int) -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id="")


def _cloud_message(records: np.ndarray, datatypes: tuple[int, ...]) -> SimpleNamespace:
    """A PointCloud2 of structured records."""
    names = records.dtype.names or ()
    places: Mapping[str, Any] = records.dtype.fields or {}
    fields = [
        SimpleNamespace(name=name, offset=places[name][1], datatype=datatype, count=1)
        for name, datatype in zip(names, datatypes, strict=True)
    ]
    step = records.dtype.itemsize
    return SimpleNamespace(height=1, width=len(records), fields=fields, is_bigendian=False, point_step=step,
                           row_step=step * len(records), data=records.tobytes())  # fmt: skip


def stamp(message: Any, stamp_ns: int) -> None:
    """Put a time into a message."""
    message.header = _header(stamp_ns)
