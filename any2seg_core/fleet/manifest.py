"""A list of recordings with what their owner knows about them: CSV or Parquet."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_text
from any2seg_core.fleet.packages import arrow, parquet
from any2seg_core.fleet.remote import is_url, local_path

SUFFIXES = (".csv", ".parquet")
COLUMNS = ("url", "vehicle", "date", "weather", "time_of_day", "tags")
_TAG_SEPARATOR = ";"


@dataclass(frozen=True)
class Facts:
    """What a manifest says about a recording; None and () where it says nothing."""

    vehicle: str | None = None
    date: datetime.date | None = None
    weather: str | None = None
    time_of_day: str | None = None
    tags: tuple[str, ...] = ()


def read_manifest(path: Path, base: str = "") -> dict[str, Facts]:
    """URL -> facts, in the order of the file.

    The first line of a CSV names its columns: url, and any of vehicle, date (2026-03-01), weather, time_of_day and tags
    (``a;b``; in Parquet a list). Urls that are relative count from the manifest.

    Args:
        base: path or URL of the folder that relative urls count from; "" that of the file.

    Raises:
        UserError: no such file, an unknown or missing column, a row without url, a date that is none, a url twice.
    """
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path)
    base, found = base or str(path.absolute().parent), {}
    for number, row in rows:
        place = f"{path}, row {number}"
        url = _text(row.get("url"), place, "url")
        if not url:
            raise UserError(f"{place}: has no url; give each row one", "file-content")
        url = local_path(url)
        url = url if is_url(url) or Path(url).is_absolute() else f"{base.rstrip('/')}/{url}"
        if url in found:
            raise UserError(f"{place}: {url} is listed twice; keep one row", "value-twice")
        found[url] = Facts(
            _text(row.get("vehicle"), place, "vehicle"), _date(row.get("date"), place),
            _text(row.get("weather"), place, "weather"), _text(row.get("time_of_day"), place, "time_of_day"),
            _tags(row.get("tags"), place),
        )  # fmt: skip
    return found


def _csv_rows(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    text = read_text(path, "manifest")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        _require_columns(path, header)
        rows = [(number, row) for number, row in enumerate(reader, start=2) if row]
    except csv.Error as error:
        raise UserError(f"{path}: is no CSV ({error}); save it as CSV with commas", "text-syntax") from None
    for number, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{path}, row {number}: has {len(row)} fields where the first line names {len(header)}; quote fields "
                "that hold commas",
                "file-content",
            )
    return [(number, dict(zip(header, row, strict=True))) for number, row in rows]


def _parquet_rows(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; check the path", "file-missing")
    try:
        table = parquet().read_table(path, partitioning=None)
    except (OSError, arrow().ArrowException) as error:
        raise UserError(f"{path}: is no Parquet file ({' '.join(str(error).split())[:200]})", "file-format") from None
    _require_columns(path, table.column_names)
    return list(enumerate(table.to_pylist(), start=1))


def _require_columns(path: Path, names: list[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or "url" not in names or len(set(names)) < len(names):
        wrong = f"has a column {unknown[0]!r}" if unknown else "has no column url, or one twice"
        raise UserError(f"{path}: {wrong[:80]}; a manifest has the columns {', '.join(COLUMNS)}", "file-content")


def _text(value: Any, place: str, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UserError(f"{place}: {name}={value!r} is no text; give text", "value-type")
    return (value or "").strip() or None


def _date(value: Any, place: str) -> datetime.date | None:
    if isinstance(value, datetime.datetime):
        return value.date()
    if value is None or isinstance(value, datetime.date):
        return value
    text = _text(value, place, "date") or ""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date() if text else None
    except ValueError:
        raise UserError(f"{place}: date {text[:40]!r} is none; write it as 2026-03-01", "value-format") from None


def _tags(value: Any, place: str) -> tuple[str, ...]:
    parts = value.split(_TAG_SEPARATOR) if isinstance(value, str) else value or ()
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise UserError(f"{place}: tags={value!r}: give text, several with ; between them", "value-type")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
