"""Which of several engines runs a model: each proves itself first, and `auto` takes the fastest. No PyTorch here."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.turns import Times, in_turns, ratio
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.engines.memory import EngineMemory, MeasuredEngine
from any2seg_core.runtime.engines.parity import LIMIT

_LOG = logging.getLogger(__name__)
GAIN = 0.95
"""Share of the default engine's time: `auto` takes no other engine that saves less."""

_TURNS = 7


class Proof(NamedTuple):
    """What the comparison of an engine came to.

    Attributes:
        share: of places, 0..1, whose labels are not those of the reference, of the images with the most of them.
        holds: whether rounding explains it. images: which ones they were.
    """

    share: float
    holds: bool
    images: str


@dataclass(frozen=True)
class EngineChooser:
    """The engines of one model on one machine.

    Args:
        default: makes the engine that runs where nobody says more; it needs no further proof.
        makers: engine -> makes it; UserError says why it cannot be had here, and how to get it.
        slow: engines that take minutes to make: `auto` leaves them out until they were named, and proven, once.
        prove: compares an engine.
        memory: of what was proven and measured.
        images: frame to be measured on, per modality (1, 3, h, w) float32.
    """

    default: Callable[[], Engine]
    makers: Mapping[str, Callable[[], Engine]]
    slow: tuple[str, ...]
    prove: Callable[[Engine], Proof]
    memory: EngineMemory
    images: Callable[[], Mapping[str, np.ndarray]]

    def named(self, name: str) -> Engine:
        """The engine of this name; UserError where it cannot be had, or its labels are others."""
        if name not in self.makers:
            raise UserError(f"runtime {name!r}: choose {', '.join(self.makers)}", "value-unknown")
        engine = self.makers[name]()
        self._require_proof(name, engine)
        return engine

    def fastest(self) -> Engine:
        """The engine that is remembered as the fastest; where none is, all that can be had are measured now."""
        base = self.default()
        remembered = self.memory.read()
        if not remembered.chosen:
            return self._measured(base)
        if remembered.chosen == base.name:
            return base
        try:
            return self.named(remembered.chosen)
        except UserError as error:  # a package of the same version may have been damaged since
            _LOG.warning("runtime auto: %s; %s runs", error, base.name)
            return base

    def _measured(self, base: Engine) -> Engine:
        _LOG.warning("runtime auto: engines are compared and measured, once for this model on this machine")
        engines, missing = {base.name: base}, {}
        for name in self.makers:
            if name in self.slow and name not in self.memory.read().proven:
                missing[name] = f"takes minutes to make: run it once by its name, runtime {name}, to have it measured"
            elif name != base.name:
                try:
                    engines[name] = self.named(name)
                except UserError as error:
                    missing[name] = str(error)
        now, times = self.memory.read(), _times(engines, self.images())
        first = times[base.name].wall_s
        measured = {
            name: MeasuredEngine(
                version=engines[name].version,
                ms=1e3 * statistics.median(each.wall_s),
                ratio=ratio(each.wall_s, first).median,
                share=now.proven.get(name),
            )
            for name, each in times.items()
        }
        best = min(measured, key=lambda name: measured[name].ratio)
        chosen = best if measured[best].ratio <= GAIN else base.name
        self.memory.write(now.model_copy(update={"measured": measured, "missing": missing, "chosen": chosen}))
        return engines[chosen]

    def _require_proof(self, name: str, engine: Engine) -> None:
        remembered = self.memory.read()
        if name in remembered.proven:
            return
        proof = self.prove(engine)
        if not proof.holds:
            raise UserError(
                f"runtime {name}: {proof.share:.2%} of its labels on images of {proof.images} are not those of the "
                f"model, allowed is {LIMIT:.1%}: take another runtime",
                "runtime-unsuitable",
            )
        proven = remembered.proven | {name: proof.share}
        self.memory.write(remembered.model_copy(update={"proven": proven, "chosen": ""}))  # now it can be chosen too


def _times(engines: Mapping[str, Engine], images: Mapping[str, np.ndarray]) -> dict[str, Times]:
    """Of each engine on one frame, from images to labels at the size of the logits."""
    given = {name: engine.given(images) for name, engine in engines.items()}

    def work(name: str) -> Callable[[], object]:
        def run() -> object:
            engine = engines[name]
            with engine.computing():
                return engine.winners(engine.decode(engine.fuse(engine.encode(given[name]))))  # there when all is done

        return run

    return in_turns({name: work(name) for name in engines}, _TURNS)


def report(chooser: EngineChooser) -> dict[str, Any]:
    """What `auto` takes and why, JSON-ready; measured now where nothing is remembered."""
    engine = chooser.fastest()
    remembered = chooser.memory.read()
    return {
        "engine": engine.name,
        "version": engine.version,
        "precision": engine.precision,
        "measured": {name: each.model_dump() for name, each in remembered.measured.items()},
        "missing": remembered.missing,
        "key": remembered.key,
    }
