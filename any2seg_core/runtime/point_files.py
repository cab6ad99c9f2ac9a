"""LiDAR files -> points: .npy, and bare rows of float32, of which nothing says how many columns they have."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from any2seg_core.base.array_files import read_array
from any2seg_core.base.errors import UserError
from any2seg_core.sensors.camera import read_only
from any2seg_core.sensors.returns import NO_RETURN_M, IntensityScale, gather_returns

_LOG = logging.getLogger(__name__)

_COLUMNS = (3, 4, 5, 6)
_NAMES = {3: "x y z", 4: "x y z intensity", 5: "x y z intensity ring", 6: "x y z intensity ring time"}
_KINDS = {
    b"# .PCD": "PCD", b"VERSION": "PCD", b"ply": "PLY", b"LASF": "LAS", b"ASTM-E57": "E57", b"\x89HDF": "HDF5",
    b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz",
}  # fmt: skip
_HEAD_BYTES = 256
_FARTHEST_M = 1000.0
_MOST_RINGS = 1024
_STRAYS = 0.01  # share of values that may be odd in the right columns; in wrong ones a third is
_FEWEST_ROWS = 30  # that show three columns to be x, y and z
_FLAT = 0.5  # a scene is not as high as it is wide


def read_points(path: Path, columns: int = 0, intensity_max: float = 0.0) -> np.ndarray:
    """LiDAR file -> (N, 4) float32: x, y, z in metres in the LiDAR frame, intensity 0..1.

    Points that are not finite, or within 1 cm of the origin, are no returns and dropped; a missing intensity is 1.

    ``.npy``: (N, 3 to 6) float. Any other: consecutive little-endian float32 rows of x, y, z, intensity, as KITTI
    writes them (``.bin``), with ring as nuScenes does (``.pcd.bin``), and with time, or of x, y, z alone.

    Args:
        columns: of the rows, 3 to 6; 0 finds them by size and values.
        intensity_max: value of the intensity that means 1; 0 finds it (see `IntensityScale`).

    Raises:
        UserError: no such rows, or values that do not say how many columns they have.
    """
    if columns and columns not in _COLUMNS:
        raise UserError(f"columns={columns}: rows of points have 3 to 6 columns, {_NAMES[6]}", "value-range")
    rows = _array(path) if path.suffix == ".npy" else _rows(path, columns)
    xyz = (read_only(rows[:, axis]) for axis in range(3))
    if rows.shape[1] == 3:
        return gather_returns(*xyz, read_only(np.ones(1, np.float32)), np.float32(1.0))
    strength = read_only(rows[:, 3])
    full = IntensityScale(intensity_max).full(strength)
    if full > 1.0 and not intensity_max:
        _LOG.warning("%s: intensity is read as 0..%.0f (--intensity-max fixes the scale)", path, full)
    return gather_returns(*xyz, strength, np.float32(full))


def _array(path: Path) -> np.ndarray:
    points = read_array(path)
    if points.ndim != 2 or points.shape[1] not in _COLUMNS or points.dtype.kind != "f":
        raise UserError(
            f"{path} holds {points.dtype} {points.shape}: a LiDAR .npy is (N, 4) float x y z intensity", "file-content"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is one
        return points.astype(np.float32)


def _rows(path: Path, columns: int) -> np.ndarray:
    """(N, C) float32 of a file of bare rows."""
    data = _read_bytes(path)
    _refuse_other_kinds(path, data)
    fitting = [count for count in _COLUMNS if data and len(data) % (4 * count) == 0]
    if not fitting or (columns and columns not in fitting):
        wanted = f"rows of {columns or '3 to 6'} float32 ({_NAMES[columns or 4]})"
        raise UserError(f"{path} has {len(data)} bytes, not {wanted}: convert it, or give an .npy", "file-content")
    values = np.frombuffer(data, "<f4")
    found = columns or _columns_of(values, fitting, path.name.endswith(".pcd.bin"))
    if not found:
        raise UserError(
            f"{path}: {len(data)} bytes fit rows of {' or '.join(map(str, fitting))} float32, but the values do not "
            "look like one of them alone: name the columns with --lidar-columns (3 x y z, 4 with intensity, 5 with "
            "ring, 6 with time), or give an .npy",
            "points-ambiguous",
        )
    if found not in (4, columns):
        _LOG.warning("%s: read as rows of %d float32 (%s)", path, found, _NAMES[found])
    return values.reshape(-1, found)


def _refuse_other_kinds(path: Path, data: bytes) -> None:
    kind = next((name for magic, name in _KINDS.items() if data.startswith(magic)), "")
    head = data[:_HEAD_BYTES]
    if not kind and head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        kind = "text"
    if kind:
        raise UserError(
            f"{path} is a {kind} file, not rows of float32 (x y z intensity): convert it to an .npy of (N, 4) float",
            "file-format",
        )


def _columns_of(values: np.ndarray, fitting: list[int], is_nuscenes: bool) -> int:
    """How many columns (n,) float32 have; 0 where nobody can tell.

    Wrong columns mix x, y and z with the others: a third of the "intensities" is then below 0, and no "ring" is whole.
    """
    rows = {count: values.reshape(-1, count) for count in fitting}
    empty = [count for count in fitting if _is_empty(rows[count])]
    if empty:  # not one return: wrong columns would move intensities, rings or times to x, y and z
        return 4 if 4 in empty else empty[0]
    plausible = [count for count in fitting if count > 3 and _is_plausible(rows[count])]
    with_ring = [count for count in plausible if count > 4 and _has_rings(rows[count])]
    if is_nuscenes and 5 in plausible:
        return 5
    if len(with_ring) == 1 and not (4 in plausible and _has_rings(values[:, None])):
        return with_ring[0]
    if not with_ring and 4 in plausible:
        return 4
    if not with_ring and len(plausible) == 1:
        return plausible[0]
    return 3 if not plausible and 3 in fitting and _is_scene(rows[3]) else 0


def _is_empty(rows: np.ndarray) -> bool:
    """Whether x, y and z of all of (N, 3 to 6) are 0 or not finite, as scanners write rays without a return."""
    xyz = rows[:, :3]
    return not (np.isfinite(xyz) & (xyz != 0.0)).any()


def _is_plausible(rows: np.ndarray) -> bool:
    """Whether (N, 4 to 6) are places within 1 km, one of them a return, and other numbers that are not below 0."""
    sizes = np.where(np.isfinite(rows[:, :3]), np.abs(rows[:, :3]), 0.0)  # (N, 3)
    is_place = (sizes > _FARTHEST_M).mean() <= _STRAYS and sizes.max() >= NO_RETURN_M
    return bool(is_place and (rows[:, 3:] < 0.0).mean(axis=0).max() <= _STRAYS)


def _has_rings(rows: np.ndarray) -> bool:
    """Whether the fifth column, or all there is of (N, 1), holds whole numbers as rings do."""
    rings = rows[:, min(4, rows.shape[1] - 1)]
    with np.errstate(invalid="ignore"):
        return bool(((rings == np.floor(rings)) & (np.abs(rings) < _MOST_RINGS)).all())


def _is_scene(rows: np.ndarray) -> bool:
    """Whether (N, 3) are x, y, z of a scene: wider than high, and the same in every second row."""
    sizes = np.abs(np.where(np.isfinite(rows), rows, 0.0))
    if len(rows) < _FEWEST_ROWS or sizes.max() > _FARTHEST_M:
        return False
    across, aside, high = np.quantile(sizes, 0.9, axis=0)
    halves = np.stack([np.quantile(sizes[start::2], 0.9, axis=0) for start in (0, 1)])  # (2, 3)
    is_even = bool((halves.max(axis=0) <= 2.0 * halves.min(axis=0)).all())
    return is_even and high < _FLAT * max(across, aside)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no file at {path}: check the path", "file-missing") from None
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}): check that it is a file you may read", "file-unreadable"
        ) from None
