"""Every encoding of sensor_msgs/image_encodings.hpp against OpenCV, padding and byte order included."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.messages import MessageError, image_to_array, image_to_depth_m, image_to_rgb
from any2seg_core.messages.images import encoding_of

H, W = 6, 10
RNG = np.random.default_rng(11)


def message(rows: np.ndarray, encoding: str, width: int, height: int, padding: int = 0, big: bool = False):
    """An Image of `rows` (rows, items); the byte order of the items is applied here."""
    stored = rows.astype(rows.dtype.newbyteorder(">" if big else "<"))
    raw = np.ascontiguousarray(stored).view(np.uint8).reshape(len(rows), -1)
    raw = np.pad(raw, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(height=height, width=width, encoding=encoding, is_bigendian=int(big), step=raw.shape[1],
                           data=raw.tobytes())  # fmt: skip


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["rgb", "bgr", "rgba", "bgra"])
def test_value_colour_of_8_and_16_bits(order, bits, padding):
    pixels = RNG.integers(0, 2**bits, (H, W, len(order)), dtype=np.uint64).astype(f"u{bits // 8}")
    expected = (pixels[..., ["rgba".index("rgba"[k]) for k in range(3)]] if order.startswith("r") else
                pixels[..., [2, 1, 0]]) >> (bits - 8)  # fmt: skip
    got = image_to_rgb(message(pixels.reshape(H, -1), f"{order}{bits}", W, H, padding, big=bits == 16))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("encoding", "swap"), [("8UC3", True), ("8UC4", True), ("16UC3", True), ("16UC4", True)])
def test_value_generic_colour_is_blue_first(encoding, swap):
    known = encoding_of(encoding)
    pixels = RNG.integers(0, np.iinfo(known.kind).max, (H, W, known.channels)).astype(known.kind)
    got = image_to_rgb(message(pixels.reshape(H, -1), encoding, W, H))
    np.testing.assert_array_equal(got, pixels[..., 2::-1] >> (8 * (pixels.itemsize - 1)))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_value_bayer_restores_flat_colours(pattern, bits):
    """A mosaic of one flat colour must come back as that colour, wherever each filter lies."""
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([[colour[pattern[0]], colour[pattern[1]]], [colour[pattern[2]], colour[pattern[3]]]])
    mosaic = (np.tile(tile, (H // 2, W // 2)) << (bits - 8)).astype(f"u{bits // 8}")
    got = image_to_rgb(message(mosaic, f"bayer_{pattern}{bits}", W, H, padding=2, big=bits == 16))
    assert got.shape == (H, W, 3)
    np.testing.assert_array_equal(got, np.broadcast_to([200, 120, 40], (H, W, 3)))


def _yuv(rgb):
    """BT.601, 16..235, full resolution."""
    r, g, b = (rgb[..., k].astype(float) for k in range(3))
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return tuple(np.rint(c).astype(np.uint8) for c in (y, u, v))


def _yuv_rows(encoding, y, u, v):
    if encoding in ("uyvy", "yuv422"):
        return np.stack([u[:, ::2], y[:, ::2], v[:, ::2], y[:, 1::2]], -1).reshape(H, -1)
    if encoding in ("yuyv", "yuv422_yuy2"):
        return np.stack([y[:, ::2], u[:, ::2], y[:, 1::2], v[:, ::2]], -1).reshape(H, -1)
    if encoding == "nv24":
        return np.concatenate([y, np.stack([u, v], -1).reshape(2 * H, W)])
    pair = (u, v) if encoding == "nv12" else (v, u)
    chroma = np.stack([c[::2, ::2] for c in pair], -1).reshape(H // 2, W)
    return np.concatenate([y, chroma])


@pytest.mark.parametrize("encoding", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21", "nv24"])
def test_value_yuv_comes_back_as_the_colour_it_was(encoding):
    blocks = RNG.integers(20, 236, (H // 2, W // 2, 3), dtype=np.uint8)
    rgb = blocks.repeat(2, 0).repeat(2, 1)  # chroma is shared by 2x2 pixels, so keep it constant there
    rows = _yuv_rows(encoding, *_yuv(rgb))
    got = image_to_rgb(message(rows, encoding, W, H))
    assert np.abs(got.astype(int) - rgb).max() <= 3


def test_value_planar_images_with_padding_and_with_any_step():
    grey = np.full((H, W), 120, np.uint8)
    rows = _yuv_rows("nv12", *_yuv(np.repeat(grey[..., None], 3, 2)))
    padded = message(rows, "nv12", W, H, padding=6)
    assert padded.step == W + 6
    assert np.abs(image_to_rgb(padded).astype(int) - 120).max() <= 2
    odd_step = message(rows, "nv12", W, H)
    odd_step.step = W * 3 // 2
    np.testing.assert_array_equal(image_to_rgb(odd_step), image_to_rgb(padded))


@pytest.mark.parametrize("kind", ["8UC2", "8SC1", "16SC3", "32SC1", "32FC2", "64FC1", "32FC"])
def test_shape_generic_types_are_read_whatever_they_mean(kind):
    known = encoding_of(kind)
    rows = RNG.integers(0, 100, (H, W * known.channels)).astype(known.kind)
    got = image_to_array(message(rows, kind, W, H, padding=8, big=True))
    assert got.shape == ((H, W) if known.channels == 1 else (H, W, known.channels))
    np.testing.assert_array_equal(got.reshape(H, -1), rows)
    assert got.dtype.isnative


def test_value_depth_keeps_what_rep_117_means():
    metres = np.array([[np.nan, np.inf, -np.inf, 0.0, 7.25, 3.5]], np.float64)
    for encoding, kind in (("32FC1", np.float32), ("64FC1", np.float64)):
        got = image_to_depth_m(message(metres.astype(kind), encoding, 6, 1))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, metres.astype(np.float32))


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_value_depth_of_16_bits_is_millimetres_and_what_saturates_is_none(encoding):
    stored = np.array([[0, 1500, 65534, 65535]], np.uint16)
    got = image_to_depth_m(message(stored, encoding, 4, 1))
    np.testing.assert_allclose(got, [[0, 1.5, 65.534, 0]], rtol=1e-6)
    assert got.dtype == np.float32


@pytest.mark.parametrize(
    ("encoding", "width", "height", "changes", "reason"),
    [
        ("uyvy", 9, 4, {}, "size"),
        ("nv12", 8, 5, {}, "size"),
        ("rgb8", 8, 4, {"width": 0}, "size"),
        ("rgb8", 8, 4, {"height": 40000}, "size"),
        ("rgb8", 8, 4, {"step": 23}, "step"),
        ("rgb8", 8, 4, {"step": 25}, "length"),
        ("rgb8", 8, 4, {"data": b"\0" * 95}, "length"),
        ("rgb8", 8, 4, {"data": b""}, "length"),
        ("nv24", 8, 4, {"step": 9, "data": b"\0" * 108}, "step"),
        ("rgb8", 8, 4, {"encoding": "h264"}, "encoding"),
        ("rgb8", 8, 4, {"encoding": "8UC9"}, "encoding"),
        ("rgb8", 8, 4, {"encoding": None}, "field"),
        ("rgb8", 8, 4, {"is_bigendian": None}, "field"),
        ("32FC1", 8, 4, {}, "encoding"),
    ],
)
def test_exception_bad_images_have_a_stable_reason(encoding, width, height, changes, reason):
    known = encoding_of(encoding)
    rows = np.zeros((height * known.rows_num // known.rows_den, width * known.channels), known.kind)
    msg = message(rows, encoding, width, height)
    vars(msg).update(changes)
    with pytest.raises(MessageError) as caught:
        image_to_rgb(msg)
    assert caught.value.reason == reason and reason in MESSAGE_REASONS
    assert "\n" not in str(caught.value)


def test_value_bayer_equals_opencv_on_a_picture():
    mosaic = RNG.integers(0, 256, (8, 12), dtype=np.uint8)
    expected = cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB)  # OpenCV's old name of RGGB
    np.testing.assert_array_equal(image_to_rgb(message(mosaic, "bayer_rggb8", 12, 8)), expected)
