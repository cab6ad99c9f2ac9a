"""Parameters of the segmentation node: declared in one table, read into one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from any2seg_core.errors import UserError
from any2seg_core.frames import WINDOWED
from any2seg_core.modalities import MODALITIES, canonical, modality
from any2seg_core.sync import StreamConfig, SyncConfig
from any2seg_ros.qos import RELIABILITIES


@dataclass(frozen=True)
class _Parameter:
    default: Any
    description: str
    low: float | None = None
    high: float | None = None

    def descriptor(self) -> ParameterDescriptor:
        """All are read-only: a change takes a restart, which is a lifecycle transition away."""
        descriptor = ParameterDescriptor(description=self.description, read_only=True)
        if isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=self.low, to_value=self.high)]
        elif isinstance(self.default, int) and not isinstance(self.default, bool):
            descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high))]
        return descriptor


def _stream_table(name: str) -> dict[str, _Parameter]:
    return {
        f"{name}.offset_s": _Parameter(0.0, "Expected stamp minus the stamp of the set (shutter, sweep).", -10.0, 10.0),
        f"{name}.noise_window_s": _Parameter(0.02, "A message this near needs no better one.", 0.0, 10.0),
        f"{name}.max_age_s": _Parameter(0.15, "A message farther away is not used.", 0.0, 60.0),
        f"{name}.required": _Parameter(False, "No output without this sensor."),
    }


_TABLE: Mapping[str, _Parameter] = {
    "checkpoint": _Parameter("", "Any2Seg checkpoint (.safetensors)."),
    "calibration_file": _Parameter("", "YAML: extrinsics, and intrinsics until a camera_info arrives; empty: none."),
    "device": _Parameter("cpu", "Where the model runs: cpu, cuda, cuda:1."),
    "autostart": _Parameter(True, "Configure and activate at start; false: wait for lifecycle transitions."),
    "modalities": _Parameter(list(MODALITIES), "Inputs to subscribe to."),
    "input_reliability": _Parameter("best_effort", "QoS of the inputs: best_effort (matches all) or reliable."),
    "input_depth": _Parameter(5, "Queue length of image and LiDAR subscriptions.", 1, 1000),
    "event_depth": _Parameter(100, "Queue length of the event subscription.", 1, 10000),
    "overlay_alpha": _Parameter(0.5, "Weight of the label colours in ~/out/overlay.", 0.0, 1.0),
    "reference_priority": _Parameter(list(MODALITIES), "Whose stamp the output takes: the first one that is alive."),
    "timeout_s": _Parameter(0.05, "Longest wait for the other sensors after the reference arrived.", 0.0, 10.0),
    "timeout_without_reference_s": _Parameter(
        0.2, "Wait for a better reference at the start; least silence of a dead sensor.", 0.001, 10.0
    ),
    "jump_reset_s": _Parameter(10.0, "A stamp this far after the last output is a jump in time.", 0.5, 1e6),
    **{key: value for name in MODALITIES for key, value in _stream_table(name).items()},
}
_EVENT_BUFFER = 200


@dataclass(frozen=True)
class NodeParameters:
    """The table's values, checked. Names and units as in the table."""

    checkpoint: str
    calibration_file: str
    device: str
    autostart: bool
    modalities: tuple[str, ...]
    input_reliability: str
    input_depth: int
    event_depth: int
    overlay_alpha: float
    sync: SyncConfig

    def sync_for(self, event_window_ns: int) -> SyncConfig:
        """The synchroniser's settings for a checkpoint with this event window."""
        streams = {
            name: replace(stream, window_ns=event_window_ns) if name in WINDOWED else stream
            for name, stream in self.sync.streams.items()
        }
        return replace(self.sync, streams=streams)


def declare(node: Node) -> None:
    """Declare every parameter with its description and range."""
    for name, parameter in _TABLE.items():
        node.declare_parameter(name, parameter.default, parameter.descriptor())


def read(node: Node) -> NodeParameters:
    """Read and check; UserError names the parameter and what it accepts."""
    values = {name: node.get_parameter(name).value for name in _TABLE}
    if not values["checkpoint"]:
        raise UserError("parameter checkpoint is empty: give the path of an Any2Seg checkpoint (.safetensors)")
    if values["input_reliability"] not in RELIABILITIES:
        raise UserError(f"parameter input_reliability is {values['input_reliability']!r}: {' or '.join(RELIABILITIES)}")
    modalities = canonical(values["modalities"])
    for name in values["reference_priority"]:
        modality(name)  # an unknown name is an error here, one that is not subscribed is left out
    if not modalities:
        raise UserError(f"parameter modalities is empty: name at least one of {', '.join(MODALITIES)}")
    return NodeParameters(
        modalities=modalities,
        sync=_sync_config(values, modalities),
        **{
            name: values[name]
            for name in (
                "checkpoint", "calibration_file", "device", "autostart", "input_reliability", "input_depth",
                "event_depth", "overlay_alpha",
            )
        },
    )  # fmt: skip


def _sync_config(values: Mapping[str, Any], modalities: tuple[str, ...]) -> SyncConfig:
    streams = {}
    for name in modalities:
        is_window = name in WINDOWED
        streams[name] = StreamConfig(
            offset_ns=_ns(values[f"{name}.offset_s"]),
            noise_window_ns=_ns(values[f"{name}.noise_window_s"]),
            max_age_ns=_ns(values[f"{name}.max_age_s"]),
            required=values[f"{name}.required"],
            kind="window" if is_window else "sample",
            buffer=_EVENT_BUFFER if is_window else StreamConfig.buffer,
        )
    return SyncConfig(
        streams,
        tuple(name for name in values["reference_priority"] if name in modalities),
        timeout_ns=_ns(values["timeout_s"]),
        timeout_without_reference_ns=_ns(values["timeout_without_reference_s"]),
        jump_reset_ns=_ns(values["jump_reset_s"]),
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
