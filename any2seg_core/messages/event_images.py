"""Rendered event images back to events, so that they take the same road as every other event message."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.errors import MessageError
from any2seg_core.sensors.events import EVENT_DTYPE

_FAINT = 32  # compression noise stays below
_MAX_SIDE = 65535


def rgb_to_events(rgb: np.ndarray, stamp_ns: int) -> np.ndarray:
    """One event per coloured pixel of a rendered event image, all at `stamp_ns`.

    Positive where red exceeds the grey part of the colour, negative where blue does (CARLA's and dvs_renderer's
    red-blue pictures, on black or white). A picture without any colour is read as grey: brighter than 128 is positive,
    darker negative.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (N,) structured array EVENT_DTYPE in row order; how many events a pixel stands for, a picture does not say.

    Raises:
        MessageError: an image too large for 16-bit pixel indices.
    """
    if max(rgb.shape[:2]) > _MAX_SIDE:
        raise MessageError(f"event image: {rgb.shape[1]}x{rgb.shape[0]} pixels are too many", "size")
    red, green, blue = (rgb[..., channel].astype(np.int16) for channel in range(3))
    grey = np.minimum(np.minimum(red, green), blue)
    positive, negative = red - grey > _FAINT, blue - grey > _FAINT
    if not positive.any() and not negative.any() and rgb.any() and grey.min() <= 128 + _FAINT:
        positive, negative = grey > 128 + _FAINT, grey < 128 - _FAINT
        if negative.mean() > 0.5:  # a black ground, not a grey one: nothing there is an event
            negative = np.zeros_like(negative)
    parts = []
    for where, sign in ((positive, 1), (negative, -1)):
        row, column = np.nonzero(where)
        events = np.empty(row.size, EVENT_DTYPE)
        events["x"], events["y"], events["t"], events["p"] = column, row, stamp_ns, sign
        parts.append(events)
    return np.concatenate(parts)
