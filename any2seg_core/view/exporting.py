"""A recording with labels for other viewers: the same moments as on the page, written to one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.runtime.frame import Frame
from any2seg_core.sensors.alignment import range_colours
from any2seg_core.view.moments import Moment, MomentReader
from any2seg_core.view.pictures import OVERLAY, Picture, encoded, pictures_of
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.sensor import POINTS

CAMERA_FRAME = "camera"
"""Name of the frame that points are given in: x to the right, y down, z forward, metres."""


class Cloud(NamedTuple):
    """(N, 3) float32 in CAMERA_FRAME, and (N, 3) uint8 RGB by distance."""

    points: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True)
class ExportedMoment:
    """What viewers get of a set.

    Attributes:
        time_ns: log time by its stamp. camera, overlay: JPEG files, None where there is no picture.
        labels: (H, W) ids, None without any. clouds: sensor -> its points. confidence: mean, 0..1; None without labels.
        used: letters of the sensors that were fused.
        intrinsics: (3, 3) of the camera on the grid of its picture of (H, W) `size`; None where it is not known.
    """

    time_ns: int
    camera: bytes | None
    overlay: bytes | None
    labels: np.ndarray | None
    clouds: dict[str, Cloud]
    confidence: float | None
    used: str
    intrinsics: np.ndarray | None
    size: tuple[int, int] | None


class Sink(Protocol):
    """Writes for one viewer."""

    def write(self, moment: ExportedMoment) -> None:
        """The next moment."""


OpenSink = Callable[[Path, LabelSpace], AbstractContextManager[Sink]]


def export(
    reader: MomentReader,
    path: Path,
    suffix: str,
    option: str,
    open_sink: OpenSink,
    progress: Callable[[float, float], None],
) -> int:
    """Write all sets of a recording into a file that appears whole or not at all; returns how many.

    Args:
        reader: with a checkpoint. path: of the file, whose name ends in `suffix`. option: of the command line.
        open_sink: begins the file. progress: gets seconds done and in all.

    Raises:
        UserError: another suffix, a place that cannot be written or lies in the recording.
    """
    if path.suffix != suffix:
        raise UserError(f"{option} {path}: name it {path.stem or 'drive'}{suffix}", "file-name")
    bag = reader.opened.bag.path.resolve()
    if bag in (path.resolve(), *path.resolve().parents):
        raise UserError(f"{option} {path}: lies in the recording itself; choose another place", "output-is-input")
    assert reader.predictor is not None  # the command line always has one
    count = 0
    with replacing(path) as partial, open_sink(partial, reader.predictor.label_space) as sink:
        for moment in reader.every():
            sink.write(_exported(reader, moment))
            progress(moment.time_s, reader.end_s)
            count += 1
    return count


def _exported(reader: MomentReader, moment: Moment) -> ExportedMoment:
    suite, result, frame = reader.opened.suite, moment.segmentation, moment.frame
    assert frame is not None and reader.predictor is not None  # see MomentReader.every
    pictures = {each.name: each for each in pictures_of(moment, suite, reader.predictor.label_space)}
    size = next((plane.shape[:2] for plane in frame.planes.values()), None)
    camera = None if frame.rig is None or size is None else frame.rig.camera(size)
    confidence = None if result is None or result.confidence is None else float(result.confidence.mean())
    return ExportedMoment(
        reader.start_ns + round(moment.time_s * NS_PER_S),
        _jpeg(pictures.get(suite.camera)),
        _jpeg(pictures.get(OVERLAY)),
        None if result is None else result.labels,
        dict(_clouds(frame)),
        confidence,
        suite.subset_letters(moment.used),
        None if camera is None else np.asarray(camera.K, np.float64),
        size,
    )


def _jpeg(picture: Picture | None) -> bytes | None:
    return None if picture is None else encoded(picture)[0]


def _clouds(frame: Frame) -> Iterator[tuple[str, Cloud]]:
    """Of the sensors whose place is known."""
    if frame.rig is None:
        return
    for name in frame.rig.suite.of_kind(POINTS):
        to_camera = frame.rig.calibration.place(name, frame.rig.suite).to_camera
        if name in frame.samples and to_camera is not None:
            xyz = frame.samples[name][:, :3].astype(np.float64) @ to_camera[:3, :3].T + to_camera[:3, 3]
            xyz = xyz[np.isfinite(xyz).all(axis=1)]
            yield name, Cloud(xyz.astype(np.float32), range_colours(np.linalg.norm(xyz, axis=1)))
