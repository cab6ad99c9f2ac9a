"""Frames of a recipe: which files of a folder belong together, and to which split."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import accumulate
from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import held_by
from any2seg_core.base.text_files import read_text
from any2seg_core.data.nuscenes import read_key_frames
from any2seg_core.data.path_patterns import PathPattern
from any2seg_core.data.recipe import Recipe
from any2seg_core.data.recipe_parts import DRIVE, FRAME, NUMBER, SPLIT, TABLE_VALUES, Shares, SplitRule
from any2seg_core.data.samples import LABELS, NoFramesError
from any2seg_core.files.event_columns import NS_PER_UNIT
from any2seg_core.sensors.calibration import Calibration

CALIBRATION = "calibration"
"""Key of the calibration beside the sensors in `FolderFrame.files`."""

_LEARNT, _JUDGED = "train", ("val", "test")
_Values = dict[str, str]
_Found = tuple[_Values, Path, Calibration | None]
_FILES_OF_TABLES = TABLE_VALUES[:3]


@dataclass(frozen=True)
class FolderFrame:
    """One moment.

    Attributes:
        name: values of the placeholders but ``{split}``, joined with "/"; unique within the split.
        condition: see `Recipe.condition`. drive: "" where the recipe has no such placeholder.
        files: sensor, LABELS or CALIBRATION -> file; what is optional and not there is left out.
        calibration: where tables know it.
    """

    name: str
    condition: str = field(compare=False)
    drive: str = field(compare=False)
    files: dict[str, Path] = field(compare=False, repr=False)
    calibration: Calibration | None = field(default=None, compare=False, repr=False)


def find_frames(
    root: Path, recipe: Recipe, split: str, sensors: Collection[str], labelled: bool
) -> Iterator[FolderFrame]:
    """Frames of a split, in order of their files' names; of a list or tables, in their order.

    Args:
        sensors: whose files are wanted. labelled: whether truth is; frames without it are left out if it is partial.

    Raises:
        UserError: two files for one frame, a frame of train that is in val or test too, or a list that cannot be read
            or names what is not there.
    """
    rule = recipe.rules[split]
    said = [*recipe.only.items(), *rule.where.items()]
    known = {name: words[0] for name, words in said if len(words) == 1 and not _is_glob(words[0])}
    files = _Finder(root, recipe, split, known, sensors, labelled)
    keeps_split = len(rule.where.get(SPLIT, ())) > 1
    chosen: Iterable[_Found] = (
        found
        for found in _reference_files(root, recipe, split, rule, known)
        if _fits(found[0], recipe.only)
        and _fits(found[0], rule.where)
        and not (rule.without and _fits(found[0], rule.without))
    )
    if recipe.share is not None:
        chosen = list(chosen)
        drawn = drawn_splits({values[recipe.unit] for values, _, _ in chosen}, recipe.share, recipe.source)
        chosen = [found for found in chosen if drawn[found[0][recipe.unit]] == split]
    rivals = _Rivals(root, recipe, split, known)
    for values, path, calibration in chosen:
        rivals.require_own(values)
        found = files.of(values, path)
        if found is not None:
            unnamed = {NUMBER, *(_FILES_OF_TABLES if recipe.tables else () if keeps_split else (SPLIT,))}
            parts = [value for name, value in values.items() if name not in unnamed]
            condition = PathPattern(recipe.condition).path(values) if recipe.condition else "all"
            yield FolderFrame("/".join(parts), condition, values.get(DRIVE, ""), found, calibration)


class _Rivals:
    """Splits that no frame of this one may be in too: a score on what was trained on says nothing."""

    def __init__(self, root: Path, recipe: Recipe, split: str, known: _Values) -> None:
        self._split, self._source = split, recipe.source
        others = _JUDGED if split == _LEARNT else (_LEARNT,) if split in _JUDGED else ()
        tables = recipe.tables.path if recipe.tables is not None else None
        self._rules = {
            name: recipe.splits[name]
            for name in others
            if name in recipe.splits and not (isinstance(tables, dict) and tables[name] != tables[split])
        }
        self._lists: dict[str, set[tuple[str, ...]]] = {}
        for name, rule in self._rules.items():
            if rule.listed is not None and (root / rule.listed.path({SPLIT: name} | known)).is_file():
                lines = _listed(root, rule, name, known)
                self._lists[name] = {tuple(values[part] for part in rule.line.names) for values in lines}

    def require_own(self, values: _Values) -> None:
        """UserError where another split has this frame too."""
        for name, rule in self._rules.items():
            if rule.listed is not None:
                line = tuple(values.get(part, "") for part in rule.line.names)
                if line not in self._lists.get(name, ()):
                    continue
            if _fits(values, rule.where) and not (rule.without and _fits(values, rule.without)):
                frame = "/".join(value for key, value in values.items() if key != NUMBER)
                raise UserError(
                    f"{self._source}: splits.{self._split} and splits.{name} both have {frame}: keep it in one",
                    "value-conflict",
                )


def strays_of(root: Path, recipe: Recipe, split: str, sensors: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Key and path of files that fit the pattern of a sensor or of the labels, where the first sensor has no file.

    Where folders do not say the split, all files are looked at with the first one.
    """
    reference = recipe.reference
    has_split = SPLIT in reference.names
    if recipe.tables is not None or not (has_split or split == recipe.split_names[0]):
        return
    wanted = {SPLIT: recipe.rules[split].where.get(SPLIT, (split,))} if has_split else {}
    frames = [values for values, _ in reference.find(root) if _fits(values, wanted)]
    patterns: dict[str, PathPattern | None] = {
        f"sensors.{name}": part.path for name, part in recipe.sensors.items() if name in sensors
    }
    patterns[LABELS] = recipe.labels.pattern(split) if recipe.labels is not None else None
    for key, pattern in patterns.items():
        is_timed = key != LABELS and recipe.sensors[key.removeprefix("sensors.")].nearest_ms
        if pattern is None or is_timed or not set(pattern.names) <= set(reference.names) or pattern == reference:
            continue
        known = {tuple(values[name] for name in pattern.names) for values in frames}
        for values, path in pattern.find(root):
            is_own = _fits(values, {name: words for name, words in wanted.items() if name in values})
            if is_own and tuple(values[name] for name in pattern.names) not in known:
                yield key, path


def recognises(root: Path, recipe: Recipe) -> bool:
    """Whether a folder has a frame of a split with all its files; nothing is said of the others."""
    try:
        for split in recipe.rules:
            for frame in find_frames(root, recipe, split, recipe.sensors, labelled=True):
                return all(path.exists() for path in frame.files.values())
    except UserError:
        pass
    return False


def drawn_splits(units: Collection[str], share: Shares, source: str) -> dict[str, str]:
    """Split of each drive or frame: by its name alone, so that none moves when others come.

    Only where a split would stay empty it gets the one that is next to it.

    Raises:
        UserError: fewer units than splits.
    """
    shares = {name: part for name, part in (("val", share.val), ("test", share.test)) if part}
    if units and len(units) <= len(shares):
        raise UserError(
            f"{source}: share: {len(units)} of {share.by or 'drive'} cannot be divided between train, "
            f"{' and '.join(shares)}: divide by frame (share.by: frame), which flatters, or add data",
            "data-empty",
        )
    places = sorted((hashlib.sha256(unit.encode()).digest(), unit) for unit in units)
    ordered = [unit for _, unit in places]
    drawn = [int.from_bytes(place[:8], "big") / 2.0**64 for place, _ in places]  # 0 <= each < 1
    ends = [bisect_left(drawn, end) for end in accumulate(shares.values())]
    counts = [max(1, end - begin) for begin, end in zip((0, *ends), ends, strict=False)]
    while units and sum(counts) >= len(units):  # some are left for train
        counts[counts.index(max(counts))] -= 1
    names = [name for name, count in zip(shares, counts, strict=True) for _ in range(count)]
    return dict.fromkeys(ordered, "train") | dict(zip(ordered, names, strict=False))


def _fits(values: _Values, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Whether the value of each placeholder is one of its words, which may be globs."""
    return all(any(fnmatchcase(values[name], word) for word in words) for name, words in wanted.items())


def _is_glob(word: str) -> bool:
    return any(sign in word for sign in "*?[")


def _reference_files(root: Path, recipe: Recipe, split: str, rule: SplitRule, known: _Values) -> Iterator[_Found]:
    """Values and file of the first sensor, each frame once; and its calibration where tables know it."""
    pattern, first = recipe.reference, next(iter(recipe.sensors))
    listed = None if rule.listed is None else _listed(root, rule, split, known)
    said = {*rule.line.names, *known, NUMBER}
    if listed is not None and not pattern.is_open and set(recipe.placeholders) <= said:
        for values in listed:
            yield known | values, root / pattern.path(known | values), None
        return
    own = [name for name in recipe.placeholders if name != NUMBER]
    names = [name for name in own if name in rule.line.names]
    lines = {tuple(values[name] for name in names): values for values in listed or ()}
    if recipe.tables is not None:
        found = _of_tables(root, recipe, split)
    else:
        found = ((values, path, None) for values, path in pattern.find(root, known))
    seen: dict[tuple[str, ...], Path] = {}
    for values, path, calibration in found:
        line = {} if listed is None else lines.get(tuple(values[name] for name in names))
        if line is None:
            continue
        ordered = {name: values[name] for name in own}
        _note(seen, tuple(ordered.values()), path, f"sensors.{first}", pattern)
        yield ordered | line, path, calibration


def _of_tables(root: Path, recipe: Recipe, split: str) -> Iterator[_Found]:
    assert recipe.tables is not None
    said = recipe.tables.path
    pattern = said[split] if isinstance(said, dict) else said
    folders = sorted(path for path in root.glob(pattern.text) if path.is_dir())
    if not folders:
        raise NoFramesError(
            f"{root}: has no tables in {pattern.text}, it holds {held_by(root)}: unpack the metadata", "data-empty"
        )
    if len(folders) > 1:
        found = ", ".join(path.name for path in folders)
        raise UserError(f"{root}: tables: {pattern.text} is {found}: name one folder", "file-ambiguous")
    for frame in read_key_frames(folders[0], recipe.tables.cameras):
        values = dict(zip(_FILES_OF_TABLES, (frame.image, frame.lidar, frame.lidarseg), strict=True))
        values |= {DRIVE: frame.scene, "camera": frame.camera, FRAME: frame.sample}
        yield values, root / recipe.reference.path(values), frame.calibration


def _listed(root: Path, rule: SplitRule, split: str, known: _Values) -> list[dict[str, str]]:
    assert rule.listed is not None
    path = root / rule.listed.path({SPLIT: split} | known)
    if not path.is_file():
        raise NoFramesError(f"{path}: missing; it lists the frames of {split}: restore it", "data-empty")
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for number, line in enumerate(read_text(path, "list of frames").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        values = rule.line.match(line.strip() if " " in rule.line.text else words[0])
        if values is None:
            raise UserError(
                f"{path}: line {number}, {line.strip()[:80]!r}, is not as splits.{split}.line says, "
                f"{rule.line.text}: correct the recipe or the list",
                "value-format",
            )
        key = tuple(values.values())
        if key in found:
            raise UserError(f"{path}: line {number}: {line.strip()[:80]} stands there twice; keep one", "value-twice")
        found[key] = values if rule.first is None else values | {NUMBER: str(rule.first + len(found))}
    return list(found.values())


def _note(seen: dict[tuple[str, ...], Path], key: tuple[str, ...], path: Path, what: str, pattern: PathPattern) -> None:
    other = seen.setdefault(key, path)
    if other is not path:
        raise UserError(
            f"{path}: a second file for one frame beside {other.name}: {what}, {pattern.text}, fits both; make it "
            "narrower, or move one of them away",
            "file-ambiguous",
        )


class _Track:
    """Files of a sensor whose ``{frame}`` is a time of its own, by the other placeholders and in order of time."""

    def __init__(self, root: Path, recipe: Recipe, name: str, base: _Values) -> None:
        part = recipe.sensors[name]
        self._ns_per_unit = NS_PER_UNIT[recipe.frame_unit]
        self._most_ns = part.nearest_ms * NS_PER_UNIT["ms"]
        self._others = [other for other in part.path.names if other != FRAME]
        known = {other: value for other, value in base.items() if other in self._others}
        found = [(values, path) for values, path in part.path.find(root, known)]
        self._files: dict[tuple[str, ...], list[tuple[int, Path]]] = {}
        for values, path in found:
            self._files.setdefault(self._key(values), []).append((self._time_ns(values, path), path))
        for files in self._files.values():
            files.sort()

    def nearest(self, values: _Values) -> Path | None:
        """The file nearest to the time of a frame; None where none is near enough."""
        files = self._files.get(self._key(values), [])
        time_ns = self._time_ns(values, None)
        place = bisect_left(files, time_ns, key=lambda file: file[0])
        near = [(abs(file_ns - time_ns), path) for file_ns, path in files[max(place - 1, 0) : place + 1]]
        distance_ns, path = min(near, default=(0, None))
        return path if distance_ns <= self._most_ns else None

    def _key(self, values: _Values) -> tuple[str, ...]:
        return tuple(values[other] for other in self._others)

    def _time_ns(self, values: _Values, path: Path | None) -> int:
        try:
            return round(Decimal(values[FRAME]) * self._ns_per_unit)
        except (ArithmeticError, ValueError):
            place = f"{path}: " if path else ""
            raise UserError(
                f"{place}{values[FRAME]!r} is no time: with nearest_ms {{frame}} is a number", "value-format"
            ) from None


class _Finder:
    """Files of one frame after the other; open patterns are walked once."""

    def __init__(
        self, root: Path, recipe: Recipe, split: str, known: _Values, sensors: Collection[str], labelled: bool
    ) -> None:
        self._root, self._base = root, {SPLIT: split} | known
        self._first = next(iter(recipe.sensors))
        self._is_partial = labelled and recipe.labels is not None and recipe.labels.partial
        patterns: dict[str, PathPattern | None] = {
            name: part.path for name, part in recipe.sensors.items() if name in sensors
        }
        patterns[LABELS] = recipe.labels.pattern(split) if recipe.labels is not None else None
        patterns[CALIBRATION] = recipe.calibration.path if recipe.calibration is not None else None
        self._patterns = {key: pattern for key, pattern in patterns.items() if pattern is not None}
        self._optional = {name for name, part in recipe.sensors.items() if part.optional}
        self._indices = {
            key: self._index(key, pattern)
            for key, pattern in self._patterns.items()
            if pattern.is_open and key != self._first
        }
        self._tracks = {
            name: _Track(root, recipe, name, self._base)
            for name, part in recipe.sensors.items()
            if part.nearest_ms and name in sensors
        }

    def _index(self, key: str, pattern: PathPattern) -> dict[tuple[str, ...], Path]:
        found: dict[tuple[str, ...], Path] = {}
        what = key if key in (LABELS, CALIBRATION) else f"sensors.{key}"
        for values, path in pattern.find(self._root, {n: v for n, v in self._base.items() if n in pattern.names}):
            _note(found, tuple(values[name] for name in pattern.names), path, what, pattern)
        return found

    def of(self, values: _Values, path: Path) -> dict[str, Path] | None:
        """Files of a frame, whose first sensor has `path`; None for one that does not count without its truth."""
        values = self._base | values
        files: dict[str, Path] = {}
        for key, pattern in self._patterns.items():
            file = path if key == self._first else self._file(key, pattern, values)
            is_left_out = key in self._optional or (key == LABELS and self._is_partial)
            if not is_left_out or file.is_file():
                files[key] = file
        return None if self._is_partial and LABELS not in files else files

    def _file(self, key: str, pattern: PathPattern, values: _Values) -> Path:
        if key in self._tracks:
            return self._tracks[key].nearest(values) or self._root / pattern.text
        if not pattern.is_open:
            return self._root / pattern.path(values)
        found = self._indices[key].get(tuple(values[name] for name in pattern.names))
        return found or self._root / pattern.text
