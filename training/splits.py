"""The splits of a run: of one data set, or of several that are read as one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.catalogue import layout
from any2seg_core.data.joined import JoinedDataset
from any2seg_core.data.samples import Cache, FrameDataset
from any2seg_core.data.splits import ends_of_recordings
from any2seg_training.config import TrainConfig


def open_split(config: TrainConfig, split: str, cache: Cache) -> FrameDataset:
    """One split of the configured data, train or val.

    Raises:
        UserError: as of the data sets, and where several do not belong together.
    """
    parts = [_opened(config, config.data.root, split, cache)]
    for place in config.data.further:
        parts.append(_opened(config, place, split, cache))
    return parts[0] if len(parts) == 1 else JoinedDataset(parts)


def _opened(config: TrainConfig, root: Path, split: str, cache: Cache) -> FrameDataset:
    is_root = root == config.data.root
    found = layout(config.dataset if is_root else "auto", root, suite=config.chosen_suite)
    options = config.data_options(found.kind)
    if split == "train":  # what is judged has all its labels
        options |= {"sparse": config.data.sparse, "pseudo": config.data.pseudo}
    if not is_root and cache == "disk" and found.kind != BagDataset.kind:
        cache = "none"  # only some data sets have something to compute
    is_cut = bool(config.data.held_out) and found.kind != BagDataset.kind and "val" not in found.splits
    open_frames = partial(
        found.open, "train" if is_cut else split, config.modalities, config.cases, cache="none" if is_cut else cache,
        skip_corrupt=config.skip_corrupt, **options,
    )  # fmt: skip
    try:
        frames = open_frames(labelled=config.data.labels != "ignore")  # of a recording: the sets that have truth
    except UserError as error:
        if config.method != "distil" or error.code not in ("truth-missing", "data-unlabelled"):
            raise
        frames = open_frames(labelled=False)
    kept = config.data.labels == "learn" or (config.data.labels == "judge" and split == "val")
    if is_cut:
        return frames.part(ends_of_recordings(frames, config.data.held_out)[split == "val"], cache, kept)
    return frames if kept else frames.part(range(len(frames)), cache, labelled=False)
