"""Any recording as one stream of messages in the order of log time. Needs no ROS.

MCAP and sqlite3 with or without compression, split recordings, missing metadata.yaml, ROS 1 bags. What is damaged is
read up to the break, and `Recording.warnings` says where that is.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from any2seg_core.bags.codec import Codec, LazyPayload, Recorded, first_line, header_stamp_ns
from any2seg_core.bags.salvage import ResumingFile, SalvagedFile
from any2seg_core.bags.storage import (
    ALWAYS,
    MCAP_SUFFIX,
    ROS1_SUFFIX,
    SQLITE_SUFFIX,
    SUFFIXES,
    Break,
    Interval,
    RecordedQos,
    Ros1File,
    Storage,
    Stored,
    StoredTopic,
    storage_suffix,
)
from any2seg_core.bags.storage_mcap import McapFile
from any2seg_core.bags.storage_sqlite import SqliteFile
from any2seg_core.bags.unpacking import unpack_file, unpack_message
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.listing import listed
from any2seg_core.base.text_files import read_yaml
from any2seg_core.base.units import NS_PER_S

__all__ = ["Recording", "BagTopic", "LazyPayload", "Recorded", "RecordedQos", "header_stamp_ns", "is_recording"]

ZSTD_SUFFIXES = (".zstd", ".zst")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # a CDR message begins with 0
_METADATA = "metadata.yaml"
_NO_CLOCK_NS = NS_PER_S  # a time of 0 is none when the next one is later than this
_YEARS_NS = 10 * 365 * 86400 * NS_PER_S  # no simulation runs so long: times near 0 are then none either


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag.

    Attributes:
        name, kind: topic and type, ``package/msg/Name``, as its messages are read. count: number of messages.
        qos: what its publishers offered; empty where the recorder did not note it.
        problem: why its messages cannot be deserialised, "" if they can.
        stored_kind: type in the file, where it is read as another one.
    """

    name: str
    kind: str
    count: int
    qos: tuple[RecordedQos, ...] = ()
    problem: str = ""
    stored_kind: str = ""


def is_recording(path: Path) -> bool:
    """Whether a file, or a file in a folder, has the name of a recording; nothing is opened."""
    files = listed(path) if path.is_dir() else [path]
    return any(_storage_suffix(file) for file in files)


class Recording:
    """A recording: a rosbag2 folder, or a single .mcap, .db3 or .bag file, each also with .zstd behind it.

    Args:
        path: where it lies.

    Attributes (while open):
        topics: name -> BagTopic.
        warnings: what is missing, damaged or unknown, one line each; grows when a break is met while reading.
        start_ns, end_ns: log time of the first and the last message; None when it holds none.

    Raises (on entering):
        UserError: nothing can be read; it names the file and why.

    Examples:
        >>> from any2seg_core import Recording
        >>> with Recording("drive") as recording:
        ...     images = [message.value for message in recording.messages(["/camera/image_raw"])]
        >>> len(images), images[0].encoding
        (3, 'mono8')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.topics: dict[str, BagTopic] = {}
        self.warnings: list[str] = []
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._storages: list[Storage] = []
        self._codecs: dict[StoredTopic, Codec] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Recording:
        try:
            self._open()
        except OSError as error:
            self._stack.close()
            reason = error.strerror or error
            raise UserError(
                f"{self.path}: cannot be read as a bag ({reason}); check path and permissions", "file-unreadable"
            ) from None
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return sum(topic.count for topic in self.topics.values())

    @property
    def damage(self) -> list[str]:
        """Those warnings that say where a file breaks off or is corrupt; may grow while reading."""
        return [storage.damage for storage in self._storages if storage.damage]

    def messages(
        self, topics: Collection[str] | None = None, from_ns: int | None = None, until_ns: int | None = None
    ) -> Iterator[Recorded]:
        """Messages in order of log time; streams, so memory does not grow with the bag.

        Args:
            topics: names; None means all, those of unknown types included. Names that the bag lacks are ignored.
            from_ns, until_ns: log times, the second one excluded; None: from the start, to the end. Through the index
                of a sound recording, only what lies between them is read.
        """
        wanted = [stored for stored in self._codecs if topics is None or stored.name in topics]
        for stored, time_ns, data in self.stored(wanted, from_ns, until_ns):
            codec = self._codecs[stored]
            try:
                yield Recorded(stored.name, codec.kind, time_ns, codec.to_cdr(data), codec)
            except MessageError as error:
                self._warn(f"{stored.name}: message left out: {error}")
        for storage in self._storages:
            if storage.damage:
                self._warn(storage.damage)

    @property
    def stored_topics(self) -> list[StoredTopic]:
        """Topics as the files declare them: those that cannot be read too, and of a name that has several types all."""
        return list(dict.fromkeys(stored for storage in self._storages for stored in storage.counts))

    def stored(
        self, wanted: Collection[StoredTopic], from_ns: int | None = None, until_ns: int | None = None
    ) -> Iterator[Stored]:
        """Messages as the files hold them, in order of log time; times without a clock count as the start. Those that
        were compressed one by one are unpacked.

        Args:
            wanted: some of `stored_topics`. from_ns, until_ns: as in `messages`.
        """
        start_ns = self.start_ns or 0
        is_from_start = from_ns is None or from_ns <= start_ns
        within = Interval(
            ALWAYS.from_ns if from_ns is None or is_from_start else from_ns,
            ALWAYS.until_ns if until_ns is None else until_ns if until_ns > start_ns else ALWAYS.from_ns,
        )
        for _, stored, time_ns, data in _in_time_order(self._storages, wanted, within):
            if stored is None:
                continue
            try:
                unpacked = _unpacked(data)
            except MessageError as error:
                self._warn(f"{stored.name}: message left out: {error}")
                continue
            yield stored, max(time_ns, start_ns), unpacked

    def _open(self) -> None:
        for path in self._files():
            log = path.with_name(f"{path.name}-wal")
            if log.is_file() and log.stat().st_size:
                self._warn(f"{log.name} holds messages that are not read: sqlite3 {path.name} 'PRAGMA wal_checkpoint'")
            try:
                storage = _open_storage(self._unpacked_file(path), path.stat().st_size)
            except Break as error:
                self._warn(f"{path.name}: nothing can be read from it ({error})")
                continue
            self._stack.callback(storage.close)
            self._storages.append(storage)
            for text in (storage.damage, *storage.notes):
                if text:
                    self._warn(text)
        if not self._storages:
            reasons = "; ".join(self.warnings)
            raise UserError(
                f"{self.path}: is not a readable bag ({reasons}); record it anew or give another one", "bag-format"
            )
        self._list_topics()
        self._find_times()

    def _find_times(self) -> None:
        starts = [storage.start_ns for storage in self._storages if storage.start_ns is not None]
        ends = [storage.end_ns for storage in self._storages if storage.end_ns is not None]
        self.start_ns = min((start_ns for start_ns in starts if start_ns), default=min(starts, default=None))
        self.end_ns = max(ends, default=None)
        zeros, when = sum(storage.zeros for storage in self._storages), "the log time 0"
        if self.start_ns and self.start_ns < _NO_CLOCK_NS:
            if self.end_ns is not None and self.end_ns < _YEARS_NS:
                self.start_ns = 0 if zeros else self.start_ns  # a simulation that begins at 0
                return
            zeros, self.start_ns = self._first_after(_NO_CLOCK_NS)
            when = "a log time near 0"
        if zeros:
            otherwise = "" if self.start_ns else ", as all have"
            self._warn(
                f"{zeros} messages have {when}{otherwise}: recorded with simulated time before the first "
                f"/clock{', they count as received at the first time that is known' if self.start_ns else ''}"
            )

    def _first_after(self, least_ns: int) -> tuple[int, int]:
        """(messages before a bag time, first bag time from there on), of those that are read."""
        times_ns = (time_ns for _, stored, time_ns, _ in _in_time_order(self._storages, self._codecs) if stored)
        for count, time_ns in enumerate(times_ns):
            if time_ns >= least_ns:
                return count, time_ns
        return 0, self.start_ns or 0

    def _list_topics(self) -> None:
        counts: dict[str, Counter[StoredTopic]] = {}
        for storage in self._storages:
            for stored, count in storage.counts.items():
                counts.setdefault(stored.name, Counter())[stored] += count
        for name in sorted(counts):
            self._list_topic(name, counts[name])

    def _list_topic(self, name: str, counts: Mapping[StoredTopic, int]) -> None:
        """A name that several programs wrote to has the type of which most messages can be read; others are skipped."""
        codecs = {stored: Codec(stored.kind, stored.definition, stored.form, stored.serialization) for stored in counts}
        readable: Counter[str] = Counter()
        whole: Counter[str] = Counter()
        for stored, count in counts.items():
            whole[stored.kind] += count
            readable[stored.kind] += 0 if codecs[stored].problem else count
        kind = max(whole, key=lambda each: (readable[each], whole[each]))  # of equals the first
        used = [each for each in counts if each.kind == kind and not (readable[kind] and codecs[each].problem)]
        for stored, count in counts.items():
            problem = codecs[stored].problem
            if stored.kind != kind:
                self._warn(f"{name}: {count} messages of a second type, {stored.kind}, are left out")
            elif problem:
                self._warn(f"{name}: {count} messages of type {kind or 'unknown'} are skipped: {problem}")
        self._codecs.update((stored, codecs[stored]) for stored in used)
        codec, profiles = codecs[used[0]], dict.fromkeys(qos for stored in used for qos in stored.qos)
        stored_kind = kind if kind != codec.kind else ""
        count = sum(counts[stored] for stored in used)
        self.topics[name] = BagTopic(name, codec.kind, count, tuple(profiles), codec.problem, stored_kind)

    def _files(self) -> list[Path]:
        """Storage files in natural order; UserError when there are none."""
        if not self.path.exists():
            raise UserError(
                f"{self.path}: no such bag; give a rosbag2 folder or an .mcap, .db3 or .bag file", "bag-missing"
            )
        if self.path.is_file():
            if not _storage_suffix(self.path):
                raise UserError(
                    f"{self.path}: is not a readable bag (its name ends in none of {', '.join(SUFFIXES)})", "bag-format"
                )
            return [self.path]
        present = sorted((p for p in listed(self.path) if _storage_suffix(p)), key=_natural)
        named = self._listed_files()
        used = {name: _as_it_lies_there(name, [path.name for path in present]) for name in named}
        for name, found in used.items():
            if not found:
                self._warn(f"{_METADATA} names {name}, which is not there")
        files = [path for path in present if path.name in used.values()] or self._without_copies(present)
        if not files:
            raise UserError(
                f"{self.path}: is not a readable bag (it holds no file of {', '.join(SUFFIXES)})", "bag-format"
            )
        formats = {_storage_suffix(path) for path in files}
        if len(formats) > 1:
            raise UserError(
                f"{self.path}: holds several formats ({', '.join(sorted(formats))}); give one file", "bag-ambiguous"
            )
        return files

    def _without_copies(self, files: list[Path]) -> list[Path]:
        """Of a file that lies there packed and unpacked, or before and behind `rosbag reindex`, one counts."""
        names = {path.name for path in files}
        used = []
        for path in files:
            unpacked = path.stem if path.suffix in ZSTD_SUFFIXES else path.name
            original = re.sub(rf"\.orig(?={re.escape(ROS1_SUFFIX)}$)", "", path.name)
            other = next((name for name in (unpacked, original) if name != path.name and name in names), None)
            if other is None:
                used.append(path)
            else:
                self._warn(f"{path.name} is left out: {other} beside it holds the same; give it by its name to read it")
        return used

    def _listed_files(self) -> set[str]:
        path = self.path / _METADATA
        if not path.exists():
            if not any(_storage_suffix(file) == ROS1_SUFFIX for file in listed(self.path)):
                self._warn(f"no {_METADATA}: read from the files alone")
            return set()
        try:
            names = read_yaml(path, "metadata")["rosbag2_bagfile_information"]["relative_file_paths"]
            return {Path(str(name)).name for name in names}
        except (UserError, LookupError, TypeError):
            self._warn(f"{_METADATA} is damaged: read from the files alone")
            return set()

    def _unpacked_file(self, path: Path) -> Path:
        """The file itself, or for one that was compressed as a whole a copy on disk, as far as it can be unpacked."""
        if path.suffix not in ZSTD_SUFFIXES:
            return path
        target = Path(self._stack.enter_context(TemporaryDirectory(prefix="any2seg-bag-"))) / path.stem
        complaint = unpack_file(path, target)
        if complaint:
            self._warn(f"{path.name}: can be unpacked only in part ({complaint})")
        return target

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


_FILES: dict[str, type[McapFile] | type[SqliteFile] | type[Ros1File]] = {
    MCAP_SUFFIX: McapFile, SQLITE_SUFFIX: SqliteFile, ROS1_SUFFIX: Ros1File
}  # fmt: skip


def _open_storage(path: Path, delivered: int) -> Storage:
    """Through the index if there is a sound one, else from the start to the break; Break when nothing is there.

    Args:
        delivered: bytes of the recording as the user gave it, for the limits.
    """
    try:
        file = _FILES[storage_suffix(path)](path, delivered)
    except PermissionError:
        raise
    except Exception as error:  # rosbags, sqlite and all that meets damaged bytes raise anything
        return SalvagedFile(path, first_line(error), delivered)
    if not isinstance(file, McapFile) or not file.is_unindexed:
        return ResumingFile(file, delivered)
    file.close()
    return SalvagedFile(path, "", delivered)


def _in_time_order(
    storages: Iterable[Storage], wanted: Collection[StoredTopic], within: Interval = ALWAYS
) -> Iterator[tuple[int, StoredTopic | None, int, bytes]]:
    """Merges files by time. Each begins with an empty entry at its start, so that it is not opened before its turn."""

    def one(storage: Storage) -> Iterator[tuple[int, StoredTopic | None, int, bytes]]:
        yield 0 if storage.zeros else storage.start_ns or 0, None, 0, b""
        for stored, time_ns, data in storage.messages(wanted, within):
            yield time_ns, stored, time_ns, data

    yield from heapq.merge(*(one(storage) for storage in storages), key=lambda entry: entry[0])


def _unpacked(data: Any) -> bytes:
    """A message that was compressed by itself, unpacked; any other as it is."""
    return unpack_message(data) if data[:4] == _ZSTD_MAGIC else data


def _storage_suffix(path: Path) -> str:
    return storage_suffix(Path(path.stem) if path.suffix in ZSTD_SUFFIXES else path)


def _as_it_lies_there(name: str, present: Collection[str]) -> str:
    """Name of a part of a recording, which may have been packed or unpacked since; "" where it is not there."""
    plain = Path(name).stem if Path(name).suffix in ZSTD_SUFFIXES else name
    return next((each for each in (name, plain, *(plain + suffix for suffix in ZSTD_SUFFIXES)) if each in present), "")


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name) if part]
