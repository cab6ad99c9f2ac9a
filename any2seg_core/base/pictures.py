"""Compressed pictures (jpeg, png, tiff, webp): what they claim to be is read from their head before one is decoded."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.git_lfs import WAY_OUT, is_pointer
from any2seg_core.base.limits import require_room

MAX_SIDE = 32768
_WORKING_BYTES = 4  # per pixel at least: what is decoded becomes RGBA or float metres
_MAX_SCANS = 100  # of a progressive jpeg, each of which costs a pass over the picture; encoders write about ten
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive: all that libjpeg decodes
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_PNG_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}  # by colour type, as OpenCV returns them at most
_PLAIN = (b"BM", b"P5", b"P6")  # bmp, pgm, ppm: not compressed
_PILLOW_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM")
_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}
_TIFF_PACKINGS = (1, 5, 7, 8, 32773, 32946)  # none, LZW, JPEG, deflate, PackBits, old deflate


@dataclass(frozen=True)
class PictureHead:
    """What the first bytes of a picture say.

    pixel_bytes: bytes per pixel of the decoded picture. raised_bits: by how many bits OpenCV shifts each value up.
    """

    kind: str
    width: int
    height: int
    pixel_bytes: int
    raised_bits: int = 0


def decode_picture(data: np.ndarray) -> np.ndarray:
    """(size,) uint8 of a file -> (H, W) or (H, W, 3 or 4) in OpenCV's order, blue first.

    Raises:
        MessageError: no jpeg, png, tiff or webp, a truncated or damaged one, or one that claims more pixels than the
            limits allow for its bytes.
    """
    head = picture_head(data)
    kind = head.kind
    raw = data.tobytes()
    if _is_truncated(raw, kind):
        raise MessageError(f"compressed image: the {kind} is truncated ({len(raw)} bytes)", "codec")
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise MessageError(f"compressed image: the {kind} cannot be decoded (error {error.code})", "codec") from None
    if pixels is None or pixels.size == 0:
        raise MessageError(f"compressed image: the {kind} of {len(raw)} bytes cannot be decoded", "codec")
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4):
        raise MessageError(f"compressed image: {pixels.shape[2]} channels; expected 1, 3 or 4", "codec")
    if head.raised_bits and pixels.dtype == np.uint16:
        pixels = np.right_shift(pixels, head.raised_bits)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def picture_head(data: bytes | np.ndarray) -> PictureHead:
    """Kind and size of a picture, checked against the limits; MessageError as `decode_picture`."""
    raw = memoryview(data).cast("B")
    read = next((reader for magic, reader in _READERS.items() if bytes(raw[: len(magic)]) == magic), None)
    try:
        if is_pointer(raw):
            raise ValueError(WAY_OUT)
        if read is None:
            raise ValueError("no jpeg, png, tiff or webp; other codecs are not read")
        head = read(raw)
    except (ValueError, struct.error, IndexError, KeyError) as error:
        reason = str(error) if isinstance(error, ValueError) else "a picture with a damaged head"
        raise MessageError(f"compressed image: {len(raw)} bytes are {reason}", "codec") from None
    if not (0 < head.width <= MAX_SIDE and 0 < head.height <= MAX_SIDE):
        raise MessageError(f"compressed image: {head.width}x{head.height} pixels in {len(raw)} bytes", "size")
    needed = head.width * head.height * max(head.pixel_bytes, _WORKING_BYTES)
    try:
        require_room(needed, len(raw), f"compressed image: a {head.kind} of {head.width}x{head.height} pixels")
    except UserError as error:
        raise MessageError(str(error), "size") from None
    return head


def open_picture(data: bytes) -> Image.Image:
    """A picture as Pillow reads it, pixels loaded; jpeg, png, tiff, webp, and the plain bmp, pgm and ppm.

    Raises:
        MessageError: as `decode_picture`.
    """
    try:
        if not data.startswith(_PLAIN):
            picture_head(data)
        image = Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS)
        require_room(image.width * image.height * _WORKING_BYTES, len(data), f"a picture of {image.size} pixels")
        image.load()
    except UserError as error:
        raise MessageError(str(error), getattr(error, "reason", "size")) from None
    except Exception as error:  # Pillow's parsers raise whatever broken bytes make them
        raise MessageError(f"compressed image: cannot be decoded ({_first_line(error)})", "codec") from None
    return image


def read_picture(path: Path) -> np.ndarray:
    """An image file as `decode_picture` gives it; UserError says what is wrong, without the path."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(error.strerror or str(error), "file-unreadable") from None
    return decode_picture(np.frombuffer(data, np.uint8))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _png(raw: memoryview) -> PictureHead:
    length, name, width, height, depth, colour = struct.unpack_from(">I4sIIBB", raw, 8)
    if length != 13 or name != b"IHDR":
        raise ValueError("no png: its head is damaged")
    place = 8
    while name != b"IEND":  # OpenCV takes memory for a chunk of any length that it claims
        length, name = struct.unpack_from(">I4s", raw, place)
        place += 12 + length
        if place > len(raw):
            raise ValueError("a truncated png: a chunk is longer than the file")
    return PictureHead("png", width, height, _PNG_CHANNELS[colour] * (2 if depth == 16 else 1))


def _jpeg(raw: memoryview) -> PictureHead:
    """The first frame header; markers follow each other by their lengths."""
    place, scans = 2, bytes(raw).count(b"\xff\xda")
    if scans > _MAX_SCANS:
        raise ValueError(f"a jpeg of {scans} scans, more than {_MAX_SCANS}")
    while True:
        if raw[place] != 0xFF:
            raise ValueError("a jpeg with a damaged head")
        marker = raw[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in _JPEG_BARE:
            place += 2
            continue
        if marker in _JPEG_FRAMES:
            height, width, components = struct.unpack_from(">HHB", raw, place + 5)
            return PictureHead("jpeg", width, height, components)
        if marker in (0xDA, 0xD9) or 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xCC):
            raise ValueError("a jpeg of a kind that is not read")
        place += 2 + struct.unpack_from(">H", raw, place + 2)[0]


def _webp(raw: memoryview) -> PictureHead:
    kind = bytes(raw[8:16])
    if kind == b"WEBPVP8X":
        sides = [1 + int.from_bytes(raw[at : at + 3], "little") for at in (24, 27)]
    elif kind == b"WEBPVP8L" and raw[20] == 0x2F:
        bits = struct.unpack_from("<I", raw, 21)[0]
        sides = [1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)]
    elif kind == b"WEBPVP8 " and bytes(raw[23:26]) == b"\x9d\x01\x2a":
        sides = [side & 0x3FFF for side in struct.unpack_from("<HH", raw, 26)]
    else:
        raise ValueError("no webp: its head is damaged")
    width, height = sides
    return PictureHead("webp", width, height, 4)


def _tiff(raw: memoryview) -> PictureHead:
    """The first directory; the tiles of a picture must not be larger than it, because each is decoded as a whole."""
    order = "<" if bytes(raw[:2]) == b"II" else ">"
    (place,) = struct.unpack_from(order + "I", raw, 4)
    (count,) = struct.unpack_from(order + "H", raw, place)
    tags: dict[int, int] = {}
    for entry in range(min(count, 200)):
        at = place + 2 + 12 * entry
        tag, kind, items = struct.unpack_from(order + "HHI", raw, at)
        if kind in _TIFF_TYPES and items:
            size = struct.calcsize(_TIFF_TYPES[kind])
            at = at + 8 if items * size <= 4 else struct.unpack_from(order + "I", raw, at + 8)[0]
            tags.setdefault(tag, struct.unpack_from(order + _TIFF_TYPES[kind], raw, at)[0])
    if tags.get(259, 1) not in _TIFF_PACKINGS:
        raise ValueError(f"a tiff of compression {tags[259]}, which is not read")
    width, height = tags[256], tags[257]
    tile_width, tile_height = tags.get(322, 0), tags.get(323, 0)
    if tile_width > width + 1024 or tile_height > height + 1024:
        raise ValueError(f"a tiff whose tiles of {tile_width}x{tile_height} are larger than the picture")
    channels, bits = tags.get(277, 1), tags.get(258, 1)
    pixel_bytes = max(4 if channels > 1 else 1, channels) * -(-bits // 8)
    return PictureHead("tiff", width, height, pixel_bytes, 16 - bits if bits in (10, 12, 14) else 0)


_READERS = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8\xff": _jpeg,
    b"RIFF": _webp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
}


def _is_truncated(raw: bytes, kind: str) -> bool:
    """Whether the end is missing. OpenCV would fill it with grey and say nothing."""
    if kind == "jpeg":  # within a scan FF is always followed by 00, so an end mark after the last scan is real
        return raw.rfind(b"\xff\xd9") < raw.rfind(b"\xff\xda")
    if kind == "webp":
        return len(raw) < int.from_bytes(raw[4:8], "little") + 8
    return False
