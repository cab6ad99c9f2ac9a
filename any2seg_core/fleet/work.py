"""The tasks of an evaluation: recordings that are not finished, long ones in parts, and the joining of parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from any2seg_core.fleet.cutting import spans_of
from any2seg_core.fleet.schemas import OK
from any2seg_core.fleet.store import FleetStore
from any2seg_core.fleet.tasks import RecordingTask, part_path

_LEAST_S = 1.0  # that a recording counts for in the progress


class Listed(NamedTuple):
    """What the index says of a recording."""

    recording_id: str
    url: str
    start_ns: int | None
    end_ns: int | None
    duration_s: float | None
    state: str
    code: str | None
    reason: str | None
    n_bytes: int | None
    modified_ns: int | None
    etag: str | None

    @property
    def seconds(self) -> float:
        """It counts as so long."""
        return max(self.duration_s or 0.0, _LEAST_S)


def listed(store: FleetStore) -> Iterator[Listed]:
    """All recordings of a store in the order of its index, few of them in memory at a time."""
    table: Any = store.recordings().select(Listed._fields)
    for batch in table.to_batches(1024):
        for row in batch.to_pylist():
            yield Listed(**row)


class FleetWork:
    """Hands out the tasks of recordings, few at a time.

    Args:
        folder: of the evaluation. recordings: those to do. cut_s: see `spans_of`.
    """

    def __init__(self, folder: Path, recordings: Iterable[Listed], cut_s: float) -> None:
        self._folder, self._recordings, self._cut_s = folder, recordings, cut_s
        self._missing: dict[str, int] = {}  # of recordings in parts: how many are not there
        self._kept_s: dict[str, float] = {}  # of the same: seconds of the parts that were there before
        self._failed: set[str] = set()
        self._joins: deque[RecordingTask] = deque()

    def tasks(self) -> Iterator[RecordingTask | None]:
        """For `Engine.events`: a part is joined as soon as the others are there; None while they are waited for."""
        for recording in self._recordings:
            for task in self._parts(recording):
                yield from self._ready()
                if recording.recording_id in self._failed:
                    self.over(task, is_good=False)
                else:
                    yield task
        while self._missing or self._joins:
            yield self._joins.popleft() if self._joins else None

    def over(self, task: RecordingTask, is_good: bool) -> bool:
        """A task is over; whether that is the end of its recording, which fails once however many parts do."""
        if task.count == 1 or task.is_join:
            return True
        is_first = not is_good and task.recording_id not in self._failed
        if not is_good:
            self._failed.add(task.recording_id)
        self._missing[task.recording_id] -= 1
        if not self._missing[task.recording_id]:
            del self._missing[task.recording_id]
            if task.recording_id not in self._failed:
                self._joins.append(self._join(task.recording_id, task.url, task.count))
            else:
                self._failed.discard(task.recording_id)
                self._kept_s.pop(task.recording_id)
        return is_first

    def _ready(self) -> Iterator[RecordingTask]:
        while self._joins:
            yield self._joins.popleft()

    def _parts(self, recording: Listed) -> list[RecordingTask]:
        """Those that are not there from a run before; of a recording all of whose parts are there, it is joined."""
        spans = spans_of(recording.start_ns, recording.end_ns, self._cut_s)
        count, seconds = len(spans), recording.seconds / len(spans)
        noted = recording.n_bytes, recording.modified_ns, recording.etag
        tasks = [RecordingTask(recording.recording_id, recording.url, span, number, count, seconds, noted)
                 for number, span in enumerate(spans)]  # fmt: skip
        if count == 1:
            return tasks
        missing = [task for task in tasks if not part_path(self._folder, task).is_file()]
        self._kept_s[recording.recording_id] = seconds * (count - len(missing))
        if missing:
            self._missing[recording.recording_id] = len(missing)
        else:
            self._joins.append(self._join(recording.recording_id, recording.url, count))
        return missing

    def _join(self, recording_id: str, url: str, count: int) -> RecordingTask:
        """With it those parts count as done that no task of this run has made."""
        return RecordingTask(recording_id, url, number=count, count=count, seconds=self._kept_s.pop(recording_id, 0.0))


def to_do(store: FleetStore, name: str) -> tuple[list[Listed], int, Iterator[Listed], float]:
    """(broken recordings, number of finished ones, those to do, seconds of these)."""
    finished = store.finished(name)
    broken, kept, seconds = [], 0, 0.0
    for recording in listed(store):
        if recording.recording_id in finished:
            kept += 1
        elif recording.state != OK:
            broken.append(recording)
        else:
            seconds += recording.seconds
    left = (each for each in listed(store) if each.state == OK and each.recording_id not in finished)
    return broken, kept, left, seconds
