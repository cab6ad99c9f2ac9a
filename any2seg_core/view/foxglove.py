"""For Foxglove: an MCAP file of its own message types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.base.units import NS_PER_S
from any2seg_core.fleet.packages import package
from any2seg_core.view.exporting import CAMERA_FRAME, Cloud, ExportedMoment
from any2seg_core.vocabulary.labels import LabelSpace

SUFFIX = ".mcap"
_JSON_SCHEMA = {
    "title": "Confidence",
    "type": "object",
    "properties": {"confidence": {"type": "number"}, "used": {"type": "string"}},
}
_POINT = np.dtype([("xyz", "<f4", 3), ("rgba", "u1", 4)])


class _FoxgloveFile:
    """See `Sink`."""

    def __init__(self, context: Any) -> None:
        self._sdk = package("foxglove", "foxglove", "--foxglove")
        self._channels = package("foxglove.channels", "foxglove", "--foxglove")
        self._messages = package("foxglove.messages", "foxglove", "--foxglove")
        self._context = context
        self._open: dict[str, Any] = {}

    def _channel(self, kind: str, topic: str) -> Any:
        if topic not in self._open:
            self._open[topic] = getattr(self._channels, f"{kind}Channel")(topic, context=self._context)
        return self._open[topic]

    def write(self, moment: ExportedMoment) -> None:
        stamp = self._messages.Timestamp(*divmod(moment.time_ns, NS_PER_S))
        for topic, jpeg in (("/camera", moment.camera), ("/labels", moment.overlay)):
            if jpeg is not None:
                picture = self._messages.CompressedImage(
                    timestamp=stamp, frame_id=CAMERA_FRAME, data=jpeg, format="jpeg"
                )
                self._channel("CompressedImage", topic).log(picture, log_time=moment.time_ns)
        if moment.intrinsics is not None and moment.size is not None:
            height, width = moment.size
            matrix = moment.intrinsics
            calibration = self._messages.CameraCalibration(
                timestamp=stamp, frame_id=CAMERA_FRAME, width=width, height=height, K=matrix.ravel().tolist(),
                P=np.hstack([matrix, np.zeros((3, 1))]).ravel().tolist(),
            )  # fmt: skip
            self._channel("CameraCalibration", "/camera/calibration").log(calibration, log_time=moment.time_ns)
        for name, cloud in moment.clouds.items():
            self._channel("PointCloud", f"/{name}").log(self._cloud(stamp, cloud), log_time=moment.time_ns)
        told = {} if moment.confidence is None else {"confidence": moment.confidence}  # the schema takes no null
        self._confidence().log({**told, "used": moment.used}, log_time=moment.time_ns)

    def _confidence(self) -> Any:
        topic = "/confidence"
        if topic not in self._open:
            self._open[topic] = self._sdk.Channel(topic, schema=_JSON_SCHEMA, context=self._context)
        return self._open[topic]

    def _cloud(self, stamp: Any, cloud: Cloud) -> Any:
        packed = np.empty(len(cloud.points), _POINT)
        packed["xyz"], packed["rgba"][:, :3], packed["rgba"][:, 3] = cloud.points, cloud.colours, 255
        kinds, field = self._messages.PackedElementFieldNumericType, self._messages.PackedElementField
        fields = [field(name=name, offset=4 * at, type=kinds.Float32) for at, name in enumerate("xyz")]
        fields += [field(name=name, offset=12 + at, type=kinds.Uint8)
                   for at, name in enumerate(("red", "green", "blue", "alpha"))]  # fmt: skip
        return self._messages.PointCloud(
            timestamp=stamp, frame_id=CAMERA_FRAME, point_stride=_POINT.itemsize, fields=fields, data=packed.tobytes()
        )


@contextmanager
def foxglove_file(path: Path, space: LabelSpace) -> Iterator[_FoxgloveFile]:
    """Begins the file; UserError where foxglove-sdk is not installed."""
    sdk = package("foxglove", "foxglove", "--foxglove")
    context = sdk.Context()
    with sdk.open_mcap(path, context=context):
        yield _FoxgloveFile(context)
