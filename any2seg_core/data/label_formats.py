"""Truth that is no image of ids: strokes (the XML of ScribbleSup), and colours that count instances (Stanford)."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json, read_text
from any2seg_core.data.images import CorruptFileError, read_image
from any2seg_core.vocabulary.labels import IGNORE, LabelSpace

_STROKE_PX = 3
"""Width of a stroke, as in the label images that papers made of these files."""
_FARTHEST_PX = 32767


def read_scribbles(path: Path, space: LabelSpace, size: tuple[int, int]) -> np.ndarray:
    """ScribbleSup's XML, one ``polygon`` a stroke -> (H, W) uint8 train ids, 255 where nobody drew.

    Pixels count from 1, as in the authors' scripts; a later stroke covers earlier ones.

    Args:
        size: (H, W) of the picture.

    Raises:
        CorruptFileError: no such XML, another size of picture, a class that is not in the space, or a stroke without
            places.
    """
    root = _xml(path)
    said = [root.findtext(f"size/{key}") for key in ("height", "width")]
    if said != [str(value) for value in size]:
        raise CorruptFileError(
            f"{path}: was drawn on {said[1]}x{said[0]}, the picture has {size[1]}x{size[0]}; restore it",
            "size-mismatch",
        )
    labels = np.full(size, IGNORE, np.uint8)
    ids = _ids(space)
    for stroke in root.iterfind("polygon"):
        name = (stroke.findtext("tag") or "").strip()
        if _plain(name) not in ids:
            raise CorruptFileError(f"{path}: class {name!r} is not in {space.name}", "label-ids")
        places = np.array([_place(path, point) for point in stroke.iterfind("point")], np.int32)
        if not places.size:
            raise CorruptFileError(f"{path}: a stroke of {name} has no point; restore the file", "file-content")
        line = places if len(places) > 1 else np.repeat(places, 2, axis=0)  # of one place OpenCV draws nothing
        cv2.polylines(labels, [line[:, None]], False, ids[_plain(name)], _STROKE_PX)
    return labels


def read_instance_colours(path: Path, names: Path, space: LabelSpace) -> np.ndarray:
    """Colour image whose 24 bits (red highest) are places in a list of instances -> (H, W) uint8 train ids.

    Args:
        names: JSON list of texts that begin with the class, as ``chair_12_office_3_5``. Other words (``<UNK>``) and
            numbers beyond the list (0x0D0D0D, where Stanford's mesh has a hole) are unlabelled.

    Raises:
        CorruptFileError: no such colour image. UserError: no such list, or one in which no class of the space occurs.
    """
    image = read_image(path)
    if image.ndim != 3:
        raise CorruptFileError(
            f"{path}: is grey; instances are told by colours, 8 bits of three channels", "file-content"
        )
    red, green, blue = (image[..., channel].astype(np.uint32) for channel in range(3))
    table = _instances(names, space)  # the last one is IGNORE
    return table[np.minimum(red << 16 | green << 8 | blue, len(table) - 1)]


def _xml(path: Path) -> ElementTree.Element:
    text = read_text(path, "scribble file")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CorruptFileError(f"{path}: has a document type, scribble files have none", "file-format")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CorruptFileError(f"{path}: is no XML ({error}); restore it", "text-syntax") from None


def _place(path: Path, point: ElementTree.Element) -> tuple[int, int]:
    """Column and row from 0."""
    try:
        x, y = (int(point.findtext(key) or "") - 1 for key in ("X", "Y"))
    except ValueError:
        raise CorruptFileError(
            f"{path}: a point of a stroke has no whole X and Y; restore it", "file-content"
        ) from None
    if max(abs(x), abs(y)) > _FARTHEST_PX:
        raise CorruptFileError(f"{path}: a point at {x + 1}, {y + 1} lies in no picture; restore it", "file-content")
    return x, y


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _ids(space: LabelSpace) -> dict[str, int]:
    """Class in small letters, without spaces and dashes -> train id."""
    return {_plain(name): train for train, name in enumerate(space.classes)}


@lru_cache(maxsize=4)
def _instances(path: Path, space: LabelSpace) -> np.ndarray:
    """(N + 1,) uint8 train id of each entry; the last one is for what is no entry."""
    names = read_json(path, "list of instances")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: is no list of names, as [chair_12_office_3_5]", "file-content")
    ids = _ids(space)
    table = np.array([ids.get(_plain(name.split("_")[0]), IGNORE) for name in names] + [IGNORE], np.uint8)
    if (table == IGNORE).all():
        raise UserError(f"{path}: no name begins with a class of {space.name}: {', '.join(space.classes)}", "label-ids")
    return table
