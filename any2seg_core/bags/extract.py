"""A recording as a folder of DELIVER's layout: one frame per synchronised set, ready for `DeliverDataset`.

    root/{img,hha,event,lidar,semantic}/<condition>/<split>/<recording>_bag/<stamp>_{rgb,depth,event,lidar,semantic}_front.png

Planes are those that the node would feed to the model. Without truth there is no folder `semantic`:
``DeliverDataset(root, split, modalities, labelled=False)`` reads such a folder, every pixel unlabelled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from any2seg_core.atomic import make_empty
from any2seg_core.bags.motion import MotionGate, parse_motion
from any2seg_core.bags.opened import OpenBag
from any2seg_core.bags.sets import BagSet
from any2seg_core.cases import CONDITIONS
from any2seg_core.contract import default_encodings
from any2seg_core.data.deliver import ENCODING_FILE
from any2seg_core.data.deliver_files import check_target, partial_folder, publish, semantic_image, write_png
from any2seg_core.errors import UserError
from any2seg_core.labels import DELIVER, IGNORE
from any2seg_core.messages import image_to_array
from any2seg_core.modalities import modality
from any2seg_core.sensors.calibration import save_calibration


@dataclass(frozen=True)
class ExtractOptions:
    """What to write.

    Attributes:
        out: root of the data set; other splits may be there. split: train, val or test.
        condition: DELIVER's folder for the weather of the recording.
        every: take every n-th complete set. min_motion: "0.5m", "4%" or "" for no such rule.
        event_window_ns: length of the event window, as in the input contract that will be trained.
    """

    out: Path
    split: str = "train"
    condition: str = "sun"
    every: int = 1
    min_motion: str = ""
    event_window_ns: int = 50_000_000


@dataclass
class ExtractReport:
    """What happened.

    Attributes:
        root: where the data is. sets: synchronised sets of the recording. written: frames.
        skipped: reason -> sets. problems: what could not be read -> number of times.
        modalities: that every frame has. labelled: whether every frame has truth.
    """

    root: Path
    modalities: tuple[str, ...]
    labelled: bool
    sets: int = 0
    written: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "root": str(self.root), "modalities": list(self.modalities), "labelled": self.labelled, "sets": self.sets,
            "written": self.written, "skipped": dict(self.skipped), "problems": dict(self.problems),
        }  # fmt: skip


def extract(
    opened: OpenBag, options: ExtractOptions, on_message: Callable[[], None] = lambda: None
) -> ExtractReport:
    """Write the complete sets of a recording; nothing appears below `out` before the last frame is done.

    Args:
        on_message: called for every message that was read, for a progress bar.

    Raises:
        UserError: a target that already holds data or cannot be written, unknown split or condition, or not a single
            set that has all sensors in use (the reasons are counted in the message).
    """
    check_target(options.out, options.split)
    if options.condition not in CONDITIONS:
        raise UserError(f"condition {options.condition!r} is unknown; choose one of {', '.join(CONDITIONS)}")
    if options.every < 1:
        raise UserError(f"--every {options.every}: take every n-th set, n at least 1")
    gate = None
    if options.min_motion:
        gate = MotionGate(*parse_motion(options.min_motion), opened.choice.map.odometry)
    report = ExtractReport(options.out, opened.modalities, bool(opened.choice.map.truth))
    partial = partial_folder(options.out, options.split)
    make_empty(partial)
    try:
        writer = _FrameWriter(partial, opened, options)
        for bag_set, planes, labels in _frames(opened, options, gate, report, on_message):
            writer.write(bag_set, planes, labels)
            report.written += 1
        if not report.written:
            raise UserError(_why_nothing(opened, report))
        writer.finish(report)
        publish(partial, options.out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _frames(
    opened: OpenBag,
    options: ExtractOptions,
    gate: MotionGate | None,
    report: ExtractReport,
    on_message: Callable[[], None],
) -> Iterator[tuple[BagSet, dict[str, np.ndarray], np.ndarray | None]]:
    """Sets that are written, with planes and, where there is truth, train ids on the same grid."""

    def watched(messages):
        for message in messages if gate is None else gate.watch(messages):
            on_message()
            yield message

    complete = 0
    for bag_set in opened.sets(options.event_window_ns, watched):
        report.sets += 1
        absent = [name for name in opened.modalities if name not in bag_set.sample_set.samples]
        if absent:
            report.skipped[f"without {', '.join(absent)}"] += 1
            continue
        if report.labelled and bag_set.truth is None:
            report.skipped["no truth near enough"] += 1
            continue
        complete += 1
        if (complete - 1) % options.every:
            report.skipped["every n-th"] += 1
            continue
        frame = bag_set.frame()
        if frame.errors:
            report.skipped["unreadable"] += 1
            report.problems.update(f"{name}: {why}" for name, why in frame.errors.items())
            continue
        if gate is not None and not gate.passes(next(iter(frame.planes.values()))):
            report.skipped["too little motion"] += 1
            continue
        labels = None
        if report.labelled:
            try:
                labels = _labels(bag_set.truth, next(iter(frame.planes.values())).shape[:2])
            except UserError as error:
                report.skipped["truth unreadable"] += 1
                report.problems[f"truth: {error}"] += 1
                continue
        yield bag_set, frame.planes, labels


def _labels(message: Any, size: tuple[int, int]) -> np.ndarray:
    """Truth message -> (H, W) uint8 train ids on the grid of the planes."""
    labels = image_to_array(message)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise UserError(f"expected mono8 train ids, got {labels.dtype} {labels.shape}; or use --truth none")
    strange = labels[(labels >= len(DELIVER)) & (labels != IGNORE)]
    if strange.size:
        raise UserError(f"id {strange[0]} is none of {DELIVER.name}'s 0..{len(DELIVER) - 1}; or use --truth none")
    height, width = size
    if abs(labels.shape[1] * height - labels.shape[0] * width) > max(height, width):
        raise UserError(f"{labels.shape[1]}x{labels.shape[0]} is another view than the planes' {width}x{height}")
    if labels.shape == size:
        return labels
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _why_nothing(opened: OpenBag, report: ExtractReport) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.skipped.most_common())
    reasons = reasons or "the synchroniser made none"
    problem = f" ({report.problems.most_common(1)[0][0]})" if report.problems else ""
    return (
        f"{opened.bag.path}: no set to write of {report.sets}: {reasons}{problem}; choose sensors with --modalities, "
        "or the synchroniser's settings with --params (bag inspect recommends some)"
    )


class _FrameWriter:
    """Files of one recording below a folder that is published later."""

    def __init__(self, folder: Path, opened: OpenBag, options: ExtractOptions) -> None:
        name = re.sub(r"[^0-9A-Za-z-]+", "-", opened.bag.path.resolve().stem).strip("-") or "recording"
        self._folder, self._opened, self._options = folder, opened, options
        self._below = Path(options.condition) / options.split / f"{name}_bag"  # "_bag" is no sensor failure

    def write(self, bag_set: BagSet, planes: dict[str, np.ndarray], labels: np.ndarray | None) -> None:
        stem = f"{bag_set.stamp_ns:019d}"
        for name, plane in planes.items():
            entry = modality(name)
            write_png(self._folder / entry.folder / self._below / f"{stem}_{entry.suffix}_front.png", plane)
        if labels is not None:
            path = self._folder / "semantic" / self._below / f"{stem}_semantic_front.png"
            write_png(path, semantic_image(labels))
        self._calibration = bag_set.frames.rig.calibration if bag_set.frames.rig is not None else None

    def finish(self, report: ExtractReport) -> None:
        """What a later reader must know: encoding of the planes, geometry, and where all of it came from."""
        split, topics = self._options.split, self._opened.choice.map
        for name in report.modalities:
            marker = self._folder / modality(name).folder / ENCODING_FILE
            marker.write_text(json.dumps({"encoding": default_encodings()[name]}))
        if self._calibration is not None:
            save_calibration(self._folder / f"calibration_{split}.yaml", self._calibration)
        document = {
            "recording": self._opened.bag.path.name,
            "topics": topics.streams,
            "truth": topics.truth,
            "calibration": self._opened.calibration.source,
            "parameters": self._opened.parameters,
            "every": self._options.every,
            "min_motion": self._options.min_motion,
            "event_window_ns": self._options.event_window_ns,
            "warnings": self._opened.bag.warnings,
            **{key: value for key, value in report.document().items() if key != "root"},
        }
        (self._folder / f"bag_{split}.json").write_text(json.dumps(document, indent=1))
