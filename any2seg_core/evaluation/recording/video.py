"""A recording as a video: the camera, the labels over it, the truth, and which sensors were fused, set by set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from any2seg_core.bags.opened import OpenBag
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.base.video import VideoWriter
from any2seg_core.runtime.frame_picture import frame_picture
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite

_SLOWEST_HZ, _FASTEST_HZ = 1.0, 60.0


class EvaluationVideo:
    """Writes one video, whole or not at all; a context manager.

    Args:
        path: .webm or .mp4, as `VideoWriter` takes it. suite, sensors: those of the checkpoint, and the ones of them
            that the bar shows.
        rate_hz: sets per second. has_truth: a third panel shows it, black where a set has none.

    Raises:
        UserError: another suffix, or a place that cannot be written.
    """

    def __init__(
        self,
        path: Path,
        space: LabelSpace,
        suite: SensorSuite,
        sensors: Sequence[str],
        rate_hz: float,
        has_truth: bool,
    ) -> None:
        self._writer = VideoWriter(path, rate_hz)
        self._space, self._suite, self._sensors, self._has_truth = space, suite, tuple(sensors), has_truth
        self._size: tuple[int, int] | None = None
        self._planes: dict[str, np.ndarray] = {}

    def __enter__(self) -> EvaluationVideo:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._writer.__exit__(kind, error, trace)

    def add(
        self,
        time_s: float,
        labels: np.ndarray | None,
        planes: dict[str, np.ndarray],
        truth: np.ndarray | None,
        miou: float | None,
    ) -> None:
        """One set, or a moment without labels; miou: of the set, 0..1, None where it has no truth."""
        if labels is not None:
            self._size = labels.shape[0], labels.shape[1]
        elif self._size is None:
            return  # nothing was seen yet, not even how large pictures are
        if self._has_truth and truth is None:
            truth = np.full(self._size, self._space.void_id, np.uint8)
        sensors = {self._suite.sensor(name).title: name in planes for name in self._sensors}
        said = f"{time_s:.2f} s" if labels is not None else f"no labels   {time_s:.2f} s"
        caption = f"{said}   mIoU {100 * miou:.1f} %" if miou is not None and miou == miou else said
        picture = frame_picture(planes, labels, self._space, sensors, caption, truth, self._size, self._suite)
        self._writer.add(picture)


def set_rate_hz(opened: OpenBag, sensors: Sequence[str], every: int) -> float:
    """Sets per second that are evaluated, as far as the messages of the sensor that comes first tell."""
    start_ns, end_ns = opened.bag.start_ns or 0, opened.bag.end_ns or 0
    count = opened.bag.topics[opened.choice.map.streams[sensors[0]]].count
    seconds = (end_ns - start_ns) / NS_PER_S
    return min(max(count / every / seconds, _SLOWEST_HZ), _FASTEST_HZ) if seconds > 0 else _SLOWEST_HZ


def check_place(path: Path, recording: Path) -> None:
    """UserError for a video within the recording."""
    if recording.resolve() in (path.resolve(), *path.resolve().parents):
        raise UserError(f"--video {path}: lies in the recording itself; choose another place", "output-is-input")
