"""Settings of the synchroniser that fit a recording, from stamps and arrivals; written as the node's params file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml

from any2seg_core.bags.timing import Phase, Timing
from any2seg_core.sync.parameters import MOST_OFFSET_S, STREAM_DEFAULTS, SYNC_DEFAULTS

_LEAST_NOISE_MS, _LEAST_TIMEOUT_MS, _LONGEST_TIMEOUT_MS = 2.0, 20.0, 1000.0
_MARGIN_MS = 10.0


def recommend(
    timings: Mapping[str, Timing], phases: Mapping[str, Phase], packet_leads_ms: Mapping[str, float]
) -> dict[str, Any]:
    """Parameters by name, nested as in a ROS 2 params file, all times in seconds.

    offset_s: the median phase; where rates have no common beat, and for events, whose times it moves, the difference of
    the clocks alone, 0 where they agree or are more than an hour apart.
    noise_window_s: half as much again as 95 % of the messages stray from it, so that the set does not wait for a better
    one; for events the distance to the packet that holds the moment of the set. max_age_s: one and a half periods and
    the noise. timeout_s: what 95 % of the slowest stream's messages need after the reference message.

    Args:
        timings: of the mapped sensors, canonical order; the first one is the reference.
        phases: of the others against it.
        packet_leads_ms: event sensor -> how long its packets go on after their stamp: 0 when they are stamped at their
            end.
    """
    periods_ms = {name: timing.period_ms for name, timing in timings.items() if timing.period_ms is not None}
    names = list(periods_ms)
    if not names:
        return {}
    streams: dict[str, Any] = {}
    waits_ms = [_LEAST_TIMEOUT_MS]
    for name in names:
        phase = phases.get(name)
        streams[name] = _stream(periods_ms[name], phase, packet_leads_ms.get(name))
        if phase is not None:
            waits_ms.append(min(phase.wait_p95_ms, periods_ms[name]) + _MARGIN_MS)
    slowest_ms = max(periods_ms.values())
    return {
        "modalities": names,
        "reference_priority": list(names),  # a copy, or YAML writes an alias
        "timeout_s": _seconds(min(max(waits_ms), _LONGEST_TIMEOUT_MS), step_ms=5),
        "timeout_without_reference_s": max(
            SYNC_DEFAULTS["timeout_without_reference_s"], _seconds(1.5 * slowest_ms, step_ms=50)
        ),
        **streams,
    }


def _stream(period_ms: float, phase: Phase | None, packet_lead_ms: float | None) -> dict[str, float]:
    """Settings of one sensor; `packet_lead_ms`: of an event sensor, None for others."""
    half_ms = period_ms / 2
    near = phase if phase is not None and abs(phase.offset_ms) <= 1e3 * MOST_OFFSET_S else None
    clock_s = 0.0 if near is None else round(near.clock_ms / 1e3, 4)
    if packet_lead_ms is not None:
        # The window ends at the stamp of the set: wait for the packet that holds this moment.
        noise_ms = 0.0 if phase is None else min(phase.next_p95_ms, period_ms)
        noise_ms = packet_lead_ms if packet_lead_ms > 1.0 else noise_ms
        offset_s = clock_s
        age_s = STREAM_DEFAULTS["max_age_s"]
    else:
        offset_s = clock_s if near is None or near.drifts else round(near.offset_ms / 1e3, 4)
        noise_ms = 0.0 if phase is None else half_ms if phase.drifts else min(1.5 * phase.spread_ms, half_ms)
        age_s = _seconds(1.5 * period_ms + noise_ms, step_ms=10)
    noise_s = _seconds(max(noise_ms, _LEAST_NOISE_MS), step_ms=1)
    return {"offset_s": offset_s, "noise_window_s": noise_s, "max_age_s": max(age_s, noise_s)}


def params_yaml(parameters: Mapping[str, Any]) -> str:
    """The parameters as a file for the node's ``params_file`` and for ``--params``."""
    if not parameters:
        return ""
    return yaml.safe_dump({"/**": {"ros__parameters": dict(parameters)}}, sort_keys=False, default_flow_style=None)


def _seconds(milliseconds: float, step_ms: int) -> float:
    """Rounded up to a step, without the dust of binary fractions."""
    return round(math.ceil(milliseconds / step_ms - 1e-6) * step_ms / 1e3, 4)
