# %% [markdown]
# # Segment a folder
#
#     python examples/segment_a_folder.py FOLDER
#
# `FOLDER/rgb/a.png`, `FOLDER/depth/a.png` (16-bit millimetres, or .npy in metres), `FOLDER/lidar/a.bin` (KITTI,
# nuScenes, .npy or .pcd) and `FOLDER/event/a.npy` are one moment: files of one name belong together. Folders and files
# may be missing; what is there is fused. `FOLDER/calibration.yaml` says where the sensors are; the camera alone needs
# none.
# Each `# %%` begins a cell: VS Code, Spyder and jupytext open this file as a notebook.

# %%
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from any2seg_core import Predictor, SensorRig, UserError, load_calibration
from any2seg_core.files.points import read_points
from any2seg_core.files.samples import read_depth_m, read_events, read_rgb
from any2seg_core.runtime.legend import write_labels
from any2seg_core.runtime.overlay import overlay

FOLDER = Path(sys.argv[1])  # in a notebook: the path itself

# %% [markdown]
# ## What is there
# Modality -> how its files are read; each gives an array in SI units.

# %%
READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "rgb": read_rgb,
    "depth": read_depth_m,
    "event": read_events,
    "lidar": read_points,
}
moments: dict[str, dict[str, Path]] = {}
for sensor in READERS:
    for path in sorted((FOLDER / sensor).glob("*.*")):
        moments.setdefault(path.stem, {})[sensor] = path
print(f"{len(moments)} moments")

# %% [markdown]
# ## The model and the geometry
# The shipped checkpoint knows the simulated drive alone: give the path of yours to `Predictor.load`.

# %%
predictor = Predictor.load()
space = predictor.label_space
calibration_file = FOLDER / "calibration.yaml"
rig = SensorRig(load_calibration(calibration_file)) if calibration_file.is_file() else None

# %% [markdown]
# ## Segment
# One PNG of train ids per moment, which carries the names of its classes in its text `classes`, and one to look at. A
# moment that cannot be used is named and passed by.

# %%
(FOLDER / "overlay").mkdir(exist_ok=True)
pixels = np.zeros(len(space), np.int64)
for name, files in sorted(moments.items()):
    try:
        samples = {sensor: READERS[sensor](path) for sensor, path in files.items()}
        end_ns = int(samples["event"]["t"].max()) + 1 if len(samples.get("event", ())) else 0  # events up to now count
        found = predictor(samples, rig, stamp_ns=end_ns)
    except UserError as error:
        print(f"{name}: {error}")
        continue
    write_labels(FOLDER / "labels" / f"{name}.png", found.labels, space)
    camera = {"rgb": samples["rgb"]} if "rgb" in samples else {}
    Image.fromarray(overlay(found.labels, camera, space, 0.5)).save(FOLDER / "overlay" / f"{name}.png")
    pixels += np.bincount(found.labels[found.labels < len(space)], minlength=len(space))
    print(f"{name}: fused {', '.join(found.used)}")

# %% [markdown]
# ## What the pictures show

# %%
for class_id in np.argsort(-pixels)[:5]:
    print(f"{space.classes[class_id]:15s} {100 * pixels[class_id] / max(pixels.sum(), 1):5.1f} %")
