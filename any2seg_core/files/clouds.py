"""Point clouds whose files name their columns: PCD, PLY and .npz -> rows x, y, z and intensity as stored."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.array_files import read_arrays
from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import require_room

_LOG = logging.getLogger(__name__)

LIDAR_STRENGTHS = ("intensity", "intensities", "reflectivity", "reflectance", "remission", "remissions", "i")
"""Names that the column of the intensity has, small letters; the first one that is there counts."""
RADAR_STRENGTHS = ("rcs", "radar_cross_section", "power", "snr", "amplitude", *LIDAR_STRENGTHS)
_SINGLE = ("points", "xyz", "xyzi", "cloud", "data", "arr_0")  # names of one (N, 3 to 6) array in an archive
_MOST_FIELDS = 1000
_MOST_PCD_HEADER_LINES = 100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PCD_START = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*(?:VERSION|FIELDS|COLUMNS)[ \t]")
_NO_POSE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


class StoredPoints(NamedTuple):
    """Columns of a cloud (N,) as they are stored; strength: None where there is none."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    strength: np.ndarray | None


def is_pcd(start: bytes) -> bool:
    """Whether a file begins as a PCD does: with its comment, or with any comments and the first words of its header."""
    start = start.removeprefix(_BYTE_ORDER_MARK)
    return start.startswith(b"# .PCD") or _PCD_START.match(start.replace(b"\r\n", b"\n")) is not None


def is_ply(start: bytes) -> bool:
    """Whether a file begins as a PLY does."""
    return start.startswith((b"ply\n", b"ply\r"))


def read_pcd(path: Path, data: bytes, strengths: Sequence[str] = LIDAR_STRENGTHS) -> StoredPoints:
    """A PCD file of version .5, .6 or .7, ascii, binary or binary_compressed; needs the extra ``files``.

    Points are taken in the frame of the sensor: a VIEWPOINT is not applied, and a warning tells of one.

    Raises:
        UserError: damaged, cut off, larger than its bytes and the limits allow, or without x, y, z.
    """
    library = _library("pypcd4", "PCD", path)
    try:
        data = data.removeprefix(_BYTE_ORDER_MARK)
        lines, start = _pcd_header(data)
        header = library.MetaData.parse_header(lines)
        if sum(header.count) > _MOST_FIELDS:
            raise ValueError(f"{sum(header.count)} columns")
        itemsize = sum(size * count for size, count in zip(header.size, header.count, strict=True))
        if header.points != header.width * header.height:
            raise ValueError(f"POINTS is {header.points}, WIDTH x HEIGHT {header.width * header.height}")
        require_room(header.points * itemsize, len(data), f"a PCD of {header.points} points")
        body = _pcd_body(data[start:], header.points * itemsize, header.data.value)
        cloud = library.PointCloud.from_fileobj(io.BytesIO("\n".join([*lines, ""]).encode() + body))
        rows = np.atleast_1d(cloud.pc_data)
        if len(rows) != header.points:
            raise ValueError(f"cut off: {len(rows)} points of {header.points}")
    except UserError as error:
        raise UserError(f"{path}: {error}", error.code) from None
    except Exception as error:  # the reader raises whatever broken bytes make it
        raise UserError(
            f"{path} is not a readable PCD file ({_reason(error)}): write it again", "file-format"
        ) from None
    if tuple(header.viewpoint) != _NO_POSE:
        _LOG.warning("%s: has a VIEWPOINT, which is not applied: points are taken in the LiDAR's frame", path)
    return _stored(path, {name: rows[name] for name in rows.dtype.names or ()}, strengths)


def read_ply(path: Path, data: bytes, strengths: Sequence[str] = LIDAR_STRENGTHS) -> StoredPoints:
    """The vertices of a PLY file, ascii or binary of either byte order; needs the extra ``files``."""
    library = _library("trimesh.exchange.ply", "PLY", path)
    try:
        vertices = library.load_ply(io.BytesIO(data))["metadata"]["_ply_raw"]["vertex"]
        columns, count = vertices["data"], int(vertices["length"])
        names = columns.dtype.names if isinstance(columns, np.ndarray) else tuple(columns)
        arrays = {name: np.asarray(columns[name]).reshape(-1) for name in names}
        found = {name: array for name, array in arrays.items() if array.size == count}
        if any(name in names and found.get(name, np.array("")).dtype.kind not in "iuf" for name in "xyz"):
            raise ValueError(f"cut off: not {count} vertices")
    except Exception as error:  # the reader raises whatever broken bytes make it
        raise UserError(
            f"{path} is not a readable PLY file ({_reason(error)}): write it again", "file-format"
        ) from None
    return _stored(path, found, strengths)


def read_npz_points(path: Path, strengths: Sequence[str] = LIDAR_STRENGTHS) -> StoredPoints | np.ndarray:
    """An archive of columns by name, or of one array (N, 3) and its intensity -> those; of one array (N, 3 to 6) ->
    that array.
    """
    arrays = read_arrays(path)
    if not isinstance(arrays, dict):
        return arrays
    single = [arrays[name] for name in _SINGLE if name in arrays and arrays[name].ndim == 2]
    if len(single) == 1 and single[0].shape[1] == 3 and any(name.lower() in strengths for name in arrays):
        beside = {name: array for name, array in arrays.items() if array is not single[0]}
        return _stored(path, dict(zip("xyz", single[0].T, strict=True)) | beside, strengths)
    if len(single) == 1 or len(arrays) == 1:
        return single[0] if single else next(iter(arrays.values()))
    return _stored(path, arrays, strengths)


def structured_points(path: Path, rows: np.ndarray, strengths: Sequence[str] = LIDAR_STRENGTHS) -> StoredPoints:
    """A structured array (N,) with fields x, y, z and more."""
    return _stored(path, {name: rows[name].reshape(-1) for name in rows.dtype.names or ()}, strengths)


def _library(name: str, kind: str, path: Path) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".")[0]
        raise UserError(
            f"{path} is a {kind} file, which is read with the package {package}: pip install 'any2seg[files]'",
            "package-missing",
        ) from None


def _pcd_header(data: bytes) -> tuple[list[str], int]:
    """Lines without comments, as version .7 has them, and where the points begin."""
    lines, at = ["VERSION 0.7"], 0
    for _ in range(_MOST_PCD_HEADER_LINES):
        stop = data.find(b"\n", at)
        if stop < 0:
            break
        line = data[at:stop].decode("ascii", "replace").strip()
        at = stop + 1
        word, _, rest = line.partition(" ")
        if word == "COLUMNS":  # of the first versions
            line = f"FIELDS {rest}"
        if line and word != "VERSION" and not line.startswith("#"):
            lines.append(line)
        if word == "DATA":
            counts = [f"COUNT {' '.join('1' for _ in kept.split()[1:])}" for kept in lines if kept.startswith("FIELDS")]
            has_counts = any(kept.startswith("COUNT") for kept in lines)
            return lines if has_counts else [*lines[:-1], *counts[:1], line], at
    raise ValueError("its header does not end with DATA")


def _pcd_body(body: bytes, needed: int, kind: str) -> bytes:
    """What follows the header, as the reader takes it; ValueError where it is not what the header promises."""
    if kind == "ascii":  # Open3D ends lines with a space, which the reader takes for one more column
        return b"\n".join(b" ".join(line.split()) for line in body.splitlines())
    if kind == "binary":
        if len(body) < needed:
            raise ValueError(f"cut off: {len(body)} bytes of {needed}")
    elif (claimed := int.from_bytes(body[4:8], "little")) != needed:
        raise ValueError(f"it unpacks to {claimed} bytes, its header says {needed}")
    return body


def _stored(path: Path, columns: Mapping[str, np.ndarray], strengths: Sequence[str]) -> StoredPoints:
    plain = {name.lower().removeprefix("scalar_").removeprefix("scalar_field_"): name for name in columns}
    missing = [name for name in "xyz" if name not in plain]
    if missing:
        held = ", ".join(list(columns)[:8]) or "nothing"
        raise UserError(
            f"{path} has no {', '.join(missing)}: it holds {held}; a cloud has x, y, z by name", "file-content"
        )
    strength = next((plain[name] for name in strengths if name in plain), None)
    chosen = [columns[plain[name]] for name in "xyz"] + ([columns[strength]] if strength else [])
    if any(column.ndim != 1 or column.dtype.kind not in "iuf" for column in chosen):
        raise UserError(f"{path}: x, y, z and intensity must be numbers, one for each point", "file-content")
    if len({len(column) for column in chosen}) > 1:
        raise UserError(f"{path}: x, y, z and intensity must be equally long", "file-content")
    x, y, z = chosen[:3]
    return StoredPoints(x, y, z, chosen[3] if strength else None)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
