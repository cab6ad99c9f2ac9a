"""The four modalities: names, canonical order, what their planes hold. The only place that lists modality strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from any2seg_core.errors import UserError


@dataclass(frozen=True)
class Modality:
    """One kind of sensor.

    Attributes:
        name: key in every dict of images, samples and streams.
        letter: one capital, as in the papers' subset names (RDEL).
        title: for tables and pictures.
        folder: DELIVER folder that holds the planes.
        suffix: DELIVER file suffix, ``<frame>_<suffix>_front.png``.
        channels: meaning of the three uint8 channels of a plane, in order.
    """

    name: str
    letter: str
    title: str
    folder: str
    suffix: str
    channels: tuple[str, str, str]


_ALL = (
    Modality("rgb", "R", "camera", "img", "rgb", ("red", "green", "blue")),
    Modality("depth", "D", "depth", "hha", "depth", ("inverse depth", "height over camera", "angle to gravity")),
    Modality("event", "E", "event", "event", "event", ("positive count", "negative count", "recency")),
    Modality("lidar", "L", "LiDAR", "lidar", "lidar", ("inverse range", "intensity", "height over camera")),
)
_BY_NAME = {m.name: m for m in _ALL}
_BY_LETTER = {m.letter: m for m in _ALL}

MODALITIES: tuple[str, ...] = tuple(m.name for m in _ALL)
"""Canonical order. Every (B, M) mask and every subset follows it."""

SPARSE = ("event", "lidar")
"""Planes that must not be averaged when resized: a mean of a point and "nothing" is a point at a wrong range."""


def modality(name: str) -> Modality:
    """Look a modality up by name; UserError lists the known ones."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UserError(f"unknown modality {name!r}: known are {', '.join(MODALITIES)}") from None


def canonical(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names into canonical order, without repetitions; UserError for an unknown name."""
    wanted = {modality(name).name for name in names}
    return tuple(name for name in MODALITIES if name in wanted)


def parse_subset(text: str) -> tuple[str, ...]:
    """Read ``"rgb,lidar"``, ``"RL"`` or ``"all"`` into canonical names; UserError for anything else."""
    text = text.strip()
    if text == "all":
        return MODALITIES
    if text and all(letter in _BY_LETTER for letter in text):
        return canonical(_BY_LETTER[letter].name for letter in text)
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise UserError(f"no modality in {text!r}: give names ({','.join(MODALITIES)}), letters (RDEL) or 'all'")
    return canonical(names)


def all_subsets(names: Sequence[str] = MODALITIES) -> list[tuple[str, ...]]:
    """All 2^M - 1 non-empty subsets, singles first, the full set last."""
    names = canonical(names)
    return [subset for size in range(1, len(names) + 1) for subset in combinations(names, size)]


def subset_letters(names: Iterable[str]) -> str:
    """``("rgb", "lidar") -> "RL"``."""
    return "".join(modality(name).letter for name in canonical(names))
