"""A healthy sqlite3 file of rosbag2, and the tables of a damaged one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from any2seg_core.bags.codec import Form, first_line
from any2seg_core.bags.salvage_parts import FORMS, parse_qos
from any2seg_core.bags.storage import ALWAYS, Break, Interval, Stored, StoredTopic, run_back
from any2seg_core.bags.unpacking import Budget

_COUNTS = """SELECT topic_id, COUNT(*), MIN(CASE WHEN timestamp > 0 THEN timestamp END), MAX(timestamp),
                    TOTAL(timestamp <= 0) FROM messages GROUP BY topic_id"""
_TABLES = ("topics", "messages", "message_definitions")
_COMPUTED = re.compile(r"\bvirtual\s+table\b|\bas\s*\(|\bas\s+select\b")
_BACK = """SELECT before, timestamp FROM (SELECT timestamp, LAG(timestamp) OVER (ORDER BY id) AS before FROM messages)
           WHERE timestamp < before"""


class SqliteFile:
    """See `Storage`. The constructor raises Break or sqlite3.Error for a damaged file.

    Args:
        delivered: bytes of the recording as the user gave it, for the limits.
    """

    def __init__(self, path: Path, delivered: int) -> None:
        self.path, self._delivered = path, delivered
        self.damage = ""
        self.counts: dict[StoredTopic, int] = {}
        self.zeros = 0
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._database = open_database(path)
        try:
            self._topics = dict(read_topics(self._database))
            self._count()
            self.notes = run_back(path, ((t, t) for row in self._database.execute(_BACK) for t in row))
        except BaseException:
            self._database.close()
            raise

    def _count(self) -> None:
        self.counts = dict.fromkeys(self._topics.values(), 0)
        firsts, lasts = [], []
        for key, count, first_ns, last_ns, zeros in self._database.execute(_COUNTS):
            if key in self._topics:
                self.counts[self._topics[key]] += count
                self.zeros += int(zeros)
                lasts.append(int(last_ns))
                firsts += [] if first_ns is None else [int(first_ns)]
        if lasts:
            self.start_ns, self.end_ns = min(firsts, default=0), max(lasts)

    def messages(self, wanted: Collection[StoredTopic], within: Interval = ALWAYS) -> Iterator[Stored]:
        """See `Storage`; Break where the file is damaged."""
        keys = [key for key, topic in self._topics.items() if topic in wanted]
        marks = ", ".join("?" * len(keys))
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks})"
        if within != ALWAYS:  # where all are wanted, a time that is no number is damage and must be seen
            query += " AND timestamp >= ? AND timestamp < ?"
            keys += [min(max(limit_ns, -(2**63)), 2**63 - 1) for limit_ns in within]
        budget = Budget(self._delivered)
        try:
            for key, time_ns, data in self._database.execute(f"{query} ORDER BY timestamp, id", keys):
                budget.count()
                if not isinstance(time_ns, int) or not isinstance(data, bytes):
                    raise Break("a row holds no message")
                yield self._topics[key], time_ns, data
        except (sqlite3.Error, OverflowError) as error:
            raise Break(first_line(error)) from None

    def close(self) -> None:
        """See `Storage`."""
        self._database.close()


def open_database(path: Path) -> sqlite3.Connection:
    """Read only, without a look at journals beside it; Break for a file that cannot be opened."""
    try:
        return sqlite3.connect(
            f"file:{quote(path.resolve().as_posix())}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise Break(f"at its first table ({first_line(error)})") from None


def _require_plain(tables: dict[str, str]) -> None:
    """Break where a table that is read is a view, virtual or computed: its rows could be endless, or of any size."""
    for name in _TABLES:
        words = str(tables.get(name, "table")).lower()
        if not words.startswith("table") or _COMPUTED.search(words):
            raise Break(f"at its table {name} (made by a query, not by a recorder)")


def read_topics(database: sqlite3.Connection) -> Iterator[tuple[int, StoredTopic]]:
    """(key, topic) of the topics that are declared; Break where their table is damaged."""
    try:
        tables = dict(database.execute("SELECT name, type || ' ' || sql FROM sqlite_master WHERE sql NOT NULL"))
        _require_plain(tables)
        columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
        definitions: dict[str, tuple[str, Form]] = {}
        if "message_definitions" in tables:
            rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
            definitions = {str(kind): (str(text), FORMS.get(form, "")) for kind, form, text in rows}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        for key, name, kind, form, profiles in database.execute(
            f"SELECT id, name, type, serialization_format, {qos} FROM topics"
        ):
            yield key, StoredTopic(
                str(name), str(kind), *definitions.get(str(kind), ("", "")), str(form), parse_qos(profiles),
                qos_text=str(profiles),
            )  # fmt: skip
    except (sqlite3.Error, OverflowError) as error:
        raise Break(f"at its list of topics ({first_line(error)})") from None
