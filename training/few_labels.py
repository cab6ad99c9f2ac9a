"""Which frames of a run have labels, and where the unlabelled ones come from."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.catalogue import layout
from any2seg_core.data.samples import FrameDataset, Sample
from any2seg_core.data.splits import labelled_count, labelling_order, read_names
from any2seg_training.config import TrainConfig

_LOG = logging.getLogger(__name__)


class FramePool:
    """Unlabelled frames of several data sets as one row of frames.

    Args:
        sources: opened with ``labelled=False``; at least one.
    """

    def __init__(self, sources: Sequence[FrameDataset]):
        self.sources = sources
        self._ends = list(accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def next_readable(self, index: int) -> tuple[int, Sample]:
        """The frame with that number or the next one of its data set that can be read, and its number."""
        source, own = self._place(index)
        number, sample = source.next_readable(own)
        return index - own + number, sample

    def name(self, index: int) -> str:
        """``folder/name``: names are unique within one data set only."""
        source, own = self._place(index)
        return f"{source.root.name}/{source.name(own)}"

    def counts(self) -> dict[str, int]:
        """Frames by the name of the folder or recording that they are from."""
        counts: dict[str, int] = {}
        for source in self.sources:
            counts[source.root.name] = counts.get(source.root.name, 0) + len(source)
        return counts

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the frames that were found corrupt and skipped so far."""
        return tuple(name for source in self.sources for name in source.skipped)

    def _place(self, index: int) -> tuple[FrameDataset, int]:
        number = bisect_right(self._ends, index)
        return self.sources[number], index - (self._ends[number - 1] if number else 0)


def labelled_frames(config: TrainConfig, frames: FrameDataset) -> list[int]:
    """Numbers of the train frames that keep their labels, in the order of the data set."""
    if config.data.labelled is not None:
        return sorted(read_names(config.data.labelled, frames))
    count = labelled_count(len(frames), config.data.labelled_fraction)
    return sorted(labelling_order(frames, config.seed)[:count])


def split_frames(config: TrainConfig, frames: FrameDataset) -> tuple[FrameDataset, FramePool | None]:
    """Train frames -> the labelled ones, and the pool of all others with what ``data.unlabelled`` adds.

    The pool is None where the method takes none or there is no unlabelled frame. Labels of its frames are never read.

    Args:
        frames: all train frames; not decoded yet if some of them lose their labels.
    """
    labelled, rest = frames, []
    if config.data.has_few_labels:
        keep = labelled_frames(config, frames)
        labelled, kept = frames.part(keep, config.cache), set(keep)
        rest = [index for index in range(len(frames)) if index not in kept]
    if config.method == "supervised":
        return labelled, None
    sources = [frames.part(rest, config.cache, labelled=False)] if rest else []
    sources += [open_unlabelled(config, path, frames) for path in config.data.unlabelled]
    if not sources and config.unlabelled_batch_size is not None:
        raise UserError(
            f"unlabelled_batch_size={config.unlabelled_batch_size}: there is no unlabelled frame; set "
            "data.labelled_fraction or data.unlabelled, or leave it out",
            "value-conflict",
        )
    return labelled, FramePool(sources) if sources else None


def open_unlabelled(config: TrainConfig, path: Path, like: FrameDataset) -> FrameDataset:
    """Split train of a data set, or a recording, without its labels; sensors that the model lacks are left out.

    A data set of the kind of ``like`` is read as that one: the same cases, source and parity.

    Raises:
        UserError: nothing there, or none of the sensors of the training data.
    """
    try:
        place = layout("auto", path).having(like.suite, like.modalities)
        kind = place.kind
        # A recording without some of these sensors says so itself, by the topics that it is told.
        found = place.suite.members if kind == BagDataset.kind else place.sensors
        names = [name for name in like.modalities if name in found]
        if not names:
            raise UserError(
                f"{path}: has {', '.join(found) or 'no sensor'}, and none of {', '.join(like.modalities)}",
                "sensor-absent",
            )
        alike = place.name == like.kind
        options = config.data_options(kind) if alike else config.data.options(kind)
        cache = "none" if config.cache == "disk" and kind != BagDataset.kind else config.cache
        frames = place.open(
            "train", names, config.cases if alike else None, cache=cache,
            skip_corrupt=config.skip_corrupt, labelled=False, **options,
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"data.unlabelled: {error}", error.code) from None
    other = {name: code for name, code in frames.encodings.items() if code != like.encodings[name]}
    if other:
        _LOG.warning(
            "data.unlabelled: planes of %s are encoded otherwise (%s) than those of %s", path, other, like.root
        )
    return frames


def write_names(path: Path, frames: FrameDataset) -> None:
    """One name a line, as ``data.labelled`` reads them."""
    with replacing(path) as partial:
        partial.write_text("".join(f"{frame.name}\n" for frame in frames.frames), encoding="utf-8")
