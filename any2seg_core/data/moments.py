"""A list of moments of recordings: CSV with the columns url and stamp_ns, as `any2seg fleet select` writes it."""

from __future__ import annotations

import csv
import io
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_text

URL, STAMP = "url", "stamp_ns"
TOLERANCE_NS = 10_000_000
"""A set this near to a moment is that moment: with other sensors in use the stamps of sets move a little."""


def read_moments(path: Path) -> dict[str, tuple[int, ...]]:
    """Path or URL of a recording -> stamps of its moments, nanoseconds, sorted; other columns are not read.

    Raises:
        UserError: no such file, a column is missing, or a stamp is no whole number.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, "list of moments"), newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: is no CSV ({error}); give the file of any2seg fleet select", "text-syntax") from None
    found: dict[str, set[int]] = {}
    for number, row in enumerate(rows, start=2):
        url, stamp = row.get(URL), row.get(STAMP)
        if not url or stamp is None:
            raise UserError(f"{path}, row {number}: a list of moments has columns {URL} and {STAMP}", "file-content")
        if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 20):
            raise UserError(f"{path}, row {number}: {STAMP}={stamp[:40]!r} is no whole number", "value-format")
        found.setdefault(url, set()).add(int(stamp))
    if not found:
        raise UserError(f"{path}: lists no moment (columns {URL}, {STAMP})", "data-empty")
    return {url: tuple(sorted(stamps_ns)) for url, stamps_ns in found.items()}


def moments_of(path: Path, recording: Path) -> tuple[int, ...]:
    """Stamps of the moments of one recording; UserError as of `read_moments`, and where it has none."""
    found = read_moments(path)
    for url, stamps_ns in found.items():
        if "://" not in url and Path(url).resolve() == recording.resolve():
            return stamps_ns
    raise UserError(f"{path}: lists no moment of {recording}, but of {next(iter(found))} and others", "data-empty")


def is_near(moments_ns: Sequence[int], stamp_ns: int) -> bool:
    """Whether one of the sorted moments is within `TOLERANCE_NS` of a stamp."""
    at = bisect_left(moments_ns, stamp_ns - TOLERANCE_NS)
    return at < len(moments_ns) and moments_ns[at] <= stamp_ns + TOLERANCE_NS


def write_moments(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with at least `url` and `stamp_ns`, whole or not at all; UserError where that cannot be."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
