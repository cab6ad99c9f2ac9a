"""Files of an unknown folder, gathered under patterns of paths: what `any2seg data init` begins with."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from any2seg_core.base.listing import is_left_behind
from any2seg_core.data.path_patterns import PathPattern

SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
"""Names of folders that mean a split -> its name here."""

_SENSOR_WORDS = (
    "image", "img", "rgb", "cam", "left", "right", "front", "rear", "color", "colour", "photo", "picture", "depth",
    "disp", "lidar", "velodyne", "velo", "laser", "cloud", "point", "scan", "radar", "event", "dvs", "thermal", "label",
    "semantic", "annot", "mask", "gt", "seg", "class", "truth", "calib", "data", "scribble", "nir",
)  # fmt: skip
_SEPARATORS = "_-."
_ENDING = re.compile(r"(?:[_-][A-Za-z][A-Za-z0-9]*)*(?:\.[A-Za-z][A-Za-z0-9]*)+$")
_DIGITS = re.compile(r"\d+")
_FEWEST_FILES = 2


@dataclass(frozen=True)
class FileGroup:
    """Files of one pattern, in order of their names."""

    pattern: PathPattern
    files: tuple[Path, ...]

    @property
    def suffix(self) -> str:
        """Of all its files, with the dot, small letters."""
        return self.files[0].suffix.lower()

    def keys(self, names: Sequence[str]) -> set[tuple[str, ...]]:
        """Values of so named placeholders, of all files."""
        root_parts = len(self.files[0].parts) - len(self.pattern.text.split("/"))
        matches = (self.pattern.match("/".join(path.parts[root_parts:])) for path in self.files)
        return {tuple(values[name] for name in names) for values in matches if values is not None}

    def without_letters(self) -> FileGroup | None:
        """The same files with the letters before their numbers as part of the pattern: t{frame}.png; None: no such."""
        folder, slash, name = self.pattern.text.rpartition("/")
        heads = {match[0] if (match := re.match(r"[A-Za-z]+(?=\d)", path.name)) else "" for path in self.files}
        if not name.startswith("{frame}") or len(heads) != 1 or "" in heads:
            return None
        return FileGroup(PathPattern(f"{folder}{slash}{heads.pop()}{name}"), self.files)


def group_files(root: Path, most: int) -> tuple[list[FileGroup], list[Path], bool]:
    """Patterns of the files of a folder.

    Args:
        most: files to look at.

    Returns:
        Groups, the largest first; files that are alone; and whether there are more files than ``most``.
    """
    alike: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    count = 0
    for path in _walk(root):
        if count == most:
            break
        count += 1
        inside = path.relative_to(root)
        alike[tuple(map(_plain, inside.parent.parts))].append(inside)
    groups, alone = [], []
    for paths in alike.values():
        for own in _by_ending(paths):
            if len(own) < _FEWEST_FILES:
                alone += [root / path for path in own]
                continue
            folders = sorted({path.parent.parts for path in own})
            text = "/".join((*_folder_pattern(folders), _name_pattern([path.name for path in own])))
            groups.append(FileGroup(PathPattern(text), tuple(sorted(root / path for path in own))))
    return sorted(groups, key=lambda group: -len(group.files)), alone, count == most


def with_common_frames(groups: Sequence[FileGroup], camera: int) -> list[FileGroup]:
    """Patterns whose frames are those of the camera, where that takes leaving out letters before the numbers.

    Args:
        camera: place of its group.
    """
    best: list[FileGroup] = []
    most = -1
    for reference in _forms(groups[camera]):
        found = [next((form for form in _forms(group) if _meets(form, reference)), group) for group in groups]
        found[camera] = reference
        count = sum(_meets(group, reference) for group in found)
        if count > most:
            best, most = found, count
    return best


def _forms(group: FileGroup) -> tuple[FileGroup, ...]:
    shorter = group.without_letters()
    return (group,) if shorter is None else (group, shorter)


def _meets(group: FileGroup, camera: FileGroup) -> bool:
    names = group.pattern.names
    return set(names) <= set(camera.pattern.names) and not group.keys(names).isdisjoint(camera.keys(names))


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_left_behind(Path(name)) and name != "any2seg_planes")
        for name in sorted(files):
            if not is_left_behind(Path(name)) and not set(name + folder.removeprefix(str(root))) & set("{}*\\"):
                yield Path(folder, name)


def _by_ending(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Files by the words that their names end with, where several end alike, as _rgb.png; the others by suffix.

    Endings that differ in their numbers alone are several sensors where many frames have each of them (1_cam0.png,
    1_cam1.png), and numbers of frames where there are more of them than beginnings (seq_f0010.png, seq_f0020.png).
    """
    endings = [match[0] if (match := _ENDING.search(path.name)) else path.suffix for path in paths]
    numbered: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for path, ending in zip(paths, endings, strict=True):
        known, beginnings = numbered[_DIGITS.sub("0", ending)]
        known.add(ending)
        beginnings.add(path.name.removesuffix(ending))
    for place, (path, ending) in enumerate(zip(paths, endings, strict=True)):
        known, beginnings = numbered[_DIGITS.sub("0", ending)]
        if len(known) > len(beginnings):
            endings[place] = path.suffix
    counts = Counter(endings)
    groups: dict[str, list[Path]] = defaultdict(list)
    for path, ending in zip(paths, endings, strict=True):
        groups[ending if counts[ending] > 1 else path.suffix].append(path)
    yield from groups.values()


def _plain(part: str) -> str:
    """What folders of one pattern have in common: {split}, the name of a sensor, or nothing."""
    split = _split_of(part)
    if split:
        return part.replace(split, "{split}", 1)
    return part if _is_sensor(part) else "*"


def _split_of(part: str) -> str:
    """The word of a folder's name that says the split; "" for none."""
    for word in sorted(SPLIT_WORDS, key=len, reverse=True):
        rest = part.lower().removeprefix(word)
        if part.startswith(word) and (not rest or rest[0] in _SEPARATORS or _is_sensor(rest)):
            return word
    return ""


def _is_sensor(part: str) -> bool:
    words = re.split(r"[^a-z]+", part.lower())
    return any(word.startswith(known) for word in words for known in _SENSOR_WORDS if word)


def _folder_pattern(folders: Sequence[tuple[str, ...]]) -> list[str]:
    """Parts of the folders: what all have, {split}, and placeholders for the others, the last of them {drive}."""
    parts = []
    for values in zip(*folders, strict=True):
        common = {_plain(value) for value in values}
        if "{split}" in next(iter(common)):
            parts.append(next(iter(common)))
        elif len(set(values)) == 1:
            parts.append(values[0])
        else:
            parts.append("")
    places = [number for number, part in enumerate(parts) if not part]
    for count, number in enumerate(reversed(places)):
        parts[number] = "{drive}" if count == 0 else f"{{part{count}}}"
    return parts


def _name_pattern(names: Sequence[str]) -> str:
    """The pattern of file names: {frame} between what all begin and end with, as far as these are words."""
    first, last = min(names), max(names)
    before = os.path.commonprefix([first, last])
    after = os.path.commonprefix([name[::-1] for name in names])[::-1]
    cut = max((before.rfind(sign) for sign in _SEPARATORS), default=-1) + 1
    before = before[:cut] if re.fullmatch(r"[A-Za-z_-]+", before[:cut]) else ""
    starts = [match.start() for match in re.finditer(r"[_.-]", after)]
    start = next((at for at in starts if re.match(r"[_.-][A-Za-z]", after[at:])), None)
    if start is None:
        return "{frame}" + Path(names[0]).suffix
    after = after[start:]
    is_whole = all(len(name) > len(before) + len(after) for name in names)
    return f"{before}{{frame}}{after}" if is_whole else f"{{frame}}{after}"
