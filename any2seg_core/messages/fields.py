"""Fields of message-like objects (rclpy, rosbags or a fake), read by name and checked. Imports no ROS."""

from __future__ import annotations

import operator
from typing import Any, Literal

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.base.units import NS_PER_S

_LAST_SECOND = 2**33  # in the year 2242; nanoseconds of later ones leave no room to count on in 63 bits


def stamp_ns(header: Any) -> int:
    """Nanoseconds of a std_msgs/Header (or of a builtin_interfaces/Time); MessageError when negative or malformed."""
    stamp = getattr(header, "stamp", header)
    seconds = integer(stamp, "sec", "stamp", 0, _LAST_SECOND, reason="stamp")
    return seconds * NS_PER_S + integer(stamp, "nanosec", "stamp", 0, NS_PER_S - 1, reason="stamp")


def attribute(msg: Any, name: str, what: str, reason: str = "field") -> Any:
    """The field `name` of a message; MessageError names `what` lacks it."""
    try:
        return getattr(msg, name)
    except AttributeError:
        raise MessageError(f"{what}: no field {name!r} in {type(msg).__name__}", reason) from None


def integer(msg: Any, name: str, what: str, low: int, high: int, reason: str = "size") -> int:
    """A whole number within [low, high]; `reason` is the key when it lies outside."""
    value = attribute(msg, name, what, "stamp" if reason == "stamp" else "field")
    try:
        number = operator.index(value)
    except TypeError:
        raise MessageError(
            f"{what}: {name} must be a whole number, got {type(value).__name__}",
            "stamp" if reason == "stamp" else "field",
        ) from None
    if not low <= number <= high:
        raise MessageError(f"{what}: {name} is {number}, expected {low} to {high}", reason)
    return number


def text(msg: Any, name: str, what: str) -> str:
    """A string field."""
    value = attribute(msg, name, what)
    if not isinstance(value, str):
        raise MessageError(f"{what}: {name} must be text, got {type(value).__name__}", "field")
    return value


def byte_order(msg: Any, what: str) -> Literal["<", ">"]:
    """NumPy's sign of the message's byte order: "<" or ">"."""
    value = attribute(msg, "is_bigendian", what)
    if not isinstance(value, bool | int | np.integer | np.bool_):
        raise MessageError(f"{what}: is_bigendian must be 0 or 1, got {type(value).__name__}", "field")
    return ">" if value else "<"


def data_bytes(msg: Any, what: str, name: str = "data") -> np.ndarray:
    """A uint8[] field as (size,) uint8, without a copy where the type allows."""
    data = attribute(msg, name, what)
    if isinstance(data, list | tuple):
        try:
            return np.frombuffer(bytes(data), dtype=np.uint8)
        except (TypeError, ValueError):
            raise MessageError(f"{what}: {name} must hold bytes 0..255", "field") from None
    try:
        view = memoryview(data)
        if view.itemsize != 1 or view.ndim != 1:
            raise MessageError(f"{what}: {name} must be a row of bytes, got items of {view.itemsize} bytes", "field")
        return np.frombuffer(view if view.contiguous else view.tobytes(), dtype=np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if isinstance(error, MessageError):
            raise
        raise MessageError(f"{what}: {name} must be bytes, got {type(data).__name__}", "field") from None
