#!/usr/bin/env bash
# The signal stack of a thread that compiles a model with OpenVINO.
#
# Guess:   compiling a model for the processor changes nothing of the calling thread that a signal handler could see; a
#          Python program has no alternate signal stack before, and has none afterwards.
# Happens: the thread is left with an alternate signal stack of OpenVINO's. Python asks for its handlers to run on such a
#          stack. When models go in another order than they came, it may stay set though its memory is given back.
# Hurts:   whoever keeps OpenVINO in a long process with Python signal handlers and exchanges models, such as a ROS 2
#          node: Ctrl-C, or SIGCHLD after a PyTorch DataLoader, then ended the process in place of being handled.
#          Any2Seg gives the thread its own back (any2seg_core/runtime/engines/openvino.py,
#          tests/core/runtime/engines/test_openvino.py).
#
# Exit 0: it behaves so. Exit 1: it has changed. Linux, seen on a processor with AVX-512.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import ctypes
import sys

import numpy as np
import openvino
from openvino import opset13


class Stack(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack_bytes():
    found = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return 0 if found.start is None else found.size


x = opset13.parameter([1, 8], np.float32)
before = signal_stack_bytes()
compiled = openvino.Core().compile_model(openvino.Model([opset13.relu(x)], [x]), "CPU")
after = signal_stack_bytes()
print("openvino", openvino.__version__, "signal stack before:", before, "after:", after, "bytes")
sys.exit(0 if before == 0 and after > 0 else 1)
PY
