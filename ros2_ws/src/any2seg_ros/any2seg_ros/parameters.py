"""Parameters of the segmentation node: declared from the table, read into one frozen object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from any2seg_core.base.errors import UserError
from any2seg_core.base.home import expanded_text
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.runtime.input_options import InputOptions, input_options
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sync import SyncConfig
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.modalities import MODALITIES, WINDOWED
from any2seg_core.vocabulary.subsets import parse_suite
from any2seg_ros.parameter_table import TABLE, sensors_of
from any2seg_ros.parameter_table import Parameter as TableEntry


@dataclass(frozen=True)
class NodeParameters:
    """The table's values, checked. Names and units as in the table."""

    checkpoint: str
    device: str
    precision: str
    autostart: bool
    calibration_file: str
    camera_info_url: str
    depth_camera_info_url: str
    events_camera_info_url: str
    use_tf: bool
    fixed_frame: str
    modalities: tuple[str, ...]
    image_transport: str
    depth_transport: str
    event_format: str
    stamp_source: str
    input_reliability: str
    input_depth: int
    event_depth: int
    confidence_threshold: float
    overlay_alpha: float
    log_period_s: float
    max_label_age_s: float
    inference_deadline_s: float
    sync: SyncConfig
    inputs: InputOptions

    @property
    def health(self) -> HealthConfig:
        """When a sensor counts as ill."""
        return self.inputs.health

    @property
    def enabled(self) -> tuple[str, ...]:
        """Modalities that are not switched off."""
        return tuple(name for name in self.modalities if self.sync.streams[name].enabled)

    def sync_for(self, event_window_ns: int) -> SyncConfig:
        """The synchroniser's settings for a checkpoint with this event window."""
        streams = {
            name: replace(stream, window_ns=event_window_ns) if name in WINDOWED else stream
            for name, stream in self.sync.streams.items()
        }
        return replace(self.sync, streams=streams)


_PATHS = ("checkpoint", "calibration_file", "camera_info_url", "depth_camera_info_url", "events_camera_info_url")
_COPIED = tuple(field.name for field in fields(NodeParameters) if field.name in TABLE)


def declare(node: Node) -> dict[str, str]:
    """Declare every parameter with its description and range.

    Returns:
        Parameter -> one line, for each value from outside that has another type or lies outside its range; such a
        parameter has its default, so that the node is there to say so when it is configured.
    """
    complaints = {}
    for name, entry in TABLE.items():
        descriptor = _descriptor(entry)
        descriptor.read_only = False  # until it has its value
        try:
            value = node.declare_parameter(name, entry.default, descriptor)
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            complaints[name] = f"parameter {name}: {error}"
            value = node.declare_parameter(name, entry.default, descriptor, ignore_override=True)
        if value.type_ is Parameter.Type.NOT_SET:  # an empty list in a params file has no type
            node.undeclare_parameter(name)
            node.declare_parameter(name, entry.default, descriptor, ignore_override=True)
            if isinstance(entry.default, list):
                node.set_parameters([Parameter(name, Parameter.Type.from_parameter_value(entry.default), [])])
            else:
                complaints[name] = f"parameter {name}: expected {type(entry.default).__name__}, got an empty list"
        if not entry.tunable:
            final = _descriptor(entry)
            final.type = node.describe_parameter(name).type
            node.set_descriptor(name, final)
    return complaints


def values_of(node: Node) -> dict[str, Any]:
    """The present value of every parameter of the table."""
    return {name: node.get_parameter(name).value for name in TABLE}


def check(values: Mapping[str, Any]) -> NodeParameters:
    """All values of the table -> one object; UserError names the parameter and what it accepts.

    A checkpoint that is not given is the shipped one; ``~`` in paths is the home folder.
    """
    for name, entry in TABLE.items():
        value = values[name]
        if isinstance(entry.default, list):
            _check_sensors(name, entry, value)
        if entry.choices and value not in entry.choices:
            raise UserError(f"parameter {name} is {value!r}: {' or '.join(entry.choices)}", "value-unknown")
        if entry.low is not None and not entry.low <= value <= entry.high:  # ROS lets NaN pass its ranges
            raise UserError(f"parameter {name} is {value}: must lie in {entry.low} to {entry.high}", "value-range")
    modalities = parse_suite(values["modalities"])
    if not modalities:
        raise UserError(f"parameter modalities is empty: name at least one of {', '.join(MODALITIES)}", "sensor-none")
    copied = {name: values[name] for name in _COPIED}
    copied |= {name: expanded_text(values[name]) for name in _PATHS}
    copied["checkpoint"] = copied["checkpoint"] or str(default_checkpoint())
    sync = sync_config(values, modalities, DEFAULT_WINDOW_NS)
    return NodeParameters(**{**copied, "modalities": modalities, "sync": sync, "inputs": input_options(values)})


def _check_sensors(name: str, entry: TableEntry, value: list[str]) -> None:
    try:
        sensors_of(entry, value)
    except UserError as error:
        raise UserError(f"parameter {name}: {error}", error.code) from None


def tuned(node: Node, changes: Iterable[Parameter]) -> NodeParameters:
    """What `check` says to the present values with `changes` put in; nothing is set."""
    return check({**values_of(node), **{change.name: change.value for change in changes if change.name in TABLE}})


def _descriptor(parameter: TableEntry) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=parameter.description, read_only=not parameter.tunable)
    if parameter.choices:
        descriptor.additional_constraints = f"one of {', '.join(parameter.choices)}"
    if isinstance(parameter.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=parameter.low, to_value=parameter.high)]
    elif isinstance(parameter.default, int) and not isinstance(parameter.default, bool):
        assert parameter.low is not None and parameter.high is not None  # every number of the table has both
        descriptor.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))]
    return descriptor
