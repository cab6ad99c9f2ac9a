"""Scene descriptions: from a user's file, or put together from label statistics and condition.

A template of the labels sees the truth; a model that describes the camera's picture (`captioner.py`) does not.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_json, read_text
from any2seg_core.vocabulary.labels import LabelSpace, is_labelled
from any2seg_core.vocabulary.sensor import Sensor

_SETTING = {
    "cloud": "under a cloudy sky",
    "fog": "in fog",
    "night": "at night",
    "day": "by day",
    "rain": "in the rain",
    "snow": "in snow",
    "sun": "in sunshine",
    "clear": "in clear weather",
}
_FAILURE = {
    "motionblur": "the camera image is blurred by motion",
    "overexposure": "the camera image is overexposed",
    "underexposure": "the camera image is underexposed",
    "lidarjitter": "the LiDAR points jitter",
    "eventlowres": "the events have a low resolution",
}
_SHARES = ((0.10, "mostly"), (0.01, "with"), (0.0005, "and a little"))
"""Share of the labelled pixels from which on a class is named with that word."""


@dataclass(frozen=True)
class Caption:
    """What is known in words about one frame.

    Attributes:
        scene: the description that gives E_S.
        setting: weather and light, e.g. "in fog at night"; empty if not known.
        failure: what is wrong with a sensor; empty if nothing is.
    """

    scene: str
    setting: str = ""
    failure: str = ""

    def of_sensor(self, sensor: Sensor) -> str:
        """The sentence that stands for the image of a sensor where a teacher knows texts only."""
        text = f"{sensor.title} image of a street {self.setting}".strip()
        return f"{text}, {self.failure}" if self.failure else text


def spoken(class_name: str) -> str:
    """``"TrafficSign" -> "traffic sign"``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", class_name).lower()


def of_condition(condition: str) -> Caption:
    """What the name of a condition says, such as "night, motionblur" or "fog/night"; other words are left out."""
    words = re.split(r"[,/ ]+", condition)
    setting = " ".join(_SETTING[word] for word in words if word in _SETTING)
    failure = " and ".join(_FAILURE[word] for word in words if word in _FAILURE)
    return Caption(" ".join(f"a street {setting}".split()), setting, failure)


def describe(labels: np.ndarray, space: LabelSpace, condition: str) -> Caption:
    """A deterministic description of a labelled frame.

    Args:
        labels: (H, W) uint8 train ids, 254 or 255 unlabelled.
        space: names of the classes.
        condition: as a data set has it, see `of_condition`.
    """
    known = of_condition(condition)
    counts = np.bincount(labels[is_labelled(labels)], minlength=len(space))[: len(space)]
    share = counts / max(counts.sum(), 1)
    order = [k for k in np.argsort(-share, kind="stable").tolist() if space.classes[k] != space.other]
    parts, above = [], np.inf
    for least, word in _SHARES:
        names = [spoken(space.classes[k]) for k in order if least <= share[k] < above]
        above = least
        if names:
            parts.append(f"{word} {', '.join(names)}")
    scene = ", ".join([known.scene, *parts])
    return replace(known, scene=f"{scene}; {known.failure}" if known.failure else scene)


def read_captions(path: Path) -> dict[str, str]:
    """Frame name -> scene description.

    JSON: an object ``{"night/MAP_1_point2/000123": "a road ..."}``. CSV: columns ``frame`` and ``caption``. The names
    of frames are those of the data set, in DELIVER ``condition/sequence/stem``.

    Raises:
        UserError: the file cannot be read as one of the two.
    """
    try:
        text = read_text(path, "JSON or CSV file")
    except UserError as error:
        raise UserError(f"captions={path}: cannot be read ({error})", error.code) from None
    if path.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        if not rows or not {"frame", "caption"} <= set(rows[0]) or any(row["caption"] is None for row in rows):
            raise UserError(f"captions={path}: expected the columns frame and caption in every row", "file-content")
        return {row["frame"]: row["caption"] for row in rows}
    try:
        captions = parse_json(text, str(path))
    except UserError as error:
        raise UserError(f"captions={path}: not JSON ({error}); or name it .csv", "text-syntax") from None
    if not isinstance(captions, dict) or not all(isinstance(value, str) for value in captions.values()):
        raise UserError(f'captions={path}: expected an object {{"name of the frame": "description"}}', "file-content")
    return captions
