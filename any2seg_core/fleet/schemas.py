"""Columns of the tables in a fleet's store. pyarrow is loaded when a schema is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.fleet.packages import arrow

OK, BROKEN = "ok", "broken"
"""Values of the column state of recordings."""


def recordings_schema() -> Any:
    """One row per recording.

    recording_id: fingerprint of the content, 16 hexadecimal digits. url: path or URL that it was last found at.
    date: of the manifest, else of the first message (UTC). code, reason: why it is broken; null otherwise.
    damage: what is damaged or missing in one that can be read, one line each.
    modified_ns, etag: what told at the last look whether the file has changed; null where the place does not say.
    """
    pa = arrow()
    return pa.schema(
        [
            pa.field("recording_id", pa.string(), nullable=False),
            pa.field("url", pa.string(), nullable=False),
            ("vehicle", pa.string()),
            ("date", pa.date32()),
            ("weather", pa.string()),
            ("time_of_day", pa.string()),
            ("tags", pa.list_(pa.string())),
            ("n_bytes", pa.int64()),
            ("start_ns", pa.int64()),
            ("end_ns", pa.int64()),
            ("duration_s", pa.float64()),
            pa.field("state", pa.string(), nullable=False),
            ("code", pa.string()),
            ("reason", pa.string()),
            ("damage", pa.list_(pa.string())),
            ("modified_ns", pa.int64()),
            ("etag", pa.string()),
        ]
    )


def topics_schema() -> Any:
    """One row per topic of a recording.

    sensor: of the suite; null where the topic is none of a sensor's. n_messages: of the whole recording. rate_hz: from
    the median time between stamps. longest_gap_s: longest of the gaps above 2.5 periods. clock_offset_s: how far its
    stamps are off those of the reference sensor. frozen_s: longest time for which the content of a camera's messages is
    the same; null for others. calibrated: whether the recording or its calibration file says how the sensor looks and
    where it is; null for topics of no sensor.
    """
    pa = arrow()
    return pa.schema(
        [
            pa.field("recording_id", pa.string(), nullable=False),
            pa.field("topic", pa.string(), nullable=False),
            ("type", pa.string()),
            ("sensor", pa.string()),
            ("n_messages", pa.int64()),
            ("rate_hz", pa.float64()),
            ("longest_gap_s", pa.float64()),
            ("clock_offset_s", pa.float64()),
            ("frozen_s", pa.float64()),
            ("calibrated", pa.bool_()),
            ("problems", pa.list_(pa.string())),
        ]
    )


def frames_schema(subsets: Sequence[str], sensors: Sequence[str]) -> Any:
    """One row per judged frame of an evaluation.

    Args:
        subsets: letters of each evaluated subset, at least one. sensors: names of the evaluated sensors, at least one.

    used: letters of the fused sensors; "" where no label could be made. confidence: mean over the pixels, 0 to 1.
    agreement: share of pixels whose label is that of all sensors, 0 to 1. reliability: 0 to 1, null where absent.
    missing: "sensor: reason". flicker: share of pixels whose label differs from the frame before. miou: 0 to 1.
    latitude, longitude: degrees. x_m, y_m, heading_rad: of odometry, in its own frame. embedding: of the content.
    """
    if not subsets or not sensors:
        raise UserError("a table of frames has at least one subset and one sensor", "sensor-none")
    pa = arrow()
    shares = pa.float32()
    return pa.schema(
        [
            pa.field("recording_id", pa.string(), nullable=False),
            pa.field("stamp_ns", pa.int64(), nullable=False),
            ("used", pa.string()),
            ("confidence", shares),
            ("agreement", pa.struct([(name, shares) for name in subsets])),
            ("reliability", pa.struct([(name, shares) for name in sensors])),
            ("missing", pa.list_(pa.string())),
            ("flicker", shares),
            ("latency_ms", shares),
            ("miou", shares),
            ("latitude", pa.float64()),
            ("longitude", pa.float64()),
            ("x_m", pa.float64()),
            ("y_m", pa.float64()),
            ("heading_rad", pa.float64()),
            ("embedding", pa.list_(pa.float16())),
        ]
    )
