#!/usr/bin/env bash
# A LAS file of point format 3 (LAS 1.2), converted with laspy to point format 6 (LAS 1.4) and back.
#
# Guess:   laspy.convert carries the scan angle over: whole degrees in scan_angle_rank become steps of 0.006 degrees in
#          scan_angle, and back.
# Happens: every scan angle is 0 afterwards, in both directions, because the two fields have different names. The other
#          fields are there, and nothing is said.
# Hurts:   whoever brings surveys to LAS 1.4 (as LAZ in a cloud, COPC and many tools want it) and later filters by the
#          angle or corrects intensity with it: all points are nadir. Any2Seg reads no LAS and says so by its content
#          (docs/inputs.md).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check laspy==2.7.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

import laspy
import numpy as np

degrees = np.array([-15, 0, 30], np.int8)
old = laspy.create(point_format=3, file_version="1.2")
old.x = old.y = old.z = np.array([1.0, 2.0, 3.0])
old.scan_angle_rank, old.classification, old.gps_time = degrees, [2, 5, 6], [1.0, 2.0, 3.0]

new = laspy.convert(old, point_format_id=6)
new_degrees = np.asarray(new.scan_angle) * 0.006
kept = {name: np.array_equal(new[name], old[name]) for name in ("X", "classification", "gps_time")}

other = laspy.create(point_format=6, file_version="1.4")
other.x = other.y = other.z = np.array([1.0, 2.0, 3.0])
other.scan_angle = degrees / 0.006
back_degrees = np.asarray(laspy.convert(other, point_format_id=3).scan_angle_rank)

print({name: metadata.version(name) for name in ("laspy", "numpy")})
print(f"3 to 6: {degrees.tolist()} degrees become {new_degrees.tolist()}; other fields are kept: {kept}")
print(f"6 to 3: {(np.asarray(other.scan_angle) * 0.006).tolist()} degrees become {back_degrees.tolist()}")
sys.exit(0 if not new_degrees.any() and not back_degrees.any() and all(kept.values()) else 1)
PY
