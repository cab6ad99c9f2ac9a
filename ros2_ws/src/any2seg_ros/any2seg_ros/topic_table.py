"""The table of the segmentation node's topics: launch files and documentation are made from it. Plain Python.

A test holds it against the topics that the running node really has.
"""

from __future__ import annotations

from dataclasses import dataclass

from any2seg_core.vocabulary.topics import NODE_CAMERA_INFOS, NODE_INPUTS


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
_LATCHED = "reliable, transient local, depth 1"
_IMAGE, _CLOUD, _INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/CameraInfo"
_STATUS = "diagnostic_msgs/msg/DiagnosticArray"

_SENSORS = {
    "rgb": Topic(
        "~/in/image", _IMAGE, _INPUT,
        "Camera: rgb8, bgr8, rgba8, bgra8, mono, bayer, yuv; `/compressed` below it with `image_transport`.",
    ),
    "depth": Topic(
        "~/in/depth", _IMAGE, _INPUT,
        "Depth: 32FC1 metres, 16UC1 millimetres, CARLA's packed bgra8; `/compressedDepth` with `depth_transport`.",
    ),
    "event": Topic(
        "~/in/events", _CLOUD, _EVENTS,
        "Events: 13-byte points of CARLA; with `event_format` also EventPacket, EventArray or a rendered Image.",
    ),
    "lidar": Topic("~/in/points", _CLOUD, _INPUT, "LiDAR: x, y, z and optionally intensity, fields in any order."),
}  # fmt: skip

INPUTS: tuple[Topic, ...] = (
    *_SENSORS.values(),
    *(
        Topic(f"~/in/{below}", _INFO, _INPUT, f"Intrinsics of `~/in/{NODE_INPUTS[name]}`.")
        for name, below in NODE_CAMERA_INFOS.items()
    ),
)
"""Every one can be remapped and is an argument of the launch files."""

TRANSFORMS: tuple[Topic, ...] = (
    Topic("/tf", "tf2_msgs/msg/TFMessage", "reliable, volatile, depth 100", "Extrinsics, with `tf2_msgs` installed."),
    Topic("/tf_static", "tf2_msgs/msg/TFMessage", "reliable, transient local, depth 100", "Extrinsics that are fixed."),
)
"""Global; only with `use_tf`."""

OUTPUTS: tuple[Topic, ...] = (
    Topic("~/out/label", _IMAGE, _OUTPUT, "mono8 (mono16 above 255 classes) ids, largest value: unlabelled."),
    Topic("~/out/color", _IMAGE, _OUTPUT, "rgb8 labels in palette colours."),
    Topic("~/out/overlay", _IMAGE, _OUTPUT, "rgb8 label colours over the camera image."),
    Topic("~/out/confidence", _IMAGE, _OUTPUT, "mono8, 255 = certain."),
    Topic("~/out/points", _CLOUD, _OUTPUT, "The LiDAR cloud with rgb, label (65535: none) and confidence per point."),
    Topic(
        "~/out/aligned_points", _CLOUD, _OUTPUT,
        "x, y, z of what each pixel of the label shows, camera frame, NaN: unknown; of depth, without it of the LiDAR.",
    ),
    Topic("~/out/modalities", _STATUS, _OUTPUT, "Per label: sensors that were fused, ages, why others were not."),
    Topic("~/out/label_info", "vision_msgs/msg/LabelInfo", _LATCHED, "Class names; where `vision_msgs` is installed."),
    Topic("~/out/label_info_json", "std_msgs/msg/String", _LATCHED, "Class names and colours as JSON, everywhere."),
    Topic("/diagnostics", _STATUS, "reliable, volatile, depth 10", "Rates, drops with reasons, errors; 1 Hz."),
)  # fmt: skip
"""Nothing is computed for a topic that nobody listens to."""
