"""Loaded models of one process: nodes that ask for the same checkpoint get the same weights."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from any2seg_core.base.runtimes import DEFAULT
from any2seg_core.base.stream_modes import OFF
from any2seg_core.runtime.pipeline import FairLock

if TYPE_CHECKING:
    from any2seg_core.runtime.predictor import Predictor


class ModelPool:
    """Gives every node of a process its Predictor; the weights are freed with the last node that holds them.

    Attributes:
        turns: to be held during inference, so that the nodes share the processor fairly instead of slowing each other.
    """

    def __init__(self) -> None:
        self.turns = FairLock()
        self._lock = threading.Lock()
        self._loaded: WeakValueDictionary[tuple[Path, int, str, str, str, bool, str], Predictor] = WeakValueDictionary()

    def get(
        self,
        checkpoint: str,
        device: str,
        precision: str,
        runtime: str = DEFAULT,
        filled_rows: bool = False,
        stream: str = OFF,
    ) -> Predictor:
        """A warm Predictor; UserError for a missing or foreign file, a device or package that is not there."""
        from any2seg_core.runtime.predictor import Predictor  # with the node it would load NumPy kernels

        path = Path(checkpoint).resolve()
        with self._lock:
            written_ns = path.stat().st_mtime_ns if path.exists() else 0
            key = (path, written_ns, device, precision, runtime, filled_rows, stream)
            predictor = self._loaded.get(key)
            if predictor is None:
                predictor = Predictor.load(Path(checkpoint), device, stream, precision, runtime, filled_rows)
                predictor.warm_up()
                self._loaded[key] = predictor
            return predictor
