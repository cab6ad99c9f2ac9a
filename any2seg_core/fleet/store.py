"""A fleet's store: a folder of Parquet files that index, evaluate and questions share. There is no server.

    store.json                            format and version
    recordings.parquet, topics.parquet    of `any2seg fleet index`
    evaluations/<name>/evaluation.json    what was evaluated with what, by `any2seg fleet evaluate`
    evaluations/<name>/parts/<recording_id>.parquet    frames of one recording
    evaluations/<name>/frames.parquet     all parts in one file, in order of recording and stamp

Every file appears whole or not at all, so that a process may be killed at any moment. The parts are what counts:
frames.parquet is made of them again at any time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from any2seg_core.base.atomic import new_folder, replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json
from any2seg_core.fleet.packages import arrow, duckdb, parquet
from any2seg_core.fleet.schemas import frames_schema, recordings_schema, topics_schema
from any2seg_core.vocabulary.modalities import VEHICLE

VERSION = 1
_FORMAT = "any2seg-fleet"
_STORE, _RECORDINGS, _TOPICS, _EVALUATIONS = "store.json", "recordings.parquet", "topics.parquet", "evaluations"
_EVALUATION, _PARTS, _FRAMES = "evaluation.json", "parts", "frames.parquet"
_ID, _NAME = re.compile(r"[0-9a-f]{16}"), re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SUFFIX = ".parquet"
_GROUP_ROWS = 122_880  # what DuckDB reads at a time
_MERGED = b"any2seg.recordings"  # in the metadata of frames.parquet: ids of the recordings in it, as JSON
_WILD = frozenset("*?[]{}")  # DuckDB reads these in a path as a pattern


class FleetStore:
    """A store that is there: `create` or `open` it.

    Attributes:
        path: of its folder, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path | str) -> FleetStore:
        """A new and empty store; the folder appears with all its files.

        Raises:
            UserError: something is there already, the place cannot be written, or pyarrow is missing.
        """
        folder = _usable(path)
        recordings, topics = recordings_schema().empty_table(), topics_schema().empty_table()
        with new_folder(folder) as partial:
            _write_json(partial / _STORE, {"format": _FORMAT, "version": VERSION})
            _write_table(partial / _RECORDINGS, recordings)
            _write_table(partial / _TOPICS, topics)
        return cls(folder)

    @classmethod
    def open(cls, path: Path | str) -> FleetStore:
        """A store that is there.

        Raises:
            UserError: none is there, it is of another version, it is damaged, or pyarrow is missing.
        """
        store = cls(_usable(path))
        store._require_version()
        for name, schema in ((_RECORDINGS, recordings_schema()), (_TOPICS, topics_schema())):
            found = _read_schema(store.path / name)
            if not found.equals(schema):
                lacking = sorted(set(schema.names) ^ set(found.names)) or [
                    name for name in schema.names if not found.field(name).equals(schema.field(name))
                ]
                raise UserError(
                    f"{store.path / name}: other columns than a store of version {VERSION} has "
                    f"({', '.join(lacking[:5])}); index into a new store",
                    "store-damaged",
                )
        return store

    def _require_version(self) -> None:
        if not (self.path / _STORE).is_file():
            there = "is there and is no fleet store" if self.path.exists() else "no such folder"
            raise UserError(
                f"{self.path}: {there}; any2seg fleet index makes a store at a path where nothing is", "store-missing"
            )
        document = read_json(self.path / _STORE, "description of a fleet's store")
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise UserError(f"{self.path / _STORE}: describes no fleet store; give another folder", "store-missing")
        if document.get("version") != VERSION:
            raise UserError(
                f"{self.path}: a store of version {document.get('version')!r}, this program reads {VERSION}; index "
                "into a new store, or take the program that made it",
                "store-version",
            )

    def recordings(self) -> Any:
        """pyarrow table of `recordings_schema`, sorted by url."""
        return _read_table(self.path / _RECORDINGS)

    def topics(self) -> Any:
        """pyarrow table of `topics_schema`, sorted by recording and topic."""
        return _read_table(self.path / _TOPICS)

    def write_index(self, recordings: Any, topics: Any) -> None:
        """Replace both tables, or none of them.

        Args:
            recordings, topics: pyarrow tables of the schemas, in any order of rows.

        Raises:
            UserError: a recording stands there twice, or the disk is full.
        """
        _require_single(recordings.column("recording_id").to_pylist(), str(self.path))
        with replacing(self.path / _RECORDINGS) as first, replacing(self.path / _TOPICS) as second:
            _write_table(first, recordings.cast(recordings_schema()).sort_by("url"))
            _write_table(
                second, topics.cast(topics_schema()).sort_by([("recording_id", "ascending"), ("topic", "ascending")])
            )

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Name -> document of evaluation.json, sorted by name."""
        found = sorted(self.path.glob(f"{_EVALUATIONS}/*/{_EVALUATION}"))
        documents = {path: read_json(path, "description of an evaluation") for path in found}
        for path, document in documents.items():
            if not isinstance(document, dict):
                raise UserError(f"{path}: describes no evaluation; remove its folder, evaluate anew", "store-damaged")
        return {path.parent.name: document for path, document in documents.items()}

    def write_evaluation(self, name: str, document: Mapping[str, Any]) -> None:
        """Write evaluation.json; UserError for a name that is none or a place that cannot be written."""
        with replacing(self.evaluation_folder(name) / _EVALUATION) as partial:
            _write_json(partial, document)

    def write_part(self, name: str, recording_id: str, frames: Any) -> None:
        """Write the frames of one finished recording: from then on they count, and whole.

        Args:
            frames: pyarrow table of `frames_schema`; rows are sorted by stamp.

        Raises:
            UserError: rows of another recording, or a place that cannot be written.
        """
        others = set(frames.column("recording_id").unique().to_pylist()) - {recording_id}
        if others or not _ID.fullmatch(recording_id):
            raise UserError(f"frames of {sorted(others)[:3]} given as those of {recording_id!r}", "value-conflict")
        with replacing(self._part(name, recording_id)) as partial:
            _write_table(partial, frames.sort_by("stamp_ns"))

    def finished(self, name: str) -> set[str]:
        """Ids of the recordings whose frames are there."""
        try:  # thousands of names, which pathlib takes long for
            names = os.listdir(self.evaluation_folder(name) / _PARTS)
        except FileNotFoundError:
            return set()
        stems = (each.removesuffix(_SUFFIX) for each in names if each.endswith(_SUFFIX))
        return {stem for stem in stems if _ID.fullmatch(stem)}

    def merge(self, name: str) -> int:
        """Write all parts of recordings in the index into one file, without holding them in memory; returns the rows.

        Raises:
            UserError: a part is damaged, parts are of different evaluations, or the place cannot be written.
        """
        current = self._current_ids()
        parts = {each: self._part(name, each) for each in sorted(self.finished(name) & current)}
        if not parts:
            return 0
        schema = _read_schema(next(iter(parts.values())))
        told = {**(schema.metadata or {}), _MERGED: json.dumps(list(parts)).encode()}
        rows = 0
        with replacing(self.evaluation_folder(name) / _FRAMES) as partial:
            writer = parquet().ParquetWriter(partial, schema.with_metadata(told), compression="zstd")
            with writer:
                for table in _in_groups(parts.values(), schema):
                    writer.write_table(table, row_group_size=_GROUP_ROWS)
                    rows += len(table)
        return rows

    def connection(self) -> Any:
        """A DuckDB connection with the views recordings, topics and frames.

        Frames are those of all evaluations, with the column evaluation in front, of finished recordings that are in the
        index. Nothing outside the folder of the store can be read. To run what a user has written, take
        `queries.ask`, which lets through nothing that writes.
        """
        base = duckdb()
        connection = base.connect(":memory:")
        connection.execute("SET autoinstall_known_extensions=false; SET autoload_known_extensions=false")
        connection.execute(f"SET temp_directory=''; SET allowed_directories=[{_quoted(f'{self.path}/')}]")
        for name in ("recordings", "topics"):
            connection.execute(
                f"CREATE VIEW {name} AS SELECT * FROM read_parquet({_quoted(self.path / f'{name}.parquet')})"
            )
        connection.register("no_frames_arrow", _no_frames())
        connection.execute("CREATE TABLE no_frames AS SELECT '' AS evaluation, * FROM no_frames_arrow")
        connection.unregister("no_frames_arrow")
        sources = [source for name in self.evaluations() for source in self._frame_sources(name)]
        connection.execute(f"CREATE VIEW frames AS {' UNION ALL BY NAME '.join(sources) or 'FROM no_frames'}")
        connection.execute("SET enable_external_access=false; SET lock_configuration=true")
        return connection

    def _frame_sources(self, name: str) -> Iterator[str]:
        """SELECTs that give the frames of an evaluation: the merged file, and parts that are not in it yet."""
        current, merged_file = self._current_ids(), self.evaluation_folder(name) / _FRAMES
        merged = _merged_ids(merged_file) if merged_file.is_file() else set()
        if merged:
            gone = sorted(merged - current)
            where = f" WHERE recording_id NOT IN ({', '.join(map(_quoted, gone))})" if gone else ""
            yield f"(SELECT {_quoted(name)} AS evaluation, * FROM read_parquet({_quoted(merged_file)}){where})"
        if fresh := (self.finished(name) & current) - merged:
            files = ", ".join(_quoted(self._part(name, each)) for each in sorted(fresh))
            yield f"(SELECT {_quoted(name)} AS evaluation, * FROM read_parquet([{files}], union_by_name=true))"

    def _current_ids(self) -> set[str]:
        return set(_read_table(self.path / _RECORDINGS, ["recording_id"]).column("recording_id").to_pylist())

    def evaluation_folder(self, name: str) -> Path:
        """Where the files of an evaluation lie; UserError for a name that is none."""
        if not _NAME.fullmatch(name):
            raise UserError(
                f"evaluation {name[:40]!r}: give a name of letters, digits, '_', '-' and '.'", "value-format"
            )
        return self.path / _EVALUATIONS / name

    def _part(self, name: str, recording_id: str) -> Path:
        return self.evaluation_folder(name) / _PARTS / f"{recording_id}{_SUFFIX}"


def _no_frames() -> Any:
    """An empty table of frames, for a store without an evaluation."""
    letters = [VEHICLE.subset_letters(subset) for subset in VEHICLE.all_subsets()]
    schema, pa = frames_schema(letters, VEHICLE.members), arrow()
    numbers = pa.field("embedding", pa.list_(pa.float32()))  # as DuckDB reads float16, which it takes from files alone
    return schema.set(schema.get_field_index("embedding"), numbers).empty_table()


def _usable(path: Path | str) -> Path:
    folder = Path(path).absolute()
    if _WILD & set(str(folder)):
        wild = " ".join(sorted(_WILD))
        raise UserError(f"{folder}: a store's path has none of {wild}; choose another", "value-format")
    return folder


def _quoted(text: Path | str) -> str:
    """A text as SQL has it."""
    return "'" + str(text).replace("'", "''") + "'"


def _require_single(recording_ids: Sequence[str], where: str) -> None:
    seen: set[str] = set()
    for each in recording_ids:
        if each in seen:
            raise UserError(f"{where}: recording {each} stands there twice; give it once", "value-twice")
        seen.add(each)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _write_table(path: Path, table: Any) -> None:
    parquet().write_table(table, path, compression="zstd", row_group_size=_GROUP_ROWS)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What pyarrow cannot read is a damaged store."""
    try:
        yield
    except (OSError, arrow().ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read ({reason}); index into a new store", "store-damaged") from None


def _read_table(path: Path, columns: Collection[str] | None = None) -> Any:
    with _readable(path):
        return parquet().read_table(path, columns=columns, partitioning=None)


def _read_schema(path: Path) -> Any:
    with _readable(path):
        return parquet().read_schema(path)


def _merged_ids(path: Path) -> set[str]:
    with _readable(path):
        told = parquet().read_metadata(path).metadata or {}
    return set(json.loads(told.get(_MERGED, b"[]")))


def _in_groups(parts: Collection[Path], schema: Any) -> Iterator[Any]:
    """Tables of about one row group each, of many small files in their order."""
    waiting: list[Any] = []
    for path in parts:
        table = _read_table(path)
        if not table.schema.equals(schema):
            raise UserError(f"{path}: other columns than the other recordings have; evaluate anew", "store-damaged")
        waiting.append(table)
        if sum(map(len, waiting)) >= _GROUP_ROWS:
            yield arrow().concat_tables(waiting)
            waiting = []
    if waiting:
        yield arrow().concat_tables(waiting)
