"""`bag evaluate` over all recordings of a store: one task per recording, in processes or on a Ray cluster.

Restartable at any moment: a recording is finished when its file of frames is there, which appears whole. A second run
of the same name does what is not finished yet.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from any2seg_core.base.atomic import only_one, replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.stream_modes import OFF
from any2seg_core.base.versions import versions
from any2seg_core.fleet.engines.engine import Engine, Event
from any2seg_core.fleet.evaluation_settings import LOCAL, RAY, FleetEvaluateRequest
from any2seg_core.fleet.frame_rows import Columns
from any2seg_core.fleet.packages import arrow, parquet
from any2seg_core.fleet.remote import shown_url
from any2seg_core.fleet.store import FleetStore
from any2seg_core.fleet.tasks import CUT, EvaluationWorker, RecordingTask, TaskResult
from any2seg_core.fleet.work import FleetWork, to_do
from any2seg_core.runtime.checkpoint_metadata import checkpoint_sha256, read_contract
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.subsets import subsets_with_all

FAILURES = "failures.parquet"
RUNNING, FINISHED = "running", "finished"
"""Values of `state` in evaluation.json: what is under way or was ended, and what went through all recordings."""

Tell = Callable[[str], None]
Show = Callable[[str, float, float], None]
"""Called with a title, seconds of recordings that are done, and those there are."""


@dataclass
class FleetEvaluation:
    """What a run came to.

    Attributes:
        finished: recordings of this run. kept: those of runs before. broken: those of the index that cannot be read.
        failed: those that could not be judged; they are tried again by the next run. rows: all frames there are.
        lost: workers that ended without a result, and were replaced.
    """

    store: str
    name: str
    finished: int = 0
    kept: int = 0
    broken: int = 0
    failed: int = 0
    rows: int = 0
    lost: int = 0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def evaluate_fleet(
    request: FleetEvaluateRequest,
    tell: Tell = lambda line: None,
    show: Show = lambda title, done, total: None,
    engine: Engine | None = None,
) -> FleetEvaluation:
    """Judge all recordings of a store that are not finished under this name, and merge what is there.

    Memory does not grow with the number of recordings, but for those that fail.

    Args:
        tell: gets one line for each recording that is left out or fails. show: see `Show`.
        engine: what runs `EvaluationWorker`s of the request; default: the one it names.

    Raises:
        UserError: a store, checkpoint, option or cluster that cannot be used; another run of this name is under way;
            not one recording could be judged; or frames cannot be written. Finished recordings stay.
    """
    store = FleetStore.open(request.store)
    contract = read_contract(request.checkpoint)
    request = _with_full_paths(replace(request, store=store.path, name=request.evaluation))
    columns = columns_of(request, contract)
    document = _document(request, contract, columns)
    folder = store.evaluation_folder(request.name)
    with only_one(folder / ".lock", f"evaluation {request.name}"), _as_before_without_a_part(store, request.name):
        _require_same(store, request, document)
        _remove_left_overs(folder)
        run = _Run(store, request, tell, show)
        with engine or _engine(request, columns) as used:
            store.write_evaluation(request.name, document | {"state": RUNNING})
            run.through(used)
        run.result.rows = store.merge(request.name)
        run.write_failures()
        counts = {"finished": run.result.kept + run.result.finished, "failed": run.result.failed}
        store.write_evaluation(request.name, document | {"state": FINISHED, "recordings": counts})
    return run.result


def columns_of(request: FleetEvaluateRequest, contract: InputContract) -> Columns:
    """Of the frames of an evaluation; UserError for a subset that the checkpoint does not know."""
    suite, sensors = contract.suite, contract.modalities
    try:
        subsets = subsets_with_all(request.subsets, suite, sensors)
    except UserError as error:
        raise UserError(f"--subsets {request.subsets}: {error}", error.code) from None
    return Columns(tuple(suite.subset_letters(subset) for subset in subsets), tuple(sensors))


class _Failure(NamedTuple):
    """Columns of the table of failures."""

    recording_id: str
    url: str
    code: str
    reason: str


class _Run:
    """One pass through what is not finished."""

    def __init__(self, store: FleetStore, request: FleetEvaluateRequest, tell: Tell, show: Show) -> None:
        broken, kept, left, self._total_s = to_do(store, request.name)
        for recording in broken:
            tell(f"left out: {shown_url(recording.url)}: {recording.reason} [{recording.code}]")
        self.result = FleetEvaluation(str(store.path), request.name, kept=kept, broken=len(broken))
        self._tell, self._show = tell, show
        self._folder = store.evaluation_folder(request.name)
        cut_s = request.cut_s if request.stream == OFF else 0.0  # what a stream carries on has no end in the past
        self._work = FleetWork(self._folder, left, cut_s)
        self._failures: list[_Failure] = []
        self._done_s = 0.0
        self._states: dict[int, tuple[RecordingTask, float]] = {}

    def through(self, engine: Engine) -> None:
        """Do all of it; UserError where nothing could be judged, or what every recording would meet."""
        self._show(self._title(), 0.0, self._total_s)
        for event in engine.events(self._work.tasks()):
            self._states[event.worker] = (event.task, event.share)
            if event.lost:
                self.result.lost += 1
                what_next = "" if event.is_given_up else "; tried again"
                self._tell(f"{shown_url(event.task.url)}: its worker was lost{what_next}")
            if event.is_over:
                self._over(event)
            self._show(self._title(), self._at_s(), self._total_s)
        if self._failures and not self.result.kept + self.result.finished:
            first = self._failures[0]
            told = f"not one of {len(self._failures)} recordings could be judged"
            raise UserError(f"{told}, the first: {first.reason}", first.code)

    def write_failures(self) -> None:
        """The recordings that failed in this run as a table, in the order of their ids."""
        pa = arrow()
        schema = pa.schema([(name, pa.string()) for name in _Failure._fields])
        rows = [failure._asdict() for failure in sorted(self._failures)]
        with replacing(self._folder / FAILURES) as partial_path:
            parquet().write_table(pa.Table.from_pylist(rows, schema), partial_path)

    def _over(self, event: Event) -> None:
        task: RecordingTask = event.task
        del self._states[event.worker]
        self._done_s += task.seconds
        result: TaskResult = event.result or TaskResult(
            code="process-killed", reason=f"{shown_url(task.url)}: its worker was lost {event.lost} times"
        )
        if result.is_fatal:
            raise UserError(result.reason, result.code)
        is_end = self._work.over(task, is_good=not result.code)
        if result.code and is_end:
            self.result.failed += 1
            self._failures.append(_Failure(task.recording_id, task.url, result.code, result.reason))
            self._tell(f"failed: {result.reason} [{result.code}]")
        elif is_end:
            self.result.finished += 1

    def _at_s(self) -> float:
        return self._done_s + sum(task.seconds * share for task, share in self._states.values())

    def _title(self) -> str:
        done = self.result.finished + self.result.failed
        states = [f"{number}: {'/'.join(Path(shown_url(task.url)).parts[-2:])} {100 * share:.0f} %"
                  for number, (task, share) in sorted(self._states.items())]  # fmt: skip
        return ", ".join([f"{done} recordings done", *states])


def _engine(request: FleetEvaluateRequest, columns: Columns) -> Engine:
    make_worker = partial(EvaluationWorker, request, columns)
    if request.engine == RAY:
        from any2seg_core.fleet.engines.ray import RayEngine

        return RayEngine(make_worker, request.workers, request.threads, request.gpus, request.address)
    from any2seg_core.fleet.engines.local import LocalEngine

    if request.engine != LOCAL:
        raise UserError(f"--engine {request.engine}: choose {LOCAL} or {RAY}", "value-unknown")
    if request.address:
        raise UserError(f"--address {request.address}: has a meaning with --engine ray alone", "value-conflict")
    workers = request.workers or max(len(os.sched_getaffinity(0)) // request.threads, 1)
    return LocalEngine(make_worker, workers, request.threads)


def _with_full_paths(request: FleetEvaluateRequest) -> FleetEvaluateRequest:
    """Workers may be in another folder."""
    names = ("checkpoint", "rules", "params")
    paths: dict[str, Any] = {name: path.absolute() for name in names if (path := getattr(request, name)) is not None}
    return replace(request, **paths)


def _document(request: FleetEvaluateRequest, contract: InputContract, columns: Columns) -> dict[str, Any]:
    """What evaluation.json says beside its state: all that results depend on."""
    suite = contract.suite
    return {
        "name": request.name,
        "checkpoint": {"name": request.checkpoint.name, "sha256": checkpoint_sha256(request.checkpoint)},
        "label_space": contract.label_space.reference,
        "classes": list(contract.label_space.classes),
        "sensors": {name: suite.letter(name) for name in columns.sensors},
        "subsets": list(columns.subsets),
        "options": request.options(),
        "versions": versions(),
    }


def _require_same(store: FleetStore, request: FleetEvaluateRequest, document: Mapping[str, Any]) -> None:
    """UserError where an evaluation of this name was begun with something else."""
    before = store.evaluations().get(request.name)
    if before is None:
        return
    told = f"evaluation {request.name} of {store.path}"
    way_out = "give another --name"
    old, new = before.get("classes", []), document["classes"]
    if old != new:
        raise UserError(
            f"{told}: has {len(old)} classes, {request.checkpoint} has {len(new)} or others; {way_out}",
            "value-conflict",
        )
    if before.get("checkpoint", {}).get("sha256") != document["checkpoint"]["sha256"]:
        raise UserError(
            f"{told}: is of another checkpoint, {before.get('checkpoint', {}).get('name')}, than "
            f"{request.checkpoint}; {way_out}",
            "value-conflict",
        )
    if before.get("subsets") != document["subsets"]:
        raise UserError(f"{told}: is of subsets {','.join(before.get('subsets', []))}; {way_out}", "value-conflict")
    options = before.get("options", {})
    for name, value in document["options"].items():
        if options.get(name) != value:
            raise UserError(f"{told}: began with {name} {options.get(name)}, not {value}; {way_out}", "value-conflict")


def _remove_left_overs(folder: Path) -> None:
    """What killed workers of a run before had begun to write; no other run of this name is under way."""
    for path in (*folder.glob("parts/.*.partial*"), *folder.glob(f"{CUT}/.*.partial*")):
        path.unlink(missing_ok=True)


@contextmanager
def _as_before_without_a_part(store: FleetStore, name: str) -> Iterator[None]:
    """Where a run fails before anything is finished, an evaluation that was not there before goes again."""
    folder = store.evaluation_folder(name)
    was_there = (folder / "evaluation.json").is_file()
    try:
        yield
    except UserError:
        if not was_there and not [*folder.glob("parts/[0-9a-f]*"), *folder.glob(f"{CUT}/[0-9a-f]*")]:
            for path in ("parts", CUT):
                shutil.rmtree(folder / path, ignore_errors=True)
            with suppress(OSError):
                (folder / "evaluation.json").unlink()
        raise

