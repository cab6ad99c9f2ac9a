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
from any2seg_core.base.stream_modes import OFF
from any2seg_core.runtime.checkpoint_metadata import read_contract
from any2seg_core.runtime.input_options import InputOptions, input_options
from any2seg_core.sensors.events import DEFAULT_WINDOW_NS
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sync import SyncConfig
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE
from any2seg_core.vocabulary.topics import node_camera_infos
from any2seg_ros.parameter_table import TABLE, camera_info_url, parameter_table, sensors_of
from any2seg_ros.parameter_table import Parameter as TableEntry
from any2seg_ros.topic_table import format_parameter, transport_parameter


@dataclass(frozen=True)
class NodeParameters:
    """The table's values, checked. Names and units as in the table, but for those of single sensors.

    Attributes:
        suite: sensors there can be. camera_info_urls: sensor -> file, where one is given.
        transports: image or depth sensor -> transport. event_formats: event sensor -> type of its topic.
    """

    checkpoint: str
    device: str
    precision: str
    runtime: str
    filled_rows: bool
    stream: str
    autostart: bool
    calibration_file: str
    use_tf: bool
    fixed_frame: str
    modalities: tuple[str, ...]
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
    suite: SensorSuite
    camera_info_urls: Mapping[str, str]
    transports: Mapping[str, str]
    event_formats: Mapping[str, str]

    @property
    def health(self) -> HealthConfig:
        """When a sensor counts as ill."""
        return self.inputs.health

    @property
    def enabled(self) -> tuple[str, ...]:
        """Sensors that are not switched off."""
        return tuple(name for name in self.modalities if self.sync.streams[name].enabled)

    def sync_for(self, event_window_ns: int) -> SyncConfig:
        """The synchroniser's settings for a checkpoint with this event window."""
        streams = {
            name: replace(stream, window_ns=event_window_ns) if name in self.suite.of_kind(EVENTS) else stream
            for name, stream in self.sync.streams.items()
        }
        return replace(self.sync, streams=streams)


_CHECKPOINT = "checkpoint"
_PATHS = (_CHECKPOINT, "calibration_file")
_COPIED = tuple(field.name for field in fields(NodeParameters) if field.name in TABLE)


class DeclaredParameters:
    """The parameters that a node has: those of its checkpoint's suite, declared with description and range.

    Where the checkpoint cannot be read those of the vehicle, so that the node is there to say so when it is configured.

    Args:
        node: gets them.

    Attributes:
        suite: whose they are. table: of it.
        complaints: parameter -> one line, for each value from outside that has another type or lies outside its range;
            such a parameter has its default until somebody repairs it.
    """

    def __init__(self, node: Node) -> None:
        self.complaints: dict[str, str] = {}
        self.table: Mapping[str, TableEntry] = {}
        self._node = node
        self._declare(_CHECKPOINT, TABLE[_CHECKPOINT])
        self.follow_checkpoint()

    def follow_checkpoint(self) -> None:
        """Look at the checkpoint again: what differs for its sensors is declared anew, with the values from outside."""
        path = expanded_text(self._node.get_parameter(_CHECKPOINT).value) or default_checkpoint()
        self._problem: UserError | None = None
        suite, table = VEHICLE, TABLE
        try:
            contract = read_contract(path)
            suite, table = contract.suite, parameter_table(contract.suite, contract.modalities)
        except UserError as error:
            self._problem = error
        for name in [name for name, entry in self.table.items() if table.get(name) != entry]:
            self._node.describe_parameter(name).read_only = False  # rclpy keeps what is read-only
            self._node.undeclare_parameter(name)
            self.complaints.pop(name, None)
        for name, entry in table.items():
            if not self._node.has_parameter(name):
                self._declare(name, entry)
        self.suite, self.table = suite, table

    def settings(self, changes: Iterable[Parameter] = ()) -> NodeParameters:
        """What `check` says to the present values with `changes` put in; nothing is set.

        UserError for a checkpoint that cannot be read, too.
        """
        if self._problem is not None:
            raise self._problem
        values = {name: self._node.get_parameter(name).value for name in self.table}
        changed = {change.name: change.value for change in changes if change.name in self.table}
        return check(values | changed, self.suite)

    def _declare(self, name: str, entry: TableEntry) -> None:
        node, descriptor = self._node, _descriptor(entry)
        descriptor.read_only = False  # until it has its value
        try:
            value = node.declare_parameter(name, entry.default, descriptor)
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            value = node.declare_parameter(name, entry.default, descriptor, ignore_override=True)
            self.complaints[name] = f"parameter {name}: {error}"  # now: what is set counts as repaired
        if value.type_ is Parameter.Type.NOT_SET:  # an empty list in a params file has no type
            node.undeclare_parameter(name)
            node.declare_parameter(name, entry.default, descriptor, ignore_override=True)
            if isinstance(entry.default, list):
                node.set_parameters([Parameter(name, Parameter.Type.from_parameter_value(entry.default), [])])
            else:
                self.complaints[name] = f"parameter {name}: expected {type(entry.default).__name__}, got an empty list"
        if not entry.tunable:
            final = _descriptor(entry)
            final.type = node.describe_parameter(name).type
            node.set_descriptor(name, final)


def check(values: Mapping[str, Any], suite: SensorSuite = VEHICLE) -> NodeParameters:
    """All values of the table of a suite -> one object; UserError names the parameter and what it accepts.

    A checkpoint that is not given is the shipped one; ``~`` in paths is the home folder.
    """
    values = dict(values)
    for name, entry in parameter_table(suite).items():
        value = values[name]
        if isinstance(entry.default, list):
            values[name] = _sensors(name, entry, value, suite)
        if entry.is_switch and value is False:
            value = values[name] = OFF
        if entry.choices and value not in entry.choices:
            raise UserError(f"parameter {name} is {value!r}: {' or '.join(entry.choices)}", "value-unknown")
        if entry.low is not None and not entry.low <= value <= entry.high:  # ROS lets NaN pass its ranges
            raise UserError(f"parameter {name} is {value}: must lie in {entry.low} to {entry.high}", "value-range")
    modalities = tuple(values["modalities"])
    if not modalities:
        known = ", ".join(suite.members)
        raise UserError(f"parameter modalities is empty: name at least one of {known}", "sensor-none")
    copied = {name: values[name] for name in _COPIED}
    copied |= {name: expanded_text(values[name]) for name in _PATHS}
    copied["checkpoint"] = copied["checkpoint"] or str(default_checkpoint())
    images = (*suite.of_kind(IMAGE), *suite.of_kind(DEPTH))
    urls = {name: expanded_text(values[camera_info_url(info)]) for name, info in node_camera_infos(suite).items()}
    return NodeParameters(
        **{**copied, "modalities": modalities},
        sync=sync_config(values, modalities, DEFAULT_WINDOW_NS, suite),
        inputs=input_options(values, suite),
        suite=suite,
        camera_info_urls={name: url for name, url in urls.items() if url},
        transports={name: values[transport_parameter(suite, name)] for name in images},
        event_formats={name: values[format_parameter(name)] for name in suite.of_kind(EVENTS)},
    )


def _sensors(name: str, entry: TableEntry, value: list[str], suite: SensorSuite) -> list[str]:
    try:
        return sensors_of(entry, value, suite)
    except UserError as error:
        whose = "" if suite == VEHICLE else f" (sensor suite {suite.name} of the checkpoint)"
        raise UserError(f"parameter {name}: {error}{whose}", error.code) from None


def _descriptor(parameter: TableEntry) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=parameter.description, read_only=not parameter.tunable, dynamic_typing=parameter.is_switch
    )
    if parameter.choices:
        descriptor.additional_constraints = f"one of {', '.join(parameter.choices)}"
    if isinstance(parameter.default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=parameter.low, to_value=parameter.high)]
    elif isinstance(parameter.default, int) and not isinstance(parameter.default, bool):
        assert parameter.low is not None and parameter.high is not None  # every number of the table has both
        descriptor.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))]
    return descriptor
