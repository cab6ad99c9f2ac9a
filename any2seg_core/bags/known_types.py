"""Types whose layout is public, for recordings that do not hold their definitions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

HEADER = "std_msgs/msg/Header"
EVENT_PACKET = "event_camera_msgs/msg/EventPacket"
OLD_EVENT_PACKET = "event_array_msgs/msg/EventArray"
"""Name of EventPacket before the package was renamed; the same fields."""
LIVOX_CLOUDS = tuple(f"{package}/msg/CustomMsg" for package in ("livox_ros_driver2", "livox_ros_driver",
                                                                "livox_interfaces"))  # fmt: skip

_PACKET = """std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint64 time_base
string encoding
bool is_bigendian
uint8[] events
"""
_EVENT_ARRAY = """std_msgs/Header header
uint32 height
uint32 width
{package}/Event[] events
"""
_EVENT = """uint16 x
uint16 y
builtin_interfaces/Time ts
bool polarity
"""
_LIVOX_CLOUD = """std_msgs/Header header
uint64 timebase
uint32 point_num
uint8 lidar_id
uint8[3] rsvd
{package}/CustomPoint[] points
"""
_LIVOX_POINT = """uint32 offset_time
float32 x
float32 y
float32 z
uint8 reflectivity
uint8 tag
uint8 line
"""
_TRANSFORMS = "geometry_msgs/TransformStamped[] transforms\n"


def _definitions() -> dict[str, str]:
    """Type -> text in ROS 2's notation, of what neither distribution's common types hold."""
    texts = {EVENT_PACKET: _PACKET, OLD_EVENT_PACKET: _PACKET, "tf/msg/tfMessage": _TRANSFORMS}
    for package in ("dvs_msgs", "prophesee_event_msgs"):
        texts[f"{package}/msg/EventArray"] = _EVENT_ARRAY.format(package=package)
        texts[f"{package}/msg/Event"] = _EVENT
    for kind in LIVOX_CLOUDS:
        package = kind.partition("/")[0]
        texts[kind] = _LIVOX_CLOUD.format(package=package)
        texts[f"{package}/msg/CustomPoint"] = _LIVOX_POINT
    return texts


@lru_cache(maxsize=2)
def known_types(is_ros1: bool) -> Typestore:
    """Common types of ROS 2 Jazzy, or of ROS 1 Noetic without the `seq` of headers, and those of common drivers."""
    store = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    texts = _definitions()
    if is_ros1:
        texts["tf2_msgs/msg/TFMessage"] = _TRANSFORMS
    for kind, text in texts.items():
        types.update(get_types_from_msg(text, kind))
    if not is_ros1:
        store.register(types)
        return store
    types = {**store.fielddefs, **types}
    types[HEADER] = without_seq(types[HEADER])
    stripped = get_typestore(Stores.EMPTY)
    stripped.register(types)
    return stripped


def without_seq(header: Any) -> Any:
    """Definition of a ROS 1 header as ROS 2 has it."""
    constants, fields = header
    return constants, [field for field in fields if field[0] != "seq"]
