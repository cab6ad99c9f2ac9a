"""Engines that may run a model, by the names that users give. Light to import: for command lines and launch files."""

from __future__ import annotations

from typing import Literal, get_args

Runtime = Literal["default", "eager", "cpu", "onnxruntime", "openvino", "compile", "tensorrt", "auto"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)
DEFAULT: Literal["default"] = "default"
"""cpu where it gives the labels of eager on this machine, else eager; of an exported folder onnxruntime."""
FASTEST = "auto"
"""The fastest that gives those labels, measured once per model and machine."""
RUNTIME_HELP = "Engine: default, eager, cpu, onnxruntime, openvino, compile, tensorrt; auto measures them once."
FILLED_ROWS_HELP = (
    "Of LiDARs and radars encode only the rows of the picture that hold points: faster, for slightly other labels."
)
TAKES_ANY_ROWS = ("eager", "cpu")
"""Engines that take images of any height, as filled rows need."""
