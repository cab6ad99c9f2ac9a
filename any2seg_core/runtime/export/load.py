"""From a folder of `any2seg export` to an engine, without PyTorch."""

from __future__ import annotations

from pathlib import Path

from any2seg_core.base.errors import UserError
from any2seg_core.base.precisions import AUTO
from any2seg_core.runtime.engines.graph import GraphEngine
from any2seg_core.runtime.engines.onnx import OnnxRuntimeGraph
from any2seg_core.runtime.export.folder import open_exported
from any2seg_core.vocabulary.contract import InputContract


def load_exported(folder: Path, device: str = "cpu", precision: str = "float32") -> tuple[GraphEngine, InputContract]:
    """The engine of an exported model, and what to feed it.

    Raises:
        UserError: as `open_exported`; another device or precision than the processor's float32; no onnxruntime.
    """
    if device != "cpu":
        raise UserError(
            f"{folder}: an exported model runs on the processor, not on {device}: leave the device out",
            "device-missing",
        )
    if precision not in ("float32", AUTO):
        raise UserError(
            f"{folder}: an exported model computes in float32, not in {precision}: leave the precision out",
            "precision-unsuitable",
        )
    model = open_exported(folder)
    whole, rest = OnnxRuntimeGraph(model.whole), OnnxRuntimeGraph(model.rest)
    return GraphEngine("onnxruntime", whole, rest, model.align_corners), model.contract
