"""Event files -> events: NumPy, Prophesee RAW and DAT, HDF5, AEDAT4; which it is, the first bytes say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from any2seg_core.base.array_files import read_arrays
from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import limits, require_room
from any2seg_core.files.event_columns import NS_PER_UNIT, check_time_unit, join_events, to_ns
from any2seg_core.files.event_hdf5 import read_hdf5_events
from any2seg_core.files.opening import read_start
from any2seg_core.files.prophesee import read_prophesee
from any2seg_core.sensors.events import EVENT_DTYPE

_HDF5_MAGIC, _AEDAT_MAGIC, _AEDAT4_MAGIC, _PROPHESEE_MAGIC = b"\x89HDF", b"#!AER-DAT", b"#!AER-DAT4", b"%"
_HEAD_BYTES = 256
_NAMES = {
    "x": ("x", "xs"), "y": ("y", "ys"), "p": ("p", "ps", "pol", "polarity", "on"),
    "t": ("t", "ts", "timestamp", "timestamps", "time"),
}  # fmt: skip
_NO_READER = 3  # exit code of the worker where its package is missing


def read_events(path: Path, time_unit: str = "", sensor_size: tuple[int, int] | None = None) -> np.ndarray:
    """Event file -> (N,) structured array EVENT_DTYPE, t in nanoseconds.

    Prophesee RAW (EVT 2.0, 2.1, 3.0) and DAT, HDF5 of Prophesee and DSEC, and AEDAT4 know their unit of time. An
    ``.npz`` of arrays x, y, t and p, a structured ``.npy`` or another HDF5 file does not, unless t is named t_ns, t_us,
    t_ms or t_s, lies between the years 1990 and 2100, or the array has EVENT_DTYPE, which is in nanoseconds.

    Args:
        time_unit: "ns", "us", "ms" or "s", for files that do not say it; "": there must be no need of it.
        sensor_size: (H, W) of the calibrated event camera, whose pixels the events must be; None: any.

    Raises:
        UserError: none of these files, damaged, no unit of time, or events of another sensor than the calibrated one.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from any2seg_core.files.events import read_events
        >>> np.savez("two.npz", x=[3, 4], y=[5, 6], t_us=[10, 20], p=[0, 1])
        >>> read_events(Path("two.npz"))["t"].tolist()
        [10000, 20000]
    """
    check_time_unit(time_unit)
    magic = read_start(path, _HEAD_BYTES)
    size = None
    if magic.startswith(_PROPHESEE_MAGIC):
        _refuse_unit(path, time_unit, "us")
        events, size = read_prophesee(path, path.read_bytes())
    elif magic.startswith(_HDF5_MAGIC):
        events = read_hdf5_events(path, time_unit)
    elif magic.startswith(_AEDAT_MAGIC):
        _refuse_unit(path, time_unit, "us")
        events, size = _read_aedat(path, magic)
    else:
        _refuse_text(path, magic)
        events = _read_numpy(path, time_unit)
    _check_sensor(path, events, size, sensor_size)
    return events


def _refuse_unit(path: Path, given: str, own: str) -> None:
    if given not in ("", own):
        raise UserError(
            f"{path}: its format counts time in {own}, not in {given}: leave --event-time-unit out", "value-conflict"
        )


def _refuse_text(path: Path, head: bytes) -> None:
    if head and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        raise UserError(
            f"{path} is a text file, of which nothing says what its columns are: write x, y, t_us (or t_ns, t_s) and p "
            "with numpy.savez",
            "file-format",
        )


def _read_aedat(path: Path, head: bytes) -> tuple[np.ndarray, tuple[int, int] | None]:
    if not head.startswith(_AEDAT4_MAGIC):
        said = head[2:].split(b"\n")[0].decode("ascii", "replace").strip()
        raise UserError(f"{path} is {said}: AEDAT4 is read, convert it with dv-processing or DV", "file-format")
    room = limits().result_bytes(path.stat().st_size)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with TemporaryDirectory() as folder:
        out = Path(folder) / "columns.npz"
        command = [sys.executable, "-m", "any2seg_core.files.aedat_worker", str(path), str(room), str(out)]
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        if done.returncode == _NO_READER:
            raise UserError(
                "AEDAT4 files are read with the package aedat: pip install 'any2seg[files]'", "package-missing"
            )
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            said = last[:160] if done.returncode > 0 else "the decoder gave up"
            raise UserError(f"{path} is not a readable AEDAT4 file ({said}): restore it", "file-format")
        columns = read_arrays(out)
    height, width = columns["size"].tolist()
    t_ns = to_ns(path, columns["t"], "us")
    return join_events(path, columns["x"], columns["y"], t_ns, columns["p"]), (height, width)


def _read_numpy(path: Path, time_unit: str) -> np.ndarray:
    loaded = read_arrays(path)
    if not isinstance(loaded, dict) and loaded.dtype == EVENT_DTYPE and loaded.ndim == 1:
        _refuse_unit(path, time_unit, "ns")
        time_unit = "ns"
    columns = loaded if isinstance(loaded, dict) else {name: loaded[name] for name in loaded.dtype.names or ()}
    found = {key: next((name for name in names if name in columns), "") for key, names in _NAMES.items()}
    for unit in NS_PER_UNIT:
        if f"t_{unit}" in columns and not found["t"]:
            _refuse_unit(path, time_unit, unit)
            found["t"], time_unit = f"t_{unit}", unit
    missing = [key for key, name in found.items() if not name]
    if missing:
        held = ", ".join(list(columns)[:8]) or f"{getattr(loaded, 'dtype', '')} {getattr(loaded, 'shape', '')}"
        raise UserError(
            f"{path} has no {', '.join(missing)}: event files hold x, y, t and p by name, not {held}", "file-content"
        )
    x, y, t, p = (columns[found[key]] for key in "xytp")
    if len({array.shape for array in (x, y, t, p)}) > 1 or x.ndim != 1:
        sizes: dict[str, Any] = {key: columns[name].shape for key, name in found.items()}
        raise UserError(
            f"{path} has arrays of shapes {sizes}: x, y, t and p must be one-dimensional and equally long",
            "file-content",
        )
    require_room(len(x) * EVENT_DTYPE.itemsize, path.stat().st_size, f"{path}: a file of {len(x)} events")
    return join_events(path, x, y, to_ns(path, t, time_unit), p)


def _check_sensor(
    path: Path, events: np.ndarray, size: tuple[int, int] | None, expected: tuple[int, int] | None
) -> None:
    """UserError where the events are those of another sensor than the calibrated one."""
    if expected is None:
        return
    height, width = expected
    if size is not None and size != expected:
        raise UserError(
            f"{path} is of a sensor of {size[1]}x{size[0]}, the calibration says {width}x{height}: add or correct "
            "event_camera in the calibration",
            "calibration-size",
        )
    outside = (events["x"] >= width) | (events["y"] >= height)
    if outside.any():
        x, y = events["x"].max(), events["y"].max()
        raise UserError(
            f"{path} holds events up to x {x}, y {y}, the calibrated sensor has {width}x{height} pixels: add or "
            "correct event_camera in the calibration",
            "calibration-size",
        )
