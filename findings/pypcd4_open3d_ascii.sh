#!/usr/bin/env bash
# An ASCII PCD file that Open3D writes, read with pypcd4.
#
# Guess:   any reader of PCD takes what Open3D writes with open3d.t.io.write_point_cloud(..., write_ascii=True), the
#          writer that keeps intensity.
# Happens: it ends each row with a blank (the older open3d.io does not). pypcd4 takes that for one more, empty, column
#          and raises ValueError. The same cloud as binary or compressed is read.
# Hurts:   whoever saves clouds with intensity as text in Open3D and reads them without it. Any2Seg takes superfluous
#          blanks out before pypcd4 sees them (any2seg_core/files/clouds.py, tests/core/files/test_clouds.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check open3d-cpu==0.20.0 pypcd4==1.5.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

import numpy as np
import open3d
from pypcd4 import PointCloud

print({name: metadata.version(name) for name in ("open3d-cpu", "pypcd4")})
points = np.arange(12, dtype=np.float32).reshape(4, 3)
cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(points))
cloud.point.intensity = open3d.core.Tensor(np.ones((4, 1), np.float32))
seen = {}
for name, options in {"ascii": {"write_ascii": True}, "binary": {}, "compressed": {"compressed": True}}.items():
    open3d.t.io.write_point_cloud(f"{name}.pcd", cloud, **options)
    try:
        seen[name] = PointCloud.from_path(f"{name}.pcd").numpy(("x", "y", "z")).shape
    except Exception as error:
        seen[name] = f"{type(error).__name__}: {error}"
    print(name, seen[name])
last_row = open("ascii.pcd").read().splitlines()[-1]
print("last row", repr(last_row))
are_read = seen["binary"] == seen["compressed"] == (4, 3)
expected = last_row.endswith(" ") and "ValueError" in str(seen["ascii"]) and are_read
sys.exit(0 if expected else 1)
PY
