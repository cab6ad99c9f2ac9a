"""What OpenVINO leaves behind in the process that it runs in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import gc, os, signal, sys
import numpy as np
import onnx
from onnx import TensorProto, helper
from pathlib import Path
from any2seg_core.runtime.engines.openvino import OpenVinoGraph

kind = TensorProto.FLOAT
graph = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])], "g",
    [helper.make_tensor_value_info("x", kind, [1, 8])],
    [helper.make_tensor_value_info(name, kind, [1, 8]) for name in ("y", "z")],
)
path = Path(sys.argv[1])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
first, second = OpenVinoGraph(path), OpenVinoGraph(path)
x = np.arange(-4, 4, dtype=np.float32)[None]
for each in (first, second):
    for name, expected in (("y", np.maximum(x, 0)), ("z", -x)):
        assert np.array_equal(each((name,), {"x": x})[0], expected)
for gone in ("first", "second", "each"):
    del globals()[gone]
    gc.collect()
    os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_value_signals_are_handled_after_models_are_gone(tmp_path: Path):
    """In a process of its own: what this is about would end this one."""
    words = (sys.executable, "-c", PROGRAM, str(tmp_path / "g.onnx"))
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.split()) == (0, ["handled"] * 3), ended.stderr
