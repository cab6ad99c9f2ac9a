"""Label images that say which id is which class; the same as a document and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from any2seg_core.base.atomic import replacing
from any2seg_core.vocabulary.labels import LabelSpace

PNG_LEVEL = 1
"""Of PNG's compression: takes a fifth of the time of the usual one."""

_ROW, _SWATCH, _EDGE, _ROWS = 24, 36, 12, 32  # pixels; rows of a column
_INK, _GROUND, _RIM = (27, 31, 36), (255, 255, 255), (200, 206, 212)


def write_labels(path: Path, ids: np.ndarray, space: LabelSpace, first_id: int = 0) -> None:
    """Write a PNG, whole or not at all, with `legend_document` as JSON in its text `classes`.

    Args:
        ids: (H, W) uint8 or uint16; or (H, W, 3) uint8 with the ids in the first channel.
        space: their classes. first_id: that of the first class; where it is 1, as in DELIVER's layout, 0 is unlabelled.

    Raises:
        UserError: the place cannot be written.
    """
    text = PngInfo()
    text.add_text("classes", json.dumps(legend_document(space, first_id)))
    with replacing(path) as partial:
        Image.fromarray(ids).save(partial, compress_level=PNG_LEVEL, pnginfo=text)


def legend_document(space: LabelSpace, first_id: int = 0) -> dict[str, Any]:
    """JSON-ready: label space, id of unlabelled pixels, and class_map, a list of class_id, class_name and rgb.

    first_id: as of `write_labels`.
    """
    classes = zip(space.classes, space.colours, strict=True)
    return {
        "label_space": space.name,
        "unlabelled": 0 if first_id else space.void_id,
        "class_map": [
            {"class_id": index, "class_name": name, "rgb": list(colour)}
            for index, (name, colour) in enumerate(classes, first_id)
        ],
    }


def legend_picture(space: LabelSpace) -> np.ndarray:
    """(H, W, 3) uint8 RGB: colour, id and name of every class, and of unlabelled pixels, in columns of 32."""
    classes = zip(range(len(space)), space.classes, space.colours, strict=True)
    entries = [*classes, (space.void_id, "unlabelled", (0, 0, 0))]
    font = ImageFont.load_default(15)
    texts = [f"{index}  {name}" for index, name, _ in entries]
    column = _SWATCH + 3 * _EDGE + max(int(font.getlength(text)) for text in texts)
    size = column * -(-len(entries) // _ROWS), 2 * _EDGE + _ROW * min(len(entries), _ROWS)
    image = Image.new("RGB", size, _GROUND)
    draw = ImageDraw.Draw(image)
    for place, (text, (_, _, colour)) in enumerate(zip(texts, entries, strict=True)):
        x, y = _EDGE + place // _ROWS * column, _EDGE + place % _ROWS * _ROW
        draw.rectangle((x, y + 2, x + _SWATCH, y + _ROW - 4), fill=tuple(colour), outline=_RIM)
        draw.text((x + _SWATCH + _EDGE, y + 2), text, _INK, font)
    return np.asarray(image)
