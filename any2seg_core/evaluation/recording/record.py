"""A recording with the model's labels beside its inputs, for RViz and Foxglove."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from any2seg_core.bags.codec import Codec, common_codec
from any2seg_core.bags.qos import offered_qos
from any2seg_core.bags.reader import Recorded, Recording
from any2seg_core.base.atomic import make_empty
from any2seg_core.base.errors import UserError
from any2seg_core.messages import serialise
from any2seg_core.runtime.legend import legend_document
from any2seg_core.runtime.overlay import overlay
from any2seg_core.runtime.predictor import Segmentation
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

_OVERLAY_ALPHA = 0.5
_IMAGE, _STRING = "sensor_msgs/msg/Image", "std_msgs/msg/String"
OUTPUTS = {name: f"/segment/out/{name}" for name in ("label", "overlay", "confidence")}
"""Pictures that are added; the names under which the live node publishes the same."""

LABEL_INFO = "/segment/out/label_info_json"
"""Added once, before the first label: classes of the labels as JSON, as the live node has it."""


class ResultRecorder:
    """Writes one .mcap; a context manager that leaves a whole file or none.

    Args:
        path: file to write, ``.mcap``. bag: open recording whose messages are copied.
        space, suite: classes and sensors of the labels.

    Attributes:
        left_out: topic -> type of what cannot be copied, because no definition of the type is known.

    Raises:
        UserError: another suffix, a folder, an output that lies in the bag itself, or a place that cannot be written.
    """

    def __init__(self, path: Path, bag: Recording, space: LabelSpace, suite: SensorSuite = VEHICLE) -> None:
        if path.suffix != ".mcap":
            raise UserError(f"--record {path}: is written as MCAP; name it {path.stem or 'out'}.mcap", "file-name")
        if path.resolve() == bag.path.resolve() or bag.path.resolve() in path.resolve().parents:
            raise UserError(f"--record {path}: lies in the recording itself; choose another place", "output-is-input")
        if path.is_dir():
            raise UserError(f"--record {path}: is a folder; give the name of the file to write", "output-unwritable")
        self.left_out: dict[str, str] = {}
        self._path, self._bag, self._space, self._suite = path, bag, space, suite
        self._partial = path.parent / f".{path.stem}.{os.getpid()}.partial"
        self._connections: dict[str, Connection | None] = {}
        self._has_label_info = False

    def __enter__(self) -> ResultRecorder:
        try:
            make_empty(self._partial)
            self._writer = Writer(self._partial / self._path.stem, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except OSError as error:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise self._refusal(error) from None
        except BaseException:  # ended from outside while it began
            shutil.rmtree(self._partial, ignore_errors=True)
            raise
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None:
                self._writer.close()
                os.replace(self._partial / self._path.stem / f"{self._path.stem}.mcap", self._path)
            else:
                with suppress(Exception):  # closing writes an index, which a full disk refuses again
                    self._writer.close()
        except OSError as error:
            raise self._refusal(error) from None
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def copy(self, message: Recorded) -> None:
        """Write one input message as it arrived."""
        connection = self._connection(message.topic, message.codec or common_codec(message.kind))
        if connection is not None:
            self._write(connection, message.time_ns, message.data)

    def add(
        self, time_ns: int, stamp_ns: int, frame_id: str, result: Segmentation, planes: dict[str, np.ndarray]
    ) -> None:
        """Write label, overlay and confidence of one set with its header, and once its classes; `time_ns`: log time."""
        assert result.confidence is not None  # every set of a recording is segmented with it
        pictures = {
            "label": (result.labels, "mono8" if result.labels.dtype == np.uint8 else "mono16"),
            "overlay": (overlay(result.labels, planes, self._space, _OVERLAY_ALPHA, self._suite), "rgb8"),
            "confidence": (np.round(result.confidence * 255).astype(np.uint8), "mono8"),
        }
        if not self._has_label_info:
            self._has_label_info = True
            document = legend_document(self._space) | {"threshold": 0.0}  # recordings keep labels of any confidence
            self._add(LABEL_INFO, _STRING, time_ns, serialise.string(json.dumps(document)))
        for name, (pixels, encoding) in pictures.items():
            self._add(OUTPUTS[name], _IMAGE, time_ns, serialise.image(pixels, encoding, stamp_ns, frame_id))

    def _add(self, topic: str, kind: str, time_ns: int, data: bytes) -> None:
        connection = self._connection(topic, common_codec(kind))
        if connection is not None:
            self._write(connection, time_ns, data)

    def _write(self, connection: Connection, time_ns: int, data: bytes) -> None:
        try:
            self._writer.write(connection, time_ns, data)
        except OSError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: OSError) -> UserError:
        way_out = "free some space or choose another place"
        return UserError(
            f"--record {self._path}: cannot be written ({error.strerror or error}); {way_out}", "output-unwritable"
        )

    def _connection(self, topic: str, codec: Codec) -> Connection | None:
        if topic not in self._connections:
            kind = codec.kind
            is_common = kind in serialise.typestore().fielddefs
            store = serialise.typestore() if is_common else codec.store
            if store is None:
                self.left_out[topic] = kind
                self._connections[topic] = None
            else:
                recorded = self._bag.topics[topic].qos if topic in self._bag.topics else ()
                is_latched = topic == LABEL_INFO or any(each.durability == "transient_local" for each in recorded)
                qos = [offered_qos(is_latched, 1 if is_latched else 10)]
                self._connections[topic] = self._writer.add_connection(
                    topic, kind, typestore=store, offered_qos_profiles=qos
                )
        return self._connections[topic]
