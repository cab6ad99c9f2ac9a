"""The index of a fleet: each recording is looked through once, and gives a row per recording and per topic."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from any2seg_core.bags.inspection import Inspection, TopicReport, inspect_bag, timing_notes
from any2seg_core.bags.timing import OTHER_CLOCK_MS
from any2seg_core.base.atomic import only_on_success, only_one
from any2seg_core.base.errors import UserError
from any2seg_core.base.parallel import ordered_map
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.fleet.packages import arrow
from any2seg_core.fleet.remote import shown_url
from any2seg_core.fleet.schemas import BROKEN, OK, recordings_schema, topics_schema
from any2seg_core.fleet.sources import AT_ONCE, LocalCopy, Source, find_sources, fingerprint, local_excerpt
from any2seg_core.fleet.store import FleetStore

EXCERPT_S = 10.0
"""Of a recording that lies elsewhere and has an index, so much of its beginning is fetched and looked through."""
_SAVE_EVERY_S = 60.0
_FIRST_CLOCK_NS = 946_684_800 * NS_PER_S  # 2000-01-01: what is earlier is simulated time, and no date
_LOCK = ".index.lock"
_OUT_OF_REACH = ("remote-unreachable", "package-missing")  # which says nothing of the recording
_FACTS = ("vehicle", "date", "weather", "time_of_day", "tags")

Row = dict[str, Any]


@dataclass(frozen=True)
class Looked:
    """What came of one recording: its row, those of its topics, bytes read over the network."""

    recording: Row
    topics: list[Row]
    bytes_read: int = 0
    is_whole: bool = True


@dataclass
class IndexReport:
    """What a run has done.

    Attributes:
        found: recordings of its sources. unchanged: of them, those that were not opened. broken: url -> reason.
        bytes_read: over the network. bytes_remote: size of the recordings they were read of.
        fetched_whole: urls of recordings elsewhere that have no index to read a part by.
    """

    found: int = 0
    unchanged: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    bytes_read: int = 0
    bytes_remote: int = 0
    fetched_whole: list[str] = field(default_factory=list)


def index(
    store_path: Path,
    arguments: Sequence[str],
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    on_broken: Callable[[str, str], None] = lambda url, reason: None,
) -> IndexReport:
    """Bring the index of a store up to date with what lies at some sources; the store is made where there is none.

    Recordings whose size, time and ETag are those of the last time are not opened. What is in the index and not found
    this time stays.

    Args:
        arguments: see `find_sources`. workers: processes. progress: called with recordings done and to do.
        on_broken: called with the url and the reason of each recording that cannot be used.

    Raises:
        UserError: wrong sources, a recording that is there twice, a store that cannot be used or written; the store is
            then as it was, or holds what was finished.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: give at least 1", "value-range")
    with ExitStack() as stack:
        stack.enter_context(only_on_success(store_path.parent))
        store = stack.enter_context(_alone(store_path))
        sources = find_sources(arguments)
        before = {} if store is None else {row["url"]: row for row in store.recordings().to_pylist()}
        changed = [source for source in sources if not _is_known(source, before.get(source.url))]
        report = IndexReport(len(sources), len(sources) - len(changed))
        ids = _fingerprints(changed, before, sources, report)
        if store is None:
            store = FleetStore.create(store_path)
            stack.enter_context(only_one(store.path / _LOCK, _under_way(store_path)))
        table = _Table(store)
        table.note_facts(sources)
        jobs = [(source, ids[source.url]) for source in changed]
        saved_s = time.monotonic()
        progress(0, len(jobs))
        try:
            for done, looked in enumerate(ordered_map(look, jobs, workers), start=1):
                table.put(looked, _told(jobs[done - 1][0]))
                _tell(report, looked, on_broken)
                progress(done, len(jobs))
                if time.monotonic() - saved_s > _SAVE_EVERY_S:
                    table.save()
                    saved_s = time.monotonic()
        finally:  # where a process was killed too, what is finished stays
            table.save()
    return report


@contextmanager
def _alone(path: Path) -> Iterator[FleetStore | None]:
    """The store for one index at a time; None where there is none yet, which then only one may make."""
    with ExitStack() as stack:
        if not path.exists():
            stack.enter_context(only_one(path.with_name(f".{path.name}{_LOCK}"), _under_way(path)))
        store = FleetStore.open(path) if path.exists() else None
        if store is not None:
            stack.enter_context(only_one(store.path / _LOCK, _under_way(path)))
            for left in store.path.glob(".*.partial.parquet"):  # of an index that was killed
                left.unlink(missing_ok=True)
        yield store


def _under_way(path: Path) -> str:
    return f"{path}: an index"


def _is_known(source: Source, row: Row | None) -> bool:
    """Whether the place says that nothing has changed; one that says nothing is looked at again."""
    if row is None or (source.modified_ns is None and source.etag is None):
        return False
    return source.noted == (row["n_bytes"], row["modified_ns"], row["etag"])


def _fingerprints(
    changed: Sequence[Source], before: dict[str, Row], sources: Sequence[Source], report: IndexReport
) -> dict[str, str | UserError]:
    """URL -> recording_id, or why it cannot be read; UserError where two of the sources have one content."""
    ids: dict[str, str | UserError] = {}
    owners = {before[source.url]["recording_id"]: source.url for source in sources if source.url in before}
    owners = {each: url for each, url in owners.items() if url not in {source.url for source in changed}}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tried = list(pool.map(_fingerprint, changed))
    for source, (found, count) in zip(changed, tried, strict=True):
        if isinstance(found, UserError):
            ids[source.url] = found
            continue
        report.bytes_read += count if source.is_remote else 0
        if found in owners:
            raise UserError(
                f"{source.url} and {owners[found]} are the same recording; give each recording once", "value-twice"
            )
        owners[found], ids[source.url] = source.url, found
    return ids


def _fingerprint(source: Source) -> tuple[str | UserError, int]:
    try:
        return fingerprint(source)
    except UserError as error:
        return error, 0


def _tell(report: IndexReport, looked: Looked, on_broken: Callable[[str, str], None]) -> None:
    row = looked.recording
    report.bytes_read += looked.bytes_read
    if looked.bytes_read:
        report.bytes_remote += row["n_bytes"] or 0
        report.fetched_whole += [row["url"]] if looked.is_whole else []
    if row["state"] == BROKEN:
        report.broken[row["url"]] = row["reason"]
        on_broken(row["url"], row["reason"])


class _Table:
    """The index while it is brought up to date."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store
        self._recordings = {row["recording_id"]: row for row in store.recordings().to_pylist()}
        self._ids = {row["url"]: key for key, row in self._recordings.items()}
        self._topics: dict[str, list[Row]] = {}
        for row in store.topics().to_pylist():
            self._topics.setdefault(row["recording_id"], []).append(row)

    def note_facts(self, sources: Sequence[Source]) -> None:
        """What a manifest says of recordings that are in the index already."""
        for source in sources:
            if source.url in self._ids:
                self._recordings[self._ids[source.url]].update(_told(source))

    def put(self, looked: Looked, told: Row) -> None:
        """A new row, in place of an older one of the same content, or at the same url.

        Of the same content, what was known of it and is not told otherwise stays; what cannot be reached for the moment
        stays as it was.

        Args:
            told: columns that a manifest gives now.
        """
        row = looked.recording
        before = self._recordings.get(self._ids.get(row["url"], ""))
        if before is not None and before["state"] == OK and row["code"] in _OUT_OF_REACH:
            return
        if before is not None:
            self._take_away(before["recording_id"])
        moved = before if before is not None and before["recording_id"] == row["recording_id"] else None
        moved = moved or self._take_away(row["recording_id"])
        if moved is not None:
            row = row | {name: moved[name] for name in _FACTS if moved[name]} | told
        self._recordings[row["recording_id"]], self._ids[row["url"]] = row, row["recording_id"]
        self._topics[row["recording_id"]] = looked.topics

    def _take_away(self, recording_id: str) -> Row | None:
        row = self._recordings.pop(recording_id, None)
        self._topics.pop(recording_id, None)
        if row is not None:
            del self._ids[row["url"]]
        return row

    def save(self) -> None:
        """Write both tables."""
        pa = arrow()
        topics = [row for rows in self._topics.values() for row in rows]
        self._store.write_index(
            pa.Table.from_pylist(list(self._recordings.values()), recordings_schema()),
            pa.Table.from_pylist(topics, topics_schema()),
        )


def _told(source: Source) -> Row:
    """Columns that a manifest gives."""
    facts = source.facts
    found = {"vehicle": facts.vehicle, "date": facts.date, "weather": facts.weather, "time_of_day": facts.time_of_day}
    row: Row = {name: value for name, value in found.items() if value is not None}
    return row | ({"tags": list(facts.tags)} if facts.tags else {})


def look(job: tuple[Source, str | UserError]) -> Looked:
    """Inspect a recording; whatever is wrong with it becomes its reason. For worker processes.

    Args:
        job: the source, and its recording_id or why it cannot be read.
    """
    source, found = job
    row: Row = dict.fromkeys(recordings_schema().names) | {
        "recording_id": found, "url": source.url, "n_bytes": source.n_bytes, "state": OK, "tags": [],
        "damage": [], "modified_ns": source.modified_ns, "etag": source.etag,
    }  # fmt: skip
    row |= _told(source)
    problem = found if isinstance(found, UserError) else source.problem
    if problem is not None:
        row["recording_id"] = fingerprint(Source(source.url, ()))[0]
        return Looked(row | _broken_by(problem, source), [])
    try:
        with local_excerpt(source, 0.0, EXCERPT_S) as copy:
            suite = read_settings(copy.path).sensors
            inspection = inspect_bag(copy.path, _options(copy.path, suite))
            row |= _recording_row(inspection, copy, row["date"])
            topics = [_topic_row(inspection, name, copy) for name in inspection.topics]
    except UserError as error:
        return Looked(row | _broken_by(error, source), [])
    except Exception as error:  # whatever bytes have brought a library to raise, other recordings go on
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Looked(row | _broken("bag-format", reason), [])
    topics = [{"recording_id": found, **each} for each in topics]
    return Looked(row, topics, copy.bytes_read, copy.is_whole)


def _broken_by(error: UserError, source: Source) -> Row:
    if error.code in ("file-missing", "bag-missing") and not source.files:
        return _broken("bag-missing", "the manifest names it, and nothing is there")
    text = str(error)
    for name in (source.url, shown_url(source.url)):
        text = text.removeprefix(f"{name}: ").replace(name, "it")
    return _broken(error.code, text)


def _broken(code: str, reason: str) -> Row:
    return {"state": BROKEN, "code": code, "reason": reason}


def _options(path: Path, suite: Any) -> Any:
    from any2seg_core.bags.opened import BagOptions

    return BagOptions(read_settings(path).topics_for(suite), suite=suite)


def _recording_row(inspection: Inspection, copy: LocalCopy, date: datetime.date | None) -> Row:
    start_ns, end_ns = inspection.start_ns, inspection.end_ns
    if copy.remote is not None:
        start_ns, end_ns = copy.remote.start_ns, copy.remote.end_ns
    if start_ns is None or end_ns is None:
        raise UserError("holds no message; record it anew or give another", "bag-empty")
    if date is None and start_ns >= _FIRST_CLOCK_NS:
        with suppress(OverflowError, ValueError, OSError):
            date = datetime.datetime.fromtimestamp(start_ns / NS_PER_S, datetime.timezone.utc).date()
    damage = list(inspection.warnings) if copy.is_whole else []  # an excerpt lacks what the whole has
    duration_s = (end_ns - start_ns) / NS_PER_S
    return {"start_ns": start_ns, "end_ns": end_ns, "duration_s": duration_s, "date": date, "damage": damage}


def _topic_row(inspection: Inspection, name: str, copy: LocalCopy) -> Row:
    report, streams = inspection.topics[name], inspection.choice.map.streams
    sensor = next((each for each, topic in streams.items() if topic == name), None)
    counts = {} if copy.remote is None else copy.remote.counts
    row: Row = {
        "topic": name, "type": report.topic.kind, "sensor": sensor, "n_messages": counts.get(name, report.count),
        "rate_hz": report.timing.rate_hz, "longest_gap_s": _longest_gap_s(inspection, report, copy, sensor),
        "clock_offset_s": None, "frozen_s": report.frozen_s, "calibrated": None,
        "problems": list(_problems(inspection, report, sensor)),
    }  # fmt: skip
    if sensor is None:
        return row
    phase = inspection.phases.get(sensor)
    if phase is not None:
        row["clock_offset_s"] = phase.offset_ms / 1e3
    elif sensor == inspection.reference:
        row["clock_offset_s"] = 0.0
    calibration = inspection.calibration
    row["calibrated"] = calibration.calibration is not None and sensor not in calibration.unusable
    return row


def _longest_gap_s(inspection: Inspection, report: TopicReport, copy: LocalCopy, sensor: str | None) -> float | None:
    """Longest time without a message; of a sensor from the start of the recording to its end."""
    if copy.remote is not None:
        return copy.remote.longest_gaps_s.get(report.topic.name)
    gap_s = report.timing.longest_gap_s
    if sensor is None or report.first_ns is None or report.last_ns is None:
        return gap_s
    edges_ns = report.first_ns - (inspection.start_ns or 0), (inspection.end_ns or 0) - report.last_ns
    return max(gap_s or 0.0, max(edges_ns) / NS_PER_S)


def _problems(inspection: Inspection, report: TopicReport, sensor: str | None) -> Iterator[str]:
    if told := report.topic.problem or report.peek.problem:
        yield told
    if sensor is None:
        return
    phase = inspection.phases.get(sensor)
    streams = inspection.choice.map.streams
    timings = {inspection.reference: inspection.topics[streams[inspection.reference]].timing} if phase else {}
    phases = {sensor: phase} if phase is not None and abs(phase.clock_ms) >= OTHER_CLOCK_MS else {}
    notes = timing_notes(timings | {sensor: report.timing}, phases)
    yield from (note.removeprefix(f"{sensor}: ") for note in notes if note.startswith(f"{sensor}: "))
    frozen = f"{sensor}: frozen"
    yield from (note.removeprefix(f"{sensor}: ") for note in inspection.notes if note.startswith(frozen))
    yield from (line for line in inspection.calibration.missing if sensor in line.split())
