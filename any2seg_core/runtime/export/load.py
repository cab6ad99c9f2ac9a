"""From a folder of `any2seg export` to an engine, without PyTorch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from any2seg_core.base.checksums import CHECKSUMS, sha256_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.precisions import AUTO
from any2seg_core.base.runtimes import DEFAULT, FASTEST, RUNTIMES
from any2seg_core.runtime.engines.chooser import EngineChooser, Proof
from any2seg_core.runtime.engines.compiled_fusion import CompiledFusion
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.engines.graph_runtimes import GRAPH_RUNTIMES, graph_engine
from any2seg_core.runtime.engines.memory import EngineMemory, machine_key
from any2seg_core.runtime.engines.parity import LIMIT, Sizes, differing_share, noise, probes
from any2seg_core.runtime.export.folder import WHOLE, ExportedModel, open_exported
from any2seg_core.vocabulary.contract import InputContract

_USUAL = "onnxruntime"
"""What the folder was compared with PyTorch under, when it was written."""


def load_exported(
    folder: Path, device: str = "cpu", precision: str = "float32", runtime: str = DEFAULT
) -> tuple[Engine, InputContract]:
    """The engine of an exported model, and what to feed it.

    Args:
        runtime: one of `RUNTIMES`; onnxruntime by default.

    Raises:
        UserError: as `open_exported`; another device or precision than the processor's float32; a runtime that takes
            no graphs, is not installed, or gives other labels than onnxruntime.
    """
    model = checked(folder, device, precision, runtime)
    if runtime in (DEFAULT, _USUAL):
        return _engine(model, _USUAL), model.contract
    chooser = _chooser(model)
    return chooser.fastest() if runtime == FASTEST else chooser.named(runtime), model.contract


def checked(folder: Path, device: str, precision: str, runtime: str) -> ExportedModel:
    """The folder, if these options can be had of it; UserError as `load_exported`, but for what the runtime says."""
    _require_float32_on_cpu(folder, device, precision)
    if runtime not in RUNTIMES:
        raise UserError(f"runtime {runtime!r}: choose {', '.join(RUNTIMES)}", "value-unknown")
    if runtime not in (DEFAULT, FASTEST, *GRAPH_RUNTIMES):
        raise UserError(
            f"{folder}: an exported model runs under {' or '.join(GRAPH_RUNTIMES)}, not as {runtime}: give its "
            "checkpoint, or leave the runtime out",
            "runtime-unsuitable",
        )
    GRAPH_RUNTIMES[_USUAL if runtime in (DEFAULT, FASTEST) else runtime].require()
    return open_exported(folder)


def exported_chooser(folder: Path, device: str, precision: str) -> EngineChooser:
    """The engines that an exported model can have, each compared with onnxruntime; UserError as `load_exported`."""
    _require_float32_on_cpu(folder, device, precision)
    return _chooser(open_exported(folder))


def _require_float32_on_cpu(folder: Path, device: str, precision: str) -> None:
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


def _chooser(model: ExportedModel) -> EngineChooser:
    contract = model.contract
    sizes = {name: contract.size_of(name) for name in contract.modalities}
    digest = sha256_of(model.folder / CHECKSUMS)
    return EngineChooser(
        default=partial(_engine, model, _USUAL),
        makers={name: partial(_engine, model, name) for name in GRAPH_RUNTIMES},
        slow=(),
        prove=lambda engine: _proof(engine, _engine(model, _USUAL), sizes),
        memory=EngineMemory(machine_key(digest, (contract.height, contract.width), "float32", "cpu")),
        images=lambda: noise(sizes),
    )


def _engine(model: ExportedModel, runtime: str) -> Engine:
    head, compiled = model.document.get("exported", {}).get("head"), None
    if head is not None:
        compiled = CompiledFusion.read(model.folder / WHOLE, head, model.document["model"])
    empty = model.contract.empty_pixels
    return graph_engine(runtime, model.folder, model.encoders, empty, model.align_corners, compiled)


def _proof(engine: Engine, usual: Engine, sizes: Sizes) -> Proof:
    found = [(differing_share(engine, usual, images), name) for name, images in probes(sizes)]
    share, name = max(found)
    return Proof(share, share <= LIMIT, name)
