"""Labels that a checkpoint gives to the sets of a recording, by the road of node and `bag evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.bags.opened import OpenBag
from any2seg_core.base.errors import UserError
from any2seg_core.base.runtimes import DEFAULT
from any2seg_core.data.usable_sets import UsableSet
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.vocabulary.labels import LabelSpace

PREDICTED = "predicted"
"""Folder beside those of the planes, and the word in the names of its files."""


class SetLabeller:
    """Labels of the sets of one recording, one after the other.

    Args:
        checkpoint: Any2Seg checkpoint. opened: the recording. precision, runtime: as in `Predictor`.

    Raises:
        UserError: the checkpoint cannot be read, or does not take a sensor in use.
    """

    def __init__(
        self, checkpoint: Path, opened: OpenBag, precision: str = "float32", runtime: str = DEFAULT
    ) -> None:
        self._checkpoint = checkpoint
        self._predictor = Predictor.load(checkpoint, precision=precision, runtime=runtime)
        WORKLOAD.expect_more()  # as `bag evaluate` does, for the same bits
        contract = self._predictor.contract
        strange = [name for name in opened.modalities if name not in contract.modalities]
        if strange:
            raise UserError(
                f"{checkpoint}: takes {', '.join(contract.modalities)}, not {', '.join(strange)}: choose sensors with "
                "--modalities, or another checkpoint",
                "checkpoint-mismatch",
            )
        self._modalities = opened.modalities
        self._segmenter = SetSegmenter(self._predictor, opened.sync_config(contract.event_window_ns))

    @property
    def event_window_ns(self) -> int:
        """Length of the event window that the checkpoint was trained with."""
        return self._predictor.contract.event_window_ns

    @property
    def label_space(self) -> LabelSpace:
        """Classes of the labels."""
        return self._predictor.label_space

    @property
    def facts(self) -> dict[str, Any]:
        """Whose labels they are, JSON-ready."""
        predictor = self._predictor
        return {
            "checkpoint": self._checkpoint.name,
            "label_space": predictor.label_space.reference,
            "engine": predictor.engine.facts,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What speaks against these labels, one line each."""
        return self._predictor.contract.encoding_notes(self._modalities)

    def labels(self, usable: UsableSet) -> np.ndarray:
        """(H, W) uint8 ids on the grid of the planes, 255 unlabelled."""
        bag_set = usable.bag_set
        return self._segmenter.segment(bag_set.sample_set, usable.frame, bag_set.time_ns).segmentation.labels
