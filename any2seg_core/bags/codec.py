"""Message definitions of a recording, and messages that are deserialised when somebody looks at them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import SimpleNamespace
from typing import Any, Literal

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from any2seg_core.errors import MessageError
from any2seg_core.messages import stamp_ns

Form = Literal["", "msg", "idl"]
Serialization = Literal["cdr", "ros1"]

_HEADER = "std_msgs/msg/Header"
_IDL_SEPARATOR = "=" * 80 + "\n"
_SHORTEST_STAMPED_BYTES = 12  # encapsulation 4, seconds 4, nanoseconds 4


def first_line(error: BaseException) -> str:
    """What an error of a parser says, as one line; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "") or type(error).__name__


def header_stamp_ns(data: bytes) -> int:
    """Stamp of a CDR message that begins with a std_msgs/Header; MessageError when too short or malformed."""
    if len(data) < _SHORTEST_STAMPED_BYTES:
        raise MessageError(f"message of {len(data)} bytes has no header", "length")
    order = "<" if data[1] & 1 else ">"  # CDR encapsulation: bit 0 of the second byte is little-endian
    seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, 4)
    return stamp_ns(SimpleNamespace(sec=seconds, nanosec=nanoseconds))


class Codec:
    """Reads the messages of one type.

    ROS 1 messages are turned into CDR, without the `seq` of their headers: everybody who comes later sees ROS 2.

    Attributes:
        kind: ``package/msg/Name``.
        problem: why messages of this type cannot be read, one line; "" if they can.
        is_stamped: whether the type begins with a std_msgs/Header.
    """

    def __init__(self, kind: str, definition: str = "", form: Form = "", serialization: str = "cdr") -> None:
        self.kind = kind
        self.problem = ""
        self.is_stamped = False
        self._is_ros1 = serialization == "ros1"
        self._store: Typestore | None = None
        if serialization not in ("cdr", "ros1"):
            self.problem = f"serialised as {serialization or 'nothing known'}, not as CDR"
            return
        try:
            self._store = _embedded(kind, definition, form, self._is_ros1) if form else _jazzy()
        except Exception as error:  # the parser gets whatever the file holds
            self.problem = f"its definition in the bag cannot be parsed ({first_line(error)})"
            return
        if kind not in self._store.fielddefs:
            self.problem = "the bag holds no definition of it, and ROS 2 Jazzy's common types do not include it"
            return
        fields = self._store.fielddefs[kind][1]
        self.is_stamped = bool(fields) and fields[0][1][1] == _HEADER

    @property
    def store(self) -> Typestore | None:
        """The type and all types in it, to declare it in another recording; None where `problem` says why."""
        return None if self.problem else self._store

    def to_cdr(self, data: bytes) -> bytes:
        """The bytes of a recorded message as CDR; MessageError for damaged ROS 1 bytes."""
        if not self._is_ros1 or self._store is None:
            return bytes(data)
        try:
            return bytes(self._store.ros1_to_cdr(data, self.kind))
        except Exception as error:  # bytes of a file, through generated code
            raise MessageError(f"{self.kind}: damaged message ({first_line(error)})", "length") from None

    def decode(self, data: bytes) -> Any:
        """CDR bytes -> message-like object; MessageError when type or bytes cannot be read."""
        if self.problem:
            raise MessageError(f"{self.kind}: {self.problem}", "unsupported")
        try:
            return self._store.deserialize_cdr(data, self.kind)
        except Exception as error:  # bytes of a file, through generated code
            raise MessageError(f"{self.kind}: damaged message ({first_line(error)})", "length") from None

    def encode(self, message: Any) -> bytes:
        """What `decode` gave, changed or not -> CDR bytes; MessageError when a field cannot hold its value."""
        try:
            return bytes(self._store.serialize_cdr(message, self.kind))
        except Exception as error:  # whatever generated code raises for a value of a wrong kind
            raise MessageError(f"{self.kind}: cannot be written ({first_line(error)})") from None


@dataclass(frozen=True)
class Recorded:
    """One message of a recording.

    Attributes:
        topic, kind: where it stood and its type, ``package/msg/Name``.
        time_ns: the bag's time, when it was received.
        data: CDR bytes, of ROS 1 bags too.
        codec: reads `data`; by default that of ROS 2 Jazzy's common types.
    """

    topic: str
    kind: str
    time_ns: int
    data: bytes
    codec: Codec | None = field(default=None, compare=False, repr=False)

    @cached_property
    def value(self) -> Any:
        """The message, deserialised once; MessageError when its type is unknown or its bytes are damaged."""
        return (self.codec or common_codec(self.kind)).decode(self.data)

    @property
    def stamp_ns(self) -> int | None:
        """Header stamp, None for a type without a header; MessageError when malformed. Does not deserialise."""
        return header_stamp_ns(self.data) if (self.codec or common_codec(self.kind)).is_stamped else None


class LazyPayload:
    """Reads like the message itself; it is deserialised when the first field is asked for.

    Attributes:
        recorded: the message as it stands in the bag.
    """

    __slots__ = ("recorded",)

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle look for hooks that no message has
            raise AttributeError(name)
        return getattr(self.recorded.value, name)


@lru_cache(maxsize=256)
def common_codec(kind: str) -> Codec:
    """Codec of a type of ROS 2 Jazzy's common packages."""
    return Codec(kind)


@lru_cache(maxsize=1)
def _jazzy() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


@lru_cache(maxsize=256)
def _embedded(kind: str, definition: str, form: Form, is_ros1: bool) -> Typestore:
    """Types of one embedded definition; each type has its own store, so that one bad definition harms no other."""
    types: dict[str, Any] = {}
    if form == "msg":
        types.update(get_types_from_msg(definition, kind))
    elif definition.startswith(f"{_IDL_SEPARATOR}IDL: "):
        for part in definition.split(_IDL_SEPARATOR)[1:]:
            types.update(get_types_from_idl(part.partition("\n")[2]))
    else:
        types.update(get_types_from_idl(definition))
    if is_ros1 and _HEADER in types:
        constants, fields = types[_HEADER]
        types[_HEADER] = (constants, [field for field in fields if field[0] != "seq"])
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return store
