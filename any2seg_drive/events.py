"""The event camera of the simulated drive: brightness change between sub-frames, not labels.

The pixel model is that of ESIM (Rebecq et al., "ESIM: an Open Event Camera Simulator", CoRL 2018, section 3): a pixel
fires whenever its log luminance has moved by its contrast threshold since its last event, and the time of the event is
interpolated linearly between two renderings. Background noise is a Poisson process as in v2e (Hu et al., 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np

from any2seg_core.faults.physics import background_activity
from any2seg_core.sensors.events import EVENT_DTYPE


@dataclass(frozen=True)
class EventModel:
    """Parameters of the pixels. Thresholds are in log luminance; noise in events per pixel and second."""

    threshold: float = 0.28
    threshold_spread: float = 0.04
    dark_floor: float = 2e-3
    blur_px: float = 0.7
    noise_hz: float = 0.15
    refractory_ns: int = 8_000_000
    block_px: int = 1


def pixel_thresholds(height: int, width: int, model: EventModel, seed: int) -> np.ndarray:
    """Return the contrast threshold of every pixel, (H,W) float32: fixed pattern, the same for a whole drive."""
    rng = np.random.default_rng([seed, 0xE7])
    spread = rng.standard_normal((height, width), np.float32) * model.threshold_spread
    return np.clip(model.threshold + spread, 0.5 * model.threshold, None)


def log_luminance(luminance: np.ndarray, model: EventModel) -> np.ndarray:
    """Return log(luminance + floor) (H,W) float32 of linear luminance (H,W), after optics and pixel averaging.

    `model.block_px` > 1 averages square blocks and repeats them: a sensor of lower resolution on the same raster.
    """
    height, width = luminance.shape
    optical = cv2.GaussianBlur(luminance.astype(np.float32), (0, 0), model.blur_px)
    if model.block_px > 1:
        size = -(-width // model.block_px), -(-height // model.block_px)
        small = cv2.resize(optical, size, interpolation=cv2.INTER_AREA)
        optical = np.repeat(np.repeat(small, model.block_px, 0), model.block_px, 1)[:height, :width]
    return np.log(optical + np.float32(model.dark_floor))


@numba.njit(cache=True)
def _fire(levels, times_ns, thresholds, phase, refractory_ns, out_x, out_y, out_t, out_p):
    """Write the events of levels (T,H,W) into the out arrays and return how many there were (may exceed their size)."""
    steps, height, width = levels.shape
    capacity = out_x.shape[0]
    count = 0
    for y in range(height):
        for x in range(width):
            threshold = thresholds[y, x]
            start = levels[0, y, x]
            # The charge left from before the window: uniform, in the direction in which the level moves.
            reference = start - phase[y, x] * threshold * (1.0 if levels[1, y, x] >= start else -1.0)
            last_ns = times_ns[0] - refractory_ns
            for step in range(steps - 1):
                low, high = levels[step, y, x], levels[step + 1, y, x]
                sign = 1 if high >= low else -1
                while (high - reference) * sign >= threshold and high != low:
                    reference += sign * threshold
                    fraction = min(max((reference - low) / (high - low), 0.0), 1.0)
                    moment = times_ns[step] + np.int64(fraction * (times_ns[step + 1] - times_ns[step]))
                    moment = min(moment, times_ns[steps - 1] - 1)
                    if moment - last_ns < refractory_ns:
                        continue
                    last_ns = moment
                    if count < capacity:
                        out_x[count], out_y[count], out_t[count], out_p[count] = x, y, moment, sign
                    count += 1
    return count


def _signal_events(
    levels: np.ndarray, times_ns: np.ndarray, thresholds: np.ndarray, phase: np.ndarray, model: EventModel
) -> np.ndarray:
    """Return the unsorted noise-free events of levels (T,H,W) as a structured array."""
    capacity, names = levels[0].size, EVENT_DTYPE.names or ()
    while True:
        columns = [np.empty(capacity, EVENT_DTYPE[name]) for name in names]
        count = _fire(levels, times_ns, thresholds, phase, model.refractory_ns, *columns)
        if count <= capacity:
            break
        capacity = count
    events = np.empty(count, EVENT_DTYPE)
    for name, column in zip(names, columns, strict=True):
        events[name] = column[:count]
    return events


def events_between(
    levels: np.ndarray, times_ns: np.ndarray, thresholds: np.ndarray, model: EventModel, rng: np.random.Generator
) -> np.ndarray:
    """Turn log luminance at T >= 2 times into the events of [times_ns[0], times_ns[-1]).

    The reference level of a pixel starts at its level at times_ns[0], less a random part of one threshold that stands
    for the charge left from before; so windows are independent of one another and rates are unbiased.

    Args:
        levels: (T,H,W) float32 log luminance; times_ns: (T,) int64 ascending; thresholds: (H,W) float32.

    Returns:
        structured array of EVENT_DTYPE (x, y, t in ns, p +1 brighter / -1 darker), ordered by time.
    """
    _, height, width = levels.shape
    phase = rng.random((height, width), np.float32)
    signal = _signal_events(levels, times_ns, thresholds, phase, model)
    noise = background_activity(height, width, int(times_ns[0]), int(times_ns[-1]), model.noise_hz, rng)
    events = np.concatenate([signal, noise])
    return events[np.argsort(events["t"], kind="stable")]
