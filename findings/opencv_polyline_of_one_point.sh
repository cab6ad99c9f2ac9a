#!/usr/bin/env bash
# A stroke of one place, drawn with OpenCV's polylines.
#
# Guess:   cv2.polylines draws a dot for a line of one point, as cv2.line does from a place to itself, at any thickness.
# Happens: an open line of one point draws nothing; the same point as a closed line draws the dot, and so does the point
#          given twice. No error, no warning.
# Hurts:   whoever makes label images of clicks and scribbles (ScribbleSup's XML holds strokes as lists of places): a
#          class that somebody marked with a single click is not in the labels. Any2Seg repeats the place
#          (any2seg_core/data/label_formats.py, test_label_formats.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

import cv2
import numpy as np

once = np.array([[[7, 5]]], np.int32)
DRAWINGS = {
    "polylines, open, one point": lambda image, px: cv2.polylines(image, [once], False, 9, px),
    "polylines, closed, one point": lambda image, px: cv2.polylines(image, [once], True, 9, px),
    "polylines, open, the point twice": lambda image, px: cv2.polylines(image, [once.repeat(2, axis=0)], False, 9, px),
    "line from the point to itself": lambda image, px: cv2.line(image, (7, 5), (7, 5), 9, px),
}
print({"opencv-python-headless": metadata.version("opencv-python-headless")})
drawn = {}
for name, draw in DRAWINGS.items():
    drawn[name] = [int((draw(np.zeros((11, 15), np.uint8), px) == 9).sum()) for px in (1, 2, 3, 5)]
    print(f"{name}: {drawn[name]} pixels at a thickness of 1, 2, 3 and 5")
open_line, *others = drawn.values()
sys.exit(0 if open_line == [0, 0, 0, 0] and all(min(pixels) > 0 for pixels in others) else 1)
PY
