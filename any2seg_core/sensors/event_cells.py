"""Events counted per pixel: one 16-bit cell holds all of a pixel, so that an event reads and writes one place.

The cells of a 1280x720 sensor (1.8 MB) stay in the second-level cache, and they are filled on the grid of the sensor:
where a pixel lies on the plane is looked up once per pixel and not per event.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from any2seg_core.base.compiled import compiled

_COUNT_STEP = 40
_FEW = 20  # pixels for each event: with fewer events an event at a time is faster
_FULL = 7  # 7 * 40 saturates: three bits count the events of one polarity
_COUNTS = 0x3F  # bits 0 to 2: positive, 3 to 5: negative
_RECENCY = 0xFF00
_KERNEL: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def count_events(events: np.ndarray, end_ns: int, window_ns: int, height: int, width: int) -> np.ndarray:
    """Cells of the events in (end - window, end]; pixels outside (height, width) are ignored.

    Args:
        events: (N,) packed structures x, y, t (ns), p, contiguous and read-only, in any order.

    Returns:
        (height * width,) uint16, made for `draw_cells`, `move_cells` and `gather_cells`; 0 without events.
    """
    cells = np.zeros(height * width, np.uint16)
    _count(cells, events, end_ns, _age_edges(window_ns), 255.0 / window_ns, height, width, _NEXT_COUNTS)
    return cells


def pick_events(events: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Those of (N,) events that lie on some rows and columns, with their numbers in place of y and x.

    Args:
        rows, columns: (H,) and (W,) int32, the number of each row and column of the sensor, -1 for those left out.
    """
    found = np.empty_like(events)
    return found[: _pick(events, rows, columns, found)]


def draw_cells(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 of (height * width,) cells: positive and negative events, 40 each, and recency."""
    plane = np.empty((height, width, 3), np.uint8)
    _draw(cells, plane.reshape(-1))  # (H,W,3) -> (3HW,)
    return plane


def move_cells(cells: np.ndarray, target: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same on another grid, (height, width, 3); `target` (N,) int32 is the pixel of each cell there, or -1.

    Cells of one pixel are joined: counts are added up, and the newest event counts.
    """
    plane = np.zeros((height, width, 3), np.uint8)
    _move(cells, target, plane.reshape(-1, 3))  # (H,W,3) -> (HW,3)
    return plane


def gather_cells(cells: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The same on another grid, (H, W, 3); `source` (H, W) int32 is the cell of each pixel there, or -1."""
    plane = np.zeros((*source.shape, 3), np.uint8)
    _gather(cells, source.reshape(-1), plane.reshape(-1, 3))  # (H,W,3) -> (HW,3)
    return plane


def are_few(events: np.ndarray, height: int, width: int) -> bool:
    """Whether `draw_few` is faster than cells, of which all are looked at however few events there are."""
    return events.size * _FEW < height * width


def draw_few(
    events: np.ndarray, end_ns: int, window_ns: int, sensor: tuple[int, int], size: tuple[int, int], target: np.ndarray
) -> np.ndarray:
    """What `count_events` with `draw_cells` or `move_cells` makes, (H, W, 3) uint8, event by event.

    Args:
        sensor: (H', W') of the event camera. size: (H, W) of the plane.
        target: (H' W',) int32 pixel of each of the sensor's pixels on the plane, or -1; empty: they are the same.
    """
    plane = np.zeros((*size, 3), np.uint8)
    ages = _age_edges(window_ns), 255.0 / window_ns
    _draw_few(events, end_ns, *ages, *sensor, target, plane.reshape(-1, 3))  # (H,W,3) -> (HW,3)
    return plane


@lru_cache(maxsize=16)
def _age_edges(window_ns: int) -> np.ndarray:
    """(256,) int64: recency 255 - k belongs to ages edges[k] <= age < edges[k + 1]; read-only."""
    edges = np.array([-(-k * window_ns // 255) for k in range(256)], np.int64)
    edges.flags.writeable = False  # shared by all callers
    return edges


def _next_counts() -> np.ndarray:
    """(128,) uint16: the counts after an event, by twice the counts before it, plus 1 if it is positive; read-only."""
    positive, negative = np.meshgrid(np.arange(8), np.arange(8))  # by counts = positive + 8 * negative
    after_negative = positive + 8 * np.minimum(negative + 1, _FULL)
    after_positive = np.minimum(positive + 1, _FULL) + 8 * negative
    table = np.stack([after_negative, after_positive], axis=-1).reshape(-1).astype(np.uint16)  # (8,8,2) -> (128,)
    table.flags.writeable = False
    return table


_NEXT_COUNTS = _next_counts()


@compiled(**_KERNEL)
def _count(cells, events, end_ns, edges, codes_per_ns, height, width, next_counts):
    first_ns, span_ns = np.int64(0), np.uint64(0)  # times of one recency: neighbours in time mostly share it
    code = newest = np.int32(0)
    for i in range(events.size):
        event = events[i]
        if np.uint64(event.t - first_ns) >= span_ns:
            age = end_ns - event.t
            if age < 0 or age >= edges[255]:
                continue
            passed = np.int64(age * codes_per_ns)  # 255 age // window but for rounding, without the slow division
            if age < edges[passed]:
                passed -= 1
            elif age >= edges[passed + 1]:
                passed += 1
            code = np.int32((255 - passed) << 8)
            first_ns, span_ns = end_ns - edges[passed + 1] + 1, np.uint64(edges[passed + 1] - edges[passed])
            newest = max(newest, code)
        if event.x >= width or event.y >= height:
            continue
        pixel = np.uint64(event.y) * np.uint64(width) + np.uint64(event.x)
        cell = np.int32(cells[pixel])
        after = np.int32(next_counts[((cell & _COUNTS) << 1) | np.int32(event.p > 0)])
        if code == newest:  # nothing newer was seen in any cell
            after |= code
        else:
            above = np.int32((cell & _RECENCY) - code)
            after |= code + np.int32(above & ~(above >> 31))  # max(cell, code); a branch on it is mostly guessed wrong
        cells[pixel] = np.uint16(after)


@compiled(**_KERNEL)
def _draw_few(events, end_ns, edges, codes_per_ns, height, width, target, plane):
    for i in range(events.size):
        event = events[i]
        age = end_ns - event.t
        if age < 0 or age >= edges[255] or event.x >= width or event.y >= height:
            continue
        place = np.int64(event.y) * width + np.int64(event.x)
        if target.size > 0:
            place = np.int64(target[place])
            if place < 0:
                continue
        passed = np.int64(age * codes_per_ns)  # as in `_count`
        if age < edges[passed]:
            passed -= 1
        elif age >= edges[passed + 1]:
            passed += 1
        channel = 0 if event.p > 0 else 1
        plane[place, channel] = min(plane[place, channel] + _COUNT_STEP, 255)
        plane[place, 2] = max(np.int64(plane[place, 2]), 255 - passed)


@compiled(**_KERNEL)
def _pick(events, rows, columns, found):
    count = 0
    for i in range(events.size):
        event = events[i]
        if event.x >= columns.size or event.y >= rows.size:
            continue
        row, column = rows[event.y], columns[event.x]
        found[count].x, found[count].y = np.uint16(column), np.uint16(row)
        found[count].t, found[count].p = event.t, event.p
        count += (row | column) >= 0  # no branch: the processor would mostly guess it wrong
    return count


@compiled(**_KERNEL)
def _draw(cells, plane):
    for i in range(cells.size):
        cell = np.int32(cells[i])
        plane[3 * i] = min(_COUNT_STEP * (cell & 7), 255)
        plane[3 * i + 1] = min(_COUNT_STEP * ((cell >> 3) & 7), 255)
        plane[3 * i + 2] = cell >> 8


@compiled(**_KERNEL)
def _join(pixel, cell):
    """Put the events of a cell to those of a pixel (3,)."""
    pixel[0] = min(pixel[0] + _COUNT_STEP * (cell & 7), 255)
    pixel[1] = min(pixel[1] + _COUNT_STEP * ((cell >> 3) & 7), 255)
    pixel[2] = max(np.int32(pixel[2]), cell >> 8)


@compiled(**_KERNEL)
def _move(cells, target, plane):
    for i in range(cells.size):
        if cells[i] and target[i] >= 0:
            _join(plane[target[i]], np.int32(cells[i]))


@compiled(**_KERNEL)
def _gather(cells, source, plane):
    for i in range(source.size):
        if source[i] >= 0 and cells[source[i]]:
            _join(plane[i], np.int32(cells[source[i]]))
