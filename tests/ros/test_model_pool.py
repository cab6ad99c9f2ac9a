"""Nodes of one process share what is alike, and what a machine that lacks a package says."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

WITHOUT_TORCH = """
import sys

sys.modules["torch"] = sys.modules["cv_bridge"] = None  # as if neither were installed
import any2seg_ros.segment_cameras
import any2seg_ros.segment_node
from any2seg_core.base.errors import UserError
from any2seg_ros.model_pool import ModelPool

try:
    ModelPool().get(sys.argv[1], "cpu", "float32")
except UserError as error:
    print(error)
"""
OTHER_MODULE = """
import sys

sys.modules["safetensors"] = None
from any2seg_ros.model_pool import ModelPool

ModelPool().get(sys.argv[1], "cpu", "float32")
"""


def run(code, checkpoint):
    return subprocess.run([sys.executable, "-c", code, str(checkpoint)], capture_output=True, text=True, timeout=300)


def test_exception_without_torch_the_node_loads_and_its_model_says_how_to_install_it(checkpoint):
    done = run(WITHOUT_TORCH, checkpoint)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"PyTorch is not installed for {sys.executable}: ")
    assert "pip install . -c constraints.txt" in done.stdout
    assert done.stdout.count("\n") == 1


def test_exception_another_missing_module_keeps_its_name(checkpoint):
    done = run(OTHER_MODULE, checkpoint)
    assert done.returncode == 1
    assert "safetensors" in done.stderr.splitlines()[-1] and "PyTorch" not in done.stderr


def test_value_one_model_per_precision(checkpoint, monkeypatch):
    monkeypatch.setattr("any2seg_core.models.precision.has_bfloat16", lambda: True)  # whatever this machine has
    from any2seg_core.runtime.checkpoint import load_checkpoint
    from any2seg_ros.model_pool import ModelPool

    pool = ModelPool()
    exact, reduced = (pool.get(str(checkpoint), "cpu", precision) for precision in ("float32", "bfloat16"))
    assert pool.get(str(checkpoint), "cpu", "bfloat16") is reduced
    assert pool.get(str(checkpoint), "cpu", "float32") is exact
    assert (exact.precision, reduced.precision) == ("float32", "bfloat16")
    encoders = load_checkpoint(checkpoint)[0].encoder, reduced.engine.model.encoder
    sizes = [sum(p.numel() * p.element_size() for p in encoder.parameters()) for encoder in encoders]
    assert 0.5 < sizes[1] / sizes[0] < 0.55  # norms stay as they are
