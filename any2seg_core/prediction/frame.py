"""What came of one frame, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from any2seg_core.runtime.predictor import Segmentation


@dataclass(frozen=True)
class PredictedFrame:
    """Labels of one frame, or why there are none.

    Attributes:
        name: of its files. caption: for a video.
        segmentation: None where nothing of it could be used. planes: what the model saw.
        left_out: one line per sensor that was given and not used. unreadable: of them, files that cannot be read.
    """

    name: str
    caption: str
    segmentation: Segmentation | None
    planes: dict[str, np.ndarray]
    left_out: tuple[str, ...] = ()
    unreadable: int = 0


@dataclass
class PredictionTally:
    """What came of all frames.

    Attributes:
        frames: read. labelled: of them with labels. used: sensors, joined by commas -> frames that were fused of them.
        unreadable: files that could not be used. without_labels: names of frames. reasons: why -> frames.
        pixels: (K,) of each class; all_pixels: of all frames. confidence: sum of the mean confidences.
    """

    frames: int = 0
    labelled: int = 0
    unreadable: int = 0
    used: dict[str, int] = field(default_factory=dict)
    without_labels: list[str] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    all_pixels: int = 0
    confidence: float = 0.0

    def add(self, found: PredictedFrame, classes: int) -> None:
        """Count one frame of a model of so many classes."""
        self.frames += 1
        self.unreadable += found.unreadable
        for line in found.left_out:
            self.reasons[line] = self.reasons.get(line, 0) + 1
        if found.segmentation is None:
            self.without_labels.append(found.name)
            return
        result = found.segmentation
        assert result.confidence is not None  # a predictor leaves it out only when told to
        self.labelled += 1
        key = ",".join(result.used)
        self.used[key] = self.used.get(key, 0) + 1
        counts = np.bincount(result.labels.ravel(), minlength=classes)[:classes]
        self.pixels = counts if not self.pixels.size else self.pixels + counts
        self.all_pixels += result.labels.size
        self.confidence += float(result.confidence.mean())
