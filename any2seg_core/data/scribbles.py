"""Scribbles: one thin stroke along the middle of each region of a label image."""

from __future__ import annotations

import numpy as np

from any2seg_core.base.compiled import compiled
from any2seg_core.vocabulary.labels import NOT_ANNOTATED

_SHORTEST = 5
"""Pixels; a region whose middle line is shorter is too small for anybody to scribble on."""


def scribbles(labels: np.ndarray, side: int) -> np.ndarray:
    """Keeps a stroke per region: its skeleton, of which the longest path remains, drawn ``side`` pixels wide.

    The skeleton is that of Zhang and Suen (1984), of all classes at once; a stroke never leaves its region.

    Args:
        labels: (H, W) uint8 train ids, 254 and 255 without a class.
        side: width of the stroke in pixels, odd.

    Returns:
        (H, W) uint8, every pixel as in ``labels`` or 254.
    """
    labels = np.ascontiguousarray(labels)
    return _draw(labels, _longest_paths(_thinned(labels)), side // 2)


@compiled(cache=True)
def _neighbours(image, row, column):
    """(8,) bool: which neighbours hold the same id, clockwise from above; outside the image none does."""
    height, width = image.shape
    same = np.zeros(8, dtype=np.bool_)
    rows = (-1, -1, 0, 1, 1, 1, 0, -1)
    columns = (0, 1, 1, 1, 0, -1, -1, -1)
    for k in range(8):
        v, u = row + rows[k], column + columns[k]
        same[k] = 0 <= v < height and 0 <= u < width and image[v, u] == image[row, column]
    return same


@compiled(cache=True)
def _thinned(labels):
    """Skeleton of each region: (H, W), 254 where nothing is left."""
    image = labels.copy()
    height, width = image.shape
    doomed = np.zeros((height, width), dtype=np.bool_)
    changed = True
    while changed:
        changed = False
        for second in (False, True):
            doomed[:] = False
            for row in range(height):
                for column in range(width):
                    if image[row, column] >= NOT_ANNOTATED:
                        image[row, column] = NOT_ANNOTATED
                        continue
                    same = _neighbours(image, row, column)
                    steps = 0  # from a neighbour outside to one inside, once around
                    for k in range(8):
                        steps += (not same[k]) and same[(k + 1) % 8]
                    if steps != 1 or not 2 <= same.sum() <= 6:
                        continue
                    north, east, south, west = same[0], same[2], same[4], same[6]
                    if second:
                        doomed[row, column] = not (north and west and (east or south))
                    else:
                        doomed[row, column] = not (east and south and (north or west))
            for row in range(height):
                for column in range(width):
                    if doomed[row, column]:
                        image[row, column] = NOT_ANNOTATED
                        changed = True
    return image


@compiled(cache=True)
def _farthest(image, start, seen, mark, queue, parent):
    """Breadth first from a pixel through its region; returns the last one reached, which is farthest."""
    height, width = image.shape
    queue[0], parent[start], seen[start] = start, -1, mark
    first, last = 0, 1
    while first < last:
        place = queue[first]
        first += 1
        row, column = place // width, place % width
        for v in range(max(row - 1, 0), min(row + 2, height)):
            for u in range(max(column - 1, 0), min(column + 2, width)):
                other = v * width + u
                if image[v, u] == image[row, column] and seen[other] != mark:
                    seen[other], parent[other], queue[last] = mark, place, other
                    last += 1
    return queue[last - 1]


@compiled(cache=True)
def _longest_paths(skeleton):
    """(H, W) bool: of each connected skeleton the path between its two ends that are farthest apart."""
    height, width = skeleton.shape
    seen = np.zeros(height * width, dtype=np.int8)
    queue, parent = np.empty(height * width, dtype=np.int64), np.empty(height * width, dtype=np.int64)
    kept = np.zeros((height, width), dtype=np.bool_)
    for start in range(height * width):
        if skeleton[start // width, start % width] == NOT_ANNOTATED or seen[start]:
            continue
        one_end = _farthest(skeleton, start, seen, 1, queue, parent)
        place = _farthest(skeleton, one_end, seen, 2, queue, parent)
        length, step = 0, place
        while step >= 0:
            length, step = length + 1, parent[step]
        while length >= _SHORTEST and place >= 0:
            kept[place // width, place % width] = True
            place = parent[place]
    return kept


@compiled(cache=True)
def _draw(labels, kept, reach):
    height, width = labels.shape
    drawn = np.full((height, width), NOT_ANNOTATED, dtype=np.uint8)
    for row in range(height):
        for column in range(width):
            if kept[row, column]:
                for v in range(max(row - reach, 0), min(row + reach + 1, height)):
                    for u in range(max(column - reach, 0), min(column + reach + 1, width)):
                        if labels[v, u] == labels[row, column]:
                            drawn[v, u] = labels[v, u]
    return drawn
