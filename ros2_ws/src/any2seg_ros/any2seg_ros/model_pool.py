"""Loaded models of one process: nodes that ask for the same checkpoint get the same weights."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from any2seg_core.base.errors import UserError
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
        self._loaded: WeakValueDictionary[tuple[Path, int, str, str], Predictor] = WeakValueDictionary()

    def get(self, checkpoint: str, device: str, precision: str) -> Predictor:
        """A warm Predictor; UserError for a missing or foreign file, a device that is not there, or no PyTorch."""
        Predictor = _predictor_class()
        path = Path(checkpoint).resolve()
        with self._lock:
            key = (path, path.stat().st_mtime_ns if path.is_file() else 0, device, precision)
            predictor = self._loaded.get(key)
            if predictor is None:
                predictor = Predictor.load(Path(checkpoint), device, precision=precision)
                predictor.warm_up()
                self._loaded[key] = predictor
            return predictor


def _predictor_class() -> type[Predictor]:
    """PyTorch is loaded with the model, not with the node, which is there to say that it is missing."""
    try:
        from any2seg_core.runtime.predictor import Predictor
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UserError(
            f"PyTorch is not installed for {sys.executable}: activate the environment that has it, or install it from "
            "the project's folder with `pip install . -c constraints.txt` (docs/ros_install.md)",
            "package-missing",
        ) from None
    return Predictor
