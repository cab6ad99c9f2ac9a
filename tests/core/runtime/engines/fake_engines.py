"""Engines that compute nothing: their logits are given, and so is the time that they take."""

from __future__ import annotations

from functools import partial

import numpy as np

from any2seg_core.base.turns import in_turns
from any2seg_core.runtime.engines import chooser as module
from any2seg_core.runtime.engines.chooser import EngineChooser, Proof
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.engines.memory import EngineMemory

KEY = {"model": "m", "threads": 1}


class Clock:
    """Stands still but for what engines take."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class FakeEngine(Engine):
    version, device = "fake 1", "cpu"

    def __init__(self, name: str, seconds: float, clock: Clock) -> None:
        self.name, self._seconds, self._clock = name, seconds, clock

    def images(self, planes, contract):
        return planes

    def encode(self, images):
        self._clock.now_s += self._seconds
        return images

    def encode_sensor(self, name, image):
        return image

    def together(self, features):
        return features

    def fuse(self, encoded, anchor=None):
        return encoded

    def fuse_subsets(self, encoded, subsets):
        return iter([encoded for _ in subsets])

    def decode(self, fused):
        return np.zeros((1, 3, 2, 2), np.float32)

    def winners(self, logits):
        return logits.argmax(axis=1)

    def labels(self, logits, size, with_confidence=True):
        return np.zeros(size, np.uint8), None


def chooser(monkeypatch, seconds, shares=None, errors=None, slow=(), key=None, made=None) -> EngineChooser:
    """Of engines that take so many seconds, the first of which is the default.

    Args:
        shares: engine -> what its proof comes to. errors: engine -> why it cannot be made. made: gets the names of
            engines as they are made.
    """
    clock = Clock()
    monkeypatch.setattr(module, "in_turns", partial(in_turns, clocks=(clock, clock)))

    def make(name: str) -> Engine:
        if made is not None:
            made.append(name)
        if errors and name in errors:
            raise errors[name]
        return FakeEngine(name, seconds[name], clock)

    def prove(engine: Engine) -> Proof:
        share = (shares or {}).get(engine.name, 0.0)
        return Proof(share, share <= module.LIMIT, "noise")

    first = next(iter(seconds))
    makers = {name: partial(make, name) for name in (*seconds, *(errors or ()))}
    return EngineChooser(
        partial(make, first), makers, slow, prove, EngineMemory(key or KEY), lambda: {"rgb": np.zeros((1, 3, 4, 4))}
    )
