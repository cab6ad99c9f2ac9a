"""Workers of the tests of engines: they square numbers, and end when a file tells them to."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from any2seg_core.base.errors import UserError


@dataclass(frozen=True)
class Squarer:
    """Called to make a worker.

    Args:
        folder: a file ``kill-<n>`` in it kills who gets n, and goes with the first one; ``always-<n>`` stays.
    """

    folder: Path

    def __call__(self) -> Squarer:
        if (self.folder / "refuse").exists():
            raise UserError("no worker today", "value-invalid")
        return self

    def run(self, task, progress):
        progress(0.5)
        again, once = self.folder / f"always-{task}", self.folder / f"kill-{task}"
        if again.exists() or once.exists():
            once.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if task == -3:
            with TemporaryDirectory(dir=self.folder):
                time.sleep(600)
        if task == -2:
            time.sleep(600)  # whoever gets it is ended before
        if task == -1:
            raise ValueError("a fault of the program")
        return task * task, os.getpid()
