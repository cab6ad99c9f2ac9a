"""Small tables of a fleet's store."""

from __future__ import annotations

import datetime

import pyarrow as pa

from any2seg_core.fleet.schemas import frames_schema, recordings_schema, topics_schema

IDS = [f"{number:016x}" for number in range(100)]


def recordings_table(rows):
    """Rows give what differs; a recording is named by its place otherwise."""
    blank = dict.fromkeys(recordings_schema().names)
    filled = [
        {**blank, "recording_id": IDS[at], "url": f"/bags/{at:03}", "state": "ok", "tags": [], "damage": [], **row}
        for at, row in enumerate(rows)
    ]
    for row in filled:
        if isinstance(row["date"], str):
            row["date"] = datetime.date.fromisoformat(row["date"])
    return pa.Table.from_pylist(filled, recordings_schema())


def topics_table(rows=()):
    blank = dict.fromkeys(topics_schema().names)
    return pa.Table.from_pylist([{**blank, "problems": [], **row} for row in rows], topics_schema())


def frames_table(recording_id, rows, subsets=("R", "RL"), sensors=("rgb", "lidar")):
    schema = frames_schema(subsets, sensors)
    blank = dict.fromkeys(schema.names)
    filled = [
        {**blank, "recording_id": recording_id, "stamp_ns": at, "missing": [], **row} for at, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(filled, schema)
