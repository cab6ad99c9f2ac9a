#!/usr/bin/env bash
# A 16-bit picture as image_transport compresses it (PNG in a CompressedImage), read with rosbags-image.
#
# Guess:   uint16, as cv_bridge gives it and as the same picture in an Image message comes back; PNG loses nothing.
# Happens: compressed_image_to_cvimage gives uint8 with the upper eight bits of each pixel, without a word, though the
#          format says mono16 or 16UC1. Asked for mono16 by name it fails inside OpenCV.
# Hurts:   whoever reads depth in millimetres or thermal counts from the `compressed` topic of a recording: 1234 mm and
#          1279 mm are both 4. Any2Seg decodes such messages itself (any2seg_core/messages/compressed.py,
#          tests/core/messages/test_compressed.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  rosbags-image==0.10.4 rosbags==0.11.9 opencv-python-headless==5.0.0.93 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

import cv2
import numpy as np
from rosbags.image import compressed_image_to_cvimage, image_to_cvimage
from rosbags.typesys import Stores, get_typestore

types = get_typestore(Stores.ROS2_JAZZY).types
header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 0), "camera")
depth_mm = np.arange(1234, 1234 + 12 * 16, dtype=np.uint16).reshape(12, 16)
png = cv2.imencode(".png", depth_mm)[1].ravel()
whole = types["sensor_msgs/msg/Image"](header, 12, 16, "16UC1", 0, 32, depth_mm.reshape(-1).view(np.uint8))
print({name: metadata.version(name) for name in ("rosbags-image", "rosbags", "opencv-python-headless")})
from_image = image_to_cvimage(whole)
print("Image, 16UC1:", from_image.dtype, "equal:", np.array_equal(from_image, depth_mm))
is_as_seen = from_image.dtype == np.uint16 and np.array_equal(from_image, depth_mm)
for form in ("16UC1; png compressed ", "mono16; png compressed "):
    message = types["sensor_msgs/msg/CompressedImage"](header, form, png)
    pixels = compressed_image_to_cvimage(message)
    is_upper_byte = pixels.dtype == np.uint8 and np.array_equal(pixels, depth_mm >> 8)
    print(f"CompressedImage, {form!r}: {pixels.dtype}, first {pixels[0, 0]} of {depth_mm[0, 0]}; upper bytes: {is_upper_byte}")
    try:
        asked = str(compressed_image_to_cvimage(message, "mono16").dtype)
    except cv2.error as error:
        asked = f"cv2.error {error.code}"
    print("  asked for mono16:", asked)
    is_as_seen &= is_upper_byte and asked.startswith("cv2.error")
sys.exit(0 if is_as_seen else 1)
PY
