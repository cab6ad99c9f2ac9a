"""Label images: the one id per pixel that a file means, be it stored as grey, as colour or through a palette."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.pictures import open_picture, picture_head
from any2seg_core.data.images import CorruptFileError, read_image

_GREY, _PALETTE, _WHOLE_BITS = 0, 3, 8  # colour type and bits of a PNG of plain ids
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BITS, _PNG_COLOUR = 24, 25  # where its header has them


def read_ids(path: Path, only_red: bool = False) -> np.ndarray:
    """Label image -> (H, W) uint8 ids.

    A palette (PNG of mode P, with 1 to 8 bits) is a picture of ids for people: the ids are its indices, whatever the
    colours. Alpha is dropped.

    Args:
        only_red: three channels may differ and the first one holds the id, as in DELIVER; else they must be equal.

    Raises:
        CorruptFileError: unreadable, more than 8 bits, a lossy JPEG, colours instead of ids, or a file of which nobody
            can tell what its ids are: a palette of greys that are other numbers than its indices, or grey of fewer than
            8 bits (id 1 or 255?).
    """
    kind = _kind(path)
    if kind == "jpeg":
        raise CorruptFileError(f"{path}: is a JPEG, which changes ids; write label images as PNG", "file-format")
    if kind == "palette":
        return _indices(path)
    image = read_image(path)
    if kind == "png" and image.any():
        _require_whole_bits(path)
    if image.ndim == 2:
        return image
    if not only_red and (image != image[:, :, :1]).any():
        raise CorruptFileError(
            f"{path}: holds colours, not ids; give the image of train ids, one 8-bit channel", "file-content"
        )
    return image[:, :, 0]


def _kind(path: Path) -> str:
    """Format of a picture by its head, "palette" for a PNG of mode P; "" for what is none or too large."""
    try:
        head = path.read_bytes()
        is_palette = head.startswith(_PNG) and head[_PNG_COLOUR : _PNG_COLOUR + 1] == bytes([_PALETTE])
        return "palette" if is_palette else picture_head(head).kind
    except (OSError, UserError):
        return ""  # read_image says what is wrong with it


def _indices(path: Path) -> np.ndarray:
    try:
        image = open_picture(path.read_bytes())
    except (OSError, UserError) as error:
        raise CorruptFileError(f"{path}: not a readable image ({error}); write it again", "file-format") from None
    indices = np.asarray(image)
    palette = np.asarray(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)  # (n, 3)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    if used[-1] >= len(palette):
        raise CorruptFileError(
            f"{path}: index {used[-1]} is not in its palette of {len(palette)} colours; restore it", "file-content"
        )
    colours = palette[used]  # (m, 3)
    is_grey = bool((colours == colours[:, :1]).all())
    if is_grey and used.any() and (colours[:, 0] != used).any():
        raise CorruptFileError(
            f"{path}: its palette is grey and its indices are other numbers (index {used[-1]} is grey "
            f"{colours[-1, 0]}): nobody can tell which are the ids; write one 8-bit channel of ids",
            "file-content",
        )
    return indices


def _require_whole_bits(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(_PNG_COLOUR + 1)
    if head.startswith(_PNG) and head[_PNG_COLOUR] == _GREY and head[_PNG_BITS] < _WHOLE_BITS:
        raise CorruptFileError(
            f"{path}: is grey with {head[_PNG_BITS]} bits, which readers scale to 0..255: nobody can tell its ids; "
            "write one 8-bit channel of ids",
            "file-content",
        )
