"""Runtimes of exported graphs, and the engine of each. No PyTorch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from any2seg_core.runtime.engines.graph import Graph, GraphEngine
from any2seg_core.runtime.engines.onnx import OnnxRuntimeGraph, import_onnxruntime
from any2seg_core.runtime.engines.openvino import OpenVinoGraph, import_openvino
from any2seg_core.runtime.export.folder import REST, WHOLE


class GraphRuntime(NamedTuple):
    """A package that runs ONNX files.

    Attributes:
        require: UserError says how to get it. load: a file; UserError where it cannot.
    """

    require: Callable[[], object]
    load: Callable[[Path], Graph]


GRAPH_RUNTIMES: Mapping[str, GraphRuntime] = MappingProxyType(
    {
        "onnxruntime": GraphRuntime(import_onnxruntime, OnnxRuntimeGraph),
        "openvino": GraphRuntime(import_openvino, OpenVinoGraph),
    }
)
"""By the name of the package."""


def graph_engine(runtime: str, folder: Path, align_corners: bool) -> GraphEngine:
    """Both graphs of a folder under one of `GRAPH_RUNTIMES`; UserError says how to get its package."""
    load = GRAPH_RUNTIMES[runtime].load
    whole, rest = load(folder / WHOLE), load(folder / REST)
    return GraphEngine(runtime, f"{runtime} {version(runtime)}", whole, rest, align_corners)
