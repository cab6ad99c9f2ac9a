"""CompressedImage: codecs by OpenCV and Pillow, the grammar of `format`, compressedDepth, and what is broken."""

from __future__ import annotations

import io
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from any2seg_core.base.limits import limits
from any2seg_core.messages import MessageError, compressed_to_depth_m, compressed_to_rgb

H, W = 25, 38
RNG = np.random.default_rng(5)
SMOOTH = cv2.resize(RNG.integers(0, 256, (4, 5, 3), dtype=np.uint8), (W, H), interpolation=cv2.INTER_CUBIC)


def message(data: bytes, format_: str):
    return SimpleNamespace(format=format_, data=data)


def encoded(pixels, suffix, *options):
    return cv2.imencode(suffix, pixels, list(options))[1].tobytes()


@pytest.mark.parametrize(("suffix", "codec"), [(".png", "png"), (".tiff", "tiff"), (".webp", "webp"), (".jpg", "jpeg")])
def test_value_codecs_give_the_picture_back(suffix, codec):
    bgr = SMOOTH[..., ::-1].copy()
    options = {"webp": (cv2.IMWRITE_WEBP_QUALITY, 101), "jpeg": (cv2.IMWRITE_JPEG_QUALITY, 100)}.get(codec, ())
    got = compressed_to_rgb(message(encoded(bgr, suffix, *options), f"bgr8; {codec} compressed bgr8"))
    assert got.shape == (H, W, 3) and got.dtype == np.uint8
    assert np.abs(got.astype(int) - SMOOTH).mean() <= (3 if codec == "jpeg" else 0)


@pytest.mark.parametrize("format_", ["", "jpeg", "png", "rgb8; png compressed bgr8", "rgb8; jpeg compressed ", "; ;"])
def test_value_the_file_says_itself_what_it_is(format_):
    np.testing.assert_array_equal(compressed_to_rgb(message(encoded(SMOOTH[..., ::-1], ".png"), format_)), SMOOTH)


def test_value_stored_rgb_means_red_and_blue_were_not_swapped():
    stored = encoded(SMOOTH, ".png")  # OpenCV takes RGB for BGR, so the file has the colours swapped
    np.testing.assert_array_equal(compressed_to_rgb(message(stored, "rgb8; png compressed rgb8")), SMOOTH)


def test_value_sixteen_bits_grey_alpha_and_bayer():
    wide = (SMOOTH.astype(np.uint16) << 8) + 99
    got = compressed_to_rgb(message(encoded(wide[..., ::-1], ".png"), "rgb16; png compressed bgr16"))
    np.testing.assert_array_equal(got, SMOOTH)
    grey = SMOOTH[..., 1].copy()
    got = compressed_to_rgb(message(encoded(grey, ".png"), "mono8; png compressed "))
    np.testing.assert_array_equal(got, np.repeat(grey[..., None], 3, 2))
    bgra = np.dstack([SMOOTH[..., ::-1], grey])
    np.testing.assert_array_equal(compressed_to_rgb(message(encoded(bgra, ".png"), "bgra8; png compressed")), SMOOTH)
    got = compressed_to_rgb(message(encoded(grey, ".png"), "bayer_rggb8; png compressed "))
    np.testing.assert_array_equal(got, cv2.cvtColor(grey, cv2.COLOR_BayerRGGB2RGB))


def _rvl(pixels: np.ndarray) -> bytes:
    """Wilson's encoder, written from the paper: groups of four bits, three of value and one "more follows"."""
    groups: list[int] = []

    def number(value: int) -> None:
        while True:
            group, value = value & 7, value >> 3
            groups.append(group | (8 if value else 0))
            if not value:
                return

    flat, position, previous = pixels.ravel().tolist(), 0, 0
    while position < len(flat):
        zeros = position
        while position < len(flat) and flat[position] == 0:
            position += 1
        number(position - zeros)
        start = position
        while position < len(flat) and flat[position] != 0:
            position += 1
        number(position - start)
        for value in flat[start:position]:
            delta, previous = value - previous, value
            number((delta << 1) ^ (delta >> 31))
    groups += [0] * (-len(groups) % 8)
    words = [int("".join(f"{g:x}" for g in groups[k : k + 8]), 16) for k in range(0, len(groups), 8)]
    return struct.pack(f"<II{len(words)}I", pixels.shape[1], pixels.shape[0], *words)


def _depth_codes():
    codes = RNG.integers(400, 5000, (H, W)).astype(np.uint16)
    codes[:3] = 0
    codes[10, 5:20] = 0
    codes[12, 3] = 65535
    return codes


@pytest.mark.parametrize("codec", ["png", "rvl", ""])
def test_value_compressed_depth_millimetres(codec):
    codes = _depth_codes()
    body = _rvl(codes) if codec == "rvl" else encoded(codes, ".png")
    got = compressed_to_depth_m(message(b"\0" * 12 + body, f"16UC1; compressedDepth {codec}".rstrip()))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.where(codes == 65535, 0, codes / 1000.0), rtol=1e-6)


def test_value_rvl_of_the_reference_encoder():
    """Bytes written by compressed_depth_image_transport's RvlCodec for this 5x3 image."""
    body = bytes.fromhex("0500000003000000") + bytes.fromhex(REFERENCE_RVL)
    codes = np.array([[0, 0, 1000, 1001, 999], [0, 0, 0, 0, 65535], [1, 0, 2000, 2000, 0]], np.uint16)
    got = compressed_to_depth_m(message(b"\0" * 12 + body, "16UC1; compressedDepth rvl"))
    np.testing.assert_allclose(got, np.where(codes == 65535, 0, codes / 1000.0), rtol=1e-6)
    assert _rvl(codes) == body


REFERENCE_RVL = "23f38a23f38c8e4212f3ffbf0001e7eb"


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_value_compressed_depth_of_floats_is_quantised_inverse_depth(codec):
    """Forward formula of compressed_depth_image_transport with its defaults: depth_max 10 m, quantisation 100."""
    depth = RNG.uniform(0.4, 9.5, (H, W)).astype(np.float32)
    depth[4, 4] = np.nan
    a = np.float32(100 * 101)
    b = np.float32(1 - a / 10)
    codes = np.where(depth < 10, a / depth + b, 0).astype(np.uint16)
    body = _rvl(codes) if codec == "rvl" else encoded(codes, ".png")
    got = compressed_to_depth_m(message(struct.pack("<iff", 0, a, b) + body, f"32FC1; compressedDepth {codec}"))
    assert np.isnan(got[4, 4])
    valid = np.isfinite(depth)
    step = depth[valid] ** 2 / a  # one code
    assert (np.abs(got[valid] - depth[valid]) <= 1.01 * step).all()


def test_value_plain_depth_files():
    codes = _depth_codes()
    got = compressed_to_depth_m(message(encoded(codes, ".png"), "16UC1; png compressed "))
    np.testing.assert_allclose(got, np.where(codes == 65535, 0, codes / 1000.0), rtol=1e-6)
    metres = RNG.uniform(0, 60, (H, W)).astype(np.float32)
    got = compressed_to_depth_m(message(encoded(metres, ".tiff"), "32FC1; tiff compressed"))
    np.testing.assert_array_equal(got, metres)
    code = RNG.integers(0, 2**24, (H, W))
    bgr = np.stack([code >> 16, (code >> 8) & 255, code & 255], 2).astype(np.uint8)
    got = compressed_to_depth_m(message(encoded(bgr, ".png"), "bgra8; png compressed bgr8"))
    np.testing.assert_allclose(got, code / (2**24 - 1) * 1000, rtol=1e-6)


def _bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20000, 20000)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


PNG, JPEG = encoded(SMOOTH, ".png"), encoded(SMOOTH, ".jpg")


@pytest.mark.parametrize(
    ("data", "format_", "reason"),
    [
        (b"", "jpeg", "codec"),
        (b"no picture at all", "rgb8; jpeg compressed bgr8", "codec"),
        (JPEG[: len(JPEG) // 2], "jpeg", "codec"),
        (JPEG[:-2], "jpeg", "codec"),
        (PNG[: len(PNG) // 2], "png", "codec"),
        (encoded(SMOOTH, ".webp")[:-9], "webp", "codec"),
        (encoded(SMOOTH, ".tiff")[:90], "tiff", "codec"),
        (encoded(SMOOTH, ".bmp"), "bmp", "codec"),
        (_bomb(), "png", "size"),
        (PNG, "16UC1; compressedDepth png", "encoding"),
        (encoded(SMOOTH[..., 0].astype(np.float32), ".tiff"), "32FC1; tiff compressed", "encoding"),
        (PNG, 7, "field"),
        (None, "png", "field"),
    ],
)
def test_exception_broken_pictures(data, format_, reason):
    with pytest.raises(MessageError) as caught:
        compressed_to_rgb(message(data, format_))
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


HEAD = struct.pack("<iff", 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("data", "format_", "reason"),
    [
        (HEAD, "16UC1; compressedDepth png", "length"),
        (HEAD + PNG, "16UC1; compressedDepth png", "codec"),
        (HEAD + encoded(_depth_codes(), ".png"), "32FC1; compressedDepth png", "value"),
        (HEAD + b"\1\0\0", "16UC1; compressedDepth rvl", "length"),
        (HEAD + struct.pack("<II", 0, 4), "16UC1; compressedDepth rvl", "size"),
        (HEAD + struct.pack("<III", 30000, 30000, 0), "16UC1; compressedDepth rvl", "size"),
        (HEAD + _rvl(_depth_codes())[:-40], "16UC1; compressedDepth rvl", "codec"),
        (HEAD + struct.pack("<II", 4, 4) + b"\xff" * 40, "16UC1; compressedDepth rvl", "codec"),
        (HEAD + struct.pack("<II", 4, 4) + b"\0" * 40, "16UC1; compressedDepth rvl", "codec"),
        (HEAD + PNG, "16UC1; compressedDepth zstd", "encoding"),
        (HEAD + PNG, "rgb8; compressedDepth png", "encoding"),
        (JPEG, "jpeg", "encoding"),
        (encoded(SMOOTH[..., 0], ".png"), "mono8; png compressed", "encoding"),
    ],
)
def test_exception_broken_depth(data, format_, reason):
    with pytest.raises(MessageError) as caught:
        compressed_to_depth_m(message(data, format_))
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


SEEDS = [PNG, JPEG, encoded(SMOOTH, ".webp"), encoded(SMOOTH, ".tiff"), HEAD + encoded(_depth_codes(), ".png"),
         HEAD + _rvl(_depth_codes())]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.integers(0, 4000),
    st.sampled_from(["", "jpeg", "16UC1; compressedDepth rvl", "32FC1; compressedDepth png", "bayer_x8; png compressed",
                     "bayer_grbg8; png compressed ", "rgb8; png compressed rgb8"]) | st.text(max_size=20),
)  # fmt: skip
def test_property_damaged_pictures_raise_only_message_errors(seed, changes, length, format_):
    data = bytearray(seed[: max(length, 1)] if length < 3000 else seed)
    for position, value in changes:
        data[position % len(data)] = value
    for read, shape in ((compressed_to_rgb, 3), (compressed_to_depth_m, 2)):
        try:
            got = read(message(bytes(data), format_))
        except MessageError as error:
            assert "\n" not in str(error)
        else:
            assert got.ndim == shape and 4 * got.shape[0] * got.shape[1] <= limits().result_bytes(len(data))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("codec", ["JPEG", "PNG", "WEBP"])
def test_value_an_exif_orientation_is_not_followed(codec, orientation):
    """The camera's intrinsics hold for the picture as it is stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned, plain = io.BytesIO(), io.BytesIO()
    Image.fromarray(SMOOTH).save(turned, codec, exif=exif)
    Image.fromarray(SMOOTH).save(plain, codec)
    read = [compressed_to_rgb(message(file.getvalue(), f"bgr8; {codec.lower()} compressed bgr8"))
            for file in (turned, plain)]  # fmt: skip
    np.testing.assert_array_equal(*read)
    assert read[0].shape == SMOOTH.shape


def test_value_the_orientation_of_a_tiff_is_followed():
    """OpenCV turns it whatever it is told; 6 means that the first row is the right side."""
    exif, turned = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(SMOOTH).save(turned, "TIFF", exif=exif)
    read = compressed_to_rgb(message(turned.getvalue(), "bgr8; tiff compressed bgr8"))
    np.testing.assert_array_equal(read, np.rot90(SMOOTH, -1))
