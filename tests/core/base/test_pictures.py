"""Heads of pictures against Pillow's reading of the same bytes, and what claims too much."""

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from raised import user_error

from any2seg_core.base.limits import limits_of
from any2seg_core.base.pictures import decode_picture, open_picture, picture_head, read_picture

GREY = (np.arange(37 * 53).reshape(37, 53) % 251).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])


def saved(pixels: np.ndarray, kind: str, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


WRITTEN = [
    (saved(COLOUR, "PNG"), 3),
    (saved(GREY, "PNG"), 1),
    (saved(GREY.astype(np.uint16) * 200, "PNG"), 2),
    (bytes(cv2.imencode(".png", COLOUR.astype(np.uint16))[1]), 6),
    (saved(COLOUR, "JPEG"), 3),
    (saved(GREY, "JPEG"), 1),
    (saved(COLOUR, "JPEG", progressive=True, exif=bytes(70)), 3),
    (saved(COLOUR, "WEBP"), 4),
    (saved(COLOUR, "WEBP", lossless=True), 4),
    (saved(np.dstack([COLOUR, GREY]), "WEBP", exif=b"Exif\0\0" + bytes(20)), 4),
    (saved(COLOUR, "TIFF"), 4),
    (saved(GREY, "TIFF", compression="tiff_lzw"), 1),
    (bytes(cv2.imencode(".tiff", GREY.astype(np.float32))[1]), 4),
]


@pytest.mark.parametrize("case", range(len(WRITTEN)))
def test_value_heads_say_what_pillow_says(case):
    data, pixel_bytes = WRITTEN[case]
    head = picture_head(data)
    with Image.open(io.BytesIO(data)) as image:
        assert (head.kind.upper(), head.width, head.height) == (image.format, *image.size)
    decoded = decode_picture(np.frombuffer(data, np.uint8))
    assert head.pixel_bytes == pixel_bytes and decoded.shape[:2] == (37, 53)
    assert decoded[0, 0].nbytes <= pixel_bytes


def packed_tiff(pixels: np.ndarray, bits: int) -> bytes:
    """Grey, each value in `bits` bits without gaps, rows begin at a byte: written from TIFF 6.0."""
    rows = (np.unpackbits(row.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 16 - bits :].ravel() for row in pixels)
    data = b"".join(np.packbits(row).tobytes() for row in rows)
    height, width = pixels.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(data)}
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack(">2sHI", b"MM", 42, 8 + len(data)) + data + struct.pack(">H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_value_a_tiff_of_10_12_or_14_bits_keeps_its_values(bits):
    """OpenCV alone shifts the first three up to 16 bits: millimetres and counts would be 64, 16 and 4 times as many."""
    pixels = ((np.arange(7 * 13).reshape(7, 13) * 911 + 1) % (1 << bits)).astype(np.uint16)
    np.testing.assert_array_equal(decode_picture(np.frombuffer(packed_tiff(pixels, bits), np.uint8)), pixels)


def png_head(width: int, height: int, depth: int = 8) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    rest = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82"
    return b"\x89PNG\r\n\x1a\n" + rest


CLAIMS = {
    "png": png_head(20000, 20000),
    "png of 16 bits": png_head(4000, 4000, 16),
    "png beyond any side": png_head(2**31 - 1, 1),
    "jpeg": b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 30000, 30000) + b"\3" + bytes(9),
    "webp lossy": b"RIFF\x40\0\0\0WEBPVP8 \x30\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(40),
    "webp lossless": b"RIFF\x40\0\0\0WEBPVP8L\x30\0\0\0\x2f\xff\xff\xff\x0f" + bytes(40),
    "webp canvas": b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\0" * 2 + bytes(40),
    "tiff": b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHIIHHIII", 256, 4, 1, 30000, 257, 4, 1, 30000, 0),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_exception_claims_are_refused_without_memory(name, tmp_path):
    (tmp_path / "f").write_bytes(CLAIMS[name])
    tracemalloc.start()
    try:
        for read in (lambda: decode_picture(np.frombuffer(CLAIMS[name], np.uint8)), lambda: open_picture(CLAIMS[name])):
            with user_error("message-size") as caught:
                read()
            assert caught.value.reason == "size" and "pixels" in str(caught.value)
        with user_error("message-size"):
            read_picture(tmp_path / "f")
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_exception_picture_of_too_many_scans():
    with user_error("message-codec", "101"):
        picture_head(b"\xff\xd8\xff\xc0" + b"\xff\xda" * 101)


def test_exception_png_with_a_chunk_longer_than_the_file():
    data = saved(COLOUR, "PNG")
    place = data.index(b"IDAT") - 4
    with user_error("message-codec"):
        picture_head(data[:place] + struct.pack(">I", len(data)) + data[place + 4 :])
    for size in range(60, len(data)):
        with user_error("message-codec"):
            picture_head(data[:size])


def test_exception_tiff_with_tiles_larger_than_itself_or_of_other_compressions():
    def tiff(*tags: tuple[int, int]) -> bytes:
        entries = [(256, 64), (257, 64), *tags]
        return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(
            struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries
        )

    assert picture_head(tiff()).width == 64
    with user_error("message-codec", "60000x16"):
        picture_head(tiff((322, 60000), (323, 16)))
    with user_error("message-codec", "compression 34925"):
        picture_head(tiff((259, 34925)))


def test_value_limit_is_by_the_bytes_delivered_and_can_be_raised():
    data = saved(np.zeros((700, 800, 3), np.uint8), "PNG")  # 2.24 MB as RGBA
    with limits_of(result_mib=1, ratio=1):
        with user_error("message-size", "800x700", "1708", "2 MiB", "ANY2SEG_LIMITS=result_mib"):
            picture_head(data)
        assert picture_head(data + bytes(2_300_000)).width == 800
    assert picture_head(data).height == 700


def test_value_plain_pictures_are_opened_too():
    for kind in ("BMP", "PPM"):
        assert np.array_equal(np.asarray(open_picture(saved(COLOUR, kind))), COLOUR)
    with limits_of(result_mib=1, ratio=1), user_error("message-size"):
        open_picture(b"P5 2000 2000 255\n")


def test_exception_nothing_else_is_opened():
    for data in (b"", b"GIF89a" + bytes(50), b"%!PS-Adobe-3.0 EPSF-3.0", b"\xff\xd8", b"RIFF", b"\x89PNG\r\n\x1a\n"):
        with user_error("message-codec"):
            open_picture(data)
