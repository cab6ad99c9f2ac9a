"""10, 12 and 14 bits in 16: brightness against the same picture in 8 bits."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from raised import user_error

from any2seg_core.messages import array_to_image_fields, compressed_to_rgb, image_to_rgb
from any2seg_core.messages.pixel_bits import PixelBits

PICTURE = np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)
PICTURE[0, 0] = 255


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16", "16UC3", "png"])
def test_value_the_picture_in_8_bits_is_found_again(bits, encoding):
    finder = PixelBits()
    deep = PICTURE.astype(np.uint16) << (bits - 8)
    if encoding == "png":
        data = cv2.imencode(".png", deep)[1].tobytes()
        got = compressed_to_rgb(SimpleNamespace(format="bgr16; png compressed bgr16", data=data), finder)
        expected = PICTURE[..., ::-1]
    elif encoding in ("rgb16", "16UC3"):
        got = image_to_rgb(SimpleNamespace(**array_to_image_fields(deep, encoding)), finder)
        expected = PICTURE if encoding == "rgb16" else PICTURE[..., ::-1]
    else:
        got = image_to_rgb(SimpleNamespace(**array_to_image_fields(deep[..., 1].copy(), encoding)), finder)
        plain = SimpleNamespace(**array_to_image_fields(PICTURE[..., 1].copy(), encoding.replace("16", "8")))
        expected = image_to_rgb(plain)
    np.testing.assert_array_equal(got, expected)
    assert finder.take_note() == ("" if bits == 16 else f"16-bit image stays below {2**bits}: read as {bits} bits; "
                                  "image_bits fixes it")  # fmt: skip


@pytest.mark.parametrize("encoding", ["rgba16", "bgra16", "16UC4", "png"])
@pytest.mark.parametrize("alpha", [0, 4095, 65535])
def test_value_alpha_says_nothing_of_the_bits(encoding, alpha):
    deep = np.dstack([PICTURE.astype(np.uint16) << 4, np.full(PICTURE.shape[:2], alpha, np.uint16)])
    finder = PixelBits()
    if encoding == "png":
        data = cv2.imencode(".png", deep)[1].tobytes()
        got = compressed_to_rgb(SimpleNamespace(format="bgra16; png compressed bgra16", data=data), finder)
    else:
        got = image_to_rgb(SimpleNamespace(**array_to_image_fields(deep, encoding)), finder)
    np.testing.assert_array_equal(got, PICTURE if encoding == "rgba16" else PICTURE[..., ::-1])
    assert finder.bits == 12


def test_value_brightness_changes_only_when_more_bits_come_and_that_is_told():
    finder = PixelBits()
    images = [np.array([[largest, 64]], np.uint16) for largest in (511, 900, 600, 4095, 900, 0)]
    assert [int(finder.to_bytes(image)[0, 0]) for image in images] == [1, 225, 150, 255, 56, 0]
    assert finder.take_note() == "16-bit image reaches 4095: read as 12 bits now, as 10 before; image_bits fixes it"
    assert finder.take_note() == ""


def picture_with_strays(bits, strays, stray=65535):
    """40x60: one in 2000 are 1; every value below 2**bits comes, and `strays` above."""
    deep = np.random.default_rng(2).integers(0, 1 << bits, (40, 60)).astype(np.uint16)
    deep[0, 0] = (1 << bits) - 1
    deep.reshape(-1)[7 : 7 + strays] = stray
    return deep


@pytest.mark.parametrize(("bits", "stray"), [(10, 65535), (12, 65535), (12, 20000), (14, 65535)])
def test_value_a_broken_pixel_says_nothing_of_the_bits(bits, stray):
    finder = PixelBits()
    deep = picture_with_strays(bits, 1, stray)
    expected = np.minimum(deep >> (bits - 8), 255)
    for _ in range(3):
        np.testing.assert_array_equal(finder.to_bytes(deep), expected)
    assert finder.take_note() == (
        f"16-bit image stays below {2**bits} but for a few values: read as {bits} bits; image_bits fixes it"
    )
    assert finder.take_note() == ""
    finder.to_bytes(picture_with_strays(bits, 2))
    assert finder.bits == 16 and "read as 16 bits now" in finder.take_note()


def test_value_a_broken_pixel_on_a_covered_lens_tells_nothing():
    finder = PixelBits()
    dark = np.full((40, 60), 40, np.uint16)
    dark[3, 5] = 65535
    assert finder.to_bytes(dark).sum() == 255 and finder.bits == 16 and finder.take_note() == ""


def test_value_why_an_image_may_be_black():
    finder = PixelBits()
    assert finder.why_black() == ""  # no 16-bit image came
    finder.to_bytes(np.full((5, 7), 200, np.uint16))
    assert [finder.why_black(), finder.why_black()] == [", or its values have few bits: image_bits"] * 2
    assert finder.take_note().startswith("16-bit image is black: no light, or its values have few bits; image_bits")
    finder.why_black()
    assert finder.take_note() == ""
    finder.to_bytes(np.full((5, 7), 4000, np.uint16))
    assert finder.why_black() == PixelBits(8).why_black() == ""


def test_value_a_covered_lens_of_16_bits_stays_black():
    noise = np.random.default_rng(1).integers(0, 400, (20, 30)).astype(np.uint16)
    finder = PixelBits()
    assert finder.to_bytes(noise).max() <= 1
    assert finder.take_note() == ""


def test_value_given_bits_hold_for_every_image():
    finder = PixelBits(12)
    assert finder.to_bytes(np.array([[0, 15, 16, 4095, 5000]], np.uint16)).tolist() == [[0, 0, 1, 255, 255]]
    assert finder.take_note() == ""
    with user_error("value-range", "image_bits=7"):
        PixelBits(7)
