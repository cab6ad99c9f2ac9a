"""Arrays -> outgoing ROS messages. What nobody subscribes to is not computed."""

from __future__ import annotations

import time

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from any2seg_core.labels import LabelSpace
from any2seg_core.messages import array_to_image_fields
from any2seg_core.overlay import overlay
from any2seg_core.units import NS_PER_S
from any2seg_ros import distro, qos
from any2seg_ros.segmenter import LiveResult


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """A std_msgs/Header of integer nanoseconds."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NS_PER_S)
    return header


def make_image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """(H, W) or (H, W, C) pixels -> sensor_msgs/Image."""
    return Image(header=header, **array_to_image_fields(pixels, encoding))


def status_of(result: LiveResult) -> DiagnosticStatus:
    """Which sensors were fused, which not and why, ages against the label's stamp, and times in milliseconds."""
    values = {
        "used": ",".join(result.used),
        "reference": result.reference,
        "latency_ms": f"{(time.monotonic_ns() - result.received_ns) / 1e6:.2f}",
        "inference_ms": f"{result.inference_ms:.2f}",
    }
    for name, stamps_ns in result.stamps_ns.items():
        values[f"{name}.stamps_ns"] = ",".join(map(str, stamps_ns))
        values[f"{name}.age_ms"] = f"{result.ages_ns[name] / 1e6:.2f}"
    for name, reason in result.missing.items():
        values[f"{name}.missing"] = reason
    level = DiagnosticStatus.WARN if result.missing else DiagnosticStatus.OK
    message = f"fused {', '.join(result.used)}" + (f"; without {', '.join(result.missing)}" if result.missing else "")
    return DiagnosticStatus(
        level=level,
        name="any2seg: modalities",
        message=message,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


class Outputs:
    """The output topics of the node: created on configure, destroyed from the same list on cleanup."""

    def __init__(self, node: LifecycleNode, space: LabelSpace, overlay_alpha: float) -> None:
        self._node, self._space, self._alpha = node, space, overlay_alpha
        self._publishers = {
            name: node.create_lifecycle_publisher(kind, f"~/out/{name}", qos.OUTPUT)
            for name, kind in (
                ("label", Image),
                ("color", Image),
                ("overlay", Image),
                ("confidence", Image),
                ("modalities", DiagnosticArray),
            )
        }
        self._vision = distro.vision_messages()
        if self._vision is not None:
            self._publishers["label_info"] = node.create_lifecycle_publisher(
                self._vision.LabelInfo, "~/out/label_info", qos.LATCHED
            )

    def destroy(self) -> None:
        """Take all topics back."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def publish_label_info(self) -> None:
        """Send the class names once; they are latched. Nothing happens where vision_msgs is not installed."""
        if self._vision is None:
            return
        classes = [
            self._vision.VisionClass(class_id=index, class_name=name) for index, name in enumerate(self._space.classes)
        ]
        self._publishers["label_info"].publish(self._vision.LabelInfo(class_map=classes, threshold=0.0))

    def publish(self, result: LiveResult) -> None:
        """Send one result on every topic that is wanted, the label first."""
        header = make_header(result.stamp_ns, result.frame_id)
        self._publishers["label"].publish(make_image(result.labels, "mono8", header))
        modalities = DiagnosticArray(header=header, status=[status_of(result)])
        self._publishers["modalities"].publish(modalities)
        if self._wanted("color"):
            self._publishers["color"].publish(make_image(self._space.colourise(result.labels), "rgb8", header))
        if self._wanted("overlay"):
            pixels = overlay(result.labels, result.planes, self._space, self._alpha)
            self._publishers["overlay"].publish(make_image(pixels, "rgb8", header))
        if self._wanted("confidence"):
            pixels = np.round(result.confidence * 255).astype(np.uint8)
            self._publishers["confidence"].publish(make_image(pixels, "mono8", header))

    def _wanted(self, name: str) -> bool:
        return self._publishers[name].get_subscription_count() > 0
