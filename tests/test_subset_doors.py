"""The same texts through every door that takes a subset of the sensors: one grammar, one error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fake_data import write_deliver
from raised import user_error

from any2seg_core.bags.opened import BagOptions
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.check import check_tree
from any2seg_core.data.dropout import subset_weights
from any2seg_core.faults.grammar import parse_drop, parse_fault
from any2seg_core.faults.kinds import load_faults
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.modalities import MUSES, VEHICLE
from any2seg_core.vocabulary.subsets import subsets_with_all
from any2seg_ros import launch_arguments
from any2seg_ros.parameter_table import TABLE
from any2seg_training.cache_teacher import CacheConfig
from any2seg_training.config import load_config
from any2seg_training.settings import load_settings

SUBSETS = {
    "rgb": ("rgb",),
    "camera": ("rgb",),
    "LIDAR": ("lidar",),
    "R": ("rgb",),
    "RL": ("rgb", "lidar"),
    "LR": ("rgb", "lidar"),
    "camera+lidar": ("rgb", "lidar"),
    " event + D ": ("depth", "event"),
    "all": VEHICLE.members,
    "full": VEHICLE.members,
}
REFUSED = {
    "rgb,lidar": ("value-format", "'rgb,lidar'", "rgb+lidar or RL"),
    "radar": ("sensor-unknown", "'radar'", "rgb (R, camera), depth (D), event (E), lidar (L)"),
    "rl": ("sensor-unknown", "'rl'"),
    "rgb+": ("sensor-unknown", "''"),
    "FEL": ("sensor-unknown", "'FEL'"),  # letters of MUSES
    "every": ("sensor-unknown", "'every'"),  # a list of subsets
}


@pytest.fixture(scope="module")
def deliver(tmp_path_factory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("data"), {"train": 1}, size=(33, 48))


def written(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True)


def of_schedule(sensors: object, folder: Path) -> tuple[str, ...]:
    path = folder / "plan.yaml"
    path.write_text(written([{"kind": "drop", "sensors": sensors}]))
    return load_faults(path)[0].sensors


def of_training(sensors: object, deliver: Path) -> tuple[str, ...]:
    config = load_config([f"data={deliver}", "out=o", f"modalities={written(sensors)}"])
    return open_dataset("deliver", deliver, "train", config.modalities).modalities


def of_teacher(sensors: object, deliver: Path) -> tuple[str, ...]:
    needed = ["teacher=text", f"data={deliver}", "out=o"]
    config = load_settings(CacheConfig, [*needed, f"modalities={written(sensors)}"])
    return open_dataset("deliver", deliver, "train", config.modalities).modalities


def of_check(sensors: object, deliver: Path) -> tuple[str, ...]:
    return tuple(check_tree(deliver, "deliver", sensors, read=False).encodings)


def of_dropout(text: str) -> tuple[str, ...]:
    (subset,) = subset_weights(VEHICLE.members, {text: 1.0})
    return subset


def of_node(sensors: list[str]) -> tuple[str, ...]:
    pytest.importorskip("rclpy")
    from any2seg_ros.parameters import check

    values = {name: entry.default for name, entry in TABLE.items()} | {"checkpoint": "m.safetensors"}
    found = check(values | {"modalities": sensors, "health.frozen_sensors": sensors})
    assert found.health.frozen_sensors == found.modalities
    return found.modalities


def of_launch(text: str) -> tuple[str, ...]:
    return tuple(launch_arguments.given_parameters({"modalities": text}, "front")["modalities"])


TEXT_DOORS: dict[str, Callable[[str, Path, Path], tuple[str, ...]]] = {
    "--drop": lambda text, *_: parse_drop(f"{text}@1:2")[0].sensors,
    "--fault": lambda text, *_: parse_fault(f"delay:{text}@1:2,delay_s=0.2").sensors,
    "weights of dropout": lambda text, *_: of_dropout(text),
    "launch argument": lambda text, *_: of_launch(text),
    "launch argument, list": lambda text, *_: of_launch(f"[{text}]"),
    "--subsets": lambda text, *_: subsets_with_all(text)[0],
}
DOORS: dict[str, Callable[[object, Path, Path], tuple[str, ...]]] = {
    "--faults": lambda sensors, folder, _: of_schedule(sensors, folder),
    "bag extract --modalities": lambda sensors, *_: BagOptions(modalities=sensors).modalities,
    "data check --modalities": lambda sensors, _, deliver: of_check(sensors, deliver),
    "training": lambda sensors, _, deliver: of_training(sensors, deliver),
    "cache_teacher": lambda sensors, _, deliver: of_teacher(sensors, deliver),
    "health": lambda sensors, *_: HealthConfig.of({"frozen_sensors": sensors}).frozen_sensors,
    "node parameter": lambda sensors, *_: of_node([sensors] if isinstance(sensors, str) else sensors),
}
"""These take a text, and the list that YAML has."""

LISTS = ("--drop", "--subsets")
"""Doors at which a comma separates subsets."""
SUITES = ("launch argument", "launch argument, list", "bag extract --modalities", "data check --modalities", "training",
          "cache_teacher", "health", "node parameter")  # fmt: skip
"""Doors at which somebody says which sensors there are: a comma joins, as in a list."""


@pytest.mark.parametrize("door", [*TEXT_DOORS, *DOORS])
@pytest.mark.parametrize("text", SUBSETS)
def test_value_a_subset_is_the_same_at_every_door(door, text, tmp_path, deliver):
    assert (TEXT_DOORS | DOORS)[door](text, tmp_path, deliver) == SUBSETS[text]


@pytest.mark.parametrize("door", DOORS)
def test_value_a_list_is_one_subset(door, tmp_path, deliver):
    assert DOORS[door](["LiDAR", "camera"], tmp_path, deliver) == ("rgb", "lidar")


@pytest.mark.parametrize("door", [*TEXT_DOORS, *DOORS])
@pytest.mark.parametrize("text", REFUSED)
def test_exception_what_is_no_subset_is_refused_at_every_door(door, text, tmp_path, deliver):
    if "," in text and door in SUITES:
        assert (TEXT_DOORS | DOORS)[door](text, tmp_path, deliver) == ("rgb", "lidar")
        return
    if ("," in text and door in LISTS) or (text, door) == ("every", "--subsets"):
        (TEXT_DOORS | DOORS)[door](text, tmp_path, deliver)
        return
    with user_error(*REFUSED[text]) as caught:
        (TEXT_DOORS | DOORS)[door](text, tmp_path, deliver)
    assert "\n" not in str(caught.value)


def test_value_a_comma_separates_subsets():
    drops = parse_drop("camera,lidar@3:")
    assert [(drop.sensors, drop.start_s) for drop in drops] == [(("rgb",), 0.0), (("lidar",), 3.0)]
    assert subsets_with_all("rgb,lidar") == [("rgb",), ("lidar",), VEHICLE.members]
    assert of_launch("[rgb,lidar]") == ("rgb", "lidar")  # YAML's own comma, between the parts of one subset


@pytest.mark.parametrize("value", ["L,camera", ["LiDAR", "rgb"], ["lidar", "R"]])
def test_value_an_order_is_a_list_of_sensors(value):
    assert sync_config({"reference_priority": value}, VEHICLE.members, 1).reference_priority == ("lidar", "rgb")


def test_value_letters_are_those_of_the_data_set(deliver):
    for read in (of_training, of_teacher, of_check):
        with user_error("sensor-unknown", "'FEL'"):
            read("FEL", deliver)
    assert subset_weights(("rgb", "lidar"), {"FL": 1.0}, MUSES) == {("rgb", "lidar"): 1.0}
