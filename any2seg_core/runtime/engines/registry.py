"""The engines of a checkpoint, by the name that users give. A new one is a class with a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from any2seg_core.base.errors import UserError
from any2seg_core.runtime.engines.compiled import CompileEngine
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.engines.graph_runtimes import GRAPH_RUNTIMES, graph_engine
from any2seg_core.runtime.engines.tensorrt import TensorRtEngine
from any2seg_core.runtime.engines.trained import TrainedModel
from any2seg_core.runtime.export.folder import encoders_of

Maker = Callable[[TrainedModel], Engine]


def _eager(trained: TrainedModel) -> Engine:
    return EagerEngine(trained.model, trained.precision)


def _cpu(trained: TrainedModel) -> Engine:
    if not CpuEngine.fits(trained.model):
        raise UserError(
            f"runtime cpu: runs models in float32 on the processor, not on {trained.device}: take runtime eager",
            "runtime-unsuitable",
        )
    return CpuEngine(trained.model, trained.precision)


def _of_graphs(runtime: str) -> Maker:
    def make(trained: TrainedModel) -> Engine:
        from any2seg_core.runtime.engines.graph_files import graphs_of  # with all that exports graphs

        GRAPH_RUNTIMES[runtime].require()  # before graphs are exported in vain
        with graphs_of(trained, runtime) as folder:
            config = trained.model.config
            encoders = encoders_of(config.modalities, config.mff_early.scale)
            return graph_engine(runtime, folder, encoders, trained.model.empty, config.align_corners)

    return make


ENGINES: Mapping[str, Maker] = MappingProxyType(
    {
        "eager": _eager,
        "cpu": _cpu,
        **{runtime: _of_graphs(runtime) for runtime in GRAPH_RUNTIMES},
        "compile": CompileEngine,
        "tensorrt": TensorRtEngine,
    }
)
"""Runtime -> makes its engine; UserError where it cannot be had here."""
SLOW = ("compile", "tensorrt")
"""Those that take minutes to make."""
FLOAT32_ONLY = (*GRAPH_RUNTIMES, "tensorrt")
"""Those that run models in no other precision than float32, or in one of their own."""
