"""The table of the segmentation node's parameters: node, launch file, YAML and documentation are made from it.

Plain Python: launch files and documentation tools read it where rclpy is not to be started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

from any2seg_core.base.precisions import PRECISIONS
from any2seg_core.runtime.input_options import InputOptions
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.sync.parameters import MOST_OFFSET_S, STREAM_DEFAULTS, SYNC_DEFAULTS
from any2seg_core.vocabulary.modalities import MODALITIES
from any2seg_core.vocabulary.subsets import parse_order, parse_suite
from any2seg_ros.throttle import LOG_PERIOD_S


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


def sensors_of(entry: Parameter, value: str | list[str]) -> list[str]:
    """Names of a parameter that is a list of sensors; UserError for what is none."""
    return list((parse_order if entry.is_ordered else parse_suite)(value))


def _tunable(default: Any, description: str, low: float | None = None, high: float | None = None) -> Parameter:
    return Parameter(default, description, low, high, tunable=True)


_OFFSET = "Its stamps minus those of the set: shutter against sweep, or a clock that is ahead (37 s: PTP, TAI)."
_OFFSETS = {"event": "Clock of the event camera minus that of the set; its window and event times move with it."}


def _of_core(defaults: Mapping[str, Any], prefix: str, texts: Mapping[str, tuple[Any, ...]]) -> dict[str, Parameter]:
    """Tunable parameters whose defaults the core declares; ``texts``: description, and range of numbers."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    return {f"{prefix}{name}": _tunable(plain[name], *text) for name, text in texts.items()}


def _input_option(name: str) -> Parameter:
    """A parameter that `InputOptions` declares."""
    (entry,) = (entry for entry in fields(InputOptions) if entry.name == name)
    return Parameter(entry.default, **entry.metadata)


def _stream_table(name: str) -> dict[str, Parameter]:
    texts = {
        "enabled": ("Subscribe to this sensor and use it; false: switched off.",),
        "offset_s": (_OFFSETS.get(name, _OFFSET), -MOST_OFFSET_S, MOST_OFFSET_S),
        "noise_window_s": ("A message this near needs no better one.", 0.0, 10.0),
        "max_age_s": ("A message farther away is not used.", 0.0, 60.0),
        "required": ("No output without this sensor.",),
    }
    return _of_core(STREAM_DEFAULTS, f"{name}.", texts)


_MODEL = {
    "checkpoint": Parameter(
        "", "Any2Seg checkpoint (.safetensors); empty: the shipped one, which knows the simulated drive alone."
    ),
    "device": Parameter("cpu", "Where the model runs: cpu, cuda, cuda:1."),
    "precision": Parameter(
        "float32",
        "Arithmetic of the encoder. bfloat16 takes a third to a half of the time on a processor with AMX, for 1 % of "
        "other labels; expect it to be slower where no instructions for it exist.",
        choices=PRECISIONS,
    ),
    "autostart": Parameter(True, "Configure and activate at start; false: wait for lifecycle transitions."),
}
_GEOMETRY = {
    "calibration_file": Parameter(
        "", "YAML of intrinsics and extrinsics; its extrinsics win over TF, a fitting camera_info over its intrinsics."
    ),
    "camera_info_url": Parameter("", "YAML (path or file://) that wins over the camera_info topic of the camera."),
    "depth_camera_info_url": Parameter("", "The same for the depth camera."),
    "events_camera_info_url": Parameter("", "The same for the event camera."),
    "rectified": _input_option("rectified"),
    "use_tf": Parameter(True, "Take extrinsics that no calibration_file gives from /tf and /tf_static."),
    "fixed_frame": Parameter(
        "", "Frame that stands still (odom, map): corrects for the motion between cloud and image; empty: none."
    ),
}
_INPUTS = {
    "modalities": Parameter(
        list(MODALITIES),
        "Sensors that the node has: names, titles, letters ([camera, LiDAR], [RL], [all]); at run time they are "
        "switched with SENSOR.enabled.",
    ),
    "image_transport": Parameter(
        "raw",
        "Transport of the camera image; compressed: CompressedImage on the topic itself or on `/compressed` below it.",
        choices=("raw", "compressed"),
    ),
    "depth_transport": Parameter(
        "raw",
        "Transport of the depth image; compressedDepth: CompressedImage on the topic itself or on `/compressedDepth` "
        "below it.",
        choices=("raw", "compressedDepth"),
    ),
    "event_format": Parameter(
        "auto",
        "Type of the event topic: PointCloud2, EventPacket, EventArray, rendered Image; auto asks the publisher.",
        choices=("auto", "cloud", "packet", "array", "image"),
    ),
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
_SYNC_TEXTS = {
    "timeout_s": ("Longest wait for the other sensors after the reference arrived.", 0.0, 10.0),
    "timeout_without_reference_s": (
        "Wait for a better reference at the start; least silence of a dead sensor.", 0.001, 10.0
    ),
    "min_modalities": ("No output with fewer sensors.", 1, len(MODALITIES)),
    "max_collectors": ("Most sets that wait at a time; the oldest goes out early.", 1, 1000),
    "publish_late_output": ("Also publish labels that are older than the last one.",),
    "jump_reset_s": ("A stamp this far after the last output is a jump in time.", 0.5, 1e6),
}
_SYNC = {
    "reference_priority": Parameter(
        list(SYNC_DEFAULTS["reference_priority"]),
        "Whose stamp the output takes: the first one that is alive.",
        is_ordered=True,
    ),
    **_of_core(SYNC_DEFAULTS, "", _SYNC_TEXTS),
    **{key: value for name in MODALITIES for key, value in _stream_table(name).items()},
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
_HEALTH = _of_core(asdict(HealthConfig()), "health.", _HEALTH_TEXTS)
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
TABLE: Mapping[str, Parameter] = MappingProxyType(
    {**_MODEL, **_GEOMETRY, **_INPUTS, **_SYNC, **_LIMITS, **_HEALTH, **_OUTPUTS}
)
