"""An exported model under OpenVINO, on the processor."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.threads import thread_count


def import_openvino() -> ModuleType:
    """The module openvino; UserError says how to get it."""
    try:
        import openvino
    except ImportError as error:
        raise UserError(
            f"runtime openvino needs openvino ({error}): pip install 'any2seg[openvino]'", "package-missing"
        ) from None
    return openvino


class _SignalStack(ctypes.Structure):
    """stack_t of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def same_signal_stack() -> Iterator[None]:
    """Gives this thread back the alternate signal stack that it had.

    OpenVINO leaves one of its own, and when several models go it may stay set though its memory is gone: the next
    signal that Python handles, such as Ctrl-C, then ends the process.
    """
    if sys.platform != "linux":
        yield
        return
    libc, before = ctypes.CDLL(None), _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


class OpenVinoGraph:
    """One graph, on as many threads as the rest of the program; it may be shared by threads, which then take turns.

    Args:
        path: of an ONNX file.
    """

    def __init__(self, path: Path) -> None:
        self._openvino, self._path = import_openvino(), path
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, ...], Any] = {}
        try:
            self._core = self._openvino.Core()
            self._model = self._core.read_model(str(path))
        except Exception as error:
            raise self._refusal(error) from None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(each.any_name for each in self._model.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(each.any_name for each in self._model.outputs)

    def __call__(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Named arrays in, the outputs of these names out; only what they need is computed."""
        with self._lock:
            request = self._requests.get(tuple(outputs))
            if request is None:
                request = self._requests[tuple(outputs)] = self._compiled(outputs).create_infer_request()
            found = request.infer({name: np.ascontiguousarray(values) for name, values in inputs.items()})
            return [found[name].copy() for name in outputs]  # the next call writes to the same memory

    def _compiled(self, outputs: Sequence[str]) -> Any:
        whole = self._model.clone()
        wanted = [whole.output(name).node for name in outputs]
        model = self._openvino.Model(wanted, whole.get_parameters(), self._path.stem)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # its own choice is bfloat16 where the processor has it
            "INFERENCE_NUM_THREADS": thread_count(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # others compute on these processors too
        }
        try:
            with same_signal_stack():
                return self._core.compile_model(model, "CPU", settings)
        except Exception as error:
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> UserError:
        reason = str(error).strip().splitlines()[-1]
        return UserError(
            f"{self._path}: openvino {version('openvino')} cannot load it ({reason}); install a newer one, or "
            "take runtime onnxruntime",
            "runtime-unsuitable",
        )
