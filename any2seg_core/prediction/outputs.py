"""What `any2seg predict` writes for many frames: one folder, each file whole or not there."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from any2seg_core.base.atomic import only_on_success, replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.video import VideoWriter
from any2seg_core.prediction.frame import PredictedFrame
from any2seg_core.runtime.frame_picture import frame_picture
from any2seg_core.runtime.legend import PNG_LEVEL, legend_document, legend_picture, write_labels
from any2seg_core.runtime.overlay import overlay
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite

LABELS, OVERLAY, LEGEND, FRAMES = "labels", "overlay", "legend", "frames.jsonl"
_ALPHA, _JPEG_QUALITY = 0.5, 90


@dataclass(frozen=True)
class PredictionOutputs:
    """Where results go; None: not wanted.

    Attributes:
        out: folder of labels, overlays, legend and frames.jsonl. overlay: another folder of overlays.
        colour, confidence: folders.
        video: .webm or .mp4. rate_hz: of its pictures.
    """

    out: Path
    overlay: Path | None = None
    colour: Path | None = None
    confidence: Path | None = None
    video: Path | None = None
    rate_hz: float = 10.0


class PredictionFolder:
    """Writes the frames of one run; a context manager.

    Args:
        outputs: where. space: classes of the labels. suite, sensors: those of the checkpoint, and the ones of them that
            are given, for the bar of the video.
        may_overwrite: files of an earlier run may be replaced.

    Raises:
        UserError: a folder or video that is there already, or a place that cannot be written.
    """

    def __init__(
        self,
        outputs: PredictionOutputs,
        space: LabelSpace,
        suite: SensorSuite,
        sensors: tuple[str, ...],
        may_overwrite: bool,
    ) -> None:
        self._outputs, self._space, self._suite, self._sensors = outputs, space, suite, sensors
        folders = (outputs.out, outputs.overlay, outputs.colour, outputs.confidence)
        for place in filter(None, (*folders, outputs.video)):
            taken = place.exists() and not (place.is_dir() and not any(place.iterdir()))
            if taken and not (may_overwrite and place.is_dir() == (place != outputs.video)):
                what = "is there already" if place.is_dir() == (place != outputs.video) else "is of another kind"
                raise UserError(f"{place} {what}: choose another place, or give --overwrite", "output-exists")
        self._video = None if outputs.video is None else VideoWriter(outputs.video, outputs.rate_hz)

    def __enter__(self) -> PredictionFolder:
        out = self._outputs.out
        legends = out / f"{LEGEND}.json", out / f"{LEGEND}.png"
        absent = [path for path in legends if not path.exists()]
        with only_on_success(out), ExitStack() as stack:
            for path in absent:
                stack.callback(path.unlink, missing_ok=True)
            with replacing(legends[0]) as partial:
                partial.write_text(json.dumps(legend_document(self._space), indent=1))
            write_image(legends[1], legend_picture(self._space))
            opened = ExitStack()
            stack.push(opened)
            self._lines = opened.enter_context(_Lines(out / FRAMES))
            if self._video is not None:
                opened.enter_context(self._video)
            stack.pop_all()
        self._stack = opened
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def write(self, found: PredictedFrame) -> None:
        """All files of one frame, the labels first."""
        result, outputs = found.segmentation, self._outputs
        if result is not None:
            assert result.confidence is not None  # a predictor leaves it out only when told to
            write_labels(outputs.out / LABELS / f"{found.name}.png", result.labels, self._space)
            pixels = overlay(result.labels, found.planes, self._space, _ALPHA, self._suite)
            write_image((outputs.overlay or outputs.out / OVERLAY) / f"{found.name}.jpg", pixels)
            if outputs.colour is not None:
                write_image(outputs.colour / f"{found.name}.png", self._space.colourise(result.labels))
            if outputs.confidence is not None:
                shares = np.round(result.confidence * 255).astype(np.uint8)
                write_image(outputs.confidence / f"{found.name}.png", shares)
        self._lines.write(json.dumps(self._line(found)))
        if self._video is not None:
            used = () if result is None else result.used
            sensors = {self._suite.sensor(name).title: name in used for name in self._sensors}
            labels = None if result is None else result.labels
            picture = frame_picture(found.planes, labels, self._space, sensors, found.caption, suite=self._suite)
            self._video.add(picture)

    def _line(self, found: PredictedFrame) -> dict[str, object]:
        result = found.segmentation
        line: dict[str, object] = {"name": found.name, "left_out": list(found.left_out)}
        if result is None or result.confidence is None:
            return line | {"labels": None, "used": []}
        counts = np.bincount(result.labels.ravel(), minlength=len(self._space))[: len(self._space)]
        return line | {
            "labels": f"{LABELS}/{found.name}.png",
            "used": list(result.used),
            "mean_confidence": round(float(result.confidence.mean()), 4),
            "share": {self._space.classes[k]: round(counts[k] / result.labels.size, 5) for k in np.flatnonzero(counts)},
        }


class _Lines:
    """A text that grows line by line and stays, also when the work ends early; a killed process leaves the partial."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")

    def __enter__(self) -> _Lines:
        self._file: TextIO = self._partial.open("w", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the disk is full, which is told by whoever wrote last
            self._file.close()
        with suppress(OSError):
            os.replace(self._partial, self._path)

    def write(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
        except OSError as error:
            raise UserError(
                f"cannot write {self._path} ({error.strerror or error}): free some space", "output-unwritable"
            ) from None


def write_image(path: Path, pixels: np.ndarray) -> None:
    """(H, W) ids or (H, W, 3) RGB as PNG or JPEG, whole or not at all; UserError where it cannot be written."""
    with replacing(path) as partial:  # each format takes its own setting and leaves the other alone
        Image.fromarray(pixels).save(partial, quality=_JPEG_QUALITY, compress_level=PNG_LEVEL)
