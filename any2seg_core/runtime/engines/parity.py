"""How far the labels of one engine are those of another, over subsets of the sensors. NumPy alone, no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.vocabulary.modalities import all_subsets

LIMIT = 0.001
"""Share of the places, over all subsets, whose labels may differ without a tie."""
_SUBSETS = 32  # at most so many subsets of the sensors
_ALL_SUBSETS = 12  # sensors of which all subsets are listed to choose among; of more than these, each alone and all
_TIE = 1e-4  # share of the largest logit: so near to the winner a class may win by rounding


Sizes = Mapping[str, tuple[int, int]]
"""Sensor -> (H, W) of its image, pixels."""


def noise(sizes: Sizes) -> dict[str, np.ndarray]:
    """An image (1, 3, H, W) float32 of normal noise per sensor, the same in every process."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(1, 3, *size)).astype(np.float32) for name, size in sizes.items()}


def probes(sizes: Sizes) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """What engines are compared on, images of all sensors: usual ones first, then ties, and numbers that are none."""
    usual = noise(sizes)
    yield "noise", usual
    first = {size: usual[name] for name, size in reversed(list(sizes.items()))}
    yield "equal sensors", {name: first[size] for name, size in sizes.items()}
    yield "nothing but zeros", {name: np.zeros_like(image) for name, image in usual.items()}
    name, (height, width) = list(sizes.items())[-1]
    broken = usual[name].copy()
    broken[0, 1, height // 2, width // 3] = np.nan
    yield "NaN", usual | {name: broken}


def differing_share(engine: Engine, reference: Engine, images: Mapping[str, np.ndarray]) -> float:
    """Share of places, 0..1, at which two engines label images differently, over all subsets of the sensors.

    Not counted are ties: places whose two classes the reference tells apart by less than rounding does. Places without
    a finite logit count as equal where both engines have none.

    Args:
        images: per modality (1, 3, h, w) float32.
    """
    subsets = trial_subsets(images)
    with engine.computing(), reference.computing():
        return mean_difference(*(_logits(each, images, subsets) for each in (engine, reference)))


def trial_subsets(images: Mapping[str, object]) -> list[tuple[str, ...]]:
    """All subsets of the sensors, of many sensors some of them, evenly spread; that of all sensors is the first."""
    names = tuple(images)
    subsets = all_subsets(names)[::-1] if len(names) <= _ALL_SUBSETS else [names, *((name,) for name in names)]
    return subsets[:: 1 + len(subsets) // _SUBSETS]


def _logits(engine: Engine, images: Mapping[str, np.ndarray], subsets: list[tuple[str, ...]]) -> Iterator[np.ndarray]:
    for fused in engine.fuse_subsets(engine.encode(engine.given(images)), subsets):
        yield engine.array(engine.decode(fused))


def mean_difference(found: Iterable[np.ndarray], expected: Iterable[np.ndarray]) -> float:
    """Share of places, 0..1, labelled differently in pairs of logits (1, K, h, w); ties as in `differing_share`."""
    shares = [_differing(*pair) for pair in zip(found, expected, strict=True)]
    return sum(shares) / len(shares)


def _differing(found: np.ndarray, expected: np.ndarray) -> float:
    """The same share of two logits (1, K, h, w)."""
    there = [np.isfinite(logits).all(axis=1, keepdims=True) for logits in (found, expected)]  # (1, 1, h, w)
    found, expected = np.where(there[0], found, 0.0), np.where(there[1], expected, 0.0)
    rival = np.take_along_axis(expected, found.argmax(axis=1)[:, None], axis=1)  # (1, 1, h, w)
    behind = expected.max(axis=1, keepdims=True) - rival > _TIE * np.abs(expected).max()
    return float((behind | (there[0] != there[1])).mean())
