"""The table of the segmentation node's parameters: node, launch file, YAML and documentation are made from it.

Plain Python: launch files and documentation tools read it where rclpy is not to be started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from any2seg_core.modalities import MODALITIES


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        default: value, which also fixes the type: bool, int, float, str or a list of str.
        description: one sentence, with the unit unless the name has it.
        low, high: inclusive range; of numbers only, and of every number.
        choices: the accepted words; of texts only, empty: any.
    """

    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def _stream_table(name: str) -> dict[str, Parameter]:
    return {
        f"{name}.offset_s": Parameter(0.0, "Expected stamp minus the stamp of the set (shutter, sweep).", -10.0, 10.0),
        f"{name}.noise_window_s": Parameter(0.02, "A message this near needs no better one.", 0.0, 10.0),
        f"{name}.max_age_s": Parameter(0.15, "A message farther away is not used.", 0.0, 60.0),
        f"{name}.required": Parameter(False, "No output without this sensor."),
    }


TABLE: Mapping[str, Parameter] = MappingProxyType({
    "checkpoint": Parameter("", "Any2Seg checkpoint (.safetensors)."),
    "calibration_file": Parameter("", "YAML: extrinsics, and intrinsics until a camera_info arrives; empty: none."),
    "device": Parameter("cpu", "Where the model runs: cpu, cuda, cuda:1."),
    "autostart": Parameter(True, "Configure and activate at start; false: wait for lifecycle transitions."),
    "modalities": Parameter(list(MODALITIES), "Inputs to subscribe to."),
    "input_reliability": Parameter(
        "best_effort", "QoS of the inputs: best_effort matches all publishers, reliable only reliable ones.",
        choices=("best_effort", "reliable"),
    ),
    "input_depth": Parameter(5, "Queue length of image and LiDAR subscriptions.", 1, 1000),
    "event_depth": Parameter(100, "Queue length of the event subscription.", 1, 10000),
    "overlay_alpha": Parameter(0.5, "Weight of the label colours in ~/out/overlay.", 0.0, 1.0),
    "reference_priority": Parameter(list(MODALITIES), "Whose stamp the output takes: the first one that is alive."),
    "timeout_s": Parameter(0.05, "Longest wait for the other sensors after the reference arrived.", 0.0, 10.0),
    "timeout_without_reference_s": Parameter(
        0.2, "Wait for a better reference at the start; least silence of a dead sensor.", 0.001, 10.0
    ),
    "jump_reset_s": Parameter(10.0, "A stamp this far after the last output is a jump in time.", 0.5, 1e6),
    **{key: value for name in MODALITIES for key, value in _stream_table(name).items()},
})  # fmt: skip
