"""Serialised ROS 2 messages in the form in which the CARLA ROS bridge sends them. All stamps in nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from any2seg_core.base.units import NS_PER_S
from any2seg_core.messages.carla_tags import CARLA_0_9_14
from any2seg_core.sensors.camera import CameraModel

_INT8, _UINT16, _UINT32, _FLOAT32, _FLOAT64 = 1, 4, 6, 7, 8  # sensor_msgs/PointField
_CLOUD_FIELDS = MappingProxyType({name: (4 * k, _FLOAT32) for k, name in enumerate(("x", "y", "z", "intensity"))})
_EVENT_FIELDS = MappingProxyType({"x": (0, _UINT16), "y": (2, _UINT16), "t": (4, _FLOAT64), "pol": (12, _INT8)})
_SEMANTIC_FIELDS = MappingProxyType(
    {"x": (0, _FLOAT32), "y": (4, _FLOAT32), "z": (8, _FLOAT32), "CosAngle": (12, _FLOAT32)}
    | {"ObjIdx": (16, _UINT32), "ObjTag": (20, _UINT32)}
)
_SEMANTIC_RECORD = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("CosAngle", "<f4"), ("ObjIdx", "<u4"), ("ObjTag", "<u4")]
)
_EVENT_RECORD = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<f8"), ("pol", "i1")])


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """Return the message definitions of ROS 2 Jazzy."""
    return get_typestore(Stores.ROS2_JAZZY)


def _make(kind: str, **fields: Any) -> Any:
    return typestore().types[kind](**fields)


def _serialised(message: Any) -> bytes:
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def _time(stamp_ns: int) -> Any:
    return _make("builtin_interfaces/msg/Time", sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)


def _header(stamp_ns: int, frame_id: str) -> Any:
    return _make("std_msgs/msg/Header", stamp=_time(stamp_ns), frame_id=frame_id)


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def image(array: np.ndarray, encoding: str, stamp_ns: int, frame_id: str) -> bytes:
    """Return a sensor_msgs/Image of array (H,W) or (H,W,C) whose dtype fits the encoding."""
    height, width = array.shape[:2]
    return _serialised(
        _make(
            "sensor_msgs/msg/Image",
            header=_header(stamp_ns, frame_id),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=array[0].nbytes,
            data=_bytes(array),
        )
    )


def camera_info(camera: CameraModel, stamp_ns: int) -> bytes:
    """Return a sensor_msgs/CameraInfo with R = I and P = [K | 0]."""
    projection = np.hstack([camera.K, np.zeros((3, 1))])
    region = _make(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return _serialised(
        _make(
            "sensor_msgs/msg/CameraInfo",
            header=_header(stamp_ns, camera.frame_id),
            height=camera.height,
            width=camera.width,
            distortion_model=camera.distortion_model,
            d=np.asarray(camera.D, np.float64),
            k=np.asarray(camera.K, np.float64).reshape(-1),
            r=np.eye(3).reshape(-1),
            p=projection.reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=region,
        )
    )


def _cloud(
    records: np.ndarray, fields: Mapping[str, tuple[int, int]], point_step: int, stamp_ns: int, frame_id: str,
    is_dense: bool,
) -> bytes:
    point_fields = [
        _make("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=datatype, count=1)
        for name, (offset, datatype) in fields.items()
    ]
    return _serialised(
        _make(
            "sensor_msgs/msg/PointCloud2",
            header=_header(stamp_ns, frame_id),
            height=1,
            width=len(records),
            fields=point_fields,
            is_bigendian=False,
            point_step=point_step,
            row_step=point_step * len(records),
            data=_bytes(records),
            is_dense=is_dense,
        )
    )


def point_cloud(points: np.ndarray, stamp_ns: int, frame_id: str) -> bytes:
    """Return a sensor_msgs/PointCloud2 of points (N,4) float32 x, y, z, intensity; step 16."""
    return _cloud(points.astype("<f4", copy=False), _CLOUD_FIELDS, 16, stamp_ns, frame_id, is_dense=False)


def semantic_cloud(points: np.ndarray, labels: np.ndarray, stamp_ns: int, frame_id: str) -> bytes:
    """Return a sensor_msgs/PointCloud2 like that of CARLA's semantic LiDAR, step 24.

    points (N,4) float32; labels (N,) uint8 train ids of DELIVER, written as tags of CARLA 0.9.14 and later, 0 where
    unlabelled. CosAngle and ObjIdx are 0: the drive does not tell them.
    """
    records = np.zeros(len(points), _SEMANTIC_RECORD)
    records["x"], records["y"], records["z"] = points[:, 0], points[:, 1], points[:, 2]
    records["ObjTag"] = CARLA_0_9_14.from_train()[labels]
    return _cloud(records, _SEMANTIC_FIELDS, _SEMANTIC_RECORD.itemsize, stamp_ns, frame_id, is_dense=True)


def event_cloud(events: np.ndarray, stamp_ns: int, frame_id: str) -> bytes:
    """Return a sensor_msgs/PointCloud2 of events (fields x, y, t ns, p): 13 bytes each, pol 1 brighter, 0 darker."""
    records = np.empty(len(events), _EVENT_RECORD)
    records["x"], records["y"], records["t"], records["pol"] = events["x"], events["y"], events["t"], events["p"] > 0
    return _cloud(records, _EVENT_FIELDS, _EVENT_RECORD.itemsize, stamp_ns, frame_id, is_dense=True)


def string(text: str) -> bytes:
    """Return a std_msgs/String."""
    return _serialised(_make("std_msgs/msg/String", data=text))


def clock(stamp_ns: int) -> bytes:
    """Return a rosgraph_msgs/Clock."""
    return _serialised(_make("rosgraph_msgs/msg/Clock", clock=_time(stamp_ns)))


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Return x, y, z, w of a (3,3) rotation: the leading eigenvector of Bar-Itzhack's matrix (2000)."""
    r = rotation
    symmetric = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], np.trace(r)],
        ]
    )
    quaternion = np.linalg.eigh(symmetric / 3.0)[1][:, -1]
    return quaternion if quaternion[3] >= 0 else -quaternion


def transforms(parent: str, poses: Mapping[str, np.ndarray], stamp_ns: int) -> bytes:
    """Return a tf2_msgs/TFMessage: per child frame its (4,4) transform to the frame `parent`."""
    items = []
    for frame_id, pose in poses.items():
        x, y, z = (float(v) for v in pose[:3, 3])
        qx, qy, qz, qw = (float(v) for v in _quaternion(pose[:3, :3]))
        transform = _make(
            "geometry_msgs/msg/Transform",
            translation=_make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=_make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        )
        header = _header(stamp_ns, parent)
        items.append(
            _make("geometry_msgs/msg/TransformStamped", header=header, child_frame_id=frame_id, transform=transform)
        )
    return _serialised(_make("tf2_msgs/msg/TFMessage", transforms=items))


def nav_sat_fix(latitude_deg: float, longitude_deg: float, stamp_ns: int, frame_id: str) -> bytes:
    """Return a sensor_msgs/NavSatFix at height 0, of an unknown covariance."""
    status = _make("sensor_msgs/msg/NavSatStatus", status=0, service=1)
    return _serialised(
        _make(
            "sensor_msgs/msg/NavSatFix",
            header=_header(stamp_ns, frame_id),
            status=status,
            latitude=float(latitude_deg),
            longitude=float(longitude_deg),
            altitude=0.0,
            position_covariance=np.zeros(9),
            position_covariance_type=0,
        )
    )


def odometry(pose: np.ndarray, stamp_ns: int, parent: str, child: str) -> bytes:
    """Return a nav_msgs/Odometry of the pose (4,4) of frame `child` in frame `parent`, without speeds."""
    x, y, z = (float(v) for v in pose[:3, 3])
    qx, qy, qz, qw = (float(v) for v in _quaternion(pose[:3, :3]))
    still = _make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    place = _make(
        "geometry_msgs/msg/Pose",
        position=_make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=_make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
    )
    return _serialised(
        _make(
            "nav_msgs/msg/Odometry",
            header=_header(stamp_ns, parent),
            child_frame_id=child,
            pose=_make("geometry_msgs/msg/PoseWithCovariance", pose=place, covariance=np.zeros(36)),
            twist=_make(
                "geometry_msgs/msg/TwistWithCovariance",
                twist=_make("geometry_msgs/msg/Twist", linear=still, angular=still),
                covariance=np.zeros(36),
            ),
        )
    )
