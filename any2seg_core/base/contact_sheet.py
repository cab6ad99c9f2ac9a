"""Several pictures as one, each over a line of text."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WIDEST = 2400  # pixels of a sheet
_BAR, _GAP, _TEXT = 28, 6, 16
_GROUND, _INK = (24, 27, 31), (226, 230, 234)
_ASPECT = 1.5  # a sheet is about so much wider than tall


def contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> np.ndarray:
    """Tiles in rows, read as text is; one picture stays in its size, as long as it is no wider than the sheet.

    Args:
        pictures: at least one, (H, W, 3) uint8 RGB, scaled to the size of the first. captions: a line for each.

    Returns:
        (H', W', 3) uint8 RGB, at most 2400 wide.
    """
    height, width = pictures[0].shape[:2]
    columns = int(np.clip(round(np.sqrt(len(pictures) * height / width * _ASPECT)), 1, len(pictures)))
    share = min(1.0, (_WIDEST - _GAP * (columns - 1)) / (width * columns))
    size = max(1, round(width * share)), max(1, round(height * share))
    rows = -(-len(pictures) // columns)
    step_y, step_x = size[1] + _BAR + _GAP, size[0] + _GAP
    sheet = Image.new("RGB", (columns * step_x - _GAP, rows * step_y - _GAP), _GROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    for k, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = k % columns * step_x, k // columns * step_y
        tile = picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        sheet.paste(Image.fromarray(tile), (x, y))
        draw.text((x + 8, y + size[1] + 4), caption, _INK, font)
    return np.asarray(sheet)
