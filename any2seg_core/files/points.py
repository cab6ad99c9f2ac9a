"""LiDAR files -> points: those that name their columns, and bare rows, of which nothing says how many there are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.files.clouds import (
    LIDAR_STRENGTHS,
    RADAR_STRENGTHS,
    StoredPoints,
    is_pcd,
    is_ply,
    read_npz_points,
    read_pcd,
    read_ply,
    structured_points,
)
from any2seg_core.files.opening import read_start
from any2seg_core.sensors.camera import read_only
from any2seg_core.sensors.returns import NO_RETURN_M, IntensityScale, gather_returns, shares_of_range

_LOG = logging.getLogger(__name__)

_COLUMNS = (3, 4, 5, 6)
_NAMES = ("x", "y", "z", "intensity", "ring", "time")
_KINDS = {
    b"LASF": "LAS", b"ASTM-E57": "E57", b"\x89HDF": "HDF5", b"\x93NUMPY": ".npy", b"PK\x03\x04": ".npz",
    b"#!": "script", b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG",
}  # fmt: skip
_CLOUDS = {is_pcd: read_pcd, is_ply: read_ply}
_HEAD_BYTES, _CLOUD_HEAD_BYTES = 256, 4096
_FARTHEST_M = 1000.0
_MOST_RINGS = 1024
_STRAYS = 0.01  # share of values that may be odd in the right columns; in wrong ones a third is
_FEWEST_ROWS = 30  # that show three columns to be x, y and z
_FLAT = 0.5  # a scene is not as high as it is wide


def read_points(
    path: Path,
    columns: str = "",
    intensity_max: float = 0.0,
    value_range: tuple[float, float] | None = None,
    scale: IntensityScale | None = None,
) -> np.ndarray:
    """LiDAR file -> (N, 4) float32: x, y, z in metres in the LiDAR frame, intensity 0..1.

    Points that are not finite, or within 1 cm of the origin, are no returns and dropped; a missing intensity is 1.

    PCD and PLY (extra ``files``), structured ``.npy`` and ``.npz`` name their columns. ``.npy`` of (N, 3 to 6) numbers:
    x, y, z, intensity, ring, time. Any other: consecutive little-endian float32 rows of x, y, z, intensity, as KITTI
    writes them (``.bin``), with ring as nuScenes does (``.pcd.bin``), and with time, or of x, y, z alone.

    Args:
        columns: of bare rows or of an unnamed array, "x,y,z,intensity,ring", or their number, 3 to 6; "" finds those of
            rows by size and values.
        intensity_max: value of the intensity that means 1; 0 finds it (see `IntensityScale`).
        value_range: what means 0 and 1, which goes over it: of a radar, whose intensity is rcs, power or snr.
        scale: that of the files before, in place of `intensity_max`, so that one surface has one intensity in all.

    Raises:
        UserError: no such file, or values that do not say how many columns they have.
    """
    strengths = LIDAR_STRENGTHS if value_range is None else RADAR_STRENGTHS
    scale = IntensityScale(intensity_max) if scale is None else scale
    return _points(path, read_stored_points(path, columns, strengths), scale, value_range)


def read_stored_points(path: Path, columns: str = "", strengths: Sequence[str] = LIDAR_STRENGTHS) -> StoredPoints:
    """Columns of a LiDAR or radar file as they are stored, with the rows that are no returns; see `read_points`.

    Args:
        strengths: names that the column of the intensity may have, where columns have names.
    """
    names = parse_columns(columns)
    data = read_start(path)
    read_cloud = next((read for is_it, read in _CLOUDS.items() if is_it(data[:_CLOUD_HEAD_BYTES])), None)
    if read_cloud is not None:
        return read_cloud(path, data, strengths)
    if path.suffix in (".npy", ".npz"):
        return _of_numpy(path, names, strengths)
    return _of_rows(_rows(path, data, names), names)


def parse_columns(text: str) -> tuple[str, ...]:
    """Names of columns from "x,y,z,intensity" or a number of them; () for "".

    A column of any other name, as "_", is passed over. UserError unless x, y and z are there once.
    """
    text = str(text).strip()
    if text in ("", "0"):
        return ()
    names = _NAMES[: int(text)] if text in ("3", "4", "5", "6") else tuple(part.strip() for part in text.split(","))
    known = [name for name in names if name in _NAMES]
    if len(set(known)) != len(known) or not {"x", "y", "z"} <= set(known):
        raise UserError(
            f"columns of points {text!r}: name all in their order, as x,y,z,intensity,ring (each once, _ for what is "
            "not needed), or give their number, 3 to 6",
            "value-format",
        )
    return names


def _points(
    path: Path, found: StoredPoints, scale: IntensityScale, value_range: tuple[float, float] | None
) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # a signalling NaN is one
        x, y, z = (read_only(np.ascontiguousarray(column, np.float32)) for column in found[:3])
        if found.strength is None:
            _LOG.warning("%s: has no intensity: every point counts as 1, the brightest", path)
            return gather_returns(x, y, z, read_only(np.ones(1, np.float32)), np.float32(1.0))
        strength = read_only(np.ascontiguousarray(found.strength, np.float32))
    if strength.size == 0:
        return np.empty((0, 4), np.float32)
    if value_range is not None:
        return gather_returns(x, y, z, read_only(shares_of_range(strength, value_range)), np.float32(1.0))
    before = scale.found
    full = scale.full(strength, is_unsigned=found.strength.dtype.kind == "u")
    note = scale.take_note()
    if note:
        _LOG.warning("%s: %s", path, note)
    elif full > 1.0 and scale.found > before:
        _LOG.warning("%s: intensity is read as 0..%.0f (--intensity-max fixes the scale)", path, full)
    return gather_returns(x, y, z, strength, np.float32(full))


def _of_numpy(path: Path, names: tuple[str, ...], strengths: Sequence[str]) -> StoredPoints:
    points = read_npz_points(path, strengths)
    if isinstance(points, StoredPoints):
        return points
    if points.dtype.names:
        return structured_points(path, points, strengths)
    if points.ndim != 2 or points.shape[1] not in (_COLUMNS if not names else (len(names),)):
        wanted = f"columns {','.join(names)}" if names else "x y z intensity"
        raise UserError(
            f"{path} holds {points.dtype} {points.shape}: a LiDAR .npy is (N, 4) float {wanted}", "file-content"
        )
    if points.dtype.kind != "f":
        raise UserError(
            f"{path} holds {points.dtype} {points.shape}: a LiDAR .npy is (N, 4) float x y z intensity", "file-content"
        )
    return _of_rows(points, names)


def _of_rows(rows: np.ndarray, names: tuple[str, ...]) -> StoredPoints:
    place = {name: k for k, name in enumerate(names or _NAMES[: rows.shape[1]])}
    strength = rows[:, place["intensity"]] if "intensity" in place else None
    return StoredPoints(rows[:, place["x"]], rows[:, place["y"]], rows[:, place["z"]], strength)


def _rows(path: Path, data: bytes, names: tuple[str, ...]) -> np.ndarray:
    """(N, C) float32 of a file of bare rows."""
    _refuse_other_kinds(path, data)
    counts = (len(names),) if names else _COLUMNS
    fitting = [count for count in counts if data and len(data) % (4 * count) == 0]
    if not fitting:
        wanted = f"{len(names)} float32 ({','.join(names)})" if names else "3 to 6 float32 (x,y,z,intensity)"
        raise UserError(
            f"{path} has {len(data)} bytes, not rows of {wanted}: convert it, or give an .npy", "file-content"
        )
    values = np.frombuffer(data, "<f4")
    found = len(names) or _columns_of(values, fitting, path.name.endswith(".pcd.bin"))
    if not found:
        raise UserError(
            f"{path}: {len(data)} bytes fit rows of {' or '.join(map(str, fitting))} float32, but the values do not "
            "look like one of them alone: name the columns with --point-columns x,y,z,intensity (or with ring and "
            "time), or give an .npy",
            "points-ambiguous",
        )
    if found != 4 and not names:
        more = f" and {found - 4} more, which are not used" if found > 4 else ""
        _LOG.warning("%s: read as rows of %d float32 (%s%s)", path, found, " ".join(_NAMES[: min(found, 4)]), more)
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
