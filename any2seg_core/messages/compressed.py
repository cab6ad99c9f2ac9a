"""sensor_msgs/CompressedImage: jpeg, png, tiff, webp by the grammar of `format`, and compressedDepth (png, rvl)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.base.pictures import decode_picture, picture_head
from any2seg_core.messages.fields import data_bytes, text
from any2seg_core.messages.images import pixels_to_counts, pixels_to_depth_m, pixels_to_grey, pixels_to_rgb
from any2seg_core.messages.pixel_bits import PixelBits
from any2seg_core.messages.rvl import decode_rvl

_CONFIG_BYTES = 12  # compressedDepth: enum, two float32 of the quantisation
_ORDER_OF_CHANNELS = {1: "mono", 3: "bgr", 4: "bgra"}


def compressed_to_rgb(msg: Any, bits: PixelBits | None = None) -> np.ndarray:
    """CompressedImage to (H, W, 3) uint8 RGB, 16 bits as in `image_to_rgb`, pixels where they are stored.

    An EXIF orientation is not followed: the camera's intrinsics hold for the picture as it is stored. (That of a TIFF
    is part of the format.)

    `format` reads "ORIG; jpeg|png|tiff|webp compressed [STORED]"; what the file is, its own first bytes say. STORED
    rgb8 or rgb16 means that red and blue were not swapped before the file was written; a single-channel file of an
    ORIG bayer_* is interpolated.

    Raises:
        MessageError: no picture, a truncated one, one that is much larger than its bytes justify, or a compressed
            depth image.
    """
    return pixels_to_rgb(*_picture(msg), bits)


def compressed_to_grey(msg: Any, bits: PixelBits | None = None) -> np.ndarray:
    """CompressedImage to (H, W) uint8, 16 bits as in `image_to_grey`; errors as of `compressed_to_rgb`."""
    return pixels_to_grey(*_picture(msg), bits)


def compressed_to_counts(msg: Any, bytes_per_count: int) -> np.ndarray:
    """CompressedImage of a thermal camera to (H, W) raw counts, uint8 or uint16, as they were sent.

    A png or tiff, or "16UC1; compressedDepth png|rvl", which keeps all 16 bits; of 8 bits also a jpeg or webp.
    MessageError as `compressed_to_rgb`, and for counts of another size or colours.
    """
    original, transport, stored = _grammar(text(msg, "format", "compressed image"))
    if transport == "compressedDepth":
        codes = _transported_codes(data_bytes(msg, "compressed image"), original, stored)
        if original == "32FC1":
            raise MessageError("compressed image: inverse depths of 32FC1 are no thermal counts", "encoding")
        return pixels_to_counts(codes, bytes_per_count, original)
    pixels, encoding = _picture(msg)
    return pixels_to_counts(pixels, bytes_per_count, encoding)


def _picture(msg: Any) -> tuple[np.ndarray, str]:
    """Pixels of a picture, and their encoding by ROS's names."""
    original, transport, stored = _grammar(text(msg, "format", "compressed image"))
    if transport == "compressedDepth":
        raise MessageError("compressed image: format says compressedDepth, which is no colour image", "encoding")
    pixels = decode_picture(data_bytes(msg, "compressed image"))
    if pixels.dtype not in (np.uint8, np.uint16):
        raise MessageError(f"compressed image: {pixels.dtype} pixels of {original!r} are no colour image", "encoding")
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    order = _ORDER_OF_CHANNELS[channels]
    if channels == 3 and stored.startswith("rgb"):
        order = "rgb"
    if channels == 1 and original.startswith("bayer_"):
        order = original.rstrip("0123456789")
    return pixels, f"{order}{8 * pixels.itemsize}"


def compressed_to_depth_m(msg: Any) -> np.ndarray:
    """CompressedImage to (H, W) float32 metres.

    "16UC1; compressedDepth png|rvl" is millimetres, 0 and 65535 = invalid; "32FC1; compressedDepth png|rvl" holds the
    inverse depth as 16 bits, depth = a / (code - b) with a and b from its 12-byte header, NaN where code = 0
    (compressed_depth_image_transport). A plain png or tiff holds 16-bit millimetres, float metres, or CARLA's packed
    depth (8-bit colour).

    Raises:
        MessageError: as `compressed_to_rgb`; a jpeg or webp, which keep no depth.
    """
    original, transport, stored = _grammar(text(msg, "format", "compressed depth"))
    data = data_bytes(msg, "compressed depth")
    if transport == "compressedDepth":
        return _transported_depth(data, original, stored)
    kind = picture_head(data).kind
    if kind in ("jpeg", "webp"):
        raise MessageError(f"compressed depth: {kind} changes depth; send png, tiff or compressedDepth", "encoding")
    pixels = decode_picture(data)
    if pixels.ndim == 2 and pixels.dtype in (np.uint16, np.float32, np.float64):
        return pixels_to_depth_m(pixels)
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        if pixels.shape[2] == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGRA if stored.startswith("rgb") else cv2.COLOR_BGR2BGRA)
        return pixels_to_depth_m(pixels)
    raise MessageError(f"compressed depth: a {kind} of {pixels.shape} {pixels.dtype} holds no depth", "encoding")


def _grammar(format_: str) -> tuple[str, str, str]:
    """ORIG, transport or codec, and the last word of a `format`; "" for what it does not say."""
    original, _, rest = format_.partition(";")
    words = rest.split() if rest else []
    if words[:1] == ["compressedDepth"]:
        return original.strip(), words[0], words[1] if len(words) > 1 else "png"
    stored = words[2] if len(words) > 2 and words[1] == "compressed" else ""
    return original.strip(), words[0] if words else original.strip(), stored


def picture_format(format_: str) -> tuple[str, str]:
    """ORIG and STORED of the `format` of a colour picture; "" for what it does not say."""
    original, _, stored = _grammar(format_)
    return original, stored


def _transported_codes(data: np.ndarray, original: str, codec: str) -> np.ndarray:
    """(H, W) uint16 of compressedDepth."""
    if original not in ("16UC1", "mono16", "32FC1"):
        raise MessageError(
            f"compressed depth: compressedDepth holds 16UC1 or 32FC1, the format says {original[:40]!r}", "encoding"
        )
    if data.size <= _CONFIG_BYTES:
        raise MessageError(f"compressed depth: {data.size} bytes do not hold header and picture", "length")
    body = data[_CONFIG_BYTES:]
    if codec == "rvl":
        codes = decode_rvl(body)
    elif codec == "png":
        codes = decode_picture(body)
    else:
        raise MessageError(f"compressed depth: unknown codec {codec[:40]!r}; expected png or rvl", "encoding")
    if codes.dtype != np.uint16 or codes.ndim != 2:
        raise MessageError(f"compressed depth: expected 16-bit grey, got {codes.shape} {codes.dtype}", "codec")
    return codes


def _transported_depth(data: np.ndarray, original: str, codec: str) -> np.ndarray:
    codes = _transported_codes(data, original, codec)
    if original != "32FC1":
        return pixels_to_depth_m(codes)
    a, b = data[4:_CONFIG_BYTES].view("<f4").astype(np.float32)
    if not (np.isfinite(a) and np.isfinite(b) and a > 0):
        raise MessageError(f"compressed depth: quantisation {a:g}, {b:g} is no inverse depth", "value")
    depth_m = codes.astype(np.float32)
    with np.errstate(divide="ignore", over="ignore"):
        depth_m -= b
        np.divide(a, depth_m, out=depth_m)
    depth_m[codes == 0] = np.nan
    return depth_m
