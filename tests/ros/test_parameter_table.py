"""The parameter table: plain Python, consistent in itself and with what the node understands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from any2seg_core.sync.parameters import STREAM_DEFAULTS, SYNC_DEFAULTS
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_ros.parameter_table import TABLE


def test_value_table_needs_neither_ros_nor_torch():
    """A launch file reads it in an interpreter that may have neither."""
    program = (
        "import sys; import any2seg_ros.parameter_table;"
        "print([name for name in ('rclpy', 'torch', 'numpy', 'rcl_interfaces') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", TABLE)
def test_property_every_entry_is_complete_and_its_default_valid(name):
    entry = TABLE[name]
    assert entry.description.endswith(".")
    assert isinstance(entry.default, bool | int | float | str | list)
    is_number = isinstance(entry.default, int | float) and not isinstance(entry.default, bool)
    assert is_number == (entry.low is not None) == (entry.high is not None)
    if is_number:
        assert entry.low <= entry.default <= entry.high
    if entry.choices:
        assert entry.default in entry.choices


def test_value_reliabilities_are_those_of_the_qos_module():
    pytest.importorskip("rclpy")
    from any2seg_ros.qos import RELIABILITIES

    assert set(TABLE["input_reliability"].choices) == set(RELIABILITIES)


def test_value_health_thresholds_are_those_of_the_core():
    from dataclasses import asdict

    from any2seg_core.sensors.health_config import HealthConfig

    table = {name.removeprefix("health."): entry.default for name, entry in TABLE.items() if name.startswith("health.")}
    assert table == {**asdict(HealthConfig()), "frozen_sensors": list(HealthConfig().frozen_sensors)}


def test_value_synchroniser_defaults_are_those_of_the_core():
    """What is scored offline without a params file is what the node does without one; figures of docs/node.md."""
    whole = ("timeout_s", "timeout_without_reference_s", "jump_reset_s")
    assert [TABLE[name].default for name in whole] == [0.05, 0.2, 10.0]
    assert [TABLE[f"rgb.{name}"].default for name in ("offset_s", "noise_window_s", "max_age_s")] == [0.0, 0.02, 0.15]
    for name, default in SYNC_DEFAULTS.items():
        assert TABLE[name].default == (list(default) if isinstance(default, tuple) else default), name
    for modality in VEHICLE.members:
        for name, default in STREAM_DEFAULTS.items():
            assert TABLE[f"{modality}.{name}"].default == default, name
