"""Messages of all sensors, right in structure and wrong somewhere, through every reader and through FrameBuilder."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from mutate import FLOATS, mutated_bytes, number, spoil

from any2seg_core import messages as readers
from any2seg_core.data.recording_truth import TruthCoding, cloud_truth
from any2seg_core.messages import EventStream
from any2seg_core.messages.carla_tags import semantic_cloud_to_train, semantic_to_train, tag_list
from any2seg_core.messages.images import _GENERIC_KINDS, _NAMED, encoding_of
from any2seg_core.messages.transforms import TransformTree
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.calibration import CAMERA_FIELDS, Calibration
from any2seg_core.sensors.camera import CameraModel

ENCODINGS = (*_NAMED, *(f"{kind}C{count}" for kind in _GENERIC_KINDS for count in (1, 2, 3, 4)))
MODALITIES = ("rgb", "depth", "event", "lidar")
_POINT = struct.Struct("<ffff")
_TAGS = tag_list("0.9.15")
_SIDES = ((9, 13), (8, 12), (1, 1), (31, 47), (64, 64))


def _stamp(rng: random.Random) -> SimpleNamespace:
    return SimpleNamespace(sec=1, nanosec=rng.randrange(10**9))


def _header(rng: random.Random) -> SimpleNamespace:
    return SimpleNamespace(stamp=_stamp(rng), frame_id=rng.choice(("", "camera", "lidar", "map")))


def image(rng: random.Random) -> SimpleNamespace:
    """sensor_msgs/Image of any encoding, with padding now and then."""
    height, width = rng.choice(_SIDES)
    name = rng.choice(ENCODINGS if rng.random() < 0.3 else _READABLE)
    known = encoding_of(name)
    step = width * known.channels * np.dtype(known.kind).itemsize + rng.choice((0, 0, 3, 8))
    rows = height * known.rows_num // known.rows_den
    return SimpleNamespace(
        header=_header(rng), height=height, width=width, encoding=name, is_bigendian=rng.choice((0, 0, 1)), step=step,
        data=rng.randbytes(step * rows),
    )  # fmt: skip


def _picture_bases() -> list[bytes]:
    grey = (np.arange(40 * 56).reshape(40, 56) % 253).astype(np.uint8)
    colour = np.dstack([grey, grey[::-1], grey])
    deep = grey.astype(np.uint16) * 199
    bases = [bytes(cv2.imencode(suffix, pixels)[1]) for suffix, pixels in (
        (".png", colour), (".png", grey), (".png", deep), (".png", np.dstack([colour, grey])), (".jpg", colour),
        (".jpg", grey), (".webp", colour), (".tiff", colour), (".tiff", grey.astype(np.float32)), (".tiff", deep),
    )]  # fmt: skip
    return [*bases, bytes(cv2.imencode(".jpg", colour, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1])]


PICTURES = _picture_bases()
_FORMATS = ("jpeg", "png", "rgb8; jpeg compressed bgr8", "bgr8; png compressed rgb8", "bayer_rggb8; png compressed",
            "16UC1; png compressed", "32FC1; tiff compressed", "", ";", "rgb16; webp compressed ")  # fmt: skip


def compressed(rng: random.Random) -> SimpleNamespace:
    """sensor_msgs/CompressedImage of a damaged picture."""
    data = rng.choice(PICTURES)
    data = mutated_bytes(rng, data) if rng.random() < 0.8 else data
    return SimpleNamespace(header=_header(rng), format=rng.choice(_FORMATS), data=data)


def compressed_depth(rng: random.Random) -> SimpleNamespace:
    """compressedDepth of both codecs, with their headers."""
    original, codec = rng.choice(("16UC1", "32FC1", "mono16", "rgb8")), rng.choice(("png", "rvl", "", "zstd"))
    head = struct.pack("<iff", rng.choice((0, 1)), rng.choice(FLOATS) % 3e38, rng.choice((0.1, -2.0, float("nan"))))
    if codec == "rvl":
        width, height = rng.choice(((4, 4), (16, 9), (number(rng) % 2**32, 3), (40000, 40000), (4096, 4096)))
        body = struct.pack("<II", width, height) + rng.randbytes(4 * rng.randrange(60))
    else:
        body = mutated_bytes(rng, PICTURES[2])
    return SimpleNamespace(header=_header(rng), format=f"{original}; compressedDepth {codec}", data=head + body)


def _fields(*described: tuple[str, int, int]) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in described]


def cloud(rng: random.Random) -> SimpleNamespace:
    """sensor_msgs/PointCloud2: LiDAR of several layouts, CARLA's events, semantic LiDAR."""
    layout, step = rng.choice((
        ((("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 12, 7)), 16),
        ((("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("intensity", 16, 7), ("ring", 20, 4)), 32),
        ((("z", 0, 8), ("y", 8, 8), ("x", 16, 8), ("reflectivity", 24, 4)), 26),
        ((("x", 0, 4), ("y", 2, 4), ("t", 4, 8), ("pol", 12, 1)), 13),
        ((("x", 0, 4), ("y", 2, 4), ("t", 4, 6), ("p", 8, 2)), 16),
        ((("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("CosAngle", 12, 7), ("ObjIdx", 16, 6), ("ObjTag", 20, 6)), 24),
    ))  # fmt: skip
    height, width = rng.choice(((1, 40), (4, 10), (1, 0), (0, 0), (1, 1)))
    if rng.random() < 0.5:
        data = rng.randbytes(step * height * width)
    else:
        row = _POINT.pack(*(rng.uniform(-30, 30) for _ in range(3)), rng.choice((0.5, 200.0)))
        data = (row + bytes(step))[:step] * (height * width)
    return SimpleNamespace(
        header=_header(rng), height=height, width=width, fields=_fields(*layout), point_step=step,
        row_step=step * width, is_bigendian=rng.choice((False, False, True)), is_dense=True, data=data,
    )  # fmt: skip


def event_packet(rng: random.Random) -> SimpleNamespace:
    """event_camera_msgs/EventPacket of random words."""
    encoding = rng.choice(("evt3", "evt3", "libcaer", "mono", "trigger", "libcaer_cmp", "evt4"))
    width, height = rng.choice(((1280, 720), (346, 260), (0, 0), (1, 1)))
    return SimpleNamespace(
        header=_header(rng), height=height, width=width, seq=rng.randrange(9), time_base=10**9, encoding=encoding,
        is_bigendian=rng.choice((0, 1)), events=rng.randbytes(8 * rng.randrange(100)),
    )  # fmt: skip


def event_array(rng: random.Random) -> SimpleNamespace:
    """dvs_msgs/EventArray as objects."""
    events = [
        SimpleNamespace(x=rng.randrange(346), y=rng.randrange(260), ts=_stamp(rng), polarity=rng.random() < 0.5)
        for _ in range(rng.randrange(12))
    ]
    return SimpleNamespace(header=_header(rng), height=260, width=346, events=events)


def event_array_cdr(rng: random.Random) -> bytes:
    """The same, serialised and damaged."""
    count = rng.randrange(12)
    head = b"\0\1\0\0" + struct.pack("<iII", 1, 5, 4) + b"cam\0" + struct.pack("<III", 260, 346, count)
    body = b"".join(struct.pack("<HHxxiIB3x", 5, 6, 1, 7, 1) for _ in range(count))
    return mutated_bytes(rng, head + body)


def camera_info(rng: random.Random) -> SimpleNamespace:
    """sensor_msgs/CameraInfo of any size and lens."""
    width, height = rng.choice((*((w, h) for h, w in _SIDES), (1920, 1080), (16384, 16384), (4096, 2160)))
    model = rng.choice(("plumb_bob", "rational_polynomial", "equidistant", "", "fisheye", "double_sphere"))
    lens = [rng.choice((0.0, 0.01, -0.3, 5.0, *FLOATS)) for _ in range(rng.choice((0, 4, 5, 8, 14)))]
    focal = rng.choice((width * 0.7, width * 0.7, 1e-9, 1e9, float("nan"), 0.0))
    intrinsics = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    roi = SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    projection = [*intrinsics[:3], 0.0, *intrinsics[3:6], 0.0, 0.0, 0.0, 1.0, 0.0]
    return SimpleNamespace(
        header=_header(rng), height=height, width=width, distortion_model=model, d=lens, k=intrinsics,
        r=[1.0, 0, 0, 0, 1, 0, 0, 0, 1], p=projection, binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def transforms(rng: random.Random) -> SimpleNamespace:
    """tf2_msgs/TFMessage with loops, zeros and NaN now and then."""

    def one() -> SimpleNamespace:
        vector = SimpleNamespace(**{axis: rng.choice((0.0, 1.0, *FLOATS)) for axis in "xyz"})
        turn = SimpleNamespace(**{axis: rng.choice((0.0, 1.0, 0.5, *FLOATS)) for axis in "xyzw"})
        header = _header(rng)
        header.frame_id = rng.choice(("map", "base", "camera", "lidar", ""))
        return SimpleNamespace(
            header=header, child_frame_id=rng.choice(("base", "camera", "lidar", "")),
            transform=SimpleNamespace(translation=vector, rotation=turn),
        )  # fmt: skip

    return SimpleNamespace(transforms=[one() for _ in range(rng.randrange(5))])


def _calibrations() -> list[Calibration | None]:
    to_camera = np.array([[0.0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, 0.3], [0, 0, 0, 1]])
    shift = np.eye(4)
    shift[0, 3] = 0.1
    plain = CameraModel.from_fov(47, 31, 90.0)
    bent = CameraModel(13, 9, [[9, 0, 6], [0, 9, 4], [0, 0, 1]], [0.1, 0.01, 0, 0, 0])
    return [
        None,
        Calibration(plain, lidar_to_camera=to_camera),
        Calibration(bent, event_camera=CameraModel.from_fov(346, 260, 80.0), lidar_to_camera=to_camera),
        Calibration(plain, depth_camera=bent, depth_to_camera=shift, event_to_camera=shift),
    ]


CALIBRATIONS = _calibrations()
_FITTING = {
    "image": ("rgb", "depth", "event"), "compressed": ("rgb", "event"), "compressed_depth": ("depth",),
    "cloud": ("lidar", "event"), "event_packet": ("event",), "event_array": ("event",),
}  # fmt: skip
_READABLE = ("rgb8", "bgr8", "bgra8", "mono8", "bayer_rggb8", "yuyv", "nv12", "32FC1", "16UC1", "64FC1", "mono16")
MAKERS: tuple[Callable[[random.Random], Any], ...] = (
    image, image, compressed, compressed, compressed_depth, cloud, cloud, event_packet, event_array, camera_info,
    transforms,
)  # fmt: skip
_DIRECT: tuple[Callable[[Any], Any], ...] = (
    readers.image_to_array, readers.image_to_rgb, readers.image_to_depth_m, readers.compressed_to_rgb,
    readers.compressed_to_depth_m, readers.cloud_rows, readers.cloud_to_points, readers.cloud_to_events,
    readers.event_array_to_events, readers.stamp_ns, CameraModel.from_camera_info,
    lambda msg: EventStream().decode(msg), lambda msg: readers.recompressed(msg, readers.compressed_to_rgb(msg)),
    lambda msg: TruthCoding().read(msg, "/truth"),
    lambda msg: cloud_truth(msg, "/truth", TruthCoding("tag", "0.9.15"), CALIBRATIONS[1]),
    lambda msg: semantic_cloud_to_train(msg, _TAGS), lambda msg: semantic_to_train(msg, _TAGS, "palette"),
    lambda msg: semantic_to_train(msg, _TAGS, "tag"),
)  # fmt: skip


class Messages:
    """One input is one message: some go to a reader of any kind, most through a FrameBuilder as its node's would."""

    def __init__(self, _folder: Any = None) -> None:
        for calibration in CALIBRATIONS:  # as the node does it: compiling a kernel is no message's time
            FrameBuilder(calibration).warm_up()

    def one(self, rng: random.Random) -> bool:
        """Whether the message was read; UserError is a refusal."""
        if rng.random() < 0.1:
            readers.event_array_to_events(readers.event_array_from_cdr(event_array_cdr(rng)))
            return True
        maker = rng.choice(MAKERS)
        message = maker(rng)
        if rng.random() < 0.6:
            spoil(rng, message)
        if rng.random() < 0.4:
            rng.choice(_DIRECT)(message)
            return True
        modality = rng.choice(_FITTING.get(maker.__name__, MODALITIES) if rng.random() < 0.9 else MODALITIES)
        return self._through_frames(rng, message, modality)

    def _through_frames(self, rng: random.Random, message: Any, modality: str) -> bool:
        builder = FrameBuilder(rng.choice(CALIBRATIONS))
        if hasattr(message, "transforms"):
            tree = TransformTree()
            tree.add_message(message, rng.random() < 0.5)
            builder.find_extrinsics(tree, {"lidar": ("lidar", 10**9), "rgb": ("camera", 10**9)}, 10**9)
            return True
        if hasattr(message, "distortion_model"):
            builder.set_camera_info(rng.choice([*CAMERA_FIELDS]), message)
            message = rng.choice((cloud, image, event_packet))(rng)
        payload = builder.receive(modality, message)
        frame = builder.build({modality: [payload]}, rng.choice((10**9, 1, 2**62)))
        return bool(frame.planes)
