"""What an exported model runs on is imported where PyTorch is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "any2seg_core.cli.main", "any2seg_core.data.extract", "any2seg_core.evaluation.live",
    "any2seg_core.evaluation.recording.evaluate", "any2seg_core.prediction.run",
    "any2seg_core.reports.recording", "any2seg_core.reports.recording_tables",
    "any2seg_core.runtime.export.load", "any2seg_core.runtime.file_set", "any2seg_core.runtime.pipeline",
    "any2seg_core.runtime.predictor", "any2seg_core.runtime.set_segmenter",
)  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_value_the_road_of_an_exported_model_needs_no_torch(module):
    path = os.pathsep.join([str(ROOT / "tests" / "without_torch"), str(ROOT)])
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    assert done.stdout == "False\n", done.stderr
