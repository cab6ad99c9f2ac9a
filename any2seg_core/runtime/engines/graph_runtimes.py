"""Runtimes of exported graphs, and the engine of each. No PyTorch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from any2seg_core.runtime.engines.compiled_fusion import CompiledFusion
from any2seg_core.runtime.engines.graph import Graph, GraphEngine
from any2seg_core.runtime.engines.onnx import OnnxRuntimeGraph, import_onnxruntime
from any2seg_core.runtime.engines.openvino import OpenVinoGraph, import_openvino
from any2seg_core.runtime.export.folder import REST
from any2seg_core.vocabulary.contract import Pixel


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


def graph_engine(
    runtime: str,
    folder: Path,
    encoders: Mapping[str, str],
    empty: Mapping[str, Pixel],
    align_corners: bool,
    compiled: CompiledFusion | None = None,
) -> GraphEngine:
    """The graphs of a folder under one of `GRAPH_RUNTIMES`; UserError says how to get its package.

    Args:
        encoders: sensor -> file of the graph that encodes it. empty, compiled: as of `GraphEngine`.
    """
    load = GRAPH_RUNTIMES[runtime].load
    graphs = {name: load(folder / name) for name in dict.fromkeys(encoders.values())}
    apart = {sensor: graphs[name] for sensor, name in encoders.items()}
    release = f"{runtime} {version(runtime)}"
    return GraphEngine(runtime, release, apart, load(folder / REST), empty, align_corners, compiled)
