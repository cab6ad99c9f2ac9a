"""A small fleet for tests: recordings of the fake car, an untrained model, and a store that lists them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import fake_car
import pyarrow as pa
import pyarrow.parquet
from store_tables import recordings_table, topics_table
from untrained import write_checkpoint

from any2seg_core.bags.reader import Recording
from any2seg_core.fleet.engines.engine import Event
from any2seg_core.fleet.evaluate import columns_of
from any2seg_core.fleet.evaluation_settings import FleetEvaluateRequest
from any2seg_core.fleet.sources import Source, find_sources
from any2seg_core.fleet.store import FleetStore
from any2seg_core.fleet.tasks import EvaluationWorker
from any2seg_core.runtime.checkpoint_metadata import read_contract


def write_fleet(folder: Path, seconds: list[float]) -> FleetStore:
    """Recordings drive_0, drive_1, ... of so many seconds, model.safetensors and the store fleet."""
    write_checkpoint(folder / "model.safetensors")
    bags = []
    for number, length_s in enumerate(seconds):
        bags.append(folder / f"drive_{number}")
        fake_car.write_bag(bags[-1], length_s)
    return index(FleetStore.create(folder / "fleet"), bags)


def index(store: FleetStore, bags: list[Path], **columns: object) -> FleetStore:
    """List recordings as `any2seg fleet index` does."""
    rows = []
    for bag in bags:
        with Recording(bag) as recording:
            start_ns, end_ns = recording.start_ns, recording.end_ns
        row = {"url": str(bag), "start_ns": start_ns, "end_ns": end_ns, "duration_s": (end_ns - start_ns) / 1e9}
        rows.append({**row, **columns_noted(find_sources([str(bag)])[0]), **columns})
    store.write_index(recordings_table(rows), topics_table())
    return store


def columns_noted(source: Source) -> dict[str, object]:
    """What tells that a recording is as it was when it was indexed."""
    return {"n_bytes": source.n_bytes, "modified_ns": source.modified_ns, "etag": source.etag}


def request_of(store: FleetStore, **changes: object) -> FleetEvaluateRequest:
    """An evaluation of three subsets, with the model beside the store."""
    checkpoint = store.path.parent / "model.safetensors"
    return FleetEvaluateRequest(store.path, **{"checkpoint": checkpoint, "subsets": "R,DL,all", **changes})


def frames_of(store: FleetStore, name: str = "model") -> pa.Table:
    """The merged frames of an evaluation."""
    return pa.parquet.read_table(store.evaluation_folder(name) / "frames.parquet")


class InlineEngine(nullcontext):
    """Runs tasks in this process, one after the other: what is under test is not the engine.

    Args:
        make_worker: as of the engines. before: called with each task before it runs.
    """

    workers = 1

    def __init__(self, make_worker, before=lambda task: None):
        super().__init__(self)
        self._worker, self._before, self.done = make_worker(), before, []

    def events(self, tasks):
        for task in tasks:
            assert task is not None  # nobody else is at work, so there is nothing to wait for
            self._before(task)
            shares = []
            result = self._worker.run(task, shares.append)
            yield from (Event(0, task, share) for share in shares)
            yield Event(0, task, 1.0, result)
            self.done.append(task)


def engine_of(request: FleetEvaluateRequest, before=lambda task: None) -> InlineEngine:
    """What runs an evaluation in this process."""
    columns = columns_of(request, read_contract(request.checkpoint))
    return InlineEngine(partial(EvaluationWorker, replace(request, name=request.evaluation), columns), before)
