"""What a worker of an evaluation does: judges recordings, or parts of them, and writes their frames itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.evaluation.recording.span import WHOLE, RecordingSpan
from any2seg_core.fleet.evaluation_settings import FleetEvaluateRequest
from any2seg_core.fleet.frame_rows import (
    Columns,
    read_parts,
    rows_of,
    table_of,
    with_reliability,
    write_part,
)
from any2seg_core.fleet.remote import shown_url
from any2seg_core.fleet.sources import Noted, indexed_source, local_copy
from any2seg_core.fleet.store import FleetStore

if TYPE_CHECKING:  # loaded by the first task alone
    from any2seg_core.runtime.predictor import Predictor

CUT = "cut"
"""Folder of parts of recordings, beside those that are whole."""
UNWRITABLE = ("output-unwritable", "package-missing")
"""Codes of errors that the next recording would meet too: they end a run, as does a model that cannot be loaded."""


@dataclass(frozen=True)
class RecordingTask:
    """One recording, or one part of it.

    Attributes:
        url: where it lies. noted: `Source.noted` by the index.
        number, count: of the part; 0 of 1 for all of it, `count` of `count` to join its parts.
        seconds: of the recording that are done with it.
    """

    recording_id: str
    url: str
    span: RecordingSpan = WHOLE
    number: int = 0
    count: int = 1
    seconds: float = 0.0
    noted: Noted | None = None

    @property
    def is_join(self) -> bool:
        """Whether it makes one of all parts."""
        return self.number == self.count


@dataclass(frozen=True)
class TaskResult:
    """What came of a task: rows that were written, or why there are none.

    Attributes:
        code, reason: of the error; "" for none. is_fatal: the next recording would meet it too.
    """

    rows: int = 0
    code: str = ""
    reason: str = ""
    is_fatal: bool = False


class EvaluationWorker:
    """Does tasks one after the other with a model that is loaded once.

    Args:
        request: of the evaluation. columns: of its frames.
    """

    def __init__(self, request: FleetEvaluateRequest, columns: Columns) -> None:
        self._request, self._columns = request, columns
        self._store = FleetStore.open(request.store)
        self._folder = self._store.evaluation_folder(request.evaluation)
        self._predictor: Predictor | None = None

    def run(self, task: RecordingTask, progress: Callable[[float], None]) -> TaskResult:
        """Do a task; an error of the recording is a result.

        Args:
            progress: gets the share of the task that is done, 0 to 1.
        """
        try:
            return TaskResult(self._join(task) if task.is_join else self._evaluate(task, progress))
        except UserError as error:
            is_fatal = error.code in UNWRITABLE or (self._predictor is None and not task.is_join)
            return TaskResult(code=error.code, reason=str(error), is_fatal=is_fatal)
        except Exception as error:  # whatever a recording does to a reader, it costs itself alone
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return TaskResult(code="recording-failed", reason=f"{shown_url(task.url)}: {reason}")

    def _evaluate(self, task: RecordingTask, progress: Callable[[float], None]) -> int:
        from any2seg_core.evaluation.recording.run import RecordingRun, load_predictor

        if self._predictor is None:
            self._predictor = load_predictor(self._request.of_recording(Path(task.url)))
        with ExitStack() as stack:
            request = self._request.of_recording(stack.enter_context(_near(task)))
            run = RecordingRun(request, stack, self._predictor, task.span, may_lack=True, with_pooled=True)
            last_s = run.result.end_s
            if task.span.end_ns is not None:
                last_s = (task.span.end_ns - (run.opened.bag.start_ns or 0)) / NS_PER_S
            frames = run.frames(lambda done_s: progress(min(done_s / max(last_s, 1e-9), 1.0)))
            rows = rows_of(run, task.recording_id, self._columns, frames)
            oldest_ns = {name: stream.oldest_ns for name, stream in run.sync.streams.items()}
            if task.span.is_whole:
                finished = with_reliability(rows, oldest_ns, run.suite, self._columns.sensors)
                table = table_of(finished, self._columns.schema())
                self._store.write_part(self._request.evaluation, task.recording_id, table)
            else:
                table = table_of(rows, self._columns.schema_of_part(oldest_ns))
                write_part(part_path(self._folder, task), table)
        return len(table)

    def _join(self, task: RecordingTask) -> int:
        from any2seg_core.runtime.checkpoint_metadata import read_contract

        suite = read_contract(self._request.checkpoint).suite
        paths = [part_path(self._folder, replace(task, number=number)) for number in range(task.count)]
        try:
            rows, oldest_ns = read_parts(paths)
            finished = with_reliability(rows, oldest_ns, suite, self._columns.sensors)
            table = table_of(finished, self._columns.schema())
        except Exception:  # a part is damaged: the next run makes all of them anew
            for path in paths:
                path.unlink(missing_ok=True)
            raise
        if not len(table):
            raise UserError(
                f"{shown_url(task.url)}: not one set of sensors could be made, so nothing was judged", "bag-no-sets"
            )
        self._store.write_part(self._request.evaluation, task.recording_id, table)
        for path in paths:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            paths[0].parent.rmdir()
        return len(table)


@contextmanager
def _near(task: RecordingTask) -> Iterator[Path]:
    """The recording, or a copy of one that lies elsewhere for as long as it is used.

    UserError where it is gone, or another lies in its place: frames would count as those of the one in the index.
    """
    try:
        source = indexed_source(task.url, task.recording_id, task.noted)
    except UserError as error:
        if error.code not in ("file-missing", "bag-missing"):
            raise
        told = f"{shown_url(task.url)}: no such bag; bring the index up to date with any2seg fleet index"
        raise UserError(told, "bag-missing") from None
    with local_copy(source) as copy:
        yield copy.path


def part_path(folder: Path, task: RecordingTask) -> Path:
    """Where the frames of a part of a recording lie until it is joined; folder: of the evaluation."""
    return folder / CUT / f"{task.recording_id}.{task.number}of{task.count}.parquet"
