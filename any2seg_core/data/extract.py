"""A recording as a folder of DELIVER's layout: one frame per synchronised set, ready for `DeliverDataset`.

    root/{img,hha,event,lidar,semantic}/<condition>/<split>/<recording>_bag/<stamp>_{rgb,depth,event,lidar,semantic}_front.png

Planes are those that the node would feed to the model. Without truth there is no folder `semantic`:
``DeliverDataset(root, split, modalities, labelled=False)`` reads such a folder, every pixel unlabelled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from any2seg_core.bags.conditions import UNKNOWN, Conditions
from any2seg_core.bags.opened import OpenBag
from any2seg_core.base.atomic import make_empty
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.data.deliver_files import (
    ENCODING_FILE,
    LIDAR_LABELS,
    alone_with,
    check_target,
    partial_folder,
    publish,
    write_semantic,
)
from any2seg_core.data.deliver_labels import LABEL_SPACE_FILE, label_space_of
from any2seg_core.data.extract_options import ExtractOptions
from any2seg_core.data.images import write_png
from any2seg_core.data.moments import moments_of
from any2seg_core.data.predicted_labels import PREDICTED, SetLabeller
from any2seg_core.data.recording_truth import TruthCoding
from any2seg_core.data.usable_sets import Selection, StampNames, Tally, UsableSet, UsableSets
from any2seg_core.sensors.calibration import save_calibration
from any2seg_core.vocabulary.cases import CONDITIONS
from any2seg_core.vocabulary.contract import default_encodings
from any2seg_core.vocabulary.labels import LabelSpace, save_label_space

_SUNNY = "sun"


@dataclass(kw_only=True)
class ExtractReport(Tally):
    """What happened.

    Attributes:
        root: where the data is. written: frames.
        modalities: that every frame has. labelled: whether every frame has truth.
    """

    root: Path
    modalities: tuple[str, ...]
    labelled: bool
    written: int = 0

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "root": str(self.root), "modalities": list(self.modalities), "labelled": self.labelled,
            "written": self.written, **super().document(),
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
    recording, out = opened.bag.path.resolve(), options.out.resolve()
    if recording == out or recording in out.parents:
        raise UserError(f"--out {options.out}: lies in the recording itself; choose another place", "output-is-input")
    if options.condition not in ("", *CONDITIONS):
        raise UserError(
            f"condition {options.condition!r} is unknown; choose one of {', '.join(CONDITIONS)}", "value-unknown"
        )
    labeller = None
    if options.labels is not None:
        labeller = SetLabeller(options.labels, opened, options.precision, options.runtime)
    if labeller is not None:
        options = replace(options, event_window_ns=labeller.event_window_ns)
        opened.bag.warnings.extend(labeller.notes)
    coding = read_settings(opened.bag.path).coding(
        options.truth_coding, options.carla_version, options.rider, options.label_space
    )
    _require_one_space(options.out, coding.space)
    moments = () if options.moments is None else moments_of(options.moments, opened.bag.path)
    selection = Selection(
        options.every, options.min_motion, moments=moments, event_window_ns=options.event_window_ns,
        truth_coding=coding,
    )  # fmt: skip
    report = ExtractReport(
        root=options.out, modalities=opened.modalities, labelled=bool(opened.choice.map.truth)
    )
    found = UsableSets(opened, selection, report, on_message)
    partial = partial_folder(options.out, options.split)
    with alone_with(options.out, options.split):
        make_empty(partial)
        try:
            folders = ("semantic", LIDAR_LABELS) if found.has_cloud_truth else ("semantic",)
            writer = _FrameWriter(partial, opened, options, dict.fromkeys(folders, coding.space), labeller)
            for usable in found:
                writer.write(usable)
                report.written += 1
            if not report.written:
                raise UserError(found.why_nothing(), "bag-no-sets")
            writer.finish(report, coding)
            publish(partial, options.out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return report


def _require_one_space(out: Path, space: LabelSpace) -> None:
    """UserError where other splits of the folder have other classes."""
    is_there = (out / "semantic").is_dir()
    if is_there and (apart := label_space_of(out).told_apart(space)):
        raise UserError(
            f"{out}: its labels are of {apart[0]}, those of this recording of {apart[1]}: choose another folder",
            "label-space-mismatch",
        )


class _FrameWriter:
    """Files of one recording below a folder that is published later; spaces: folder of labels -> their classes."""

    def __init__(
        self,
        folder: Path,
        opened: OpenBag,
        options: ExtractOptions,
        spaces: dict[str, LabelSpace],
        labeller: SetLabeller | None,
    ) -> None:
        self._spaces, self._labeller, self._names = spaces, labeller, StampNames()
        name = re.sub(r"[^0-9A-Za-z-]+", "-", opened.bag.path.resolve().stem).strip("-") or "recording"
        self._folder, self._opened, self._options = folder, opened, options
        self._recorded = Conditions(opened.bag.path)
        self._below = Path(options.split) / f"{name}_bag"  # "_bag" is no sensor failure

    def write(self, usable: UsableSet) -> None:
        bag_set, labels = usable.bag_set, usable.labels
        stem = self._names.name(bag_set.stamp_ns)
        below = Path(self._condition_at(bag_set.time_ns)) / self._below
        for name, plane in usable.planes.items():
            entry = self._opened.suite.sensor(name)
            write_png(self._folder / entry.folder / below / f"{stem}_{entry.suffix}_front.png", plane)
        written = {} if labels is None else {name: (labels, space) for name, space in self._spaces.items()}
        if self._labeller is not None:
            written[PREDICTED] = self._labeller.labels(usable), self._labeller.label_space
        for name, (ids, space) in written.items():
            write_semantic(self._folder / name / below / f"{stem}_{name}_front.png", ids, space)
        self._calibration = bag_set.frames.rig.calibration if bag_set.frames.rig is not None else None

    def _condition_at(self, time_ns: int) -> str:
        time_s = (time_ns - (self._opened.bag.start_ns or 0)) / NS_PER_S
        recorded = self._recorded.at(time_s)
        return self._options.condition or (_SUNNY if recorded == UNKNOWN else recorded)

    def finish(self, report: ExtractReport, coding: TruthCoding) -> None:
        """What a later reader must know: encoding of the planes, geometry, and where all of it came from."""
        split, topics, suite = self._options.split, self._opened.choice.map, self._opened.suite
        if report.labelled:
            save_label_space(self._folder / LABEL_SPACE_FILE, coding.space)
        if self._labeller is not None:
            save_label_space(self._folder / PREDICTED / LABEL_SPACE_FILE, self._labeller.label_space)
        for name in report.modalities:
            marker = self._folder / suite.sensor(name).folder / ENCODING_FILE
            marker.write_text(json.dumps({"encoding": default_encodings(suite)[name]}))
        if self._calibration is not None:
            fixed = self._opened.calibration.fixed_part(self._calibration)
            save_calibration(self._folder / f"calibration_{split}.yaml", fixed)
        document = {
            "recording": self._opened.bag.path.name,
            "suite": suite.to_document(),
            "topics": topics.streams,
            "truth": topics.truth,
            "truth_coding": coding.facts,
            "calibration": self._opened.calibration.source,
            "extrinsics": self._opened.calibration.found,
            "parameters": self._opened.parameters,
            "every": self._options.every,
            "min_motion": self._options.min_motion,
            "event_window_ns": self._options.event_window_ns,
            "predicted": None if self._labeller is None else self._labeller.facts,
            "warnings": [*self._opened.bag.warnings, *self._opened.notes],
            **{key: value for key, value in report.document().items() if key != "root"},
        }
        (self._folder / f"bag_{split}.json").write_text(json.dumps(document, indent=1))
