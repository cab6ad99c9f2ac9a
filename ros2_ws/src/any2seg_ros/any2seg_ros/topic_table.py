"""The table of the segmentation node's topics: launch files and documentation are made from it. Plain Python.

A test holds it against the topics that the running node really has.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS, Sensor
from any2seg_core.vocabulary.topics import node_camera_infos, node_input


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

_KINDS = MappingProxyType({
    IMAGE: (_IMAGE, _INPUT, "rgb8, bgr8, rgba8, bgra8, mono, bayer, yuv; `/compressed` below it with `{transport}`."),
    DEPTH: (
        _IMAGE, _INPUT,
        "32FC1 metres, 16UC1 millimetres, CARLA's packed bgra8; `/compressedDepth` with `{transport}`.",
    ),
    EVENTS: (
        _CLOUD, _EVENTS,
        "13-byte points of CARLA; with `{format}` also EventPacket, EventArray or a rendered Image.",
    ),
    POINTS: (_CLOUD, _INPUT, "x, y, z and optionally intensity, fields in any order."),
})  # fmt: skip


def transport_parameter(suite: SensorSuite, name: str) -> str:
    """Parameter with the transport of an image or a depth image."""
    return f"{node_input(suite, name)}_transport"


def format_parameter(name: str) -> str:
    """Parameter with the type of an event topic."""
    return f"{name}_format"


def _sensor_topic(suite: SensorSuite, sensor: Sensor) -> Topic:
    kind, qos, text = _KINDS[sensor.kind]
    text = text.format(transport=transport_parameter(suite, sensor.name), format=format_parameter(sensor.name))
    title = sensor.title[0].upper() + sensor.title[1:]
    return Topic(f"~/in/{node_input(suite, sensor.name)}", kind, qos, f"{title}: {text}")


def input_topics(suite: SensorSuite = VEHICLE) -> tuple[Topic, ...]:
    """Inputs of a node with these sensors: every one can be remapped and is an argument of the launch files."""
    sensors = tuple(_sensor_topic(suite, sensor) for sensor in suite.sensors)
    infos = tuple(
        Topic(f"~/in/{below}", _INFO, _INPUT, f"Intrinsics of `~/in/{node_input(suite, name)}`.")
        for name, below in node_camera_infos(suite).items()
    )
    return sensors + infos


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
    Topic(
        "~/out/points", _CLOUD, _OUTPUT,
        "The cloud of the first sensor of kind points (LiDAR) with rgb, label (65535: none) and confidence per point.",
    ),
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
