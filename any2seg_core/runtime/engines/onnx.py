"""An exported model under onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.threads import thread_count


def import_onnxruntime() -> ModuleType:
    """The module onnxruntime; UserError says how to get it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"an exported model needs onnxruntime ({error}): pip install 'any2seg[onnx]'", "package-missing"
        ) from None
    return onnxruntime


class OnnxRuntimeGraph:
    """One graph on the processor, on as many threads as the rest of the program.

    Args:
        path: of an ONNX file.
    """

    def __init__(self, path: Path) -> None:
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = thread_count(), 1
        options.log_severity_level = 3  # what it warns of are its own optimisations
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # between frames others compute
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no class in common but this one
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path}: onnxruntime {runtime.__version__} cannot load it ({reason}); install a newer one, or export "
                "again",
                "checkpoint-version",
            ) from None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(each.name for each in self._session.get_inputs())

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(each.name for each in self._session.get_outputs())

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Named arrays in, the outputs of these names out. All of the graph is computed, whichever they are."""
        return self._session.run(list(outputs), dict(inputs))
