#!/usr/bin/env bash
# A picture with an orientation tag, read with OpenCV as it is stored.
#
# Guess:   IMREAD_UNCHANGED gives the pixels as they are stored, and so does IMREAD_IGNORE_ORIENTATION, in any format.
# Happens: true for JPEG, PNG and WebP. A TIFF is turned by both: the same tag, the same flag, another shape.
# Hurts:   whoever keeps labels, depth or calibrated pictures as TIFF: they no longer lie on the picture beside them,
#          and a half-turned one does not even show it by its shape. Any2Seg has OpenCV's pixels in a message of TIFF
#          (docstring of compressed_to_rgb) and those that are stored in one of JPEG, PNG and WebP
#          (tests/core/messages/test_compressed.py, test_value_an_exif_orientation_is_not_followed).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  opencv-python-headless==5.0.0.93 numpy==2.2.6 pillow==12.3.0
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import io
import sys

import cv2
import numpy as np
from PIL import Image

FLAGS = {
    "IMREAD_UNCHANGED": cv2.IMREAD_UNCHANGED,
    "IMREAD_COLOR | IMREAD_IGNORE_ORIENTATION": cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
    "IMREAD_COLOR": cv2.IMREAD_COLOR,
}
TURNED = {name: {"JPEG": follows, "PNG": follows, "WEBP": follows, "TIFF": True}
          for name, follows in zip(FLAGS, (False, False, True))}

stored = np.zeros((24, 40, 3), np.uint8)
stored[:12, :20] = 200  # bright top left quarter
exif = Image.Exif()
exif[0x0112] = 6  # to be turned by a quarter clockwise

print({name: metadata.version(name) for name in ("opencv-python-headless", "pillow")})
found = {}
for name, flag in FLAGS.items():
    found[name] = {}
    for codec in TURNED[name]:
        file = io.BytesIO()
        Image.fromarray(stored).save(file, codec, exif=exif)
        pixels = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), flag)
        found[name][codec] = pixels.shape[:2] == (40, 24)
    print(f"{name}: turned {[codec for codec, turned in found[name].items() if turned]}, "
          f"as stored {[codec for codec, turned in found[name].items() if not turned]}")
sys.exit(0 if found == TURNED else 1)
PY
