"""sensor_msgs/Image to arrays and back: every encoding of sensor_msgs/image_encodings.hpp, padding, byte order."""

from __future__ import annotations

import array
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.base.pictures import MAX_SIDE
from any2seg_core.messages.fields import byte_order, data_bytes, integer, text
from any2seg_core.messages.pixel_bits import PixelBits
from any2seg_core.sensors.depth import decode_carla_depth, whole_depth_m

_GENERIC = re.compile(r"(8U|8S|16U|16S|32S|32F|64F)C([1-4])?")
_GENERIC_KINDS = {"8U": "u1", "8S": "i1", "16U": "u2", "16S": "i2", "32S": "i4", "32F": "f4", "64F": "f8"}


@dataclass(frozen=True)
class Encoding:
    """How an encoding lies in memory.

    Attributes:
        kind: NumPy type of one item. channels: items per pixel of a row.
        rows_num, rows_den: rows of items per row of pixels (3/2 for nv12, whose chroma rows follow the image).
        even: sides that must be even, "" or "w" or "wh".
    """

    kind: str
    channels: int
    rows_num: int = 1
    rows_den: int = 1
    even: str = ""


_NAMED = {
    **{f"{order}{bits}": Encoding(f"u{bits // 8}", len(order))
       for order in ("rgb", "bgr", "rgba", "bgra") for bits in (8, 16)},
    "mono8": Encoding("u1", 1), "mono16": Encoding("u2", 1),
    **{f"bayer_{order}{bits}": Encoding(f"u{bits // 8}", 1)
       for order in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)},
    **{name: Encoding("u1", 2, even="w") for name in ("uyvy", "yuv422", "yuyv", "yuv422_yuy2")},
    "nv12": Encoding("u1", 1, 3, 2, "wh"), "nv21": Encoding("u1", 1, 3, 2, "wh"), "nv24": Encoding("u1", 1, 3, 1),
}  # fmt: skip

# Generic types name no colour order; they come from OpenCV programs, which mean blue first.
_SAME_AS = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8", "16UC3": "bgr16", "16UC4": "bgra16"}
_TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB, "rgba": cv2.COLOR_RGBA2RGB, "bgra": cv2.COLOR_BGRA2RGB, "mono": cv2.COLOR_GRAY2RGB,
    "bayer_rggb": cv2.COLOR_BayerRGGB2RGB, "bayer_bggr": cv2.COLOR_BayerBGGR2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGBRG2RGB, "bayer_grbg": cv2.COLOR_BayerGRBG2RGB,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY, "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV, "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
    "nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21,
}  # fmt: skip
DEPTH_ENCODINGS = ("32FC1", "64FC1", "16UC1", "mono16", "bgra8", "8UC4")


def image_to_array(msg: Any) -> np.ndarray:
    """Pixels of a sensor_msgs/Image in their own encoding.

    Returns:
        (H, W) or (H, W, C), dtype and channel order of the encoding, native byte order; for nv12, nv21 (3 H / 2, W)
        and for nv24 (3 H, W): the luminance rows, then the chroma rows. May share memory with the message; treat it as
        read-only.

    Raises:
        MessageError: unknown encoding, size out of 1..32768 (or odd where chroma is shared by pixels), a step that is
            too small, or data that is not step * rows bytes long.
    """
    height = integer(msg, "height", "image", 1, MAX_SIDE)
    width = integer(msg, "width", "image", 1, MAX_SIDE)
    name = text(msg, "encoding", "image")
    encoding = encoding_of(name)
    if ("w" in encoding.even and width % 2) or ("h" in encoding.even and height % 2):
        raise MessageError(f"image: {name} needs even sides, got {width}x{height}", "size")
    dtype = np.dtype(byte_order(msg, "image") + encoding.kind)
    rows = height * encoding.rows_num // encoding.rows_den
    row_bytes = width * encoding.channels * dtype.itemsize
    data, step = data_bytes(msg, "image"), integer(msg, "step", "image", 0, 2**32, reason="step")
    if rows != height and step != row_bytes and data.size == row_bytes * rows:
        step = row_bytes  # drivers disagree about the step of planar images
    if step < row_bytes:
        raise MessageError(f"image: step {step} is smaller than a row of {width} {name} pixels ({row_bytes})", "step")
    if rows > 2 * height and step != row_bytes:
        raise MessageError(f"image: {name} with padded rows (step {step}, width {width}) has no agreed layout", "step")
    if data.size != step * rows:
        raise MessageError(f"image: data holds {data.size} bytes, step {step} x {rows} needs {step * rows}", "length")
    items = data.reshape(rows, step)[:, :row_bytes]  # (rows,step) -> (rows,row_bytes)
    pixels = np.ascontiguousarray(items).view(dtype).reshape(rows, width, encoding.channels)  # (H,W,C)
    pixels = pixels.astype(dtype.newbyteorder("="), copy=False)
    return pixels[..., 0] if encoding.channels == 1 else pixels


def image_to_rgb(msg: Any, bits: PixelBits | None = None) -> np.ndarray:
    """Colour, grey, Bayer or YUV sensor_msgs/Image to (H, W, 3) uint8 RGB; MessageError for any other encoding.

    16 bits are cut to their upper 8, or to those of the significant `bits` of this camera. YUV is ITU-R BT.601,
    16..235, as cameras send it. A Bayer image is interpolated bilinearly.
    """
    return pixels_to_rgb(image_to_array(msg), text(msg, "encoding", "image"), bits)


def pixels_to_rgb(pixels: np.ndarray, encoding: str, bits: PixelBits | None = None) -> np.ndarray:
    """Pixels as `image_to_array` returns them, in a colour encoding, to (H, W, 3) uint8 RGB."""
    name = _SAME_AS.get(encoding, encoding)
    if name not in _NAMED:
        raise MessageError(f"image: encoding {encoding!r} is no colour image; expected one of {_listed()}", "encoding")
    if pixels.dtype == np.uint16:
        if name in ("rgba16", "bgra16"):  # alpha is full whatever bits the colours have
            pixels, name = pixels[..., :3], name.replace("a", "", 1)
        pixels = (bits or PixelBits(16)).to_bytes(pixels)
    if name.startswith("rgb") and not name.startswith("rgba"):
        return pixels
    if name == "nv24":
        return _nv24_to_rgb(pixels)
    return cv2.cvtColor(pixels, _TO_RGB[name.removesuffix("16").removesuffix("8")])


def image_to_grey(msg: Any, bits: PixelBits | None = None) -> np.ndarray:
    """Grey or colour sensor_msgs/Image to (H, W) uint8, 16 bits as in `image_to_rgb`; colours by their luminance."""
    return pixels_to_grey(image_to_array(msg), text(msg, "encoding", "image"), bits)


def pixels_to_grey(pixels: np.ndarray, encoding: str, bits: PixelBits | None = None) -> np.ndarray:
    """Pixels as `image_to_array` returns them to (H, W) uint8; MessageError for an encoding of no image."""
    if _SAME_AS.get(encoding, encoding) == "mono8":
        return pixels
    if encoding in ("mono16", "16UC1"):
        return (bits or PixelBits(16)).to_bytes(pixels)
    return cv2.cvtColor(pixels_to_rgb(pixels, encoding, bits), cv2.COLOR_RGB2GRAY)


def image_to_counts(msg: Any, bytes_per_count: int) -> np.ndarray:
    """Thermal sensor_msgs/Image to (H, W) raw counts, uint8 or uint16, as they were sent.

    Raises:
        MessageError: as `image_to_array`; counts of another size, or colours.
    """
    return pixels_to_counts(image_to_array(msg), bytes_per_count, text(msg, "encoding", "image"))


def pixels_to_counts(pixels: np.ndarray, bytes_per_count: int, told: str) -> np.ndarray:
    """(H, W) uint8 or uint16, or (H, W, 3) of three equal channels, to (H, W) counts; `told` names what it is."""
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():  # drivers send grey as colour
        pixels = np.ascontiguousarray(pixels[..., 0])
    if pixels.ndim != 2 or pixels.dtype != np.dtype(f"u{bytes_per_count}"):
        expected = "mono16 or 16UC1" if bytes_per_count == 2 else "mono8 or 8UC1"
        other = "thermal8" if pixels.dtype == np.uint8 else "thermal16"
        way_out = "colours say no temperature" if pixels.ndim == 3 else f"the format {other} of the suite reads it"
        raise MessageError(f"thermal image: {told[:40]!r} is not {expected}; {way_out}", "encoding")
    return pixels


def image_to_depth_m(msg: Any) -> np.ndarray:
    """Depth sensor_msgs/Image to (H, W) float32 metres along the optical axis.

    32FC1 and 64FC1 are metres (NaN and infinities mean what REP 117 says: no measurement), 16UC1 and mono16 are
    millimetres with 0 (REP 118) and 65535 = invalid, bgra8 is CARLA's packed depth. MessageError for any other
    encoding.
    """
    encoding = text(msg, "encoding", "image")
    encoding_of(encoding)
    if encoding not in DEPTH_ENCODINGS:
        raise MessageError(
            f"image: encoding {encoding!r} is no depth; expected one of {', '.join(DEPTH_ENCODINGS)}", "encoding"
        )
    return pixels_to_depth_m(image_to_array(msg))


def pixels_to_depth_m(pixels: np.ndarray) -> np.ndarray:
    """Float metres, 16-bit millimetres or packed (H, W, 4) uint8 BGRA to (H, W) float32 metres."""
    if pixels.dtype == np.uint16:
        return whole_depth_m(pixels)
    if pixels.dtype == np.uint8:
        return decode_carla_depth(pixels)
    with np.errstate(over="ignore"):
        return pixels.astype(np.float32, copy=False)


def array_to_image_fields(array_: np.ndarray, encoding: str) -> dict[str, Any]:
    """Fields of a sensor_msgs/Image for (H, W) or (H, W, C) pixels; `data` is an array.array of bytes.

    Raises:
        MessageError: unknown encoding, or dtype or shape that do not fit it.
    """
    known = encoding_of(encoding)
    shape = array_.shape if array_.ndim == 3 else (*array_.shape, 1)
    if known.rows_num != 1 or known.even:
        raise MessageError(f"image: {encoding} cannot be written; convert to rgb8 first", "encoding")
    if array_.dtype != np.dtype(known.kind) or len(shape) != 3 or shape[2] != known.channels or 0 in shape:
        raise MessageError(
            f"image: {encoding} takes {known.channels} channels of {known.kind}, got {array_.shape} {array_.dtype}",
            "encoding",
        )
    pixels = np.ascontiguousarray(array_, dtype="<" + known.kind)
    data = array.array("B")
    data.frombytes(memoryview(pixels).cast("B"))
    return {
        "height": shape[0],
        "width": shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": shape[1] * known.channels * pixels.itemsize,
        "data": data,
    }


@lru_cache(maxsize=128)
def encoding_of(name: str) -> Encoding:
    """Layout of an encoding by its ROS name; MessageError lists the known ones."""
    if name in _NAMED:
        return _NAMED[name]
    generic = _GENERIC.fullmatch(name)
    if generic is None:
        raise MessageError(
            f"image: unknown encoding {name[:40]!r}; known are {_listed()} and OpenCV's such as 8UC3 or 32FC1",
            "encoding",
        )
    return Encoding(_GENERIC_KINDS[generic[1]], int(generic[2] or 1))


def is_known_encoding(name: str) -> bool:
    """Whether `image_to_array` knows the layout of an encoding."""
    return name in _NAMED or _GENERIC.fullmatch(name) is not None


def _listed() -> str:
    return ", ".join(_NAMED)


def _nv24_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """(3 H, W) to (H, W, 3): every pixel written twice is UYVY, so that all YUV goes through one formula."""
    height, width = pixels.shape[0] // 3, pixels.shape[1]
    luminance, chroma = pixels[:height], pixels[height:].reshape(height, width, 2)
    doubled = np.stack([chroma[..., 0], luminance, chroma[..., 1], luminance], axis=-1)  # (H,W,4)
    rgb = cv2.cvtColor(doubled.reshape(height, 2 * width, 2), cv2.COLOR_YUV2RGB_UYVY)  # (H,2W,3)
    return np.ascontiguousarray(rgb[:, ::2])
