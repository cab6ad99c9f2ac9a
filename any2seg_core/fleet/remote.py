"""Files at a URL, through fsspec: listed, read by ranges, and what was read is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import is_left_behind
from any2seg_core.fleet.packages import package

_BLOCK = 1 << 22
_OF_ONE_HOST = ("http", "https")
_OF_EXTRA = (*_OF_ONE_HOST, "s3", "s3a")  # which the extra of this package reads
_LOCAL = "file://"


@dataclass(frozen=True)
class StoredFile:
    """A file where it lies.

    Attributes:
        url: path or URL. n_bytes: 0 where the place does not say. modified_ns, etag: None where it does not say.
    """

    url: str
    n_bytes: int
    modified_ns: int | None = None
    etag: str | None = None

    @property
    def name(self) -> str:
        """Last part of the URL."""
        return self.url.rstrip("/").rpartition("/")[2]


def is_url(text: str) -> bool:
    """Whether a source is a URL and no path of this machine."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme != "file"


def shown_url(url: str) -> str:
    """A URL without what may be secret: user, password, query."""
    if not is_url(url):
        return url
    scheme, _, rest = url.partition("://")
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def local_path(text: str) -> str:
    """The path that a URL of this machine names (``file:///a``); any other text as it is."""
    return text.removeprefix(_LOCAL) or text


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Whatever a client of a network raises is one line that names the URL, without what may be secret in it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each client has its own, from aiohttp's to botocore's
        told = error.__cause__ or error.__context__ if isinstance(error, FileNotFoundError) else error
        if not isinstance(told, OSError | TimeoutError) and told is not error:
            raise UserError(f"{shown_url(url)}: nothing is there; check the URL", "file-missing") from None
        text = str(told).replace(url, shown_url(url))  # fsspec calls every failure a missing file
        reason = " ".join(text.split())[:200] or type(told).__name__
        raise UserError(
            f"{shown_url(url)}: cannot be reached ({reason}); check URL, network and credentials", "remote-unreachable"
        ) from None


def filesystem(url: str) -> tuple[Any, str]:
    """(fsspec file system, path in it); UserError where fsspec or the client of this kind of URL is missing."""
    fsspec = package("fsspec", "remote", f"reading {url.partition('://')[0]}:// URLs")
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError as error:
        is_extra = url.partition("://")[0] in _OF_EXTRA
        way_out = "pip install 'any2seg[remote]'" if is_extra else "install the package that it names"
        raise UserError(f"{shown_url(url)}: {error}: {way_out}", "package-missing") from None
    except ValueError as error:
        raise UserError(f"{shown_url(url)}: is no URL that can be read ({error}); check it", "value-format") from None
    return found


def list_files(url: str) -> list[StoredFile]:
    """All files below a URL or of a pattern, or the one at it; sorted by URL, without what a system has left there.

    A web server lists nothing: there a URL is that of one file.
    """
    fs, path = filesystem(url)
    with reaching(url):
        if url.partition("://")[0] in _OF_ONE_HOST:
            found = {path: fs.info(path)}
        elif any(letter in path for letter in "*?["):
            found = fs.glob(path, detail=True)
        else:
            found = fs.find(path, detail=True)
    files = [
        _stored(fs.unstrip_protocol(name), info) for name, info in found.items()
        if info.get("type") != "directory" and not _is_left_behind(name, path)
    ]  # fmt: skip
    return sorted(files, key=lambda file: file.url)


def _is_left_behind(name: str, place: str) -> bool:
    """As in folders of this machine; what is named itself is meant."""
    below = name[len(place) :] if name.startswith(place) else name.rpartition("/")[2]
    return any(is_left_behind(Path(part)) for part in below.split("/"))


def _stored(url: str, info: dict[str, Any]) -> StoredFile:
    etag = info.get("ETag") or info.get("etag")
    return StoredFile(url, int(info.get("size") or 0), _modified_ns(info), str(etag).strip('"') if etag else None)


def _modified_ns(info: dict[str, Any]) -> int | None:
    told = info.get("LastModified") or info.get("Last-Modified") or info.get("mtime")
    try:
        moment: Any = parsedate_to_datetime(told) if isinstance(told, str) else told
        seconds = moment if isinstance(moment, int | float) else moment.timestamp()
        return round(seconds * 1e9)
    except (AttributeError, TypeError, ValueError):
        return None


class RangeFile:
    """Reads parts of a file at a path or URL.

    Args:
        file: as listed.

    Attributes:
        bytes_read: over all reads so far.
    """

    def __init__(self, file: StoredFile) -> None:
        self.file = file
        self.bytes_read = 0
        if is_url(file.url):
            self._fs, self._path = filesystem(file.url)

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each [start, end); several are asked for at a time.

        Raises:
            UserError: the place cannot be read or reached, or does not serve ranges.
        """
        url = self.file.url
        parts = self._fetched(ranges) if is_url(url) else _read(Path(url), ranges)
        for part, (start, end) in zip(parts, ranges, strict=True):
            self.bytes_read += len(part)
            if len(part) != end - start:
                raise UserError(
                    f"{shown_url(url)}: gave {len(part)} bytes where {end - start} were asked for; its server must "
                    "serve ranges and the file must not change meanwhile",
                    "remote-unreachable",
                )
        return parts

    def _fetched(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
        if not ranges:  # of an empty file among others
            return []
        with reaching(self.file.url):
            parts: list[bytes] = self._fs.cat_ranges([self._path] * len(ranges), starts, ends, on_error="raise")
        return parts

    def copy(self, target: Path) -> None:
        """Write the whole file to a path, in blocks; UserError as of `read`."""
        with reaching(self.file.url):
            source = self._fs.open(self._path, "rb", block_size=_BLOCK)
        with source, target.open("wb") as copy:
            while block := self._block(source):
                copy.write(block)
                self.bytes_read += len(block)

    def _block(self, source: Any) -> bytes:
        with reaching(self.file.url):
            return bytes(source.read(_BLOCK))


def _read(path: Path, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Parts of a file of this machine."""
    try:
        with path.open("rb") as file:
            return [_at(file, start, end) for start, end in ranges]
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); check that it is there and its permissions",
            "file-unreadable",
        ) from None


def _at(file: Any, start: int, end: int) -> bytes:
    file.seek(start)
    return bytes(file.read(end - start))
