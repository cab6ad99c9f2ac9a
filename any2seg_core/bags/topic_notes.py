"""What a user should know about the topics of a recording: how some are read, what to do about those that are not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from any2seg_core.bags.reader import BagTopic
from any2seg_core.vocabulary.sensor import DEPTH, IMAGE, POINTS

_UNPACK = "replay the recording into {}, which makes a PointCloud2 of it, and record that"
_REPUBLISH = "republish it uncompressed (ros2 run {} republish) and record that"
_CONVERT = "convert it to {} (types of Foxglove are not read)"
_WAYS_OUT = {
    POINTS: (
        (r"^livox\w*/.*/CustomMsg$", "set xfer_format of the driver to 0 (PointCloud2) and record that"),
        (r"^velodyne_msgs/.*/VelodyneScan$", _UNPACK.format("velodyne_pointcloud")),
        (r"^ouster\w*/.*/PacketMsg$", _UNPACK.format("ouster_ros, with its metadata,")),
        (r"^(hesai|pandar)\w*/.*/(UdpFrame|PandarScan)$", _UNPACK.format("the driver of Hesai")),
        (r"^rslidar\w*/.*/Rslidar(Packet|Scan)$", _UNPACK.format("rslidar_sdk")),
        (r"^nebula_msgs/.*/NebulaPackets$", _UNPACK.format("nebula_ros")),
        (r"^foxglove(_msgs)?\b.*\bPointCloud$", _CONVERT.format("sensor_msgs/PointCloud2")),
        (r"/CompressedPointCloud2$", _REPUBLISH.format("point_cloud_transport")),
        (r"^sensor_msgs/.*/PointCloud$", "convert it to PointCloud2 (point_cloud_converter) and record that"),
        (r"^sensor_msgs/.*/(MultiEcho)?LaserScan$", "make a PointCloud2 of it (laser_geometry) and record that"),
    ),
    DEPTH: ((r"^stereo_msgs/.*/DisparityImage$", "make depth of it (f T / disparity, metres, 32FC1) and record that"),),
    IMAGE: (
        (r"/(FFMPEGPacket|CompressedVideo)$|^theora\w*/.*/Packet$", _REPUBLISH.format("image_transport")),
        (r"^foxglove(_msgs)?\b.*\b(RawImage|CompressedImage|CompressedVideo)$",
         _CONVERT.format("sensor_msgs/Image or CompressedImage")),
    ),
}
"""Kind -> (pattern of a driver's own type, what to do), for a sensor that has no topic of a type that is read."""


def topic_notes(topics: Mapping[str, BagTopic], absent: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each topic that is read as another type, or that could be one of the sensors that are not found.

    Args:
        topics: of the recording. absent: kind -> a sensor of it that has no topic.
    """
    return tuple(_notes(topics, absent))


def _notes(topics: Mapping[str, BagTopic], absent: Mapping[str, str]) -> Iterator[str]:
    for name, topic in topics.items():
        if topic.stored_kind:
            yield f"{name}: {topic.stored_kind}, read as {topic.kind.rpartition('/')[2]}"
    for kind, ways in _WAYS_OUT.items():
        for name, topic in topics.items() if kind in absent else ():
            way = next((way for pattern, way in ways if re.search(pattern, topic.kind) and topic.count), "")
            if way:
                yield f"{name}: {topic.kind} is not read, so there is no {absent[kind]}: {way}"
