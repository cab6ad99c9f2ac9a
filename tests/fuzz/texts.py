"""YAML of users and of recordings: shipped files and a grammar of what YAML can do, through every reader of YAML."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mutate import FLOATS, NUMBERS, TEXTS, mutated_bytes

from any2seg_core.bags.salvage_parts import parse_qos
from any2seg_core.bags.topic_rules import RULES_FILE, load_rules
from any2seg_core.data.bag_settings import SETTINGS_FILE, read_settings
from any2seg_core.data.recipe import read_recipe
from any2seg_core.faults.kinds import load_faults
from any2seg_core.runtime.input_options import input_options
from any2seg_core.sensors.calibration import load_calibration, load_camera_info
from any2seg_core.sync.parameters import load_params_file, sync_config
from any2seg_core.vocabulary.class_mapping import class_mapping
from any2seg_core.vocabulary.labels import label_space
from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite
from any2seg_training.config import load_config

ROOT = Path(__file__).resolve().parents[2]
_CALIBRATION = """version: 1
camera:
  width: 47
  height: 31
  K: [[30, 0, 23], [0, 30, 15], [0, 0, 1]]
  D: [0.1, 0, 0, 0, 0]
event_camera: {width: 13, height: 9, hfov_deg: 91}
lidar_to_camera:
  - [0, -1, 0, 0.0]
  - [0, 0, -1, -0.1]
  - [1, 0, 0, -0.3]
  - [0, 0, 0, 1]
lidar_frame: velodyne
"""
_CAMERA_INFO = """image_width: 47
image_height: 31
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [30, 0, 23, 0, 30, 15, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}
projection_matrix: {rows: 3, cols: 4, data: [30, 0, 23, 0, 0, 30, 15, 0, 0, 0, 1, 0]}
"""
_PARAMS = """/**:
  ros__parameters:
    timeout_s: 0.1
    rgb: {offset_s: 0.0, max_age_s: 0.3}
    health: {min_points: 20, frozen_frames: 50}
    reference_priority: [rgb, lidar]
    check_frames: true
"""
_FAULTS = "- {kind: drop, sensors: [rgb], start_s: 2, end_s: 4}\n- {kind: skew, offset_s: 0.1, start_s: 1}\n"
_QOS = "- history: 1\n  depth: 10\n  reliability: reliable\n  durability: 2\n"
_METADATA = """rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  relative_file_paths: [a.mcap]
  topics_with_message_count: []
"""
_SETTINGS = "topics: {rgb: /camera}\nlabelled: false\nevery: 2\n"
_PIECES = (
    "!!timestamp x", "2026-13-45", "2026-01-05", "!!python/object/apply:os.getcwd []", "!!int x", "!!float .",
    "!!set {a}", "!mine 3", "&a [*a]", "&b {c: 1}", "*b", "*nobody", "<<: *b", "? [a]", "- -", "{", "}", "[", "]",
    "---", "...", ": ", "\t", "|", ">", "'", '"', "%YAML 1.1", "%TAG ! x", "@", "`", "1:1:1:1", "0x_", "1e999", "-.inf",
    ".nan", "~", "yes", "\0", "\x85", "\u2028", "\ud7ff", "\ufeff", "null", "[" * 90, "{a: " * 70, "!!binary x",
    "12" * 300,
)  # fmt: skip


def _yamls(*folders: str) -> list[str]:
    """Texts of the YAML files that come with the program in a folder of it."""
    return [path.read_text() for path in sorted(ROOT.joinpath("any2seg_core", *folders).glob("*.yaml"))]


class Texts:
    """One input is one YAML text, damaged in its words, its structure or its bytes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "input.yaml"
        self._bag = folder / "bag"
        self._bag.mkdir(exist_ok=True)
        configs = [path.read_text() for path in sorted((ROOT / "training" / "configs").glob("*.yaml"))]
        self._plans: list[tuple[list[str], Callable[[str], Any]]] = [
            ([_CALIBRATION], lambda _: load_calibration(self._path)),
            ([_CAMERA_INFO], lambda _: load_camera_info(str(self._path))),
            ([_PARAMS], lambda _: self._parameters()),
            ([RULES_FILE.read_text()], lambda _: load_rules(self._path)),
            ([_FAULTS], lambda _: load_faults(self._path)),
            (configs, lambda _: load_config([str(self._path), "data=x", "out=y"])),
            ([_QOS, _METADATA], parse_qos),
            ([_SETTINGS], lambda _: read_settings(self._bag)),
            (_yamls("vocabulary", "suites"), lambda _: SensorSuite.of_document(sensor_suite(self._path).to_document())),
            (_yamls("vocabulary", "label_spaces"), lambda _: label_space(self._path).palette),
            (_yamls("vocabulary", "class_mappings"), lambda _: class_mapping(self._path).compared),
            (_yamls("data", "recipes"), lambda _: read_recipe(self._path)),
        ]

    def _parameters(self) -> None:
        values = load_params_file(self._path)
        sync_config(values, ("rgb", "event", "lidar"), 50_000_000)
        input_options(values)

    def one(self, rng: random.Random) -> bool:
        """Write a text and read it; UserError is a refusal."""
        bases, read = rng.choice(self._plans)
        text = rng.choice(bases)
        for _ in range(rng.randrange(4)):
            text = rng.choice((_other_word, _other_line, _piece_in, _nested, _aliases))(rng, text)
        data = text.encode("utf-8", "surrogatepass")
        if rng.random() < 0.15:
            data = mutated_bytes(rng, data)
        if rng.random() < 0.03:
            data = text.encode(rng.choice(("utf-16", "utf-32", "latin-1", "utf-8-sig")), "ignore")
        self._path.write_bytes(data)
        (self._bag / SETTINGS_FILE).write_bytes(data)
        read(data.decode("utf-8", "replace"))
        return True


def _other_word(rng: random.Random, text: str) -> str:
    """A number or word becomes another one."""
    found = list(re.finditer(r"[\w./-]+", text))
    if not found:
        return text
    word = rng.choice(found)
    new = rng.choice((str(rng.choice(NUMBERS)), str(rng.choice(FLOATS)), rng.choice(TEXTS), rng.choice(_PIECES)))
    return text[: word.start()] + new + text[word.end() :]


def _other_line(rng: random.Random, text: str) -> str:
    """A line goes, comes twice, or moves in."""
    lines = text.splitlines()
    if not lines:
        return rng.choice(_PIECES)
    place = rng.randrange(len(lines))
    lines[place : place + 1] = rng.choice(([], [lines[place]] * 2, [" " * rng.randrange(5) + lines[place]]))
    return "\n".join(lines)


def _piece_in(rng: random.Random, text: str) -> str:
    place = rng.randint(0, len(text))
    return text[:place] + rng.choice((" ", "", "\n")) + rng.choice(_PIECES) + text[place:]


def _nested(rng: random.Random, text: str) -> str:
    """A value becomes a deep one."""
    opening, closing = rng.choice((("[", "]"), ("{a: ", "}")))
    depth = rng.choice((3, 40, 80, 2000))
    return re.sub(r": (?=[\d\w])", f": {opening * depth}1{closing * depth} #", text, count=1)


def _aliases(rng: random.Random, text: str) -> str:
    """A tower of aliases below a key."""
    width, height = rng.choice(((2, 3), (9, 9), (200, 3)))
    rows = [f"z0: &z0 [{', '.join('x' * 3)}]"]
    rows += [f"z{k}: &z{k} [{', '.join([f'*z{k - 1}'] * width)}]" for k in range(1, height)]
    return "\n".join([*rows, text] if rng.random() < 0.5 else [text, *rows])
