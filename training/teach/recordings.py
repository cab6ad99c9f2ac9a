"""What the recordings hold, before any of them is read: sensors, length, labels; and what the teachers look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from any2seg_core.bags.opened import open_bag
from any2seg_core.base.errors import UserError
from any2seg_core.base.units import NS_PER_S
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.data.catalogue import layout
from any2seg_core.models import FUSIONS, ModelConfig
from any2seg_core.runtime.checkpoint_metadata import contract_of, is_checkpoint, read_metadata
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite
from any2seg_training.teachers import is_callable, is_folder, sensors_seen


@dataclass(frozen=True)
class Source:
    """One recording or folder of frames.

    Attributes:
        is_bag: whether it is a recording. suite: sensors it can have. sensors: that it has.
        duration_s, messages: of a recording; messages are those that the sets need. has_labels: whether it has a truth.
        note: one line for people.
    """

    path: Path
    is_bag: bool
    suite: SensorSuite
    sensors: tuple[str, ...]
    duration_s: float
    messages: int
    has_labels: bool
    note: str


@dataclass(frozen=True)
class Start:
    """The first teacher that is a checkpoint: the student begins as it.

    Attributes:
        model: None where its fusion has no subsets of one encoding; then the student begins anew.
    """

    path: Path
    contract: InputContract
    model: ModelConfig | None


def inspected(paths: Sequence[Path], suite: str) -> list[Source]:
    """Every recording and folder; UserError for one that cannot be read."""
    return [_inspected(path, sensor_suite(suite) if suite else None) for path in paths]


def _inspected(path: Path, suite: SensorSuite | None) -> Source:
    found = layout("auto", path, suite=suite)
    if found.kind != BagDataset.kind:
        labelled = found.recipe is None or found.recipe.labels is not None
        note = f"{path}: {found.name}: {', '.join(found.sensors)}"
        return Source(path, False, found.suite, found.sensors, 0.0, 0, labelled, note)
    with open_bag(path, read_settings(path).bag_options((), True, found.suite)) as opened:
        bag, topics = opened.bag, opened.choice.map
        seconds = ((bag.end_ns or 0) - (bag.start_ns or 0)) / NS_PER_S
        rates = [
            f"{name} {bag.topics[topic].count / seconds:.1f} Hz" if seconds else name
            for name, topic in topics.streams.items()
            if name in opened.modalities
        ]
        truth = "with labels" if topics.truth else "no labels"
        note = f"{path}: {seconds:.1f} s: {', '.join(rates)}; {truth}"
        total = opened.message_total
        return Source(path, True, found.suite, opened.modalities, seconds, total, bool(topics.truth), note)


def start_of(teachers: Sequence[str]) -> Start | None:
    """The first checkpoint among the teachers; None where there is none."""
    for place in teachers:
        path = Path(place)
        if is_folder(place) or is_callable(place):
            continue
        if path.is_file() and not is_checkpoint(path):
            raise UserError(
                f"{path}: is no checkpoint of this program; `any2seg import segformer` makes one of a camera model of "
                "transformers or MMSegmentation",
                "checkpoint-foreign",
            )
        document = read_metadata(path)
        contract = contract_of(path, document)
        model = ModelConfig.model_validate(document["model"])
        return Start(path, contract, model if FUSIONS[model.fusion].encodes_alone else None)
    return None


def require_seen(sources: Sequence[Source], start: Start | None) -> None:
    """UserError for a recording without the sensors of the teacher, the camera for example, or with nothing beside."""
    own: set[str] = set()
    for source in sources:
        seen = (source.suite.camera,) if start is None else tuple(sensors_seen(start.contract, source.suite))
        own.update(seen)
        if not set(seen).intersection(source.sensors):
            wanted = ", ".join(seen or start.contract.modalities if start else seen)
            raise UserError(
                f"{source.path}: has {', '.join(source.sensors) or 'no sensor'}, and no {wanted}, which the teacher "
                f"looks at: name its topic in any2seg.yaml beside the recording, topics: {{{wanted.split(', ')[0]}: "
                "/...}, or leave the recording out",
                "bag-sensor-missing" if source.is_bag else "sensor-absent",
            )
    every = {name for source in sources for name in source.sensors}
    if every <= own:
        raise UserError(
            f"{sources[0].path}: has {', '.join(sorted(every))} alone, all of which the teacher knows: give recordings "
            "with a further sensor",
            "sensor-absent",
        )


def require_classes(sources: Sequence[Source], start: Start | None, labels: str, mapping: str) -> None:
    """UserError where labels are to be used that are of other classes than the teacher's, and no mapping says which."""
    if start is None or labels == "ignore" or mapping:
        return
    for source in sources:
        if not source.has_labels:
            continue
        space = layout("auto", source.path, suite=source.suite).label_space
        if apart := start.contract.label_space.told_apart(space):
            raise UserError(
                f"{start.path} knows {apart[0]}, {source.path} has labels of {apart[1]}: give --map, a mapping from "
                "its classes to theirs, or --labels ignore",
                "label-space-mismatch",
            )
