"""What a run shows (progress and plain lines) and keeps (JSON lines)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress


def cut_log(path: Path, step: int) -> None:
    """Leave the JSON lines of a run up to ``step``, so that the steps that are repeated stand there once.

    What a killed process wrote later goes, with its half-written last line, and so does the final result, which comes
    again. The file is replaced in one piece. Step 0 leaves nothing: a new run, a new log.
    """
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if _is_before(line, step)]
    if len(kept) < len(lines):
        with replacing(path) as partial:
            partial.write_text("".join(kept), encoding="utf-8")


def _is_before(line: str, step: int) -> bool:
    try:
        event = json.loads(line)
    except ValueError:  # half a line
        return False
    return isinstance(event, dict) and 0 < event.get("step", 0) <= step and event["kind"] != "final"


class Reporter:
    """Progress of one process; silent in all but the main one.

    Args:
        log_path: JSON lines are appended here, to those up to ``step``.
        enabled: False in processes other than the first.
        tensorboard: the numbers also go to this folder; None: they do not.
        step: optimiser steps done before; what is logged after them comes again.

    Raises:
        UserError: tensorboard is asked for and not installed.
    """

    def __init__(self, log_path: Path, enabled: bool, tensorboard: Path | None = None, step: int = 0):
        self.enabled = enabled
        self.log_path = log_path
        self._progress = Progress("training", "%", is_shown=enabled)
        self._writer = _tensorboard_writer(tensorboard, step) if enabled and tensorboard is not None else None
        if enabled:
            cut_log(log_path, step)

    def __enter__(self) -> Reporter:
        self._progress.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._progress.__exit__(*exception)
        if self._writer is not None:
            self._writer.close()

    def note(self, text: str) -> None:
        """Show a line that is of no use in the log."""
        if self.enabled:
            print(text, flush=True)

    def event(self, kind: str, progress: float, **values: Any) -> None:
        """Log ``values`` as one JSON line and show them; ``progress`` is the finished share of the run, 0..1."""
        if not self.enabled:
            return
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"kind": kind, "progress": round(progress, 5), **values}) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, int | float) and name != "step":
                    self._writer.add_scalar(f"{kind}/{name}", value, values.get("step"))
        text = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        is_in_bar = kind == "step" and self._progress.is_bar and sys.stdout.isatty()
        self._progress.stage(text if is_in_bar else "training", 100 * progress, 100.0)
        if not is_in_bar:
            print(f"{kind} {progress:6.1%}  {text}", flush=True)


def _tensorboard_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        reason = f"tensorboard=true: the package is missing ({error}); pip install 'any2seg[tensorboard]'"
        raise UserError(f"{reason}, or leave it out: log.jsonl has the same numbers", "package-missing") from None
    return SummaryWriter(str(folder), purge_step=step + 1)  # TensorBoard hides what a killed run logged after that
