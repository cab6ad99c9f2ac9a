"""Arrays -> outgoing ROS messages. What nobody subscribes to is not computed."""

from __future__ import annotations

import array
import json
import time
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header, String

from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages import array_to_image_fields
from any2seg_core.runtime.legend import legend_document
from any2seg_core.runtime.overlay import overlay
from any2seg_core.sensors.lidar import label_points
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_ros import distro, qos
from any2seg_ros.diagnostics import pairs, reliability_values
from any2seg_ros.segmenter import LiveCloud, LiveResult

_POINT = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u2"), ("_", "<u2"), ("confidence", "<f4")]
)
_POINT_FIELDS = {"x": (PointField.FLOAT32, 0), "y": (PointField.FLOAT32, 4), "z": (PointField.FLOAT32, 8),
                 "rgb": (PointField.FLOAT32, 12), "label": (PointField.UINT16, 16),
                 "confidence": (PointField.FLOAT32, 20)}  # fmt: skip
_ALIGNED_FIELDS = {name: (PointField.FLOAT32, 4 * index) for index, name in enumerate("xyz")}
_PICTURES = ("label", "color", "overlay", "confidence")
_CLOUDS = ("points", "aligned_points")
_OF_CONFIDENCE = ("confidence", "points")


def make_header(stamp_ns: int, frame_id: str) -> Header:
    """A std_msgs/Header of integer nanoseconds."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NS_PER_S)
    return header


def make_image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """(H, W) or (H, W, C) pixels -> sensor_msgs/Image."""
    return Image(header=header, **array_to_image_fields(pixels, encoding))


def make_semantic_cloud(result: LiveResult, cloud: LiveCloud, space: LabelSpace) -> PointCloud2:
    """The cloud with x, y, z, rgb (packed as PCL does), label and confidence; header and order of the cloud.

    The label of a point that the camera does not see, or sees hidden, is 65535, its confidence 0, its colour black.
    """
    rig = cloud.rig
    to_camera, camera = rig.place(cloud.sensor).to_camera, rig.camera(result.labels.shape)
    assert result.confidence is not None and to_camera is not None  # see `needs_confidence`; the cloud was fused
    labels, confidence = label_points(cloud.points, result.labels, result.confidence, to_camera, camera)
    seen = labels != np.iinfo(labels.dtype).max
    points = np.zeros(len(cloud.points), _POINT)
    for index, name in enumerate("xyz"):
        points[name] = cloud.points[:, index]
    red, green, blue = (space.colourise(labels)[:, channel].astype(np.uint32) for channel in range(3))
    points["rgb"] = red << 16 | green << 8 | blue
    points["label"] = np.where(seen, labels.astype(np.uint16), np.uint16(65535))
    points["confidence"] = confidence
    return _make_cloud(points[None], _POINT_FIELDS, make_header(cloud.stamp_ns, cloud.frame_id), is_dense=True)


def make_aligned_cloud(result: LiveResult) -> PointCloud2 | None:
    """The point that each pixel of the labels shows, in the camera's optical frame, as Nav2's costmap layer reads it.

    Organised: height and width of the labels; x, y, z float32 in metres, NaN where nothing is known. None where the set
    had neither depth nor a cloud.
    """
    points = None if result.rig is None else result.rig.aligned_points(result.samples, result.labels.shape)
    if points is None:
        return None
    return _make_cloud(points, _ALIGNED_FIELDS, make_header(result.stamp_ns, result.frame_id), is_dense=False)


def _make_cloud(points: np.ndarray, fields: dict[str, tuple[int, int]], header: Header, is_dense: bool) -> PointCloud2:
    """(H, W) records, or (H, W, C) numbers, little endian; fields: name -> datatype and offset."""
    height, width = points.shape[:2]
    data = array.array("B")
    data.frombytes(memoryview(points).cast("B"))
    step = points.itemsize * int(np.prod(points.shape[2:]))
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[
            PointField(name=name, offset=offset, datatype=kind, count=1) for name, (kind, offset) in fields.items()
        ],
        is_bigendian=False,
        point_step=step,
        row_step=step * width,
        data=data,
        is_dense=is_dense,
    )


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
    for name, text in {**result.faults, **result.errors}.items():
        values[f"{name}.fault"] = text
    for name, reliability in result.reliability.items():
        values |= {f"{name}.{key}": value for key, value in reliability_values(reliability).items()}
    lacking = [name for name, reason in result.missing.items() if reason != "disabled"]
    level = DiagnosticStatus.WARN if lacking or result.faults else DiagnosticStatus.OK
    message = f"fused {', '.join(result.used)}" + (f"; without {', '.join(lacking)}" if lacking else "")
    return DiagnosticStatus(
        level=level,
        name="any2seg: modalities",
        message=message,
        values=pairs(values),
    )


class Outputs:
    """The output topics of the node: created on configure, destroyed from the same list on cleanup.

    Args:
        node: gets the publishers. space: classes of the label images. suite: sensors that they are made of.

    Attributes:
        overlay_alpha: weight of the colours in the overlay.
    """

    def __init__(self, node: LifecycleNode, space: LabelSpace, suite: SensorSuite, overlay_alpha: float) -> None:
        self.overlay_alpha = overlay_alpha
        self._node, self._space, self._suite = node, space, suite
        kinds = dict.fromkeys(_PICTURES, Image) | dict.fromkeys(_CLOUDS, PointCloud2) | {"modalities": DiagnosticArray}
        self._publishers: dict[str, Any] = {name: self._create(kind, name, qos.OUTPUT) for name, kind in kinds.items()}
        self._publishers["label_info_json"] = self._create(String, "label_info_json", qos.LATCHED)
        self._vision = distro.vision_messages()
        if self._vision is not None:
            self._publishers["label_info"] = self._create(self._vision.LabelInfo, "label_info", qos.LATCHED)

    def destroy(self) -> None:
        """Take all topics back."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def is_wanted(self) -> bool:
        """Whether anybody listens to anything that takes the model."""
        return any(self._wanted(name) for name in (*_PICTURES, *_CLOUDS, "modalities"))

    def needs_confidence(self) -> bool:
        """Whether anybody listens to what shows the confidence, which costs as much as the labels."""
        return any(self._wanted(name) for name in _OF_CONFIDENCE)

    def needs_planes(self) -> bool:
        """Whether anybody listens to what shows whole planes."""
        return self._wanted("overlay")

    def publish_label_info(self, threshold: float) -> None:
        """Send the class names; they are latched. As LabelInfo where vision_msgs is installed, as JSON everywhere."""
        stamp = self._node.get_clock().now().to_msg()
        document = legend_document(self._space)
        if self._vision is not None:
            classes = [(entry["class_id"], entry["class_name"]) for entry in document["class_map"]]
            entries = [self._vision.VisionClass(class_id=index, class_name=name) for index, name in classes]
            info = self._vision.LabelInfo(class_map=entries, threshold=threshold)
            info.header.stamp = stamp
            self._publishers["label_info"].publish(info)
        self._publishers["label_info_json"].publish(String(data=json.dumps(document | {"threshold": threshold})))

    def publish(self, result: LiveResult) -> None:
        """Send one result on every topic that somebody listens to, the label first."""
        header = make_header(result.stamp_ns, result.frame_id)
        if self._wanted("label"):
            encoding = "mono8" if result.labels.dtype == np.uint8 else "mono16"
            self._publishers["label"].publish(make_image(result.labels, encoding, header))
        if self._wanted("modalities"):
            self._publishers["modalities"].publish(DiagnosticArray(header=header, status=[status_of(result)]))
        if self._wanted("color"):
            self._publishers["color"].publish(make_image(self._space.colourise(result.labels), "rgb8", header))
        if self._wanted("overlay"):
            pixels = overlay(result.labels, result.planes, self._space, self.overlay_alpha, self._suite)
            self._publishers["overlay"].publish(make_image(pixels, "rgb8", header))
        if self._wanted("aligned_points"):
            cloud = make_aligned_cloud(result)
            if cloud is not None:
                self._publishers["aligned_points"].publish(cloud)
        if result.confidence is None:  # nobody listened to what needs it when the set was segmented
            return
        if self._wanted("confidence"):
            pixels = cv2.convertScaleAbs(result.confidence, alpha=255.0)
            self._publishers["confidence"].publish(make_image(pixels, "mono8", header))
        if result.cloud is not None and self._wanted("points"):
            self._publishers["points"].publish(make_semantic_cloud(result, result.cloud, self._space))

    def _create(self, kind: type, name: str, profile: QoSProfile) -> Publisher:
        return self._node.create_lifecycle_publisher(
            kind, f"~/out/{name}", profile, qos_overriding_options=QoSOverridingOptions.with_default_policies()
        )

    def _wanted(self, name: str) -> bool:
        return self._publishers[name].get_subscription_count() > 0
