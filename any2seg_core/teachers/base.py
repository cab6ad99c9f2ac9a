"""What a teacher is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from any2seg_core.teachers.captions import Caption
from any2seg_core.vocabulary.modalities import SensorSuite


class Teacher(ABC):
    """A frozen model with one space for texts and for modalities; all embeddings are float32 of norm 1.

    Attributes:
        name: says which weights it has; a cache of another name is not reused.
    """

    name: str

    @abstractmethod
    def embed_texts(self, sentences: Sequence[str]) -> np.ndarray:
        """N sentences -> (N, D): class names give E_C, scene descriptions give E_S."""

    @abstractmethod
    def embed_modalities(self, planes: dict[str, np.ndarray], caption: Caption, suite: SensorSuite) -> np.ndarray:
        """One frame, M planes (H, W, 3) uint8 of sensors of a suite in its order, and its caption -> E_m (M, D)."""
