#!/usr/bin/env bash
# The splits of nuScenes' v1.0-mini beside those of the whole data set, as the devkit lists them.
#
# Guess:   mini_train is a part of train and mini_val one of val: v1.0-mini holds ten scenes of v1.0-trainval.
# Happens: mini_val is a part of val, and so are two of the eight scenes of mini_train: scene-0553 and scene-0796.
# Hurts:   whoever tries things on mini and goes on with the weights on the whole data set: val was trained on. A list of
#          val that is applied to mini by names puts four of ten scenes into val instead of two. Any2Seg has a
#          recipe of its own for mini (any2seg_core/data/recipes/nuscenes-mini.yaml, test_street_recipes.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nuscenes-devkit==1.2.0
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

from nuscenes.utils.splits import mini_train, mini_val, train, val

print({"nuscenes-devkit": metadata.version("nuscenes-devkit")})
print(f"scenes: train {len(train)}, val {len(val)}, mini_train {len(mini_train)}, mini_val {len(mini_val)}")
trained_twice = sorted(set(mini_train) & set(val))
print(f"of mini_train in val: {trained_twice}; of mini_val in val: {sorted(set(mini_val) & set(val))}")
sys.exit(0 if trained_twice == ["scene-0553", "scene-0796"] and set(mini_val) <= set(val) else 1)
PY
