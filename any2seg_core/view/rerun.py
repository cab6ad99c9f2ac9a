"""For Rerun: a recording of its own format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from any2seg_core.base.units import NS_PER_S
from any2seg_core.fleet.packages import package
from any2seg_core.view.exporting import ExportedMoment
from any2seg_core.vocabulary.labels import LabelSpace

SUFFIX = ".rrd"
_NAME, _TIMELINE = "any2seg", "log_time"
_JPEG = "image/jpeg"


class _RerunFile:
    """See `Sink`."""

    def __init__(self, sdk: Any, stream: Any, space: LabelSpace) -> None:
        self._sdk, self._stream = sdk, stream
        classes = [(number, name, colour) for number, (name, colour) in
                   enumerate(zip(space.classes, space.colours, strict=True))]  # fmt: skip
        stream.log("world", sdk.ViewCoordinates.RDF, static=True)
        stream.log("world/camera/labels", sdk.AnnotationContext(classes), static=True)

    def write(self, moment: ExportedMoment) -> None:
        sdk, stream = self._sdk, self._stream
        stream.set_time(_TIMELINE, timestamp=moment.time_ns / NS_PER_S)
        if moment.intrinsics is not None and moment.size is not None:
            height, width = moment.size
            stream.log("world/camera", sdk.Pinhole(image_from_camera=moment.intrinsics, resolution=[width, height]))
        for name, jpeg in (("picture", moment.camera), ("overlay", moment.overlay)):
            if jpeg is not None:
                stream.log(f"world/camera/{name}", sdk.EncodedImage(contents=jpeg, media_type=_JPEG))
        if moment.labels is not None:
            stream.log("world/camera/labels", sdk.SegmentationImage(moment.labels))
        for name, cloud in moment.clouds.items():
            stream.log(f"world/{name}", sdk.Points3D(cloud.points, colors=cloud.colours))
        if moment.confidence is not None:
            stream.log("confidence", sdk.Scalars(moment.confidence))
        stream.log("used", sdk.TextLog(moment.used))


@contextmanager
def rerun_file(path: Path, space: LabelSpace) -> Iterator[_RerunFile]:
    """Begins the file; UserError where rerun-sdk is not installed."""
    sdk = package("rerun", "rerun", "--rerun")
    stream = sdk.RecordingStream(_NAME)
    stream.save(path)
    try:
        yield _RerunFile(sdk, stream, space)
    finally:
        stream.flush()
        stream.disconnect()
