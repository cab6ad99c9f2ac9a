"""Label images: the one id per pixel that a file means, be it stored as grey, as colour or through a palette."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from any2seg_core.base.errors import UserError
from any2seg_core.base.pictures import open_picture, picture_head
from any2seg_core.data.images import CorruptFileError, map_ids, read_image, three_channels
from any2seg_core.vocabulary.label_tables import labels_of_colours, raw_table, train_table, without_instances
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.truth_codings import INSTANCE_IDS, RAW_COLOURS, TRAIN_IDS

_GREY, _PALETTE, _WHOLE_BITS = 0, 3, 8  # colour type and bits of a PNG of plain ids
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_BITS, _PNG_COLOUR = 24, 25  # where its header has them


def read_label_image(path: Path, space: LabelSpace, coding: str = TRAIN_IDS, only_red: bool = False) -> np.ndarray:
    """Label image -> (H, W) uint8 train ids, 255 where there is no class.

    Args:
        space: which ids and colours of files mean which class.
        coding: of FILE_CODINGS. only_red: see `read_ids`.

    Raises:
        CorruptFileError: as of `read_ids`, or an id or a colour that the space does not know; it is named.
    """
    if coding == RAW_COLOURS:
        _refuse_lossy(path, _kind(path))
        try:
            return labels_of_colours(three_channels(read_image(path)), space)
        except CorruptFileError:
            raise
        except UserError as error:
            raise CorruptFileError(f"{path}: {error}", error.code) from None
    table = train_table(space) if coding == TRAIN_IDS else raw_table(space)
    wide = () if coding == TRAIN_IDS else (np.uint16,)
    ids = read_ids(path, only_red, space, table.to_train, (np.uint8, *wide))
    if coding == INSTANCE_IDS:
        ids = without_instances(ids)
    return map_ids(ids, *table, path)


def read_ids(
    path: Path,
    only_red: bool = False,
    space: LabelSpace | None = None,
    to_train: np.ndarray | None = None,
    kinds: Sequence[type] = (np.uint8,),
) -> np.ndarray:
    """Label image -> (H, W) ids, uint8 or what else is in ``kinds``.

    A palette (PNG or TIFF of mode P, with 1 to 8 bits) is a picture of ids for people: the ids are its indices. Its
    colours are only held against those of the classes. Alpha is dropped.

    Args:
        only_red: three channels may differ and the first one holds the id, as in DELIVER; else they must be equal.
        space, to_train: classes, and the (N,) table from ids to them; without them any palette will do.
        kinds: dtypes that the ids may have.

    Raises:
        CorruptFileError: unreadable, more bits than that, a lossy JPEG, colours instead of ids, or a file of which
            nobody can tell what its ids are: a palette that gives an index the colour of another class, or greys that
            are other numbers than its indices, or grey of fewer than 8 bits (id 1 or 255?).
    """
    kind = _kind(path)
    _refuse_lossy(path, kind)
    if kind == "palette":
        return _indices(path, space, to_train)
    image = read_image(path, kinds)
    if image.any() and (bits := _few_bits(path, kind)):
        raise CorruptFileError(
            f"{path}: is grey with {bits} bits, which readers scale to 0..255: nobody can tell its ids; "
            "write one 8-bit channel of ids",
            "file-content",
        )
    if image.ndim == 2:
        return image
    if not only_red and (image != image[:, :, :1]).any():
        raise CorruptFileError(
            f"{path}: holds colours, not ids; give the image of ids, one channel, or say its coding: raw_colours",
            "file-content",
        )
    return image[:, :, 0]


def _refuse_lossy(path: Path, kind: str) -> None:
    if kind == "jpeg":
        raise CorruptFileError(f"{path}: is a JPEG, which changes ids; write label images as PNG", "file-format")


def _kind(path: Path) -> str:
    """Format of a picture by its head, "palette" for a PNG or TIFF of mode P; "" for what is none or too large."""
    try:
        data = path.read_bytes()
        is_palette = data.startswith(_PNG) and data[_PNG_COLOUR : _PNG_COLOUR + 1] == bytes([_PALETTE])
        kind = "palette" if is_palette else picture_head(data).kind
        return "palette" if kind == "tiff" and _mode(data) == "P" else kind
    except (OSError, UserError):
        return ""  # read_image says what is wrong with it


def _mode(data: bytes) -> str:
    """Pillow's word for the pixels of a TIFF, of which nothing is decoded; "" where it cannot read its head."""
    try:
        return Image.open(io.BytesIO(data), formats=("TIFF",)).mode
    except Exception:  # Pillow's parser raises whatever broken bytes make it
        return ""


def _indices(path: Path, space: LabelSpace | None, to_train: np.ndarray | None) -> np.ndarray:
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
    if space is not None and to_train is not None:
        by_index = dict(zip(used.tolist(), map(tuple, colours.tolist()), strict=True))
        if _are_own_colours(path, by_index, space, to_train):
            return indices
    is_grey = bool((colours == colours[:, :1]).all())
    if is_grey and used.any() and (colours[:, 0] != used).any():
        raise CorruptFileError(
            f"{path}: its palette is grey and its indices are other numbers (index {used[-1]} is grey "
            f"{colours[-1, 0]}): nobody can tell which are the ids; write one 8-bit channel of ids",
            "file-content",
        )
    return indices


def _are_own_colours(
    path: Path, colours: Mapping[int, tuple[int, ...]], space: LabelSpace, to_train: np.ndarray
) -> bool:
    """Whether each index in use has the colour of its class.

    CorruptFileError where one has that of another class. Palettes that do not tell the indices apart say nothing.
    """
    if len(set(colours.values())) < len(colours):
        return False
    classes: dict[tuple[int, ...], int] = {
        colour: train for train, colour in enumerate(space.colours) if space.colours.count(colour) == 1
    }
    trains = {index: int(to_train[index]) for index in colours}
    for index, colour in colours.items():
        train = trains[index]
        shown = classes.get(colour, train)
        if shown != train and train < len(space):
            raise CorruptFileError(
                f"{path}: index {index} is {space.classes[train]}, its palette colours it as {space.classes[shown]}: "
                "are these classes of another order? Write one 8-bit channel of ids",
                "label-ids",
            )
    return all(classes.get(colour) == trains[index] for index, colour in colours.items())


def _few_bits(path: Path, kind: str) -> int:
    """How many bits a grey PNG or TIFF has, where they are fewer than 8; else 0."""
    with path.open("rb") as file:
        data = file.read(-1 if kind == "tiff" else _PNG_COLOUR + 1)
    if kind == "tiff":
        return 1 if _mode(data) == "1" else 0  # of 2 and 4 bits OpenCV reads none
    is_few = kind == "png" and data[_PNG_COLOUR] == _GREY and data[_PNG_BITS] < _WHOLE_BITS
    return data[_PNG_BITS] if is_few else 0
