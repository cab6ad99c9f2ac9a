"""NumPy files from outside: what a header claims is held against the bytes that are there, before memory is taken."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.git_lfs import WAY_OUT, is_pointer
from any2seg_core.base.limits import require_room

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_ZIP_MAGIC = b"PK"
_NPY_MAGIC = b"\x93NUMPY"
_POINTER_BYTES = 64
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # all that NumPy writes


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array of an ``.npy`` file, or those of an ``.npz`` archive by name; which it is, its first bytes say.

    Raises:
        UserError: missing, cut off, damaged, of Python objects, or larger than its bytes and the limits allow.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            magic = file.read(len(_NPY_MAGIC))
            file.seek(0)
            if magic.startswith(_ZIP_MAGIC):
                return _read_archive(file, size)
            if magic != _NPY_MAGIC:
                if is_pointer(file.read(_POINTER_BYTES)):
                    raise UserError(f"it is {WAY_OUT}", "file-format")
                raise ValueError("it is empty" if not magic else "it begins with neither \\x93NUMPY nor PK")
            return _read_array(file, size)
    except FileNotFoundError:
        raise UserError(f"no file at {path}: check the path", "file-missing") from None
    except UserError as error:
        raise UserError(f"{path}: {error}", error.code) from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{path} is not a readable NumPy file ({reason}): write it with numpy.save or savez", "file-format"
        ) from None


def read_array(path: Path) -> np.ndarray:
    """The array of an ``.npy`` file; UserError as `read_arrays`, and for an archive."""
    loaded = read_arrays(path)
    if isinstance(loaded, dict):
        raise UserError(
            f"{path} is an .npz archive of {', '.join(loaded) or 'nothing'}: write one array, numpy.save",
            "file-content",
        )
    return loaded


def _read_archive(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        require_room(sum(part.file_size for part in parts), size, "an archive")
        for part in parts:
            if part.compress_type not in _PACKINGS:
                raise ValueError(f"{part.filename[:60]!r} is packed in a way that NumPy does not write")
        arrays = {}
        for part in parts:
            with archive.open(part) as entry:
                arrays[part.filename.removesuffix(".npy")] = _read_array(entry, part.file_size)
        return arrays


def _read_array(file: Any, size: int) -> np.ndarray:
    """One array; `size` bytes are there from the start of `file`, at most."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the format is not read")
    try:
        shape, is_fortran, dtype = _HEADERS[version](file)
    except (ValueError, EOFError, OSError):
        raise
    except Exception as error:  # the header is a Python literal: its parser raises anything
        raise ValueError(f"damaged header, {type(error).__name__}") from None
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    if dtype.itemsize == 0:
        raise ValueError(f"its items of {dtype} have no bytes")
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"its shape is {shape}")
    needed, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if needed > there:
        raise ValueError(f"cut off: {dtype} {shape} needs {needed} bytes, {there} are there")
    data = bytearray(needed)
    if _fill(file, data) != needed:
        raise ValueError(f"cut off: {dtype} {shape} needs {needed} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _fill(file: Any, data: bytearray) -> int:
    """Read into `data`; how many bytes came."""
    view, filled = memoryview(data), 0
    while filled < len(data):
        count = file.readinto(view[filled:])
        if not count:
            break
        filled += count
    return filled
