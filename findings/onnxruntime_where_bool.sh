#!/usr/bin/env bash
# A graph that chooses between two masks (ONNX Where on booleans), read with onnxruntime.
#
# Guess:   Where takes values of every type since opset 9, so a valid graph that chooses between two boolean masks runs.
# Happens: onnx checks the graph and its own evaluator runs it; onnxruntime refuses to load it on the processor, as it
#          has no Where for booleans. The same choice written with And, Or and Not runs.
# Hurts:   whoever exports a network that works with masks, such as torch.where(a, mask, other_mask): the export ends
#          without a word, and the file fails on the machine that is to run it. Any2Seg's graphs choose between masks
#          with And, Or and Not (any2seg_core/models/content.py, tests/core/runtime/export).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

NAMES = ("which", "first", "second")


def model(*nodes):
    inputs = [helper.make_tensor_value_info(name, TensorProto.BOOL, [4]) for name in NAMES]
    output = helper.make_tensor_value_info("chosen", TensorProto.BOOL, [4])
    graph = helper.make_graph(list(nodes), "masks", inputs, [output])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(made)
    return made


where = model(helper.make_node("Where", NAMES, ["chosen"]))
logic = model(
    helper.make_node("And", ["which", "first"], ["yes"]),
    helper.make_node("Not", ["which"], ["other"]),
    helper.make_node("And", ["other", "second"], ["no"]),
    helper.make_node("Or", ["yes", "no"], ["chosen"]),
)
given = dict(zip(NAMES, np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], bool)))
expected = np.array([1, 0, 0, 1], bool)


def run(made):
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)[0]


print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
print("evaluator of onnx:", ReferenceEvaluator(where).run(None, given)[0].tolist())
print("onnxruntime, And, Or, Not:", run(logic).tolist())
try:
    run(where)
    refused = ""
except Exception as error:
    refused = str(error).splitlines()[0]
print("onnxruntime, Where:", refused or "runs")
is_so = "NOT_IMPLEMENTED" in refused and np.array_equal(ReferenceEvaluator(where).run(None, given)[0], expected)
sys.exit(0 if is_so and np.array_equal(run(logic), expected) else 1)
PY
