"""The table of the segmentation node's topics: launch files and documentation are made from it. Plain Python.

A test holds it against the topics that the running node really has.
"""

from __future__ import annotations

from dataclasses import dataclass

from any2seg_core.topics import NODE_CAMERA_INFOS, NODE_INPUTS


@dataclass(frozen=True)
class Topic:
    """One topic.

    Attributes:
        name: as the node asks for it, ``~/in/...``, ``~/out/...`` or absolute.
        kind: message type. qos: reliability, durability and depth. description: what it carries.
    """

    name: str
    kind: str
    qos: str
    description: str


_INPUT = "`input_reliability`, volatile, depth `input_depth`"
_EVENTS = "`input_reliability`, volatile, depth `event_depth`"
_OUTPUT = "reliable, volatile, depth 2"
_IMAGE, _CLOUD, _INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/CameraInfo"
_STATUS = "diagnostic_msgs/msg/DiagnosticArray"

_SENSORS = {
    "rgb": Topic("~/in/image", _IMAGE, _INPUT, "Camera: rgb8, bgr8, rgba8, bgra8, mono8 and others."),
    "depth": Topic("~/in/depth", _IMAGE, _INPUT, "Depth: 32FC1 metres, 16UC1 millimetres, CARLA's packed bgra8."),
    "event": Topic("~/in/events", _CLOUD, _EVENTS, "Events: the 13-byte points of the CARLA bridge."),
    "lidar": Topic("~/in/points", _CLOUD, _INPUT, "LiDAR: x, y, z and optionally intensity, fields in any order."),
}

INPUTS: tuple[Topic, ...] = (
    *_SENSORS.values(),
    *(
        Topic(
            f"~/in/{below}", _INFO, _EVENTS if name == "event" else _INPUT, f"Intrinsics of `~/in/{NODE_INPUTS[name]}`."
        )
        for name, below in NODE_CAMERA_INFOS.items()
    ),
)
OUTPUTS: tuple[Topic, ...] = (
    Topic("~/out/label", _IMAGE, _OUTPUT, "mono8 class ids, 255 unlabelled; header of the reference, camera size."),
    Topic("~/out/color", _IMAGE, _OUTPUT, "rgb8 labels in palette colours; computed only while somebody listens."),
    Topic("~/out/overlay", _IMAGE, _OUTPUT, "rgb8 colours over the camera; computed only while somebody listens."),
    Topic("~/out/confidence", _IMAGE, _OUTPUT, "mono8, 255 = certain; computed only while somebody listens."),
    Topic("~/out/modalities", _STATUS, _OUTPUT, "Per label: sensors that were fused, ages, why others were not."),
    Topic(
        "~/out/label_info", "vision_msgs/msg/LabelInfo", "reliable, transient local, depth 1",
        "Class names, sent once and latched; only where `vision_msgs` is installed.",
    ),
    Topic("/diagnostics", _STATUS, "reliable, volatile, depth 10", "Rates, drops with reasons, errors; 1 Hz."),
)  # fmt: skip
