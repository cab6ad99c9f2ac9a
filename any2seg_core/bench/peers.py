"""Libraries of others that do the same work, where they are installed; else a line that says how they can be had."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.sensors.camera import CameraModel

_EVT3, _EXPELLIARMUS, _OPEN3D = "evt3", "expelliarmus", "open3d"


def missing(package: str, name: str = "") -> str:
    """What to tell about a peer that is not there."""
    return f"{name or package} is not installed, so it is not compared: pip install {package}"


@dataclass(frozen=True)
class EventPeer:
    """Another decoder: `read` gives its events, `columns` their x and y."""

    read: Callable[[], Any]

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        events = self.read()
        x, y = (events["x"], events["y"]) if isinstance(events, np.ndarray) else (events.x, events.y)
        return np.asarray(x), np.asarray(y)


@contextmanager
def evt3_peers(packets: Sequence[Any]) -> Iterator[tuple[dict[str, EventPeer], list[str]]]:
    """Decoders of EVT3, and notes about those that are not there."""
    raw, size = b"".join(packet.events for packet in packets), (packets[0].width, packets[0].height)
    found: dict[str, EventPeer] = {}
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            decoder = importlib.import_module(_EVT3)
            found[_EVT3] = EventPeer(lambda: decoder.decode_bytes(raw, *size))
        except ImportError:
            notes.append(missing(_EVT3))
        try:
            wizard = importlib.import_module(_EXPELLIARMUS).Wizard
            path = Path(folder) / "events.raw"
            head = f"% evt 3.0\n% format EVT3;height={size[1]};width={size[0]}\n% end\n"
            path.write_bytes(head.encode() + raw)
            found[_EXPELLIARMUS] = EventPeer(lambda: wizard(encoding="evt3").read(path))
        except ImportError:
            notes.append(missing(_EXPELLIARMUS))
        yield found, notes


def open3d_projection(
    points: np.ndarray, lidar_to_camera: np.ndarray, camera: CameraModel
) -> Callable[[], object] | str:
    """Open3D's depth image of a cloud (N, 4); a note where it is not there."""
    try:
        open3d = importlib.import_module(_OPEN3D)
        core = importlib.import_module("open3d.core")
    except ImportError:
        return missing("open3d-cpu", "Open3D")
    positions, lens, pose = map(core.Tensor.from_numpy, (points[:, :3].copy(), camera.K, lidar_to_camera))
    cloud = open3d.t.geometry.PointCloud(positions)
    return lambda: cloud.project_to_depth_image(
        camera.width, camera.height, lens, pose, depth_scale=1.0, depth_max=1e3
    )
