"""Message definitions of a recording, and messages that are deserialised when somebody looks at them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import SimpleNamespace
from typing import Any, Literal

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from any2seg_core.bags.known_types import (
    EVENT_PACKET,
    HEADER,
    LIVOX_CLOUDS,
    OLD_EVENT_PACKET,
    known_types,
    without_seq,
)
from any2seg_core.bags.livox import CLOUD, livox_to_cloud
from any2seg_core.base.errors import MessageError
from any2seg_core.messages import stamp_ns

Form = Literal["", "msg", "idl"]
Serialization = Literal["cdr", "ros1"]

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

    ROS 1 messages are turned into CDR, without the `seq` of their headers: everybody who comes later sees ROS 2. What
    a driver sends in a type of its own comes as the common type that says the same: Livox CustomMsg as PointCloud2,
    event_array_msgs as event_camera_msgs.

    Args:
        kind: ``package/msg/Name``, as recorded. definition: of the type, in the notation `form`. A common type needs
            none: one that is empty, or no definition at all, counts as none.

    Attributes:
        kind: ``package/msg/Name`` of what `to_cdr` gives.
        problem: why messages of this type cannot be read, one line; "" if they can.
        is_stamped: whether the type begins with a std_msgs/Header.
    """

    def __init__(self, kind: str, definition: str = "", form: Form = "", serialization: str = "cdr") -> None:
        self.kind = kind
        self.problem = ""
        self.is_stamped = False
        self._is_ros1 = serialization == "ros1"
        self._is_livox = False
        self._store: Typestore | None = None
        if serialization not in ("cdr", "ros1"):
            self.problem = f"serialised as {serialization or 'nothing known'}, not as CDR"
            return
        try:
            self._store = _store_of(kind, definition, form, self._is_ros1)
        except _Unreadable as error:
            self.problem = str(error)
            return
        self._take_for_common()
        fields = self._types.fielddefs[self.kind][1]
        self.is_stamped = bool(fields) and fields[0][1][1] == HEADER

    @property
    def _types(self) -> Typestore:
        """Definitions of a type that can be read: one without `problem`."""
        assert self._store is not None
        return self._store

    def _take_for_common(self) -> None:
        """Read a driver's own type as the common type that says the same, where its fields are those that are known."""
        kind, known = self.kind, known_types(self._is_ros1)
        if kind not in (*LIVOX_CLOUDS, OLD_EVENT_PACKET) or self._types.fielddefs[kind] != known.fielddefs[kind]:
            return
        if kind in LIVOX_CLOUDS:
            point = f"{kind.partition('/')[0]}/msg/CustomPoint"
            self._is_livox = self._types.fielddefs[point] == known.fielddefs[point]
        if self._is_livox or kind == OLD_EVENT_PACKET:
            self.kind = CLOUD if self._is_livox else EVENT_PACKET
            self._store = known

    @property
    def store(self) -> Typestore | None:
        """The type and all types in it, to declare it in another recording; None where `problem` says why."""
        return None if self.problem else self._store

    def to_cdr(self, data: bytes) -> bytes:
        """The bytes of a recorded message as CDR; MessageError for damaged bytes that must be turned into it."""
        if self._is_livox:
            return livox_to_cloud(bytes(data), self._is_ros1)
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
            return self._types.deserialize_cdr(data, self.kind)
        except Exception as error:  # bytes of a file, through generated code
            raise MessageError(f"{self.kind}: damaged message ({first_line(error)})", "length") from None

    def encode(self, message: Any) -> bytes:
        """What `decode` gave, changed or not -> CDR bytes; MessageError when a field cannot hold its value."""
        try:
            return bytes(self._types.serialize_cdr(message, self.kind))
        except Exception as error:  # whatever generated code raises for a value of a wrong kind
            raise MessageError(f"{self.kind}: cannot be written ({first_line(error)})", "value") from None


@dataclass(frozen=True)
class Recorded:
    """One message of a recording.

    Attributes:
        topic, kind: where it stood and its type, ``package/msg/Name``.
        time_ns: log time, when it was received.
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
    """Codec of a type whose definition is known without a recording."""
    return Codec(kind)


class _Unreadable(Exception):  # noqa: N818 a finding, told as a problem of the topic
    """Why messages of a type cannot be read."""


def _store_of(kind: str, definition: str, form: Form, is_ros1: bool) -> Typestore:
    """The definition in the file where it says something, else what is known of the type."""
    known, problem = known_types(is_ros1), ""
    if not kind:
        raise _Unreadable("its channel names no type")
    if form and definition.strip():
        try:
            store = _embedded(kind, definition, form, is_ros1)
        except Exception as error:  # the parser gets whatever the file holds
            problem = f"its definition in the bag cannot be parsed ({first_line(error)})"
        else:
            if store is not None:
                return _completed(store, known)
    if kind in known.fielddefs:
        return known
    package = kind.partition("/")[0]
    raise _Unreadable(
        problem
        or "the bag holds no definition of it: record as MCAP (-s mcap), which holds definitions, or convert it "
        f"(ros2 bag convert) where {package} is installed"
    )


def _completed(store: Typestore, known: Typestore) -> Typestore:
    """With the parts that a definition names and does not hold."""
    absent = _absent_parts(store)
    while absent:
        unknown = sorted(absent - set(known.fielddefs))
        if unknown:
            raise _Unreadable(f"its definition in the bag names {unknown[0]} and does not hold it")
        store.register({part: known.fielddefs[part] for part in absent})
        absent = _absent_parts(store)
    return store


def _absent_parts(store: Typestore) -> set[str]:
    named: set[str] = set()
    node: Any
    what: Any  # of an array (what, number), at any depth; of a name the type
    for _, fields in store.fielddefs.values():
        for _, (node, what) in fields:
            while node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
                node, what = what[0]
            if node is Nodetype.NAME:
                named.add(what)
    return named - set(store.fielddefs)


@lru_cache(maxsize=256)
def _embedded(kind: str, definition: str, form: Form, is_ros1: bool) -> Typestore | None:
    """Types of one embedded definition; each type has its own store, so that one bad definition harms no other.

    None where it does not say what the type holds, such as a comment alone for a type that is known to have fields.
    """
    types: dict[str, Any] = {}
    if form == "msg":
        types.update(get_types_from_msg(definition, kind))
    elif definition.startswith(f"{_IDL_SEPARATOR}IDL: "):
        for part in definition.split(_IDL_SEPARATOR)[1:]:
            types.update(get_types_from_idl(part.partition("\n")[2]))
    else:
        types.update(get_types_from_idl(definition))
    if kind not in types or (not types[kind][1] and kind in known_types(is_ros1).fielddefs):
        return None
    if is_ros1 and HEADER in types:
        types[HEADER] = without_seq(types[HEADER])
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    return store
