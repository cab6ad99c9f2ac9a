"""docs/your_vehicle.md from its first to its last step, in one folder, as a new user would paste it."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import yaml
from commands import ROOT, of_page
from PIL import Image

PAGE = ROOT / "docs" / "your_vehicle.md"
TINY = " steps=1 batch_size=1 crop_height=64 crop_width=64 bf16=false compile_fusion=false"
FEWER = {
    "python training/train.py": TINY,
    "any2seg bag evaluate": " --subsets all --every 4",
    "any2seg predict": " --every 4",
}
"""Beginning of a command -> what makes it short."""


def commands() -> list[str]:
    return [each.text for each in of_page(PAGE) if each.text.startswith(("any2seg", "python"))]


def test_value_the_page_works_from_recording_to_labels(home, paste, inputs):
    (home / "runs/drive").unlink()
    shutil.copytree(inputs / "drive", home / "runs/drive")  # something is written beside it
    page = PAGE.read_text()
    block = re.search(r"^    name: street-5\n(?:    .*\n)+", page, re.MULTILINE)[0]
    (home / "classes.yaml").write_text(block.replace("\n    ", "\n").removeprefix("    "))
    (home / "runs/drive/any2seg.yaml").write_text("label_space: ../../classes.yaml\ntruth_coding: raw_ids\n")
    for text in commands():
        short = next((more for start, more in FEWER.items() if text.startswith(start)), "")
        done = paste(text + short)
        assert done.returncode == 0, text + "\n" + done.stdout[-1000:] + done.stderr[-2000:]
    classes = [entry["name"] for entry in yaml.safe_load((home / "classes.yaml").read_text())["classes"]]
    legend = json.loads((home / "labels/legend.json").read_text())
    assert [entry["class_name"] for entry in legend["class_map"]] == classes
    label = next((home / "labels/labels").iterdir())
    assert np.asarray(Image.open(label)).max() < len(classes)
    assert all((home / name).is_file() for name in ("own.webm", "labels.webm", "seen.png", "car.yaml", "own.yaml"))
