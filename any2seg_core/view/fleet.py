"""The drives of a fleet's store: lists, filters, frames of an evaluation, and the recordings themselves."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.timing import clock_offset_ns
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.fleet.queries import understood
from any2seg_core.fleet.remote import shown_url
from any2seg_core.fleet.schemas import BROKEN
from any2seg_core.fleet.sources import indexed_source, local_copy
from any2seg_core.fleet.store import FleetStore
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.view.drives import Drive, DriveTopic, KnownFrames
from any2seg_core.view.frames import DriveFrame
from any2seg_core.view.moments import MomentReader
from any2seg_core.view.tracks import Track
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

PAGE_ROWS = 50
_SAME_CONNECTION_S = 5.0  # making one takes a tenth of a second
_MISSED_SHARE = 0.1  # of the frames: a sensor that is missing in more of them is in trouble
_MAP_POINTS = 12_000
MAP_DRIVES = 400


@dataclass(frozen=True)
class DriveFilter:
    """Which drives are asked for; "" stands for all. trouble: name of a sensor that is in trouble, or "any", "broken".

    from_date, to_date: as 2026-03-02, both included.
    """

    vehicle: str = ""
    weather: str = ""
    time_of_day: str = ""
    from_date: str = ""
    to_date: str = ""
    trouble: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> DriveFilter:
        """Of an address; UserError for a date that is none."""
        wanted = cls(**{field.name: given.get(field.name, "") for field in fields(cls)})
        for text in filter(None, (wanted.from_date, wanted.to_date)):
            if not _is_date(text):
                raise UserError(f"date {text[:40]!r}: write it as 2026-03-02", "value-format")
        return wanted

    def given(self) -> dict[str, str]:
        """What differs from all."""
        return {name: value for name, value in vars(self).items() if value}


class DriveRow(NamedTuple):
    """One line of the list. trouble: sensors with what is wrong; confidence: mean of an evaluation, None without."""

    drive_id: str
    title: str
    vehicle: str
    date: str
    weather: str
    time_of_day: str
    tags: str
    length_s: float
    confidence: float | None
    trouble: list[tuple[str, str]]


class FleetDrives:
    """See `Drives`, and what the pages of a store list.

    Args:
        store: to read. predictor: makes labels; None: there are none. checkpoint: its name, for people.
        evaluation: name of the one that timelines are of; "": none.
    """

    def __init__(self, store: FleetStore, predictor: Predictor | None, checkpoint: str, evaluation: str) -> None:
        self.store, self.evaluation = store, evaluation
        self.title = store.path.name
        self._predictor, self._checkpoint = predictor, checkpoint
        self._letters: dict[str, str] = store.evaluations()[evaluation].get("sensors", {}) if evaluation else {}
        self.suite: SensorSuite = VEHICLE if predictor is None else predictor.contract.suite
        self.idle: Iterator[None] = iter(())
        self._lock = threading.Lock()
        self._connection: Any = None
        self._connected_s = 0.0
        self.rows(DriveFilter(), 0)  # a store that cannot be asked is told before the page is served

    def _ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows; what was written meanwhile is seen some seconds later."""
        with self._lock:
            if self._connection is None or time.monotonic() - self._connected_s > _SAME_CONNECTION_S:
                self._connection, self._connected_s = self.store.connection(), time.monotonic()
            cursor = self._connection.cursor()
        with cursor, understood():
            rows: list[tuple[Any, ...]] = cursor.execute(sql, values or None).fetchall()
        return rows

    def choices(self) -> dict[str, list[str]]:
        """Column -> values that there are."""
        columns = ("vehicle", "weather", "time_of_day")
        parts = ", ".join(f"list_sort(list(DISTINCT {name}) FILTER ({name} IS NOT NULL))" for name in columns)
        (found,) = self._ask(f"SELECT {parts} FROM recordings")
        sensors = self._ask("SELECT DISTINCT sensor FROM topics WHERE sensor IS NOT NULL")
        named = {name for (name,) in sensors}
        return {
            **{name: list(values or ()) for name, values in zip(columns, found, strict=True)},
            "trouble": [name for name in self.suite.members if name in named],
        }

    def _where(self, wanted: DriveFilter) -> tuple[str, list[Any]]:
        parts, values = ["true"], []
        for name in ("vehicle", "weather", "time_of_day"):
            if value := getattr(wanted, name):
                parts.append(f"{name} = ?")
                values.append(value)
        for sign, date in ((">=", wanted.from_date), ("<=", wanted.to_date)):
            if date:
                parts.append(f"date {sign} ?::DATE")
                values.append(date)
        if wanted.trouble == BROKEN:
            parts.append(f"state = '{BROKEN}'")
        elif wanted.trouble:
            sensor = "sensor IS NOT NULL" if wanted.trouble == "any" else "sensor = ?"
            told = f"SELECT recording_id FROM topics WHERE {sensor} AND len(problems) > 0"
            parts.append(f"recording_id IN ({told}{self._missed(wanted.trouble)})")
            values += [] if wanted.trouble == "any" else [wanted.trouble]
        return " AND ".join(parts), values

    def _missed(self, sensor: str) -> str:
        """SQL behind the recordings with problems: those in which the evaluation missed a sensor that is recorded."""
        letters = self._letters if sensor == "any" else {sensor: self._letters.get(sensor, "")}
        parts, evaluation = "", self.evaluation.replace("'", "''")
        for name, letter in letters.items():
            if letter.isalpha() and name in self.suite.members:
                parts += (
                    " UNION SELECT recording_id FROM frames SEMI JOIN (SELECT recording_id FROM topics WHERE "
                    f"sensor = '{name}' AND n_messages > 0) USING (recording_id) WHERE evaluation = "
                    f"'{evaluation}' GROUP BY recording_id HAVING avg((NOT contains(used, '{letter}'))::INT) > "
                    f"{_MISSED_SHARE}"
                )
        return parts

    def rows(self, wanted: DriveFilter, page: int) -> tuple[list[DriveRow], int]:
        """One page of the list, counted from 0, the newest first, and how many drives there are in all."""
        where, values = self._where(wanted)
        (count,) = self._ask(f"SELECT count(*) FROM recordings WHERE {where}", values)[0]
        found = self._ask(
            "SELECT recording_id, url, vehicle, date, weather, time_of_day, tags, duration_s, state, reason FROM "
            f"recordings WHERE {where} ORDER BY date DESC NULLS LAST, vehicle, url LIMIT {PAGE_ROWS} OFFSET ?",
            [*values, page * PAGE_ROWS],
        )
        ids = [row[0] for row in found]
        told = self._told(ids)
        sure = dict(
            self._ask(
                "SELECT recording_id, avg(confidence) FROM frames WHERE evaluation = ? AND list_contains(?, "
                "recording_id) GROUP BY recording_id", [self.evaluation, ids]
            )
        )  # fmt: skip
        return [
            DriveRow(
                drive_id, drive_title(url), vehicle or "", str(date or ""), weather or "", time_of_day or "",
                ", ".join(tags or ()), duration_s or 0.0, sure.get(drive_id),
                [("broken", reason or "cannot be read")] if state == BROKEN else told[drive_id],
            )
            for drive_id, url, vehicle, date, weather, time_of_day, tags, duration_s, state, reason in found
        ], count  # fmt: skip

    def _told(self, ids: list[str]) -> dict[str, list[tuple[str, str]]]:
        """Recording -> sensors with what is wrong: of the index, and what the evaluation has missed for long."""
        told: dict[str, list[tuple[str, str]]] = {each: [] for each in ids}
        for drive_id, sensor, problems in self._ask(
            "SELECT recording_id, sensor, problems FROM topics WHERE len(problems) > 0 AND sensor IS NOT NULL AND "
            "list_contains(?, recording_id)", [ids]
        ):  # fmt: skip
            told[drive_id] += [(self.sensor_title(sensor), "; ".join(problems))]
        for drive_id, sensor, kind, share in self._ask(
            "WITH listed AS (SELECT recording_id, missing, count(*) OVER (PARTITION BY recording_id) AS n FROM frames "
            "WHERE evaluation = ? AND list_contains(?, recording_id)) SELECT recording_id, split_part(told, ': ', 1), "
            "split_part(told, ': ', 2), count(*) / any_value(n) AS share FROM (SELECT *, unnest(missing) AS told FROM "
            f"listed) GROUP BY ALL HAVING share > {_MISSED_SHARE} ORDER BY ALL", [self.evaluation, ids]
        ):  # fmt: skip
            told[drive_id] += [
                (self.sensor_title(sensor), f"{kind.replace('_', ' ')} in {100 * share:.0f} % of the frames")
            ]
        return told

    def tracks(self, wanted: DriveFilter) -> list[Track]:
        """Positions of the drives that are asked for, thinned so that a page holds them."""
        where, values = self._where(wanted)
        chosen = f"SELECT recording_id FROM recordings WHERE {where} ORDER BY date DESC, url LIMIT {MAP_DRIVES}"
        frames = f"frames SEMI JOIN ({chosen}) USING (recording_id)"
        is_placed = "evaluation = ? AND (latitude IS NOT NULL OR x_m IS NOT NULL)"
        (total,) = self._ask(f"SELECT count(*) FROM {frames} WHERE {is_placed}", [*values, self.evaluation])[0]
        every = max(1, round(total / _MAP_POINTS))
        found = self._ask(
            "SELECT recording_id, url, is_on_earth, latitude, longitude, x_m, y_m, len(missing) > 0 FROM (SELECT *, "
            "row_number() OVER (PARTITION BY recording_id ORDER BY stamp_ns) AS place FROM (SELECT *, bool_or(latitude "
            f"IS NOT NULL) OVER (PARTITION BY recording_id) AS is_on_earth FROM {frames} WHERE {is_placed}) WHERE "
            "(latitude IS NOT NULL) = is_on_earth) JOIN recordings USING (recording_id) "
            f"WHERE place % {every} = 0 OR place = 1 ORDER BY url, stamp_ns", [*values, self.evaluation],
        )  # fmt: skip
        tracks: dict[str, Track] = {}
        for drive_id, url, is_on_earth, latitude, longitude, x_m, y_m, is_bad in found:
            track = tracks.setdefault(drive_id, Track(drive_id, drive_title(url), is_on_earth, [], []))
            track.points.append((longitude, latitude) if is_on_earth else (x_m, y_m))
            track.is_bad.append(bool(is_bad))
        return list(tracks.values())

    def ids_of(self, urls: Collection[str]) -> dict[str, str]:
        """Place -> id of the recording there; without those that are not in the index."""
        return dict(self._ask("SELECT url, recording_id FROM recordings WHERE list_contains(?, url)", [list(urls)]))

    def drive(self, drive_id: str) -> Drive | None:
        """See `Drives`."""
        found = self._ask("SELECT * EXCLUDE (date), date::VARCHAR AS date FROM recordings WHERE recording_id = ?",
                          [drive_id])  # fmt: skip
        if not found:
            return None
        columns = [name for (name, *_) in self._ask("DESCRIBE SELECT * EXCLUDE (date), date FROM recordings")]
        row = dict(zip(columns, found[0], strict=True))
        topics = self._ask(
            "SELECT topic, type, sensor, n_messages, rate_hz, problems FROM topics WHERE recording_id = ? ORDER BY "
            "topic", [drive_id]
        )  # fmt: skip
        sensors = {sensor for _, _, sensor, *_ in topics if sensor in self.suite.members}
        rates = [rate for _, _, sensor, _, rate, _ in topics if sensor == self.suite.camera and rate]
        return Drive(
            drive_id, drive_title(row["url"]), row["start_ns"] or 0, row["end_ns"] or 0, self.suite,
            self.suite.canonical(sensors), max(rates, default=10.0), self._facts(row),
            [DriveTopic(name, kind or "", self.sensor_title(sensor), count or 0)
             for name, kind, sensor, count, *_ in topics],
            [f"{name}: {problem}" for name, *_, problems in topics for problem in problems or ()],
            f"{row['reason'] or 'cannot be read'}" if row["state"] == BROKEN else "",
        )  # fmt: skip

    def _facts(self, row: Mapping[str, Any]) -> list[tuple[str, str]]:
        facts = [
            ("vehicle", row["vehicle"]), ("date", row["date"]), ("weather", row["weather"]),
            ("time of day", row["time_of_day"]), ("tags", ", ".join(row["tags"] or ())),
            ("length", f"{row['duration_s'] or 0.0:.1f} s, {(row['n_bytes'] or 0) / 1e6:.1f} MB"),
            ("at", shown_url(row["url"])), ("recording", row["recording_id"]),
            ("timeline", f"of evaluation {self.evaluation}" if self.evaluation else "none: no evaluation"),
            ("labels", f"of {self._checkpoint}" if self._predictor else f"none: {self._checkpoint}"),
        ]  # fmt: skip
        return [(name, str(text)) for name, text in facts if text]

    def frames(self, drive: Drive) -> KnownFrames:
        """See `Drives`: of the evaluation; none where it has none of this drive."""
        found = self._ask(
            "SELECT stamp_ns, used, confidence, reliability, missing, latitude, longitude, x_m, y_m "
            "FROM frames WHERE evaluation = ? AND recording_id = ? ORDER BY stamp_ns", [self.evaluation, drive.drive_id]
        )  # fmt: skip
        if not found:
            return KnownFrames()
        offset_ns = clock_offset_ns(found[0][0], drive.start_ns, drive.end_ns)
        names = {letter: name for name, letter in self._letters.items() if name in self.suite.members}
        is_on_earth = any(latitude is not None for *_, latitude, _, _, _ in found)  # odometry has a frame of its own
        frames = []
        for stamp_ns, letters, confidence, reliability, missing, latitude, longitude, x_m, y_m in found:
            used = tuple(names[letter] for letter in letters or "" if letter in names)
            position = (longitude, latitude) if is_on_earth else (x_m, y_m)
            frames.append(
                DriveFrame(
                    max((stamp_ns + offset_ns - drive.start_ns) / NS_PER_S, 0.0), used, used,
                    float("nan") if confidence is None else confidence,
                    {name: score for name, score in (reliability or {}).items() if score is not None},
                    position=None if None in position else position, is_on_earth=is_on_earth,
                    missing=tuple(missing or ()),
                )
            )  # fmt: skip
        return KnownFrames(frames)

    def sensor_title(self, sensor: str | None) -> str:
        """For people; a sensor of another suite keeps its name."""
        return self.suite.sensor(sensor).title if sensor in self.suite.members else sensor or ""

    @contextmanager
    def recording(self, drive_id: str) -> Iterator[Path]:
        """See `Drives`; UserError where another recording lies at its place by now."""
        found = self._ask("SELECT url FROM recordings WHERE recording_id = ?", [drive_id])
        if not found:
            raise UserError(f"no recording {drive_id}", "data-missing")
        with local_copy(indexed_source(found[0][0], drive_id)) as copy:
            yield copy.path

    @contextmanager
    def open_reader(self, drive_id: str) -> Iterator[MomentReader]:
        """See `Drives`."""
        with self.recording(drive_id) as path:
            options = BagOptions(read_settings(path).topics_for(self.suite, ()), suite=self.suite)
            with open_bag(path, options) as opened:
                yield MomentReader(opened, self._predictor)


def _is_date(text: str) -> bool:
    """Only as 2026-03-02, in every version of Python."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def drive_title(url: str) -> str:
    """The last two names of a place tell drives apart."""
    return "/".join(shown_url(url).rstrip("/").split("/")[-2:])
