"""Frames out of files: per sensor a file, a folder, a pattern or a video; frames are matched by name."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.listing import is_left_behind
from any2seg_core.base.video import VIDEO_SUFFIXES, VideoReader
from any2seg_core.files.samples import FileOptions, read_samples
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.returns import IntensityScale
from any2seg_core.sensors.rig import same_view
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
_SUFFIXES = {
    IMAGE: _PICTURES,
    DEPTH: (".png", ".pgm", ".tif", ".tiff", ".npy", ".npz"),
    EVENTS: (".raw", ".dat", ".h5", ".hdf5", ".aedat4", ".npz", ".npy"),
    POINTS: (".pcd", ".ply", ".npy", ".npz", ".bin"),
}
_READERS = ("any2seg_core.files.points", "any2seg_core.files.samples", "any2seg_core.files.events")
_NAMED = 5  # frames that a line names


@dataclass(frozen=True)
class FileFrame:
    """One frame of files.

    Attributes:
        name: of the files, without suffix; of a video its number.
        samples: sensor -> raw array, as `Predictor` takes it. problems: sensor -> why its file cannot be used.
    """

    name: str
    samples: dict[str, np.ndarray]
    problems: dict[str, UserError] = field(default_factory=dict)


def option_of(name: str) -> str:
    """How `any2seg predict` is given the files of a sensor: what stands before them."""
    return f"--{name} " if name in VEHICLE.members else f"--sensor {name}="


def is_one_file(text: str | Path) -> bool:
    """Whether an input names one file that is no video, so that there is one frame."""
    path = Path(text)
    return not (path.is_dir() or is_video(path) or (_is_pattern(str(text)) and not path.exists()))


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def check_view(image: np.ndarray, source: str, calibration: Calibration, calib: Path) -> None:
    """UserError for a camera image of another view than the calibrated camera's; source, calib: what they are of."""
    camera, (height, width) = calibration.camera, image.shape[:2]
    if not same_view(image.shape, camera):
        raise UserError(
            f"{source} is {width}x{height}, the camera in {calib} is {camera.width}x{camera.height}: "
            "give the image and the calibration of the same camera",
            "calibration-size",
        )


class FileFrames:
    """Iterates over the frames of some inputs in the order of their names, where numbers count as numbers.

    Files of several sensors with one name are one frame; 0007 and 000007 are one name, and so are img_0007 and t0007
    where all files of the sensor begin (or end) like that. A frame that lacks a sensor has the others.

    Args:
        inputs: sensor -> file, folder, pattern (``drive/*/image_02/*.png``) or, of the camera, video.
        calibration: None: the camera alone. calib: its file, for messages. options: as `read_samples`.
        every: each n-th frame only. suite: the sensors that there can be.

    Attributes:
        total: frames; None of a video that does not say. rate_hz: of a video, else None.
        notes: which sensors lack frames, one line each.

    Raises:
        UserError: an input without a file, two files of one name, inputs that have no name in common.
    """

    def __init__(
        self,
        inputs: Mapping[str, str | Path],
        calibration: Calibration | None,
        calib: Path | None,
        options: FileOptions,
        every: int = 1,
        suite: SensorSuite = VEHICLE,
    ) -> None:
        self._suite = suite
        self._calibration, self._calib, self._options, self._every = calibration, calib, options, every
        videos = [name for name, given in inputs.items() if is_video(Path(given)) and not Path(given).is_dir()]
        if [name for name in videos if name != suite.camera]:
            option = option_of(videos[-1])
            raise UserError(f"{option}{inputs[videos[-1]]}: a video holds pictures of the camera", "file-format")
        self._video = VideoReader(Path(inputs[suite.camera])) if videos else None
        self._files = _meeting({
            name: _files(option_of(name), suite.sensor(name).kind, str(inputs[name]))
            for name in suite.canonical(inputs) if name not in videos
        })  # fmt: skip
        self._scales = {name: IntensityScale(options.intensity_max) for name in suite.of_kind(POINTS)}
        self.rate_hz = None if self._video is None else self._video.rate_hz / every
        self.notes: list[str] = []
        if self._video is None:
            self._keys = self._common_names(inputs)[::every]
            self.total: int | None = len(self._keys)
        else:
            total = self._video.total
            self.total = None if total is None else -(-total // every)

    def _common_names(self, inputs: Mapping[str, str | Path]) -> list[str]:
        names = {name: set(files) for name, files in self._files.items()}
        everything = sorted(set.union(*names.values()), key=_order)
        if len(names) > 1 and not any(sum(key in own for own in names.values()) > 1 for key in everything):
            shown = "; ".join(
                f"{option_of(name)}{inputs[name]}: {_some([path.stem for path in files.values()])}"
                for name, files in self._files.items()
            )
            raise UserError(f"no file of one sensor has the name of one of another ({shown})", "frame-incomplete")
        for name, own in names.items():
            lacking = [key for key in everything if key not in own]
            if lacking:
                title = self._suite.sensor(name).title
                self.notes.append(f"{len(lacking)} of {len(everything)} frames have no {title}: {_some(lacking)}")
        return everything

    def __iter__(self) -> Iterator[FileFrame]:
        with _each_said_once(*_READERS):
            yield from self._frames()

    def _frames(self) -> Iterator[FileFrame]:
        if self._video is None:
            for key in self._keys:
                paths = {name: files[key] for name, files in self._files.items() if key in files}
                yield self._read(_name(key, next(iter(paths.values()))), paths, {})
            return
        for number, picture in enumerate(self._video):
            if number % self._every == 0:
                paths = {name: files[str(number)] for name, files in self._files.items() if str(number) in files}
                yield self._read(f"{number:06d}", paths, {self._suite.camera: picture})

    def _read(self, name: str, paths: Mapping[str, Path], samples: dict[str, np.ndarray]) -> FileFrame:
        problems: dict[str, UserError] = {}
        for sensor, path in paths.items():
            try:
                samples |= read_samples({sensor: path}, self._calibration, self._options, self._suite, self._scales)
            except UserError as error:
                problems[sensor] = error
        camera = self._suite.camera
        if camera in samples and self._calibration is not None and self._calib is not None:
            try:
                check_view(samples[camera], str(paths.get(camera, name)), self._calibration, self._calib)
            except UserError as error:
                del samples[camera]
                problems[camera] = error
        return FileFrame(name, samples, problems)


@contextmanager
def _each_said_once(*loggers: str) -> Iterator[None]:
    """Of warnings that begin with a file, each is logged for the first file of a folder alone."""
    said: set[tuple[str, Path]] = set()

    def is_new(record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        kind = (record.msg, Path(str(arguments[0])).parent if arguments else Path())
        is_first = kind not in said
        said.add(kind)
        return is_first

    found = [logging.getLogger(name) for name in loggers]
    for logger in found:
        logger.addFilter(is_new)
    try:
        yield
    finally:
        for logger in found:
            logger.removeFilter(is_new)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text)


def _files(option: str, kind: str, given: str) -> dict[str, Path]:
    """Key of the frame -> file, of one input."""
    path, wanted = Path(given), _SUFFIXES[kind]
    if path.is_dir():
        root, found = path, [each for each in path.iterdir() if each.suffix.lower() in wanted and _may_be_file(each)]
    elif _is_pattern(given) and not path.exists():
        root = Path(*_before_pattern(path.parts))
        found = [each for each in map(Path, glob.glob(given, recursive=True)) if _may_be_file(each)]
    else:
        root, found = path.parent, [path]
    found = [each for each in found if not is_left_behind(each)]
    if not found:
        what = f"no {', '.join(wanted)} in this folder" if path.is_dir() else "no file fits this pattern"
        raise UserError(f"{option}{given}: {what}: check the path", "file-missing")
    files: dict[str, Path] = {}
    for each in sorted(found):
        key = _key(each.relative_to(root))
        if key in files:
            raise UserError(
                f"{option}{given}: {files[key].name} and {each.name} are one frame: leave one out", "value-twice"
            )
        files[key] = each
    return files


def _may_be_file(path: Path) -> bool:
    """A file, or a link that leads nowhere (not fetched, or on a disk that is away): its frame is to be missed."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def _meeting(files: dict[str, dict[str, Path]]) -> dict[str, dict[str, Path]]:
    """The same files under shorter keys where so more of them meet: img_0007 and t0007 by their number."""
    shorter = {name: _by_what_differs(own) for name, own in files.items()}
    counts = [len(set().union(*forms.values())) for forms in (files, shorter)]
    return shorter if counts[1] < counts[0] else files


def _by_what_differs(files: dict[str, Path]) -> dict[str, Path]:
    """Files of a sensor without the words that all names begin and end with; as they are where two become alike."""
    stems = [path.stem for path in files.values()]
    head = os.path.commonprefix(stems).rstrip("0123456789")
    tail = os.path.commonprefix([stem[::-1] for stem in stems])[::-1].lstrip("0123456789")
    if len(stems) < 2 or any(len(stem) <= len(head) + len(tail) for stem in stems):
        return files
    found = {}
    for key, path in files.items():
        stem = path.stem[len(head) : len(path.stem) - len(tail)]
        found[_key(Path(key).parent / f"{stem}{path.suffix}")] = path
    return found if len(found) == len(files) else files


def _before_pattern(parts: tuple[str, ...]) -> list[str]:
    return list(parts[: next(index for index, part in enumerate(parts) if _is_pattern(part))])


def _key(path: Path) -> str:
    """Name of a frame: the folders below the fixed part, and the stem, a number of it without leading zeros."""
    stem = str(int(path.stem)) if re.fullmatch(r"[0-9]{1,30}", path.stem) else path.stem
    return (path.parent / stem).as_posix()


def _name(key: str, path: Path) -> str:
    """The key with the stem as the file has it."""
    return (Path(key).parent / path.stem).as_posix()


def _order(key: str) -> list[tuple[int, int, str]]:
    """Numbers within names count as numbers: frame_9 before frame_10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"([0-9]+)", key) if part]
