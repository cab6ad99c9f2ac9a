"""Label images as people store them: written by Pillow from known ids, read back as these ids or refused in words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from raised import user_error

from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.label_images import read_ids
from any2seg_core.vocabulary.labels import LabelSpace

CITYSCAPES = [128, 64, 128, 244, 35, 232, 70, 70, 70, 102, 102, 156, 190, 153, 153, 153, 153, 153, 250, 170, 30]


@pytest.fixture
def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 7, (5, 9), dtype=np.uint8)


def palette_png(path: Path, ids: np.ndarray, palette: list[int], **options) -> Path:
    image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    image.putpalette(palette)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_value_a_palette_is_read_by_its_indices(tmp_path, ids, bits):
    expected = ids % min(2**bits, 7)
    path = palette_png(tmp_path / "l.png", expected, (CITYSCAPES * 4)[: 3 * 2**bits], bits=bits)
    assert path.read_bytes()[24] == bits  # as wanted, or the case would be another one
    np.testing.assert_array_equal(read_ids(path), expected)


def test_value_a_palette_of_256_colours_with_holes_and_transparency(tmp_path, ids):
    expected = np.where(ids == 3, 255, ids).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tolist()
    np.testing.assert_array_equal(read_ids(palette_png(tmp_path / "l.png", expected, colours)), expected)
    clear = palette_png(tmp_path / "t.png", expected, colours, transparency=0)
    np.testing.assert_array_equal(read_ids(clear), expected)
    same = np.repeat(np.arange(256), 3).tolist()  # grey k at index k: both readings agree
    np.testing.assert_array_equal(read_ids(palette_png(tmp_path / "g.png", expected, same)), expected)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_value_grey_and_equal_channels_with_and_without_alpha(tmp_path, ids, mode):
    image = Image.fromarray(ids).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(ids * 30))  # transparency changes no id
    image.save(tmp_path / "l.png")
    np.testing.assert_array_equal(read_ids(tmp_path / "l.png"), ids)


def test_value_only_the_red_channel_counts_where_others_may_differ(tmp_path, ids):
    Image.fromarray(np.dstack([ids, 0 * ids, 9 + ids])).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read_ids(tmp_path / "l.png", only_red=True), ids)
    with user_error("file-content", "l.png", kind=CorruptFileError):
        read_ids(tmp_path / "l.png")


def test_exception_ids_that_nobody_can_tell(tmp_path, ids):
    optimised = np.array([[0, 1, 2]], np.uint8)  # what a PNG optimiser makes of grey 0, 7, 13: the greys are the ids
    palette_png(tmp_path / "grey.png", optimised, [0, 0, 0, 7, 7, 7, 13, 13, 13])
    with user_error("file-content", "grey.png", "index 2", "grey 13", kind=CorruptFileError):
        read_ids(tmp_path / "grey.png")
    Image.fromarray(ids > 3).save(tmp_path / "one_bit.png")
    with user_error("file-content", "one_bit.png", "1 bits", kind=CorruptFileError):
        read_ids(tmp_path / "one_bit.png")
    Image.fromarray(np.zeros((3, 4), bool)).save(tmp_path / "nothing.png")  # 0 in every reading
    assert not read_ids(tmp_path / "nothing.png").any()


def test_exception_files_that_hold_no_ids(tmp_path, ids):
    Image.fromarray(ids).save(tmp_path / "lossy.png", "JPEG")
    cv2.imwrite(str(tmp_path / "wide.png"), ids.astype(np.uint16))
    (tmp_path / "text.png").write_text("no picture")
    data = palette_png(tmp_path / "cut.png", ids, CITYSCAPES).read_bytes()
    (tmp_path / "cut.png").write_bytes(data[:-30])
    palette_png(tmp_path / "beyond.png", ids + 3, CITYSCAPES[:18])
    for name, told in {
        "lossy": ("file-format", "JPEG"),
        "wide": ("file-content", "8-bit"),
        "text": ("file-format",),
        "cut": ("file-format",),
        "beyond": ("file-content", "index 9", "6 colours"),
        "absent": ("file-missing",),
    }.items():
        with user_error(*told, f"{name}.png", kind=CorruptFileError) as caught:
            read_ids(tmp_path / f"{name}.png")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("used", [[0, 1, 5, 6], [3]])
def test_exception_a_palette_of_another_order_of_classes(tmp_path, used):
    """Classes in the order of another program: its colours are right, the indices are not ours."""
    space = LabelSpace("seven", tuple("abcdefg"), tuple(tuple(CITYSCAPES[3 * k : 3 * k + 3]) for k in range(7)))
    table = np.arange(256)
    ids = np.resize(np.array(used, np.uint8), (3, 4))
    ours = palette_png(tmp_path / "ours.png", ids, CITYSCAPES)
    np.testing.assert_array_equal(read_ids(ours, space=space, to_train=table), ids)
    pole = palette_png(tmp_path / "pole.png", np.full((2, 3), 5, np.uint8), CITYSCAPES)  # the grey of its class
    assert (read_ids(pole, space=space, to_train=table) == 5).all()
    shifted = palette_png(tmp_path / "shifted.png", ids, [*CITYSCAPES[3:], *CITYSCAPES[:3]])
    first = used[0]
    with user_error("label-ids", "shifted.png", f"index {first} is {space.classes[first]}", kind=CorruptFileError):
        read_ids(shifted, space=space, to_train=table)
    np.testing.assert_array_equal(read_ids(shifted), ids)  # nobody says what the classes look like
    plus_one = (np.arange(256) - 1) % 256  # files of ids + 1, as DELIVER's
    moved = palette_png(tmp_path / "moved.png", ids + 1, [0, 0, 0, *CITYSCAPES])
    np.testing.assert_array_equal(read_ids(moved, space=space, to_train=plus_one), ids + 1)


def test_value_a_palette_with_colours_of_its_own_is_read_by_its_indices(tmp_path, ids):
    space = LabelSpace("seven", tuple("abcdefg"), tuple((k, 200, 100) for k in range(7)))
    for palette in (CITYSCAPES, [1, 200, 100] * 7):
        path = palette_png(tmp_path / "l.png", ids, palette)
        np.testing.assert_array_equal(read_ids(path, space=space, to_train=np.arange(256)), ids)


def test_value_a_palette_in_a_tiff_is_read_by_its_indices(tmp_path, ids):
    path = palette_png(tmp_path / "l.tif", ids, CITYSCAPES)
    assert Image.open(path).mode == "P"  # or the case would be another one
    np.testing.assert_array_equal(read_ids(path), ids)
    Image.fromarray(ids).save(tmp_path / "grey.tif")
    np.testing.assert_array_equal(read_ids(tmp_path / "grey.tif"), ids)


def test_exception_a_tiff_of_one_bit(tmp_path, ids):
    Image.fromarray(ids > 3).save(tmp_path / "mask.tif")
    with user_error("file-content", "mask.tif", "1 bits", kind=CorruptFileError):
        read_ids(tmp_path / "mask.tif")
