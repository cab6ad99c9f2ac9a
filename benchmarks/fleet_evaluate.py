"""What an evaluation of a fleet costs beside `bag evaluate`, what two workers bring, and how large its driver gets.

    python benchmarks/fleet_evaluate.py overhead STORE [--turns 3]   # processor time with children; any machine
    python benchmarks/fleet_evaluate.py within STORE                 # the same of one recording in one process
    python benchmarks/fleet_evaluate.py workers STORE                # wall time of one and of two workers: idle cores
    python benchmarks/fleet_evaluate.py driver                       # memory from 10 to 10 000 simulated recordings

STORE is one of `any2seg fleet index`. Everything runs with one thread per process, and in a copy of the store.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
SUBSETS = "R,L,all"
app = typer.Typer()


def _any2seg(*arguments: str) -> tuple[float, float]:
    """(processor seconds with children, wall seconds) of a command."""
    before, begin_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "any2seg_core", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu_s, time.perf_counter() - begin_s


def _copied(store: Path, folder: str) -> Path:
    """The index alone, without evaluations."""
    copy = Path(folder) / "store"
    shutil.copytree(store, copy, ignore=shutil.ignore_patterns("evaluations"))
    return copy


@app.command()
def overhead(
    store: Annotated[Path, typer.Argument()],
    turns: Annotated[int, typer.Option(min=1)] = 3,
    every: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """All recordings by one `bag evaluate` each, and by one `fleet evaluate` with one worker, in turns."""
    from any2seg_core.fleet.store import FleetStore

    table = FleetStore.open(store).recordings().to_pylist()
    urls = [row["url"] for row in table if row["state"] == "ok"]
    options = ("--subsets", SUBSETS, "--every", str(every))
    single_s, fleet_s = [], []
    for turn in range(turns):
        with TemporaryDirectory() as folder:
            out = str(Path(folder) / "out")
            single_s.append(sum(_any2seg("bag", "evaluate", url, *options, "--out", out)[0] for url in urls))
            copy = _copied(store, folder)
            fleet_s.append(_any2seg("fleet", "evaluate", str(copy), *options, "--workers", "1", "--cut", "0")[0])
        print(f"turn {turn + 1}: bag evaluate {single_s[-1]:.1f} s, fleet evaluate {fleet_s[-1]:.1f} s", flush=True)
    share = min(fleet_s) / min(single_s)
    print(f"{len(urls)} recordings, least of {turns}: {min(single_s):.1f} s and {min(fleet_s):.1f} s: {share:.3f}")


@app.command()
def within(store: Annotated[Path, typer.Argument()], turns: Annotated[int, typer.Option(min=1)] = 5) -> None:
    """The first recording in this process, with the model loaded before: frames alone, and frames with their rows."""
    from contextlib import ExitStack

    from any2seg_core.evaluation.recording.run import RecordingRun, load_predictor
    from any2seg_core.fleet.evaluate import columns_of
    from any2seg_core.fleet.evaluation_settings import FleetEvaluateRequest
    from any2seg_core.fleet.store import FleetStore
    from any2seg_core.fleet.tasks import EvaluationWorker, RecordingTask
    from any2seg_core.runtime.checkpoint_metadata import read_contract

    first = next(row for row in FleetStore.open(store).recordings().to_pylist() if row["state"] == "ok")
    with TemporaryDirectory() as folder:
        request = FleetEvaluateRequest(_copied(store, folder), subsets=SUBSETS, name="turns")
        single = request.of_recording(Path(first["url"]))
        predictor = load_predictor(single)
        worker = EvaluationWorker(request, columns_of(request, read_contract(request.checkpoint)))
        plain_s, rows_s = [], []
        for turn in range(turns + 1):
            begin_s = time.process_time()
            with ExitStack() as stack:
                count = sum(1 for _ in RecordingRun(single, stack, predictor).frames())
            middle_s = time.process_time()
            worker.run(RecordingTask(first["recording_id"], first["url"]), lambda share: None)
            if turn:  # the first one warms up both
                plain_s.append(middle_s - begin_s)
                rows_s.append(time.process_time() - middle_s)
    plain, rows = min(plain_s), min(rows_s)
    print(f"{count} frames, least of {turns}: {plain:.2f} s, with rows {rows:.2f} s: {rows / plain:.3f}")


@app.command()
def workers(store: Annotated[Path, typer.Argument()], turns: Annotated[int, typer.Option(min=1)] = 3) -> None:
    """Wall time of one and of two workers, in turns; the time in which processes begin is in it."""
    wall_s: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(turns):
        for count in (1, 2):
            with TemporaryDirectory() as folder:
                copy = _copied(store, folder)
                used = ("--subsets", SUBSETS, "--workers", str(count))
                wall_s[count].append(_any2seg("fleet", "evaluate", str(copy), *used)[1])
        print(f"turn {turn + 1}: one {wall_s[1][-1]:.1f} s, two {wall_s[2][-1]:.1f} s", flush=True)
    print(f"least of {turns}: {min(wall_s[1]) / min(wall_s[2]):.2f} times as fast")


@app.command()
def driver() -> None:
    """Peak memory of the process that hands out tasks; workers are simulated, their files are not."""
    for count in (10, 100, 1000, 10_000):
        command = [sys.executable, __file__, "simulated", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(done.stdout.strip(), flush=True)


class _Simulated(nullcontext):
    """An engine whose workers write 300 rows without looking at a recording."""

    workers = 1

    def __init__(self, store: Any, name: str, schema: Any) -> None:
        super().__init__(self)
        self._store, self._name, self._schema = store, name, schema

    def events(self, tasks: Iterator[Any]) -> Iterator[Any]:
        from any2seg_core.fleet.engines.engine import Event
        from any2seg_core.fleet.packages import arrow
        from any2seg_core.fleet.tasks import TaskResult

        pa = arrow()
        for task in tasks:
            blank = dict.fromkeys(self._schema.names)
            rows = [{**blank, "recording_id": task.recording_id, "stamp_ns": at, "missing": []} for at in range(300)]
            self._store.write_part(self._name, task.recording_id, pa.Table.from_pylist(rows, self._schema))
            yield Event(0, task, 1.0, TaskResult(rows=300))


@app.command()
def simulated(count: Annotated[int, typer.Argument()]) -> None:
    """One line for `driver`."""
    from any2seg_core.fleet.evaluate import columns_of, evaluate_fleet
    from any2seg_core.fleet.evaluation_settings import FleetEvaluateRequest
    from any2seg_core.fleet.packages import arrow
    from any2seg_core.fleet.schemas import recordings_schema, topics_schema
    from any2seg_core.fleet.store import FleetStore
    from any2seg_core.runtime.checkpoint_metadata import read_contract

    pa = arrow()
    with TemporaryDirectory() as folder:
        store = FleetStore.create(Path(folder) / "store")
        blank = dict.fromkeys(recordings_schema().names)
        rows = [{**blank, "recording_id": f"{at:016x}", "url": f"/bags/{at}", "state": "ok", "duration_s": 30.0}
                for at in range(count)]  # fmt: skip
        store.write_index(pa.Table.from_pylist(rows, recordings_schema()), topics_schema().empty_table())
        del rows
        request = FleetEvaluateRequest(store.path, name="simulated", subsets=SUBSETS)
        columns = columns_of(request, read_contract(request.checkpoint))
        before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begin_s = time.process_time()
        result = evaluate_fleet(request, engine=_Simulated(store, "simulated", columns.schema()))
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        each_ms = 1000 * (time.process_time() - begin_s) / count
    memory = f"peak {peak_mib:.0f} MiB ({before_mib:.0f} before)"
    print(f"{count} recordings, {result.rows} rows: {memory}, {each_ms:.1f} ms each")


if __name__ == "__main__":
    app()
