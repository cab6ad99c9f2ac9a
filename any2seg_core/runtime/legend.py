"""Which id is which class: a document and a picture that go with label images."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from any2seg_core.vocabulary.labels import LabelSpace

_ROW, _SWATCH, _EDGE, _ROWS = 24, 36, 12, 32  # pixels; rows of a column
_INK, _GROUND, _RIM = (27, 31, 36), (255, 255, 255), (200, 206, 212)


def legend_document(space: LabelSpace) -> dict[str, Any]:
    """JSON-ready: label space, id of unlabelled pixels, and class_map, a list of class_id, class_name and rgb."""
    classes = zip(space.classes, space.colours, strict=True)
    return {
        "label_space": space.name,
        "unlabelled": space.void_id,
        "class_map": [
            {"class_id": index, "class_name": name, "rgb": list(colour)} for index, (name, colour) in enumerate(classes)
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
