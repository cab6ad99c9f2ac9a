#!/usr/bin/env bash
# tonic's voxel grid of events in tonic's own type, whose polarity is a bool, and in two other types.
#
# Guess:   an OFF event counts -1 and an ON event +1, as in the paper that it follows, whatever type holds the polarity.
# Happens: true for int8. tonic's own events, which its data sets give, hold a bool: -1 is written into it and becomes
#          True, so every OFF event counts +1, and the grid is one of activity. With uint8, as expelliarmus gives events,
#          NumPy 2 raises OverflowError.
# Hurts:   whoever makes inputs as of E2VID with tonic from its data sets, or from AEDAT4 and RAW files, whose readers
#          (aedat, faery) give bool too: a network that sees no polarity, and no word about it. Any2Seg makes int8 of any
#          of them first (EVENT_DTYPE in any2seg_core/sensors/events.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tonic==1.7.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

import numpy as np
from tonic.io import events_struct, make_structured_array
from tonic.transforms import ToVoxelGrid

size = (6, 4, 2)  # columns, rows, polarities
TYPES = {"tonic's own (bool)": np.dtype(events_struct)}
for kind in ("i1", "u1"):
    fields = [(name, kind if name == "p" else of) for name, of in np.dtype(events_struct).descr]
    TYPES[np.dtype(kind).name] = np.dtype(fields)

print({name: metadata.version(name) for name in ("tonic", "numpy")})
found = []
for name, dtype in TYPES.items():
    # column, row, time in us, polarity: three ON events in column 1, three OFF events in column 4
    events = make_structured_array([1, 4] * 3, [2] * 6, np.arange(6) * 100, [1, 0] * 3, dtype=dtype)
    try:
        columns = ToVoxelGrid(sensor_size=size, n_time_bins=3)(events).sum(axis=(0, 1, 2))
        found.append([int(np.sign(columns[1])), int(np.sign(columns[4]))])
        print(f"{name}: sum over the ON events {columns[1]:+.2f}, over the OFF events {columns[4]:+.2f}")
    except OverflowError as error:
        found.append("OverflowError")
        print(f"{name}: OverflowError: {error}")
sys.exit(0 if found == [[1, 1], [1, -1], "OverflowError"] else 1)
PY
