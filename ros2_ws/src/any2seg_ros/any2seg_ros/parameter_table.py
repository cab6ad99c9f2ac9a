"""The table of the segmentation node's parameters: node, launch file, YAML and documentation are made from it.

It follows the sensors of a suite. Plain Python: launch files and documentation tools read it where rclpy is not to be
started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.precisions import PRECISIONS
from any2seg_core.base.runtimes import DEFAULT, FILLED_ROWS_HELP, RUNTIMES
from any2seg_core.base.stream_modes import OFF, STREAM_MODES
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sync.parameters import MOST_OFFSET_S, STREAM_DEFAULTS, SYNC_DEFAULTS
from any2seg_core.vocabulary.modalities import SHIPPED, VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, Sensor
from any2seg_core.vocabulary.subsets import parse_order, parse_suite
from any2seg_core.vocabulary.topics import node_camera_infos
from any2seg_ros.throttle import LOG_PERIOD_S
from any2seg_ros.topic_table import format_parameter, transport_parameter


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        default: value, which also fixes the type: bool, int, float, str or a list of sensors.
        description: one sentence, with the unit unless the name has it.
        low, high: inclusive range; of numbers only, and of every number.
        choices: the accepted words; of texts only, empty: any.
        tunable: changes at run time; all others are read-only.
        is_ordered: of lists; sensors in an order of preference (`parse_order`) and no suite (`parse_suite`).
    """

    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    tunable: bool = False
    is_ordered: bool = False

    @property
    def is_switch(self) -> bool:
        """Whether one of its words is "off", which YAML and `-p` read as false where it has no quotes."""
        return OFF in self.choices


def sensors_of(entry: Parameter, value: str | list[str], suite: SensorSuite) -> list[str]:
    """Names of a parameter that is a list of sensors; UserError for what is none.

    Whoever had a checkpoint of a shipped suite before suites had names of their own wrote its sensors as those of the
    vehicle, and has its others in the order.
    """
    parse = parse_order if entry.is_ordered else parse_suite
    try:
        return list(parse(value, suite))
    except UserError:
        if suite not in SHIPPED:
            raise
        found = parse(value, VEHICLE)
        known = [name for name in found if name in suite.members]
        if not known or (len(known) < len(found) and not entry.is_ordered):
            raise
        return known


def _tunable(default: Any, description: str, low: float | None = None, high: float | None = None) -> Parameter:
    return Parameter(default, description, low, high, tunable=True)


_OFFSET = "Its stamps minus those of the set: shutter against sweep, or a clock that is ahead (37 s: PTP, TAI)."
_EVENT_OFFSET = "Clock of the event camera minus that of the set; its window and event times move with it."


def _of_core(defaults: Mapping[str, Any], prefix: str, texts: Mapping[str, tuple[Any, ...]]) -> dict[str, Parameter]:
    """Tunable parameters whose defaults the core declares; ``texts``: description, and range of numbers."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    return {f"{prefix}{name}": _tunable(plain[name], *text) for name, text in texts.items()}


def _input_option(name: str) -> Parameter:
    """A parameter that `InputOptions` declares."""
    (entry,) = (entry for entry in fields(InputOptions) if entry.name == name)
    return Parameter(entry.default, **entry.metadata)


def _stream_table(sensor: Sensor) -> dict[str, Parameter]:
    offset = _EVENT_OFFSET if sensor.kind == EVENTS else _OFFSET
    texts = {
        "enabled": ("Subscribe to this sensor and use it; false: switched off.",),
        "offset_s": (offset, -MOST_OFFSET_S, MOST_OFFSET_S),
        "noise_window_s": ("A message this near needs no better one.", 0.0, 10.0),
        "max_age_s": ("A message farther away is not used.", 0.0, 60.0),
        "required": ("No output without this sensor.",),
    }
    return _of_core(STREAM_DEFAULTS, f"{sensor.name}.", texts)


_MODEL = {
    "checkpoint": Parameter(
        "", "Checkpoint (.safetensors), or folder of any2seg export; empty: the shipped one, of the simulated drive."
    ),
    "device": Parameter("cpu", "Where the model runs: cpu, cuda, cuda:1."),
    "precision": Parameter(
        "float32",
        "Arithmetic of the encoder. bfloat16 is faster on a processor with AMX (docs/performance.md), for 1 % of other "
        "labels; without instructions for it float32 is used. auto measures.",
        choices=PRECISIONS,
    ),
    "runtime": Parameter(
        DEFAULT,
        "Engine that runs the model: docs/deployment.md. One that is named, and cannot be had here or gives other "
        "labels, is an error. auto takes the fastest, measured once for this model on this machine.",
        choices=RUNTIMES,
    ),
    "filled_rows": Parameter(False, f"{FILLED_ROWS_HELP} Figures: docs/performance.md."),
    "stream": Parameter(
        OFF,
        "What a set takes from the one before: anchor its fused features, filter its logits, moved with the camera "
        "where /tf says how (fixed_frame, else odom or map). off: every set by itself. Figures: docs/studies.md.",
        choices=STREAM_MODES,
    ),
    "autostart": Parameter(True, "Configure and activate at start; false: wait for lifecycle transitions."),
}
_CALIBRATION = {
    "calibration_file": Parameter(
        "", "YAML of intrinsics and extrinsics; its extrinsics win over TF, a fitting camera_info over its intrinsics."
    ),
}
_GEOMETRY = {
    "rectified": _input_option("rectified"),
    "use_tf": Parameter(True, "Take extrinsics that no calibration_file gives from /tf and /tf_static."),
    "fixed_frame": Parameter(
        "", "Frame that stands still (odom, map): corrects for the motion between cloud and image; empty: none."
    ),
}
_INPUTS = {
    "intensity_max": _input_option("intensity_max"),
    "image_bits": _input_option("image_bits"),
    "check_frames": _input_option("check_frames"),
    "stamp_source": Parameter(
        "header", "Time of a message: its header, or its arrival on the node's clock.", choices=("header", "arrival")
    ),
    "input_reliability": Parameter(
        "best_effort",
        "QoS of the inputs: best_effort matches all publishers, reliable only reliable ones.",
        choices=("best_effort", "reliable"),
    ),
    "input_depth": Parameter(5, "Queue length of image and LiDAR subscriptions.", 1, 1000),
    "event_depth": Parameter(100, "Queue length of the event subscription.", 1, 10000),
}
_SYNC_TEXTS: dict[str, tuple[Any, ...]] = {
    "timeout_s": ("Longest wait for the other sensors after the reference arrived.", 0.0, 10.0),
    "timeout_without_reference_s": (
        "Wait for a better reference at the start; least silence of a dead sensor.", 0.001, 10.0
    ),
    "min_modalities": ("No output with fewer sensors.", 1),
    "max_collectors": ("Most sets that wait at a time; the oldest goes out early.", 1, 1000),
    "publish_late_output": ("Also publish labels that are older than the last one.",),
    "jump_reset_s": ("A stamp this far after the last output is a jump in time.", 0.5, 1e6),
}
_HEALTH_TEXTS = {
    "enabled": ("Leave ill sensors out: frozen, black, saturated, empty, flooded, silent.",),
    "black_level": ("Black when 99 % of the pixels are at most this bright; 0: off.", 0, 255),
    "saturated_share": ("Saturated when this share of the pixels is white; 0: off.", 0.0, 1.0),
    "frozen_frames": ("Frozen after so many identical messages in a row; 0: off.", 0, 100000),
    "frozen_sensors": ("Sensors that are checked for freezing.",),
    "min_depth_share": ("Least share of depth pixels with a depth; 0: off.", 0.0, 1.0),
    "min_points": ("Least number of points of a cloud; 0: off.", 0, 10000000),
    "max_event_rate_hz": ("Most events per pixel and second; 0: off.", 0.0, 1e6),
    "event_silence_s": ("Silent when messages bring no event for so long; 0: off.", 0.0, 1e6),
}
_LIMITS = {
    "max_label_age_s": _tunable(
        0.0,
        "Labels whose newest message came in longer ago are dropped; 0: 2 s, or 5 periods of the reference and both "
        "timeouts where that is more.",
        0.0,
        3600.0,
    ),
    "inference_deadline_s": _tunable(
        0.0,
        "A set that takes longer is a warning, five in a row are an error; 0: 0.2 s, or 4 periods of the reference "
        "where that is more.",
        0.0,
        3600.0,
    ),
}
_OUTPUTS = {
    "confidence_threshold": _tunable(0.0, "Labels below this confidence become unlabelled.", 0.0, 1.0),
    "overlay_alpha": _tunable(0.5, "Weight of the label colours in ~/out/overlay.", 0.0, 1.0),
    "log_period_s": _tunable(LOG_PERIOD_S, "Each kind of trouble is logged at most once in this time.", 0.1, 3600.0),
}
_TRANSPORTS = {IMAGE: "compressed", DEPTH: "compressedDepth"}


def _camera(sensor: Sensor) -> str:
    return sensor.title if "camera" in sensor.title.casefold() else f"{sensor.title} camera"


def camera_info_url(info: str) -> str:
    """Parameter with the file that wins over a camera_info topic of this name."""
    return f"{info}_url"


def _camera_info_urls(suite: SensorSuite) -> dict[str, Parameter]:
    told = "YAML (path or file://) that wins over the camera_info topic of the {}."
    table = {}
    for name, info in node_camera_infos(suite).items():
        table[camera_info_url(info)] = Parameter("", told.format(_camera(suite.sensor(name))))
        told = "The same for the {}."
    return table


def _message_types(suite: SensorSuite) -> dict[str, Parameter]:
    """What the messages of each sensor come as."""
    table = {}
    for sensor in suite.sensors:
        if sensor.kind in _TRANSPORTS:
            transport = _TRANSPORTS[sensor.kind]
            image = sensor.title if "image" in sensor.title.casefold() else f"{sensor.title} image"
            table[transport_parameter(suite, sensor.name)] = Parameter(
                "raw",
                f"Transport of the {image}; {transport}: CompressedImage on the topic itself or on `/{transport}` "
                "below it.",
                choices=("raw", transport),
            )
        elif sensor.kind == EVENTS:
            table[format_parameter(sensor.name)] = Parameter(
                "auto",
                f"Type of the {sensor.title} topic: PointCloud2, EventPacket, EventArray, rendered Image; auto asks "
                "the publisher.",
                choices=("auto", "cloud", "packet", "array", "image"),
            )
    return table


def _sync(suite: SensorSuite) -> dict[str, Parameter]:
    texts = _SYNC_TEXTS | {"min_modalities": (*_SYNC_TEXTS["min_modalities"], len(suite.members))}
    return {
        "reference_priority": Parameter(
            list(suite.members),
            "Whose stamp the output takes: the first one that is alive.",
            is_ordered=True,
        ),
        **_of_core(SYNC_DEFAULTS, "", texts),
        **{key: value for sensor in suite.sensors for key, value in _stream_table(sensor).items()},
    }


@lru_cache(maxsize=16)
def parameter_table(suite: SensorSuite, modalities: tuple[str, ...] = ()) -> Mapping[str, Parameter]:
    """Parameters of a node with the sensors of a suite.

    Args:
        modalities: those of them that the model takes; none: all.

    Raises:
        UserError: a sensor that is called as a parameter is.
    """
    members = Parameter(
        list(modalities or suite.members),
        "Sensors that the node has: names, titles, letters ([camera, LiDAR], [RL], [all]); at run time they are "
        "switched with SENSOR.enabled.",
    )
    health = asdict(HealthConfig.of({}, suite))
    table = {
        **_MODEL, **_CALIBRATION, **_camera_info_urls(suite), **_GEOMETRY, "modalities": members,
        **_message_types(suite), **_INPUTS, **_sync(suite), **_LIMITS, **_of_core(health, "health.", _HEALTH_TEXTS),
        **_OUTPUTS,
    }  # fmt: skip
    for name in suite.members:
        if name in table:
            raise UserError(
                f"sensor suite {suite.name}: sensor {name} is called as a parameter of the node is: rename it",
                "value-twice",
            )
    return MappingProxyType(table)


TABLE: Mapping[str, Parameter] = parameter_table(VEHICLE)
"""Of the suite that is used where nothing else is said."""
