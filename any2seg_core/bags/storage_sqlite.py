"""A healthy sqlite3 file of rosbag2, and the tables of a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import quote

from any2seg_core.bags.codec import Form, first_line
from any2seg_core.bags.salvage_parts import FORMS, parse_qos
from any2seg_core.bags.storage import Break, Stored, StoredTopic, run_back

_COUNTS = """SELECT topic_id, COUNT(*), MIN(CASE WHEN timestamp > 0 THEN timestamp END), MAX(timestamp),
                    TOTAL(timestamp <= 0) FROM messages GROUP BY topic_id"""
_BACK = """SELECT before, timestamp FROM (SELECT timestamp, LAG(timestamp) OVER (ORDER BY id) AS before FROM messages)
           WHERE timestamp < before"""


class SqliteFile:
    """See `Storage`. The constructor raises Break or sqlite3.Error for a damaged file."""

    def __init__(self, path: Path) -> None:
        self.path = path
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

    def messages(self, wanted: Collection[StoredTopic]) -> Iterator[Stored]:
        """See `Storage`; Break where the file is damaged."""
        keys = [key for key, topic in self._topics.items() if topic in wanted]
        marks = ", ".join("?" * len(keys))
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) ORDER BY timestamp, id"
        try:
            for key, time_ns, data in self._database.execute(query, keys):
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


def read_topics(database: sqlite3.Connection) -> Iterator[tuple[int, StoredTopic]]:
    """(key, topic) of the topics that are declared; Break where their table is damaged."""
    try:
        columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        definitions: dict[str, tuple[str, Form]] = {}
        if "message_definitions" in tables:
            rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
            definitions = {str(kind): (str(text), FORMS.get(form, "")) for kind, form, text in rows}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        for key, name, kind, form, profiles in database.execute(
            f"SELECT id, name, type, serialization_format, {qos} FROM topics"
        ):
            yield key, StoredTopic(
                str(name), str(kind), *definitions.get(str(kind), ("", "")), str(form), parse_qos(profiles)
            )
    except (sqlite3.Error, OverflowError) as error:
        raise Break(f"at its list of topics ({first_line(error)})") from None
