#!/usr/bin/env bash
# The same 12-bit picture as TIFF and as JPEG 2000, read with OpenCV and with Pillow.
#
# Guess:   a lossless 12-bit picture comes back as uint16 with its values, 0..4095, or every reader stretches it to
#          0..65535; one library does the same to both formats.
# Happens: OpenCV multiplies a TIFF by 16 and leaves JPEG 2000 as it is; Pillow leaves the TIFF and multiplies JPEG 2000
#          by 16. tifffile and imagecodecs give the values that were stored. IMREAD_UNCHANGED changes nothing of it; 10
#          and 14 bits go the same way, by 64 and 4.
# Hurts:   whoever keeps depth, thermal counts or raw camera pixels in 12 bits, as industrial cameras do: distances are 16
#          times too far, or not, by the library and the format of the file. Any2Seg takes the shift back
#          (any2seg_core/base/pictures.py, tests/core/base/test_pictures.py).
#
# Needs Python 3.11 or newer. Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  opencv-python-headless==5.0.0.93 pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image

stored = (np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 10 + 1) % 4096  # 12 bits
tifffile.imwrite("picture.tif", stored, bitspersample=12, photometric="minisblack")
Path("picture.jp2").write_bytes(imagecodecs.jpeg2k_encode(stored, level=0, bitspersample=12))

READERS = {
    "OpenCV": lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED),
    "Pillow": lambda path: np.asarray(Image.open(path)),
    "tifffile, imagecodecs": lambda path: (tifffile if path.endswith("tif") else imagecodecs).imread(path),
}
print({name: metadata.version(name) for name in ("opencv-python-headless", "pillow", "tifffile", "imagecodecs")})
found = {}
for name, read in READERS.items():
    factors = []
    for path in ("picture.tif", "picture.jp2"):
        pixels = read(path)
        factors.append(np.unique(pixels / stored).tolist())
        print(f"{name}: {path} as {pixels.dtype}, largest {pixels.max()}, read / stored = {factors[-1]}")
    found[name] = factors
expected = {"OpenCV": [[16], [1]], "Pillow": [[1], [16]], "tifffile, imagecodecs": [[1], [1]]}
sys.exit(0 if found == expected else 1)
PY
