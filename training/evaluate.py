"""Evaluate a checkpoint on a data set, as `any2seg evaluate` does, with the settings as key=value.

    python training/evaluate.py checkpoint=runs/train/drive_b0/final.safetensors data=data/drive [key=value ...]

Keys: those of any2seg_core.evaluation.settings.EvaluateSettings and json (write the document there; `any2seg compare`
takes two of them).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import refusal
from any2seg_core.evaluation.dataset import evaluate_dataset
from any2seg_core.evaluation.settings import EvaluateSettings
from any2seg_core.reports.dataset import text
from any2seg_training.settings import answered_help, load_settings


class ScriptSettings(EvaluateSettings):
    """Settings of the script alone beside those of the evaluation."""

    json_path: Path | None = Field(None, alias="json", description="file for the whole document")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if answered_help(words, __doc__, ScriptSettings):
        return 0
    keep_freed_memory()
    try:
        settings = load_settings(ScriptSettings, words)
        with Progress(f"evaluate {settings.checkpoint.name}") as progress:
            document = evaluate_dataset(settings, progress.stage)
        print(text(document))  # first: minutes of work are not lost when the file cannot be written
        if settings.json_path is not None:
            with replacing(settings.json_path) as partial:
                partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except (UserError, OSError) as error:
        print(f"evaluate: {refusal(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
