"""StreamMemory: what the sets of one stream leave for the next, per output."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from any2seg_core.base.errors import UserError
from any2seg_core.base.stream_modes import ANCHOR, OFF, STREAM_MODES
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.logit_filter import LogitFilter

if TYPE_CHECKING:  # filters need no PyTorch
    from any2seg_core.runtime.anchor_memory import AnchorMemory

_MOST_OUTPUTS = 256  # all subsets of eight sensors

Output = tuple[str, ...]
"""The sensors that an output is asked for, whichever of them are there."""
State = TypeVar("State")


class OutputStates(Generic[State]):
    """One state for each output; the one that was not asked for the longest makes room."""

    def __init__(self, make: Callable[[], State]) -> None:
        self._make = make
        self._states: OrderedDict[Output, State] = OrderedDict()

    def __getitem__(self, output: Output) -> State:
        state = self._states.pop(output, None) or self._make()
        self._states[output] = state
        if len(self._states) > _MOST_OUTPUTS:
            self._states.popitem(last=False)
        return state

    def __len__(self) -> int:
        return len(self._states)


class StreamMemory:
    """The state of one stream of sets, told apart by their stamps, for one predictor. One thread computes.

    Args:
        mode: anchor or filter. engine: of the predictor.

    Attributes:
        anchors, filters: the states in use, by output; those of the other mode stay empty.

    Raises:
        UserError: an anchor, of a model or an engine that has none.
    """

    def __init__(self, mode: str, engine: Engine) -> None:
        if mode == ANCHOR and not engine.takes_anchor:
            raise UserError(
                "stream=anchor needs a checkpoint of fusion mff with reweight, and no runtime of graphs: this model "
                f"has no anchor under runtime {engine.name}; stream=filter works with all",
                "model-unsuitable",
            )
        self.mode = mode
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next set is as if it were the first. Any thread.

        A set in progress holds the states that it began with, so that it leaves nothing for those after it.
        """
        self.anchors: OutputStates[AnchorMemory] = OutputStates(_new_anchor)
        self.filters: OutputStates[LogitFilter] = OutputStates(LogitFilter)


def _new_anchor() -> AnchorMemory:
    from any2seg_core.runtime.anchor_memory import AnchorMemory

    return AnchorMemory()


def stream_memory(mode: str, engine: Engine) -> StreamMemory | None:
    """A new memory for a stream of sets, None for mode off; UserError for an unknown mode, or as `StreamMemory`."""
    if mode not in STREAM_MODES:
        raise UserError(f"stream {mode!r}: choose one of {', '.join(STREAM_MODES)}", "value-unknown")
    return None if mode == OFF else StreamMemory(mode, engine)
