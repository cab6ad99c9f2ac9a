"""Ground truth of a recording: a topic of its own, or a folder of label images named by their stamps."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from any2seg_core.bags.codec import LazyPayload
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.listing import listed
from any2seg_core.data.deliver_labels import read_labels
from any2seg_core.data.label_images import read_ids, read_label_image
from any2seg_core.messages import image_to_array, image_to_rgb
from any2seg_core.messages.carla_tags import semantic_cloud_to_train, semantic_to_train, tag_list
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.lidar import project_labels
from any2seg_core.sync.association import nearest_truth
from any2seg_core.vocabulary.class_mapping import Comparison
from any2seg_core.vocabulary.label_tables import labels_of_colours, raw_table, strange_ids, without_instances
from any2seg_core.vocabulary.labels import DELIVER, IGNORE, NOT_ANNOTATED, LabelSpace
from any2seg_core.vocabulary.truth_codings import (
    CARLA_VERSION,
    CODINGS,
    FILE_CODINGS,
    INSTANCE_IDS,
    RAW_COLOURS,
    RIDER,
    TRAIN_IDS,
)

NO_TRUTH = "none"
"""What to give instead of a topic or folder where labels shall not be compared with anything."""
_ENCODINGS = ("mono8", "8UC1")
_EXTRACTED = "_semantic_front.png"


@dataclass(frozen=True)
class TruthCoding:
    """How a truth topic says its classes; the same for recordings, data sets made of them, and topics that are live.

    Attributes:
        kind: of CODINGS.
        carla_version: whose list of tags; rider: class of CARLA's riders, see `TagList.to_train`. For CARLA's kinds.
        space: the classes; of CARLA's kinds DELIVER's, or those of the list of tags.

    Raises:
        UserError: an unknown kind, version or rider.
    """

    kind: str = TRAIN_IDS
    carla_version: str = CARLA_VERSION
    rider: str = RIDER
    space: LabelSpace = DELIVER

    def __post_init__(self) -> None:
        if self.kind not in CODINGS:
            raise UserError(f"truth_coding is {self.kind!r}: {', '.join(CODINGS)}", "value-unknown")
        if self.is_carla:
            tag_list(self.carla_version).to_train(self.rider)

    @property
    def is_carla(self) -> bool:
        """Whether CARLA's lists of tags say what ids and colours mean, and not the label space."""
        return self.kind not in FILE_CODINGS

    @property
    def facts(self) -> dict[str, str] | None:
        """JSON-ready; None for train ids, which need no words."""
        if self.kind == TRAIN_IDS:
            return None
        own = {"carla_version": self.carla_version, "rider": self.rider} if self.is_carla else {}
        return {"kind": self.kind} | own

    def require_effect(self) -> None:
        """UserError for a version or riders of CARLA where truth is none of CARLA's."""
        if not self.is_carla and (self.carla_version, self.rider) != (CARLA_VERSION, RIDER):
            raise UserError(
                f"carla_version={self.carla_version}, rider={self.rider}: no effect on {self.kind}; give truth_coding "
                "palette or tag too, or leave them out",
                "value-conflict",
            )

    def require_space(self, space: LabelSpace) -> None:
        """UserError for CARLA's tags where the classes are neither DELIVER's nor the tags' own."""
        if self.is_carla and not any(space.is_same(own) for own in (DELIVER, tag_list(self.carla_version).space)):
            raise UserError(
                f"truth_coding is {self.kind!r}: {space.name} is neither {DELIVER.name} nor "
                f"{tag_list(self.carla_version).space.name}",
                "label-space-mismatch",
            )

    def read(self, message: Any, topic: str) -> np.ndarray:
        """(H, W) uint8 train ids, 255 = no truth, of a message on `topic`; UserError when it holds something else."""
        if self.is_carla:
            tags = tag_list(self.carla_version)
            return semantic_to_train(message, tags, self.kind, self.rider, self.space)
        if self.kind == TRAIN_IDS:
            return _train_ids(message, topic)
        try:
            if self.kind == RAW_COLOURS:
                return labels_of_colours(image_to_rgb(message), self.space)
            return _raw_ids(message, self.kind, self.space)
        except MessageError:
            raise
        except UserError as error:
            raise UserError(f"truth topic {topic}: {error}", error.code) from None

    def read_cloud(self, message: Any) -> tuple[np.ndarray, np.ndarray]:
        """CARLA's semantic LiDAR -> points (N, 3) float32 in metres, (N,) uint8 train ids; MessageError as above."""
        return semantic_cloud_to_train(message, tag_list(self.carla_version), self.rider, self.space)

    def read_file(self, path: Path) -> np.ndarray:
        """(H, W) uint8 train ids of a label image; CorruptFileError."""
        return read_label_image(path, self.space, self.kind)


def _raw_ids(message: Any, kind: str, space: LabelSpace) -> np.ndarray:
    ids = image_to_array(message)
    if ids.ndim != 2 or ids.dtype.kind != "u":
        raise UserError(
            f"holds {message.encoding}, ids are one channel of whole numbers, as mono8 or mono16", "truth-encoding"
        )
    ids = without_instances(ids) if kind == INSTANCE_IDS else ids
    table = raw_table(space)
    strange = strange_ids(ids, table.known)
    if strange.size:
        raise UserError(f"has id {strange[0]}, which is none of {space.name}", "label-ids")
    return np.take(table.to_train, ids)


def _train_ids(message: Any, topic: str) -> np.ndarray:
    encoding = getattr(message, "encoding", "no image")
    if encoding not in _ENCODINGS:
        raise UserError(
            f"truth topic {topic}: holds {encoding}, truth is mono8 train ids with 255 = unlabelled; "
            f"name another one with --truth, its coding ({', '.join(CODINGS)}) with --truth-coding (in a YAML "
            "truth_coding), or "
            f"--truth {NO_TRUTH}",
            "truth-encoding",
        )
    return image_to_array(message)


def on_grid(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H', W') label image of the same view -> (H, W), by the nearest pixel; UserError for another view.

    Labels have the size of the camera image; truth may be finer or coarser than it.
    """
    (height, width), (rows, columns) = size, labels.shape
    if abs(columns * height - rows * width) > max(height, width):
        raise UserError(f"is {columns}x{rows}, another view than the labels' {width}x{height}", "truth-size")
    if labels.shape == size:
        return labels
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


class Truth:
    """Truth of one moment, read when somebody wants it.

    Args:
        stamp_ns: header stamp, or what the file is named by. read: gives (H, W) uint8 train ids, or raises UserError.

    Attributes:
        stamp_ns: as given. shape: (H, W) once it was read, None before and where it cannot be read.
        problem: why it cannot be read, one line; "" as long as nobody has found out.
    """

    def __init__(self, stamp_ns: int, read: Callable[[], np.ndarray]) -> None:
        self.stamp_ns = stamp_ns
        self.shape: tuple[int, int] | None = None
        self.problem = ""
        self._read: Callable[[], np.ndarray] | None = read
        self._pixels: np.ndarray | None = None

    def labels(self, num_classes: int) -> np.ndarray | None:
        """(H, W) uint8 train ids below K, or 254 and 255 which do not count; None where it cannot be read."""
        if self._read is None:  # after `settle`
            return None
        try:
            labels = self._read()
            pixels = pixels_per_class(labels, num_classes)
        except UserError as error:
            self.problem = str(error)
            return None
        self.shape, self._pixels = labels.shape, pixels
        return labels

    def settle(self, num_classes: int) -> None:
        """Keep the pixels of each class and let go of the picture: `labels` cannot be called any more."""
        if self._pixels is None and not self.problem:
            self.labels(num_classes)
        self._read = None

    def pixels(self, num_classes: int) -> np.ndarray | None:
        """(K,) int64 pixels of each class; None where it cannot be read."""
        self.settle(num_classes)
        return self._pixels


def pixels_per_class(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(K,) int64 of (H, W) uint8 train ids, 254 and 255 left out; UserError for another id that is not below K."""
    counts = np.bincount(labels.ravel(), minlength=256)
    strange = np.flatnonzero(counts[num_classes:NOT_ANNOTATED])
    if strange.size:
        raise UserError(
            f"has id {num_classes + strange[0]}, known are 0..{num_classes - 1} and {IGNORE}: another label space; "
            f"name another truth with --truth, or --truth {NO_TRUTH}",
            "label-ids",
        )
    return counts[:num_classes]


Compared = Callable[[np.ndarray], np.ndarray]
"""Train ids of a truth -> ids of the classes that are compared, see `compared_truth`."""


def compared_truth(comparison: Comparison) -> Compared:
    """Checks train ids of a truth and says them in the classes that are compared; without a mapping they stay."""
    if comparison.mapping is None:
        return lambda labels: labels

    def compared(labels: np.ndarray) -> np.ndarray:
        pixels_per_class(labels, len(comparison.truth))
        return comparison.of_truth(labels)

    return compared


def topic_truth(payload: LazyPayload, topic: str, coding: TruthCoding, compared: Compared) -> Truth:
    """Truth of a recorded message."""
    stamp_ns = payload.recorded.stamp_ns
    assert stamp_ns is not None  # a set, or a message that was asked for its stamp before
    return Truth(stamp_ns, lambda: compared(coding.read(payload, topic)))


def cloud_truth(message: Any, topic: str, coding: TruthCoding, calibration: Calibration) -> np.ndarray:
    """Sparse truth: CARLA's semantic LiDAR on the camera plane.

    Args:
        message: sensor_msgs/PointCloud2. topic: for messages. coding: of the kind tag.
        calibration: its camera is the plane; it must know where the LiDAR is.

    Returns:
        (H, W) uint8 train ids, 255 where no point falls or nobody knows what it has hit.

    Raises:
        UserError: no such cloud, or no extrinsics.
    """
    if calibration.lidar_to_camera is None:
        raise UserError(
            f"truth topic {topic}: the calibration does not say where the LiDAR is (lidar_to_camera)",
            "extrinsics-missing",
        )
    try:
        points, labels = coding.read_cloud(message)
    except MessageError as error:
        raise UserError(
            f"truth topic {topic}: {error}; name another one with --truth, or --truth {NO_TRUTH}", error.code
        ) from None
    return project_labels(points, labels, calibration.lidar_to_camera, calibration.camera)


class TruthFolder:
    """Truth of PNG files that are named by their stamps in nanoseconds.

    Two kinds of folders: ``<stamp>.png`` in the folder itself; or what `any2seg bag extract` has written, at any level
    of it: ``semantic/<condition>/<split>/<name>_bag/<stamp>_semantic_front.png``, train ids + 1 as in DELIVER.

    Args:
        coding: what files named by their stamp hold, and the classes of both kinds; not CARLA's.

    Raises:
        UserError: neither is there, or several files have one stamp (the data of several recordings).
    """

    def __init__(
        self, folder: Path, coding: TruthCoding = TruthCoding(), compared: Compared = lambda labels: labels
    ) -> None:
        self._coding, self._compared = coding, compared
        files = {int(path.stem): path for path in listed(folder, "*.png") if path.stem.isdecimal()}
        files = files or _extracted(folder)
        self._truths = [(stamp_ns, (stamp_ns, path)) for stamp_ns, path in sorted(files.items())]
        if not self._truths:
            raise UserError(
                f"--truth {folder}: holds neither <stamp in nanoseconds>.png nor <stamp>_semantic_front.png of a "
                "labelled `bag extract`; name label images by their stamp",
                "truth-missing",
            )

    def nearest(self, stamp_ns: int) -> Truth | None:
        """Truth nearest to a stamp, None if none is near enough."""
        found = nearest_truth(self._truths, stamp_ns)
        return None if found is None else self._truth(*found)

    def between(self, start_ns: int, end_ns: int) -> list[Truth]:
        """Truths of stamps in (start_ns, end_ns), in order."""
        first = bisect_right(self._truths, start_ns, key=lambda entry: entry[0])
        last = bisect_left(self._truths, end_ns, key=lambda entry: entry[0])
        return [self._truth(*found) for _, found in self._truths[first:last]]

    def _truth(self, stamp_ns: int, path: Path) -> Truth:
        return Truth(stamp_ns, lambda: self._compared(self._read(path)))

    def _read(self, path: Path) -> np.ndarray:
        if not path.stem.isdecimal():
            return read_labels(path, self._coding.space)
        return read_ids(path) if self._coding.kind == TRAIN_IDS else self._coding.read_file(path)


def _extracted(folder: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in listed(folder, f"**/*{_EXTRACTED}"):
        stem = path.name.removesuffix(_EXTRACTED)
        if not re.fullmatch("[0-9]+", stem):
            continue
        other = files.setdefault(int(stem), path)
        if other is not path:
            raise UserError(
                f"--truth {folder}: {path.parent} and {other.parent} both have labels of stamp {int(stem)}: give the "
                "folder of one recording",
                "truth-ambiguous",
            )
    return files
