"""Where recordings lie: folders, patterns, URLs and manifests; what tells one from another; copies to work on."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from any2seg_core.bags.reader import is_recording
from any2seg_core.bags.storage import MCAP_SUFFIX
from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import is_left_behind
from any2seg_core.fleet.manifest import SUFFIXES as MANIFEST_SUFFIXES
from any2seg_core.fleet.manifest import Facts, read_manifest
from any2seg_core.fleet.remote import RangeFile, StoredFile, is_url, list_files, local_path, shown_url
from any2seg_core.fleet.remote_mcap import RemoteMcap

AT_ONCE = 16
"""Places that are asked at a time: each answer from a network takes a while."""
_METADATA = "metadata.yaml"
_BESIDE = (".yaml", ".json")  # calibration, settings and conditions of a recording
_EDGE, _INNER, _INNERS = 1 << 16, 1 << 12, 8  # bytes of head and tail, of a block between them, and how many

Noted = tuple[int | None, int | None, str | None]
"""Bytes, time and ETag of a recording: what tells without a look into it that it has changed."""


@dataclass(frozen=True)
class Source:
    """A recording as it was found.

    Attributes:
        url: path of its folder or file on this machine, or URL. files: its storage files, in the order of names; none
            where a manifest names what cannot be used.
        beside: small files that belong to it. facts: of a manifest. problem: why there are no files.
    """

    url: str
    files: tuple[StoredFile, ...]
    beside: tuple[StoredFile, ...] = ()
    facts: Facts = Facts()
    problem: UserError | None = None

    @property
    def n_bytes(self) -> int:
        """Of its storage files."""
        return sum(file.n_bytes for file in self.files)

    @property
    def modified_ns(self) -> int | None:
        """The latest of all its files; None where none is known."""
        return max((file.modified_ns for file in (*self.files, *self.beside) if file.modified_ns), default=None)

    @property
    def etag(self) -> str | None:
        """Of its storage files; None where none is known."""
        return ",".join(file.etag for file in self.files if file.etag) or None

    @property
    def noted(self) -> Noted:
        """See `Noted`."""
        return self.n_bytes, self.modified_ns, self.etag

    @property
    def is_remote(self) -> bool:
        return is_url(self.url)


def find_sources(arguments: Sequence[str]) -> list[Source]:
    """The recordings that folders, files, patterns, URLs and manifests name, in order of their URLs.

    A folder with metadata.yaml is one recording, otherwise each file that is called as one.

    Raises:
        UserError: something is not there, holds no recording, is a wrong manifest, or a recording is named twice.
    """
    found: dict[str, Source] = {}
    for argument in arguments:
        for source in _sources_of(local_path(argument)):
            if source.url in found:
                raise UserError(f"{source.url}: is given twice; give each recording once", "value-twice")
            found[source.url] = source
    return sorted(found.values(), key=lambda source: source.url)


def _sources_of(named: str) -> Iterator[Source]:
    if named.lower().endswith(MANIFEST_SUFFIXES):
        yield from _listed(named)
        return
    if is_url(named):
        sources = _group(list_files(named))
    elif os.path.exists(named):
        sources = _group(_local_files(Path(named).absolute()))
    else:
        paths = sorted(glob.glob(named))
        if not paths:
            raise UserError(f"{named}: no such file or folder; check the path", "file-missing")
        sources = [each for path in paths for each in _matched(path)]
    if not sources:
        raise UserError(f"{named}: holds no recording (.mcap, .db3, .bag); give another place", "bag-missing")
    yield from sources


def _matched(path: str) -> list[Source]:
    """What lies at a place that fits a pattern; nothing where that is no recording."""
    try:
        return list(_sources_of(path))
    except UserError as error:
        if error.code != "bag-missing":
            raise
        return []


def _listed(named: str) -> Iterator[Source]:
    """The recordings of a manifest, those that are not there too."""
    if is_url(named):
        with TemporaryDirectory(prefix="any2seg-manifest-") as folder:
            copy = Path(folder) / named.rpartition("/")[2]
            RangeFile(StoredFile(named, 0)).copy(copy)
            facts = read_manifest(copy, named.rpartition("/")[0])
    else:
        facts = read_manifest(Path(named))
    if not facts:
        raise UserError(f"{named}: lists no recording; give it a row for each", "bag-missing")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(_at, facts))
    for source, known in zip(found, facts.values(), strict=True):
        yield replace(source, facts=known)


def _at(url: str) -> Source:
    """What lies at a url of a manifest: one wrong row costs itself alone."""
    try:
        if url.lower().endswith(MANIFEST_SUFFIXES):
            raise UserError(f"{shown_url(url)}: is a manifest in a manifest; give it beside this one", "value-conflict")
        return _one(url, list(_sources_of(url)))
    except UserError as error:
        return Source(url, (), problem=error)


def _one(url: str, found: Sequence[Source]) -> Source:
    """The recording at a place, though others may lie below it; UserError where others alone do."""
    place = url.rstrip("/") if is_url(url) else str(Path(url).absolute())
    chosen = [source for source in found if source.url == place] or found
    if len(chosen) > 1:
        raise UserError(
            f"{shown_url(url)}: holds {len(chosen)} recordings; list them one by one", "bag-ambiguous"
        )
    return chosen[0]


def _local_files(path: Path) -> list[StoredFile]:
    found = []
    for name in [path] if path.is_file() else _files_below(path):
        try:
            about = name.stat()
        except OSError:  # a link to nothing
            continue
        found.append(StoredFile(str(name), about.st_size, about.st_mtime_ns))
    return found


def _files_below(folder: Path) -> list[Path]:
    """All files of a folder, and of folders that links in it lead to.

    Links to what is found without them, such as ``latest`` to a drive beside it, add nothing.
    """
    names: list[Path] = []
    visited: set[str] = set()
    waiting = [str(folder)]
    while waiting:
        links: list[str] = []
        for place, inner, files in os.walk(waiting.pop(0)):
            real = os.path.realpath(place)
            if real in visited:
                inner.clear()
                continue
            visited.add(real)
            inner[:] = sorted(name for name in inner if not is_left_behind(Path(name)))
            links += [path for name in inner if os.path.islink(path := os.path.join(place, name))]
            names += [Path(place) / name for name in sorted(files) if not is_left_behind(Path(name))]
        waiting += links
    owners: dict[str, Path] = {}
    for name in sorted(filter(is_recording, names), key=Path.is_symlink):  # files themselves before links to them
        owners.setdefault(os.path.realpath(name), name)
    return [name for name in names if not name.is_symlink() or owners.get(os.path.realpath(name), name) == name]


def _group(files: Sequence[StoredFile]) -> list[Source]:
    """Files of one recording together."""
    folders: dict[str, list[StoredFile]] = {}
    for file in files:
        folders.setdefault(file.url.rpartition("/")[0], []).append(file)
    sources = []
    for folder, inside in folders.items():
        storage = tuple(file for file in inside if is_recording(Path(file.name)))
        beside = tuple(file for file in inside if Path(file.name).suffix in _BESIDE)
        if storage and any(file.name == _METADATA for file in inside):
            sources.append(Source(folder, storage, beside))
        else:
            sources += [Source(file.url, (file,), beside if len(storage) == 1 else ()) for file in storage]
    return sources


def indexed_source(url: str, recording_id: str, noted: Noted | None = None) -> Source:
    """A recording of the index, where it lies now.

    Args:
        noted: `Source.noted` as it was in the index: where nothing of it has changed, nothing is read.

    Raises:
        UserError: nothing is there, or by now something of other content.
    """
    source = next((each for each in find_sources([url]) if each.url == url), None)
    if source is None or (source.noted != noted and fingerprint(source)[0] != recording_id):
        raise UserError(
            f"{shown_url(url)}: has changed since it was indexed; run any2seg fleet index again", "recording-changed"
        )
    return source


def fingerprint(source: Source) -> tuple[str, int]:
    """(16 hexadecimal digits that tell contents apart, bytes read for it).

    Of size, beginning, end and some blocks between of each storage file: names and places do not count. An empty file
    has no content, it is told by its URL.
    """
    digest, count = hashlib.sha256(), 0
    if not source.n_bytes:
        digest.update(source.url.encode(errors="surrogateescape"))
    for stored in source.files if source.n_bytes else ():
        file, size = RangeFile(stored), stored.n_bytes
        digest.update(size.to_bytes(8, "little"))
        starts = [size * part // (_INNERS + 1) for part in range(1, _INNERS + 1)]
        blocks = [(0, min(size, _EDGE)), (max(0, size - _EDGE), size)]
        blocks += [(start, min(size, start + _INNER)) for start in starts]
        for block in file.read([each for each in blocks if each[0] < each[1]]):
            digest.update(block)
        count += file.bytes_read
    return digest.hexdigest()[:16], count


@dataclass
class LocalCopy:
    """A recording that programs of this machine can open.

    Attributes:
        path: of its folder or file. fetched_bytes: over the network, whole files.
        remote: index of the file elsewhere, where only a part of it was fetched.
    """

    path: Path
    fetched_bytes: int = 0
    remote: RemoteMcap | None = None

    @property
    def is_whole(self) -> bool:
        return self.remote is None

    @property
    def start_ns(self) -> int | None:
        """Log time of the first message of the whole recording, where only a part is here; None otherwise."""
        return None if self.remote is None else self.remote.start_ns

    @property
    def bytes_read(self) -> int:
        """Over the network, so far."""
        return self.fetched_bytes + (0 if self.remote is None else self.remote.file.bytes_read)


@contextmanager
def local_copy(source: Source) -> Iterator[LocalCopy]:
    """The recording itself, or of one that lies elsewhere a whole copy for as long as it is used.

    UserError as of `RangeFile`.
    """
    if not source.is_remote:
        yield LocalCopy(Path(source.url))
        return
    with _copies_of(source) as folder:
        copied = _fetch(source, folder, source.files)
        yield LocalCopy(_path_in(folder, source), copied)


@contextmanager
def local_excerpt(source: Source, from_s: float, until_s: float) -> Iterator[LocalCopy]:
    """The recording itself, or while it is used at least an interval of one that lies elsewhere.

    Of a single MCAP file with an index only the chunks of the interval are fetched, anything else as a whole.

    Args:
        from_s, until_s: seconds from the first message.
    """
    (first, *more) = source.files
    if not source.is_remote or more or not first.name.endswith(MCAP_SUFFIX):
        with local_copy(source) as copy:
            yield copy
        return
    file = RangeFile(first)
    try:
        remote = RemoteMcap(file)
    except ValueError:
        with local_copy(source) as copy:
            yield replace(copy, fetched_bytes=copy.fetched_bytes + file.bytes_read)
        return
    with _copies_of(source) as folder:
        beside = _fetch(source, folder, ())
        remote.write_excerpt(
            folder / first.name, remote.start_ns + round(from_s * 1e9), remote.start_ns + round(until_s * 1e9)
        )
        yield LocalCopy(_path_in(folder, source), beside, remote)


@contextmanager
def _copies_of(source: Source) -> Iterator[Path]:
    """A folder for as long as copies in it are used; errors name the recording and not the copy."""
    with TemporaryDirectory(prefix="any2seg-recording-") as name:
        folder = Path(name)
        try:
            yield folder
        except UserError as error:
            text, shown = str(error), shown_url(source.url)
            error.args = (text.replace(str(_path_in(folder, source)), shown).replace(name, shown),)
            raise


def _fetch(source: Source, folder: Path, files: Sequence[StoredFile]) -> int:
    """Copies files and what lies beside them; returns the bytes."""
    count = 0
    for stored in (*files, *(each for each in source.beside if each.name != _METADATA or files)):
        file = RangeFile(stored)
        file.copy(folder / stored.name)
        count += file.bytes_read
    return count


def _path_in(folder: Path, source: Source) -> Path:
    is_file = len(source.files) == 1 and source.url == source.files[0].url
    return folder / source.files[0].name if is_file else folder
