"""RVL depth compression (Wilson 2017, "Fast Lossless Depth Image Compression", listing 1), as ROS frames it."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.limits import require_room
from any2seg_core.messages.images import MAX_SIDE
from any2seg_core.sensors.camera import read_only

_HEAD_BYTES = 8  # width and height, uint32


def decode_rvl(body: np.ndarray) -> np.ndarray:
    """RVL bytes after the compressedDepth header to (H, W) uint16.

    Args:
        body: (size,) uint8; width and height as uint32, then 32-bit words of eight 4-bit groups, highest first.

    Raises:
        MessageError: a size that is zero or too large, or a stream that ends early or runs over.
    """
    if body.size < _HEAD_BYTES:
        raise MessageError(f"compressed depth: rvl of {body.size} bytes has no size", "length")
    width, height = (int(side) for side in body[:_HEAD_BYTES].view("<u4"))
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise MessageError(f"compressed depth: rvl of {width}x{height} pixels in {body.size} bytes", "size")
    try:  # two bytes per pixel here, four as metres
        require_room(4 * width * height, body.size, f"compressed depth: an rvl of {width}x{height} pixels")
    except UserError as error:
        raise MessageError(str(error), "size") from None
    rest = body[_HEAD_BYTES:]
    words = np.ascontiguousarray(rest[: rest.size // 4 * 4]).view("<u4")
    pixels = np.zeros(width * height, dtype=np.uint16)
    if _decode(read_only(words), pixels) != pixels.size:
        raise MessageError(f"compressed depth: the rvl does not hold {width}x{height} pixels", "codec")
    return pixels.reshape(height, width)


@compiled(cache=True)
def _number(words, position):
    """One variable-length number and the position (in 4-bit groups) after it; -1 when it does not end."""
    value, shift = np.int64(0), 0
    while position < words.size * 8 and shift < 32:
        group = (np.int64(words[position // 8]) >> (28 - 4 * (position % 8))) & 15
        position += 1
        value |= (group & 7) << shift
        if group < 8:
            return value, position
        shift += 3
    return np.int64(-1), position


@compiled(cache=True)
def _decode(words, pixels):
    """Number of pixels written, -1 for a stream that does not fit."""
    written, position, previous = np.int64(0), 0, np.int64(0)
    while written < pixels.size:
        zeros, position = _number(words, position)
        if zeros < 0 or written + zeros > pixels.size:
            return -1
        written += zeros
        if written == pixels.size:
            break
        others, position = _number(words, position)
        if others < 0 or written + others > pixels.size or zeros + others == 0:
            return -1
        for _ in range(others):
            folded, position = _number(words, position)
            if folded < 0:
                return -1
            previous += (folded >> 1) ^ -(folded & 1)
            pixels[written] = np.uint16(previous & 0xFFFF)
            written += 1
    return written
