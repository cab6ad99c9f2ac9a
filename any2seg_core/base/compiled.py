"""Functions in machine code, compiled when one is first called: who calls none never loads numba.

numba and LLVM take a third of a second of the processor and 80 MB in every process that imports them.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any

_LOCK = RLock()


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `numba.njit(**options)`, for functions of a module that are called by their global names."""
    return lambda function: _CompiledLater(function, options)


class _CompiledLater:
    """Stands for the function in its module until the first call of one that is there."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function, self.options = function, options
        self.dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        return self._of_numba()(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_numba(), name)

    def _of_numba(self) -> Any:
        if self.dispatcher is None:
            with _LOCK:
                if self.dispatcher is None:
                    _hand_over(self)
        return self.dispatcher


def _hand_over(wanted: _CompiledLater) -> None:
    """All functions of the module, and those of others that it names, become numba's; later calls cost nothing more.

    No function is ready before all are: numba looks up what a function calls by the global names of its module.
    """
    import numba

    waiting, found = [wanted], []
    while waiting:
        function = waiting.pop()
        if function not in found:
            found.append(function)
            waiting += [each for each in function.function.__globals__.values() if isinstance(each, _CompiledLater)]
    dispatchers = {id(each): each.dispatcher or numba.njit(**each.options)(each.function) for each in found}
    for names in {id(each.function.__globals__): each.function.__globals__ for each in found}.values():
        for name, value in list(names.items()):
            if isinstance(value, _CompiledLater):
                names[name] = dispatchers[id(value)]
    for each in found:
        each.dispatcher = dispatchers[id(each)]
