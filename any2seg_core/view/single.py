"""One recording without a store: it is looked through while the page is open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from any2seg_core.bags.opened import BagOptions, OpenBag, open_bag
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S, utc_text
from any2seg_core.evaluation.recording.video import set_rate_hz
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.view.drives import Drive, DriveTopic, KnownFrames
from any2seg_core.view.frames import DriveFrame, survey
from any2seg_core.view.moments import MomentReader

THE_ONE = "recording"
"""Id of the drive."""


class SingleRecording:
    """See `Drives`. Opens the recording once to find out whether it can be shown.

    Args:
        path, options: as `open_bag` takes them. predictor: makes the labels. checkpoint: its name, for people.

    Raises:
        UserError: as `open_bag`, or the recording has no camera, over whose picture everything is drawn.
    """

    def __init__(self, path: Path, options: BagOptions, predictor: Predictor, checkpoint: str) -> None:
        self._path, self._options, self._predictor = path, options, predictor
        self._frames: list[DriveFrame] = []
        self._is_complete = False
        with open_bag(path, options) as opened:
            _require_camera(opened)
            self._drive = _drive_of(opened, checkpoint)
        self.idle: Iterator[None] = self._survey()

    def _survey(self) -> Iterator[None]:
        try:
            with open_bag(self._path, self._options) as opened:
                for frame in survey(opened, self._predictor):
                    self._frames.append(frame)
                    yield
        except UserError as error:
            self._drive = replace(self._drive, problems=[*self._drive.problems, f"timeline: {error}"])
        finally:
            self._is_complete = True

    def drive(self, drive_id: str) -> Drive | None:
        """See `Drives`."""
        return self._drive if drive_id == THE_ONE else None

    def frames(self, drive: Drive) -> KnownFrames:
        """See `Drives`."""
        frames = list(self._frames)
        reached_s = frames[-1].time_s if frames else 0.0
        return KnownFrames(frames, None if self._is_complete else reached_s)

    @contextmanager
    def recording(self, drive_id: str) -> Iterator[Path]:
        """See `Drives`."""
        yield self._path

    @contextmanager
    def open_reader(self, drive_id: str) -> Iterator[MomentReader]:
        """See `Drives`."""
        with open_bag(self._path, self._options) as opened:
            yield MomentReader(opened, self._predictor)


def _require_camera(opened: OpenBag) -> None:
    camera = opened.suite.camera
    if camera not in opened.modalities:
        raise UserError(
            f"{opened.bag.path}: no picture of {camera}, over which the page draws everything: say which topic, "
            f"--topic {camera}=/...",
            "bag-sensor-missing",
        )


def _drive_of(opened: OpenBag, checkpoint: str) -> Drive:
    bag, streams = opened.bag, opened.choice.map.streams
    start_ns, end_ns = bag.start_ns or 0, bag.end_ns or 0
    sensors = {streams[name]: opened.suite.sensor(name).title for name in opened.modalities}
    facts = [
        ("from", utc_text(start_ns)),
        ("length", f"{(end_ns - start_ns) / NS_PER_S:.1f} s, {bag.message_count} messages"),
        ("sensors", ", ".join(sensors.values())),
        ("calibration", opened.calibration.source or "none"),
        ("labels", f"of {checkpoint}"),
    ]
    return Drive(
        THE_ONE, bag.path.name or str(bag.path), start_ns, end_ns, opened.suite, opened.modalities,
        set_rate_hz(opened, opened.modalities, every=1), facts,
        [DriveTopic(name, topic.kind, sensors.get(name, ""), topic.count) for name, topic in bag.topics.items()],
        [*bag.warnings, *opened.notes],
    )  # fmt: skip
