"""Message-like objects (rclpy, rosbags or a fake; read by field name) to arrays and back. Imports no ROS."""

from any2seg_core.base.errors import MessageError
from any2seg_core.messages.clouds import cloud_rows, cloud_to_points
from any2seg_core.messages.compressed import compressed_to_depth_m, compressed_to_rgb
from any2seg_core.messages.event_arrays import (
    EventArrayBytes,
    event_array_from_cdr,
    event_array_to_events,
    event_array_with,
)
from any2seg_core.messages.event_clouds import cloud_to_events
from any2seg_core.messages.event_images import rgb_to_events
from any2seg_core.messages.event_stream import Events, EventStream
from any2seg_core.messages.fields import stamp_ns
from any2seg_core.messages.images import array_to_image_fields, image_to_array, image_to_depth_m, image_to_rgb
from any2seg_core.messages.recompressed import recompressed

__all__ = [
    "EventArrayBytes",
    "EventStream",
    "Events",
    "MessageError",
    "array_to_image_fields",
    "cloud_rows",
    "cloud_to_events",
    "cloud_to_points",
    "compressed_to_depth_m",
    "compressed_to_rgb",
    "event_array_from_cdr",
    "event_array_to_events",
    "event_array_with",
    "image_to_array",
    "image_to_depth_m",
    "image_to_rgb",
    "recompressed",
    "rgb_to_events",
    "stamp_ns",
]
