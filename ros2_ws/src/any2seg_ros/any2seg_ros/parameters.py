"""Parameters of the segmentation node: declared from the table, read into one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from any2seg_core.errors import UserError
from any2seg_core.frames import WINDOWED
from any2seg_core.modalities import MODALITIES, canonical
from any2seg_core.sync import StreamConfig, SyncConfig
from any2seg_ros.parameter_table import TABLE, Parameter

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
    for name, parameter in TABLE.items():
        node.declare_parameter(name, parameter.default, _descriptor(parameter))


def read(node: Node) -> NodeParameters:
    """Read and check; UserError names the parameter and what it accepts."""
    values = {name: node.get_parameter(name).value for name in TABLE}
    if not values["checkpoint"]:
        raise UserError("parameter checkpoint is empty: give the path of an Any2Seg checkpoint (.safetensors)")
    for name, parameter in TABLE.items():
        if parameter.choices and values[name] not in parameter.choices:
            raise UserError(f"parameter {name} is {values[name]!r}: {' or '.join(parameter.choices)}")
    modalities = canonical(values["modalities"], within=MODALITIES)
    canonical(values["reference_priority"], within=MODALITIES)  # unknown: an error; not subscribed: left out later
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


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    """All are read-only: a change takes a restart, which is a lifecycle transition away."""
    descriptor = ParameterDescriptor(description=parameter.description, read_only=True)
    if parameter.choices:
        descriptor.additional_constraints = f"one of {', '.join(parameter.choices)}"
    if isinstance(parameter.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=parameter.low, to_value=parameter.high)]
    elif isinstance(parameter.default, int) and not isinstance(parameter.default, bool):
        descriptor.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))]
    return descriptor


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
