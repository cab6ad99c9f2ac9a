"""What a run shows (progress bar or plain lines) and keeps (JSON lines)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Reporter:
    """Progress of one process; silent in all but the main one.

    Args:
        log_path: JSON lines are appended here.
        enabled: False in processes other than the first.
    """

    def __init__(self, log_path: Path, enabled: bool):
        self.enabled = enabled
        self.log_path = log_path
        self._bar: Progress | None = None

    def __enter__(self) -> Reporter:
        if self.enabled and sys.stdout.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._task = self._bar.add_task("training", total=1000)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def event(self, kind: str, progress: float, **values: Any) -> None:
        """Log ``values`` as one JSON line and show them; ``progress`` is the finished share of the run, 0..1."""
        if not self.enabled:
            return
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"kind": kind, "progress": round(progress, 5), **values}) + "\n")
        text = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        if self._bar is None:
            print(f"{kind} {progress:6.1%}  {text}", flush=True)
            return
        self._bar.update(self._task, completed=round(1000 * progress), description=text if kind == "step" else None)
        if kind != "step":
            self._bar.console.print(f"{kind}  {text}")
