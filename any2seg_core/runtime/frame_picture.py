"""One moment as a picture for a video: what the model saw, its labels, the truth, and which sensors were fused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from any2seg_core.base.video import fitted
from any2seg_core.runtime.overlay import overlay
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

_BAR, _GAP, _TEXT, _SMALLEST_TEXT = 36, 4, 17, 8  # pixels
_CAPTION = "100.00 s   mIoU 100.0 %"  # the room that a caption has, so that letters are of one size in a whole video
_WIDEST, _TALLEST = 1920, 720  # of a video: a player's window, and time to encode
_ALPHA = 0.5
_GROUND, _INK, _FUSED, _ABSENT = (24, 27, 31), (226, 230, 234), (64, 160, 92), (150, 56, 56)


def frame_picture(
    planes: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    space: LabelSpace,
    sensors: Mapping[str, bool],
    caption: str,
    truth: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    suite: SensorSuite = VEHICLE,
) -> np.ndarray:
    """Panels side by side over a bar.

    Args:
        planes: per sensor (H', W', 3) uint8; shown is the camera's, else the first. labels: (H, W) ids, or None.
        sensors: title -> whether it was fused; green or red in the bar. caption: time and the like.
        truth: (H, W) ids, in palette colours; None: no third panel.
        size: (H, W) of each panel before it is made to fit; default: that of the labels. Give it where labels may be
            missing, so that all pictures of a video have one size.
        suite: whose sensors the planes are.

    Returns:
        (H'', W'', 3) uint8 RGB, at most 1920 wide and 720 tall over the bar.
    """
    shown = planes.get(suite.camera, next(iter(planes.values()), None))
    known = labels if labels is not None else shown
    height, width = size or (known.shape[:2] if known is not None else (90, 160))
    black = np.zeros((height, width, 3), np.uint8)
    result = black if labels is None else overlay(labels, dict(planes), space, _ALPHA, suite)
    panels = [black if shown is None else shown, result]
    if truth is not None:
        panels.append(space.colourise(truth))
    share = min(1.0, (_WIDEST - _GAP * (len(panels) - 1)) / (width * len(panels)), _TALLEST / height)
    inner = max(8, round(width * share)), max(8, round(height * share))
    parts: list[np.ndarray] = []
    for panel in panels:
        parts += [fitted(panel, *inner), np.zeros((inner[1], _GAP, 3), np.uint8)]
    row = np.concatenate(parts[:-1], axis=1)
    return np.concatenate([row, _bar(row.shape[1], tuple(sensors.items()), caption)])


def _bar(width: int, sensors: tuple[tuple[str, bool], ...], caption: str) -> np.ndarray:
    """Sensors on the left, the caption on the right; on narrow pictures in letters so small that both have room."""
    longest = max(_font(_TEXT).getlength(text) for text in (caption, _CAPTION))
    needed = 8 + sum(_font(_TEXT).getlength(title) + 28 for title, _ in sensors) + longest + 10
    text_px = max(_SMALLEST_TEXT, min(_TEXT, int(_TEXT * width / needed)))
    bar = _chips(width, sensors, text_px).copy()
    image = Image.fromarray(bar)
    draw, font = ImageDraw.Draw(image), _font(text_px)
    draw.text((width - 10 - font.getlength(caption), _BAR // 2), caption, _INK, font, anchor="lm")
    return np.asarray(image)


@lru_cache(maxsize=64)
def _chips(width: int, sensors: tuple[tuple[str, bool], ...], text_px: int) -> np.ndarray:
    """The left part of the bar, which few frames change."""
    image = Image.new("RGB", (width, _BAR), _GROUND)
    draw, font, x = ImageDraw.Draw(image), _font(text_px), 8.0
    share = text_px / _TEXT
    for title, is_fused in sensors:
        right = x + int(font.getlength(title)) + 20 * share
        draw.rounded_rectangle((x, 5, right, _BAR - 6), 6, fill=_FUSED if is_fused else _ABSENT)
        draw.text((x + 10 * share, _BAR // 2), title, _INK, font, anchor="lm")
        if not is_fused:
            draw.line((x + 8 * share, _BAR // 2, right - 8 * share, _BAR // 2), fill=_INK, width=2)
        x = right + 8 * share
    return np.asarray(image)


@lru_cache(maxsize=_TEXT)
def _font(text_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(text_px)
