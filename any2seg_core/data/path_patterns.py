"""Patterns of paths: "{split}/{drive}/{frame}_rgb.png" finds files and says what each part of a path is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import is_left_behind

_TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|([^{}*]+)|(.)")
_FIELD = re.compile(r"([a-z][a-z0-9_]*)(?::(path|(?:0[1-9][0-9]?)?d))?")
_UP = ".."
_EXAMPLE = "as {split}/{drive}/{frame}.png"


@dataclass(frozen=True)
class _Token:
    """A piece of a pattern: literal text, ``*`` (name is None), or a placeholder."""

    text: str
    name: str | None = None
    spans_folders: bool = False
    width: int | None = None  # of a whole number, whose value is kept without zeros in front

    @property
    def regex(self) -> str:
        """What a placeholder stands for. Each number is written in one way."""
        if self.width is None:
            return ".+?" if self.spans_folders else "[^/]+?"
        return f"[0-9]{{{self.width}}}|[1-9][0-9]{{{self.width},}}" if self.width else "0|[1-9][0-9]*"

    def written(self, values: Mapping[str, str]) -> str:
        if self.name is None:
            return self.text
        value = values[self.name]
        return value if self.width is None else f"{int(value):0{self.width}d}"


class PathPattern:
    """A pattern of paths below one folder.

    ``{name}`` is a part of a file's or folder's name, ``{name:path}`` may hold several folders, ``{name:06d}`` is a
    whole number with at least so many digits (``d``: without zeros in front), ``*`` is anything within one name. A
    placeholder that occurs twice stands for the same text. The shortest text that fits counts, from left to right.

    Args:
        text: with ``/`` between folders, relative to the folder of the data.

    Attributes:
        text: as given. names: placeholders, in order.

    Raises:
        UserError: no pattern; says what is wrong with it.

    Examples:
        >>> from any2seg_core.data.path_patterns import PathPattern
        >>> pattern = PathPattern("{split}/{city}_{frame:d}.png")
        >>> pattern.match("train/ulm_0007.png")
        {'split': 'train', 'city': 'ulm', 'frame': '7'}
    """

    def __init__(self, text: str) -> None:
        self.text = text
        parts = PurePosixPath(text).parts
        is_path = text.strip() and text.isprintable() and "\\" not in text and not text.endswith("/")
        if not is_path or not parts or text.startswith("/") or _UP in parts:
            raise UserError(f"pattern {text[:200]!r}: give a path below the data folder, {_EXAMPLE}", "value-format")
        self._tokens = tuple(_tokens(text))
        self.names = tuple(dict.fromkeys(token.name for token in self._tokens if token.name is not None))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PathPattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def is_open(self) -> bool:
        """Whether values of all placeholders do not yet say the path: there is a ``*``."""
        return any(token.name is None and token.text == "*" for token in self._tokens)

    def match(self, path: str) -> dict[str, str] | None:
        """Values of the placeholders in a path with ``/``; None where it does not fit."""
        return _values(self._regex.fullmatch(path), self._tokens)

    def path(self, values: Mapping[str, str]) -> str:
        """The path of these values, only where the pattern is not open; UserError for one out of the folder."""
        found = "".join(token.written(values) for token in self._tokens)
        if found.startswith("/") or _UP in found.split("/"):
            raise UserError(f"{found[:200]!r} leads out of the folder of the data: correct this name", "value-format")
        return found

    def find(self, root: Path, known: Mapping[str, str] | None = None) -> Iterator[tuple[dict[str, str], Path]]:
        """Files that fit, in order of their names, with the values of all placeholders.

        Args:
            root: folder that the pattern is relative to.
            known: values that some placeholders must have.
        """
        if any(token.spans_folders for token in self._tokens):
            yield from self._find_anywhere(root, known or {})
        else:
            yield from _find(root, self._levels, dict(known or {}))

    def _find_anywhere(self, root: Path, known: Mapping[str, str]) -> Iterator[tuple[dict[str, str], Path]]:
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if not is_left_behind(Path(name)))
            inside = Path(folder).relative_to(root)
            for name in sorted(files):
                values = None if is_left_behind(Path(name)) else self.match((inside / name).as_posix())
                if values is not None and all(values.get(key, value) == value for key, value in known.items()):
                    yield values, Path(folder, name)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return _regex(self._tokens)

    @cached_property
    def _levels(self) -> tuple[tuple[_Token, ...], ...]:
        """Tokens of each folder, and of the file."""
        return tuple(tuple(_tokens(part)) for part in self.text.split("/"))


def _tokens(text: str) -> Iterator[_Token]:
    for field, star, literal, stray in _TOKEN.findall(text):
        if stray or (not star and not literal and not _FIELD.fullmatch(field)):
            what = f"{stray!r}" if stray else f"placeholder {{{field}}}"
            raise UserError(f"pattern {text!r}: {what} is not understood; write {_EXAMPLE}", "value-format")
        if star or literal:
            yield _Token(star or literal)
            continue
        name, kind = _FIELD.fullmatch(field).groups()  # type: ignore[union-attr]
        width = int(kind[:-1] or 0) if kind and kind.endswith("d") else None
        yield _Token(field, name, kind == "path", width)


def _find(
    folder: Path, levels: Sequence[tuple[_Token, ...]], values: dict[str, str]
) -> Iterator[tuple[dict[str, str], Path]]:
    """Files below a folder that fit the levels, with all values; of the first levels they are known already."""
    level, deeper = levels[0], levels[1:]
    is_said = all(token.name in values if token.name is not None else token.text != "*" for token in level)
    if is_said:
        path = folder / "".join(token.written(values) for token in level)
        if deeper and path.is_dir():
            yield from _find(path, deeper, values)
        elif not deeper and path.is_file():
            yield values, path
        return
    regex = _regex(level)
    for name, is_folder in _entries(folder):
        found = _values(regex.fullmatch(name), level)
        if found is None or is_folder != bool(deeper):
            continue
        if any(values.get(key, value) != value for key, value in found.items()):
            continue
        if deeper:
            yield from _find(folder / name, deeper, values | found)
        else:
            yield values | found, folder / name


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, and whether they are folders."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e.name, e.is_dir()) for e in entries if not is_left_behind(Path(e.name)))
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot be read ({error.strerror}); check it and its permissions",
            "file-unreadable",
        ) from None


def _regex(tokens: Iterable[_Token]) -> re.Pattern[str]:
    """Groups g0, g1, ... in the order of the tokens that are placeholders for the first time, or numbers."""
    groups: dict[str, str] = {}
    parts = []
    for number, token in enumerate(tokens):
        if token.name is None:
            parts.append("[^/]*" if token.text == "*" else re.escape(token.text))
        elif token.width is None and token.name in groups:
            parts.append(f"(?P={groups[token.name]})")
        else:
            groups.setdefault(token.name, f"g{number}")
            parts.append(f"(?P<g{number}>{token.regex})")
    return re.compile("".join(parts))


def _values(found: re.Match[str] | None, tokens: Iterable[_Token]) -> dict[str, str] | None:
    if found is None:
        return None
    values: dict[str, str] = {}
    groups = found.groupdict()
    for number, token in enumerate(tokens):
        text = groups.get(f"g{number}")
        if token.name is None or text is None:
            continue
        value = text if token.width is None else str(int(text))
        if values.setdefault(token.name, value) != value or _UP in value.split("/"):
            return None
    return values
