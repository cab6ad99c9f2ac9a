"""The synchroniser's settings as people write them: seconds, names of the node's parameters, the node's YAML file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_params_yaml
from any2seg_core.base.units import NS_PER_S
from any2seg_core.sync import StreamConfig, SyncConfig
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS
from any2seg_core.vocabulary.subsets import parse_order

STREAM_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "offset_s": StreamConfig.offset_ns / NS_PER_S,
        "noise_window_s": StreamConfig.noise_window_ns / NS_PER_S,
        "max_age_s": StreamConfig.max_age_ns / NS_PER_S,
        "required": StreamConfig.required,
        "enabled": StreamConfig.enabled,
    }
)
"""Per stream, written ``<sensor>.<name>``: the defaults of `StreamConfig`, which says what they mean."""

SYNC_DEFAULTS: Mapping[str, Any] = MappingProxyType({
    "timeout_s": SyncConfig.timeout_ns / NS_PER_S,
    "timeout_without_reference_s": SyncConfig.timeout_without_reference_ns / NS_PER_S,
    "min_modalities": SyncConfig.min_streams,
    "max_collectors": SyncConfig.max_collectors,
    "jump_reset_s": SyncConfig.jump_reset_ns / NS_PER_S,
    "publish_late_output": SyncConfig.publish_late,
})  # fmt: skip
"""For the synchroniser as a whole: the defaults of `SyncConfig`, which says what they mean."""

REFERENCE_PRIORITY = "reference_priority"
"""Parameter with the order of the sensors that lead; by default that of the suite."""

NODE_NAME = "segment"
"""Of the segmentation node, where nobody calls it otherwise; one of several is called segment_<camera>."""

MOST_OFFSET_S = 3600.0
"""Largest ``<sensor>.offset_s``: clocks that are further apart need one clock."""

_EVENT_BUFFER = 200
_MOST_SECONDS = 1e9  # stamps are 64 bits of nanoseconds
_PARAMETERS = "ros__parameters"
_OURS = (NODE_NAME, "*", "**")


def sync_config(
    values: Mapping[str, Any], modalities: Iterable[str], event_window_ns: int, suite: SensorSuite = VEHICLE
) -> SyncConfig:
    """Settings by parameter name -> SyncConfig.

    Args:
        values: what differs from STREAM_DEFAULTS and SYNC_DEFAULTS; other names are ignored.
        modalities: streams to synchronise.
        event_window_ns: length of the event window, from the checkpoint's input contract.
        suite: the sensors there can be.

    Raises:
        UserError: a value of the wrong type or out of range.
    """
    names, windowed = suite.canonical(modalities), suite.of_kind(EVENTS)
    streams = {}
    for name in names:
        own = {key: values.get(f"{name}.{key}", default) for key, default in STREAM_DEFAULTS.items()}
        is_window = name in windowed
        if _ns(f"{name}.noise_window_s", own["noise_window_s"]) > _ns(f"{name}.max_age_s", own["max_age_s"]):
            raise UserError(
                f"parameter {name}.noise_window_s is {own['noise_window_s']}: max_age_s allows {own['max_age_s']}",
                "value-conflict",
            )
        streams[name] = StreamConfig(
            offset_ns=_ns(f"{name}.offset_s", own["offset_s"]),
            noise_window_ns=_ns(f"{name}.noise_window_s", own["noise_window_s"]),
            max_age_ns=_ns(f"{name}.max_age_s", own["max_age_s"]),
            required=bool(own["required"]),
            enabled=bool(own["enabled"]),
            kind="window" if is_window else "sample",
            window_ns=event_window_ns,
            buffer=_EVENT_BUFFER if is_window else StreamConfig.buffer,
        )
    common = {key: values.get(key, default) for key, default in SYNC_DEFAULTS.items()}
    # An unknown name is an error, one that is not synchronised is left out.
    order = parse_order(values.get(REFERENCE_PRIORITY, suite.members), suite)
    leaders = tuple(name for name in order if name in names)
    if not leaders:
        names_none = "names no sensor in use" if order else "is empty"
        raise UserError(
            f"parameter reference_priority {names_none}: name at least one of {', '.join(names)}", "sensor-none"
        )
    return SyncConfig(
        streams,
        leaders,
        timeout_ns=_ns("timeout_s", common["timeout_s"]),
        timeout_without_reference_ns=_ns("timeout_without_reference_s", common["timeout_without_reference_s"]),
        min_streams=int(common["min_modalities"]),
        max_collectors=int(common["max_collectors"]),
        jump_reset_ns=_ns("jump_reset_s", common["jump_reset_s"]),
        publish_late=bool(common["publish_late_output"]),
    )


def load_params_file(path: Path) -> dict[str, Any]:
    """Parameters of the segmentation node in a ROS 2 params file, nested names joined with dots.

    As ROS 2 reads it: the sections whose name matches that of the node count (``/**``, ``/*``, ``/ns/segment``,
    namespaces nested or not), and what stands later in the file wins. The node is the one called ``segment`` (or
    ``segment_<camera>``), in any namespace; where neither such a section nor a pattern is there, the only one that is
    named.

    Raises:
        UserError: one line naming the file and the defect: a list of several types, no section for the node, or several
            nodes that may be meant.
    """
    sections = list(_sections(read_params_yaml(path), ""))
    if not sections:
        raise UserError(
            f"{path}: holds no {_PARAMETERS}; write them below '/**:', as bag inspect prints them", "key-missing"
        )
    node = _node_meant(path, [name for name, _ in sections])
    values: dict[str, Any] = {}
    for name, section in sections:
        flat = _flat(section)
        _check_lists(path, flat)  # of all sections: one such list, and no node starts with the file
        if _is_for(name, node):
            values.update(flat)
    return values


def _check_lists(path: Path, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        kinds = sorted({type(item).__name__ for item in value}) if isinstance(value, list) else ()
        if len(kinds) > 1:
            hint = "; y and n are truth values: write 'y'" if {"bool", "str"} <= set(kinds) else ""
            told = f"{name} is a list of {' and '.join(kinds)}, which ROS 2 refuses"
            raise UserError(f"{path}: {told}; give one type{hint}", "value-type")


def section_of_another_name(path: Path) -> str:
    """The node whose section `load_params_file` takes for want of one that is called ``segment``; "" for none."""
    node = _node_meant(path, [name for name, _ in _sections(read_params_yaml(path), "")])
    return "" if not node or _is_own(node) else node


def foreign_sections(path: Path, nodes: Sequence[str] = ()) -> list[str]:
    """Names of the sections of a params file that are for other nodes, in the order of the file; UserError as there.

    Args:
        nodes: full names of the segmentation nodes; none: the one that `load_params_file` takes.
    """
    names = list(dict.fromkeys(name for name, _ in _sections(read_params_yaml(path), "")))
    meant = list(nodes) or [_node_meant(path, names)] if names else []
    return [name for name in names if not any(_is_for(name, node) for node in meant)]


def _is_for(section: str, node: str) -> bool:
    return bool(re.fullmatch(_pattern(section), node)) or (not node and section.rpartition("/")[2] in _OURS)


def _sections(document: Any, namespace: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name with a slash before it, parameters) in the order of the file."""
    for key, value in document.items() if isinstance(document, dict) else ():
        if key == _PARAMETERS:
            if isinstance(value, dict):
                yield namespace, value
        else:
            yield from _sections(value, f"{namespace}/{str(key).strip('/')}")


def _is_own(node: str) -> bool:
    return bool(re.fullmatch(rf"{NODE_NAME}(_\w+)?", node.rpartition("/")[2]))


def _node_meant(path: Path, names: Sequence[str]) -> str:
    """Full name of the node whose parameters are wanted; "" where only patterns match it."""
    nodes = list(dict.fromkeys(name for name in names if "*" not in name))
    own = [name for name in nodes if _is_own(name)]
    if not own and any(name.rpartition("/")[2] in _OURS for name in names):
        return ""
    if len(own or nodes) > 1:
        told = " and ".join((own or nodes)[:4])
        raise UserError(
            f"{path}: holds parameters of {told}: which is the segmentation node? Leave one, or call it /{NODE_NAME}",
            "node-ambiguous",
        )
    if not nodes:
        raise UserError(
            f"{path}: holds parameters of {names[0]} and none of /{NODE_NAME}; write them below '/**:'", "key-missing"
        )
    return (own or nodes)[0]


def _pattern(name: str) -> str:
    """A name as ROS 2's params files write it, as a regular expression: ** is any number of parts, * is one."""
    parts = {"**": r"(/\w+)*", "*": r"/\w+"}
    return "".join(parts.get(part, f"/{re.escape(part)}") for part in name.strip("/").split("/"))


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _ns(name: str, seconds: Any) -> int:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not math.isfinite(seconds) or abs(seconds) > _MOST_SECONDS:
        raise UserError(f"parameter {name} is {seconds!r}: give a number of seconds", "value-type")
    return round(seconds * NS_PER_S)
