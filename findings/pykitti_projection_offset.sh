#!/usr/bin/env bash
# Pixels of LiDAR points by pykitti's K_cam2 and T_cam2_velo, and by KITTI's own formula.
#
# Guess:   both are P_rect_02 @ R_rect_00 @ Tr @ p, to rounding: pykitti only takes P apart into K and a shift of camera 2.
# Happens: pykitti keeps the shift along x alone. The fourth column of KITTI's P also shifts along y and z (the published
#          ones by millimetres), so points fall elsewhere, most where they are near and far to the right: here by 1.8 px
#          at 2 m and 0.7 px at 5 m.
# Hurts:   whoever makes depth images, labels of points or a calibration with pykitti and compares them with the devkit's,
#          or feeds a model that was trained on one kind with the other. Any2Seg solves for the whole shift
#          (any2seg_core/files/foreign_calibration.py, from_kitti).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pykitti==0.3.1 numpy==2.2.6 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - "$folder" <<'PY'
import importlib.metadata as metadata
import sys
from pathlib import Path

import numpy as np
import pykitti

root, date, drive = Path(sys.argv[1]), "2011_09_26", "0001"
text = lambda matrix: " ".join(f"{value:.6e}" for value in np.ravel(matrix))
K = np.array([[700.0, 0, 600], [0, 700.0, 170], [0, 0, 1]])
P = [np.column_stack([K, column]) for column in ([0, 0, 0], [-380.0, 0, 0], [45.0, 0.2, 0.003], [-330.0, 2.2, 0.003])]
to_camera = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
lines = []
for camera in range(4):
    lines += [f"R_rect_0{camera}: {text(np.eye(3))}", f"P_rect_0{camera}: {text(P[camera])}"]
folder = root / date
(folder / f"{date}_drive_{drive}_sync" / "oxts").mkdir(parents=True)
(folder / f"{date}_drive_{drive}_sync" / "oxts" / "timestamps.txt").write_text("2011-09-26 13:02:25.964389445\n")
(folder / "calib_cam_to_cam.txt").write_text("\n".join(lines))
for name in ("velo_to_cam", "imu_to_velo"):
    (folder / f"calib_{name}.txt").write_text(f"R: {text(to_camera)}\nT: 0 0 0\n")

calib = pykitti.raw(str(root), date, drive).calib
print({name: metadata.version(name) for name in ("pykitti", "numpy")})
shifts = []
for ahead_m in (2.0, 5.0, 20.0):
    point = np.array([ahead_m, -0.8 * ahead_m, 0.0, 1.0])  # far to the right
    tr = np.vstack([np.column_stack([to_camera, np.zeros(3)]), [0, 0, 0, 1]])
    by_devkit, by_pykitti = P[2] @ tr @ point, calib.K_cam2 @ (calib.T_cam2_velo @ point)[:3]
    shifts.append(float(np.linalg.norm(by_devkit[:2] / by_devkit[2] - by_pykitti[:2] / by_pykitti[2])))
    print(f"{ahead_m:.0f} m ahead: devkit {by_devkit[:2] / by_devkit[2]}, pykitti {by_pykitti[:2] / by_pykitti[2]}")
print(f"apart by {', '.join(f'{shift:.3f}' for shift in shifts)} px")
sys.exit(0 if shifts[0] > 1.0 and shifts[1] > 0.5 and shifts[2] > 0.1 else 1)
PY
