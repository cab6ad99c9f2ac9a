"""Videos, by the FFmpeg that OpenCV brings: it reads H.264 and most others, and writes VP8 and VP9.

Browsers play both, and none plays MPEG-4 (``mp4v``), OpenCV's usual choice for .mp4. H.264 is not written: no encoder
of it comes under a permissive licence by pip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import limits, raising

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv")
"""What `VideoReader` is asked for; lower case."""

_CODECS = {".webm": "VP80", ".mp4": "vp09"}
_USUAL_RATE_HZ = 25.0  # of a file that says none
_FASTEST_HZ = 1000.0

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is told in one line, not by FFmpeg beside it


class BrokenVideoError(UserError):
    """A video that ends before its end; the pictures before the break were read."""


class VideoReader:
    """Iterates over the pictures of a video, (H, W, 3) uint8 RGB, upright; one is held at a time.

    Attributes:
        rate_hz: pictures per second. total: pictures that the file says it has; None where it does not.

    Raises:
        UserError: no such file, or one of which no picture can be read. BrokenVideoError while iterating.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"no video at {path}: check the path", "file-missing")
        self._path = path
        with _quiet():
            self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        width, height = (int(self._capture.get(each)) for each in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > limits().camera_pixels:
            self._capture.release()
            raise UserError(
                f"{path}: pictures of {width}x{height}, {limits().camera_mpx} million pixels are allowed; "
                f"{raising('camera_mpx')}",
                "limit-exceeded",
            )
        is_read, first = self._capture.read() if self._capture.isOpened() else (False, None)
        self._first: np.ndarray | None = first
        if not is_read:
            self._capture.release()
            raise UserError(
                f"{path}: no picture of this video can be read (cut off, or of an unknown codec): convert it to H.264 "
                "in .mp4",
                "file-format",
            )
        rate_hz, count = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate_hz = rate_hz if 0 < rate_hz <= _FASTEST_HZ else _USUAL_RATE_HZ
        self.total = int(count) if 0 < count < 1 << 40 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        is_read, picture, count = True, self._first, 0
        try:
            while is_read and picture is not None:
                yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                count += 1
                is_read, picture = self._capture.read()
        finally:
            self._capture.release()
        # Containers without an index give their length in seconds, from which the count is rounded.
        if self.total is not None and count < self.total - max(2, self.total // 100):
            raise BrokenVideoError(
                f"{self._path}: breaks off after {count} of {self.total} pictures: get the whole file", "file-format"
            )


class VideoWriter:
    """Writes one video, whole or not at all; a context manager.

    Args:
        path: ``.webm`` (VP8) or ``.mp4`` (VP9, smaller and several times slower). rate_hz: pictures per second.

    Raises:
        UserError: another suffix, or a place that cannot be written.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        if path.suffix.lower() not in _CODECS:
            raise UserError(
                f"{path}: videos are written as .webm or .mp4: name it {path.stem or 'out'}.webm", "file-name"
            )
        if path.is_dir():
            raise UserError(f"{path} is a folder: give the name of the file to write", "output-unwritable")
        self._path, self._rate_hz = path, rate_hz
        self._writer: cv2.VideoWriter | None = None
        self._size = 0, 0  # width, height
        self._count = 0

    def __enter__(self) -> VideoWriter:
        self._stack = ExitStack()
        self._partial = self._stack.enter_context(replacing(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and not self._is_whole():
            kind, error = OSError, OSError("not a whole video came out: is the disk full?")
        return self._stack.__exit__(kind, error, trace)

    def add(self, picture: np.ndarray) -> None:
        """One more picture, (H, W, 3) uint8 RGB; one of another size than the first is fitted into its frame."""
        height, width = picture.shape[:2]
        if self._writer is None:
            # Colours of these codecs are kept per 2x2 pixels, and the whole in blocks of 16.
            self._size = max(16, width + width % 2), max(16, height + height % 2)
            code = cv2.VideoWriter.fourcc(*_CODECS[self._path.suffix.lower()])
            with _quiet():  # OpenCV remarks on stderr that WebM has no tags
                self._writer = cv2.VideoWriter(str(self._partial), cv2.CAP_FFMPEG, code, self._rate_hz, self._size)
        self._writer.write(cv2.cvtColor(fitted(picture, *self._size), cv2.COLOR_RGB2BGR))
        self._count += 1

    def _is_whole(self) -> bool:
        """Whether every picture can be read again: OpenCV says nothing of a disk that is full."""
        reader = cv2.VideoCapture(str(self._partial), cv2.CAP_FFMPEG)
        try:
            return all(reader.grab() for _ in range(self._count))
        finally:
            reader.release()


def fitted(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8 scaled into a frame of `width` x `height` with its shape kept, on black."""
    is_odd = width - picture.shape[1] in (0, 1) and height - picture.shape[0] in (0, 1)
    share = 1.0 if is_odd else min(width / picture.shape[1], height / picture.shape[0])
    inner = max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share))
    how = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    scaled = picture if inner == picture.shape[1::-1] else cv2.resize(picture, inner, interpolation=how)
    if inner == (width, height):
        return scaled
    frame = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    frame[top : top + inner[1], left : left + inner[0]] = scaled
    return frame


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what C code says meanwhile reaches stderr."""
    kept = os.dup(2)
    with suppress(OSError), open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
