"""How long do questions to a fleet's store take, of 10 million frames?

    python benchmarks/fleet_query.py [--recordings 2000] [--frames 5000] [--turns 3]

Writes a store of simulated rows into a temporary folder (10 million frames: about 0.7 GB and two minutes), merges it,
and asks it what users ask, each time as a new connection: wall time and processor time, the least of some turns. The
last line is a peer: pyarrow, which reads the columns of the first question as a whole and groups them in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from any2seg_core.base.progress import track
from any2seg_core.fleet.queries import ask
from any2seg_core.fleet.questions import drift, failures, worst
from any2seg_core.fleet.schemas import frames_schema, recordings_schema, topics_schema
from any2seg_core.fleet.store import FleetStore
from any2seg_core.vocabulary.modalities import VEHICLE

NAME = "b0"
PERIOD_NS = 100_000_000
_DIFFERENT = 10  # recordings; the others repeat them, and every tenth is without a sensor for a while
VEHICLES, WEATHERS = ("car-1", "car-2", "car-3", "car-4"), ("sunny", "rainy", "cloudy", "foggy", "clear")
SUBSETS = [VEHICLE.subset_letters(subset) for subset in VEHICLE.all_subsets() if len(subset) != 2]
MEANS = """
SELECT vehicle, weather, avg(confidence) AS confidence FROM frames JOIN recordings USING (recording_id) GROUP BY ALL
"""
UNSURE = "SELECT recording_id, stamp_ns FROM frames WHERE confidence < 0.01 ORDER BY confidence LIMIT 100"
STATES = "SELECT used, count(*) AS frames FROM frames GROUP BY used"


def recording_rows(count: int, frames: int) -> list[dict[str, Any]]:
    """Drives of a year."""
    blank = dict.fromkeys(recordings_schema().names)
    days = np.datetime64("2026-01-01") + np.arange(count) % 365
    return [
        {**blank, "recording_id": f"{at:016x}", "url": f"/bags/{at:05d}", "vehicle": VEHICLES[at % 4], "state": "ok",
         "weather": WEATHERS[at % 5], "date": days[at].item(), "tags": [], "start_ns": 0,
         "duration_s": frames * PERIOD_NS / 1e9}
        for at in range(count)
    ]  # fmt: skip


def frame_table(recording_id: str, count: int, random: np.random.Generator, is_gone: bool) -> pa.Table:
    """Random figures; is_gone: without the LiDAR for a fifth of the time."""
    schema = frames_schema(SUBSETS, VEHICLE.members)

    def shares() -> pa.Array:
        return pa.array(random.random(count, np.float32))

    gone = np.zeros(count, bool)
    gone[count // 2 : count // 2 + count // 5] = is_gone
    columns: dict[str, Any] = {name: pa.nulls(count, schema.field(name).type) for name in schema.names}
    columns |= {
        "recording_id": pa.array([recording_id] * count), "stamp_ns": pa.array(np.arange(count) * PERIOD_NS),
        "used": pa.array(np.where(gone, "RDE", "RDEL")), "confidence": shares(), "flicker": shares(),
        "agreement": pa.StructArray.from_arrays([shares() for _ in SUBSETS], SUBSETS),
        "reliability": pa.StructArray.from_arrays([shares() for _ in VEHICLE.members], list(VEHICLE.members)),
        "missing": pa.array([["lidar: dead"] if each else [] for each in gone.tolist()], pa.list_(pa.string())),
    }  # fmt: skip
    return pa.table([columns[name] for name in schema.names], schema)


def made(folder: Path, recordings: int, frames: int) -> FleetStore:
    """A store of that size."""
    store = FleetStore.create(folder)
    rows = recording_rows(recordings, frames)
    store.write_index(pa.Table.from_pylist(rows, recordings_schema()), topics_schema().empty_table())
    store.write_evaluation(NAME, {})
    random = np.random.default_rng(0)
    tables = [frame_table("", frames, random, is_gone=number == 0) for number in range(_DIFFERENT)]
    for number, row in enumerate(track(rows, "rows", len(rows))):
        own = pa.array([row["recording_id"]] * frames)
        table = tables[number % _DIFFERENT].set_column(0, tables[0].schema.field(0), own)
        store.write_part(NAME, row["recording_id"], table)
    store.merge(NAME)
    return store


def by_pyarrow(store: FleetStore) -> Any:
    """The first question without DuckDB."""
    frames = pq.read_table(store.path / f"evaluations/{NAME}/frames.parquet", columns=["recording_id", "confidence"])
    known = store.recordings().select(["recording_id", "vehicle", "weather"])
    joined = frames.join(known, "recording_id")
    return joined.group_by(["vehicle", "weather"]).aggregate([("confidence", "mean")])


def measured(work: Callable[[], Any], turns: int) -> tuple[float, float, float]:
    """(least, median wall seconds, least processor seconds)."""
    walls, processors = [], []
    for _ in range(turns):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return min(walls), median(walls), min(processors)


def main(
    recordings: Annotated[int, typer.Option(min=1, help="Of the store.")] = 2000,
    frames: Annotated[int, typer.Option(min=10, help="Of each recording.")] = 5000,
    turns: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 3,
) -> None:
    with TemporaryDirectory(prefix="any2seg-fleet-") as folder:
        store = made(Path(folder) / "store", recordings, frames)
        size = (store.path / f"evaluations/{NAME}/frames.parquet").stat().st_size
        print(f"{recordings * frames:,} frames of {recordings} recordings, {size / 1e6:.0f} MB")
        questions: dict[str, Callable[[], Any]] = {
            "mean confidence by vehicle and weather": lambda: ask(store, MEANS),
            "100 least sure frames": lambda: ask(store, UNSURE),
            "frames by sensors in use": lambda: ask(store, STATES),
            "fleet worst": lambda: worst(store),
            "fleet failures": lambda: failures(store),
            "fleet drift": lambda: drift(store),
            "the first with pyarrow": lambda: by_pyarrow(store),
        }
        print(f"{'question':40s} {'least s':>8s} {'median s':>9s} {'processor s':>12s}")
        for name, work in questions.items():
            least, middle, processor = measured(work, turns)
            print(f"{name:40s} {least:8.3f} {middle:9.3f} {processor:12.3f}")


if __name__ == "__main__":
    typer.run(main)
