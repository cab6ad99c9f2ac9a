"""What another program says about a SegFormer beside its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.contract import IMAGENET, Normalisation
from any2seg_core.vocabulary.labels import LabelSpace, shipped_names, shipped_space

DEFAULT_SIDE = 512
"""Sides of the network's input where nothing says them: the crops that SegFormer was published with."""


@dataclass
class Description:
    """All that decides how a network is fed and what its classes are.

    Attributes:
        program: that wrote it.
        layer_norm_eps: added to the variance in its encoder's norms.
        class_names, colours: K of each, RGB 0..255; empty where it does not say them.
        normalisation: on planes scaled to 0..1.
        size: (height, width) of the network's input, pixels; None: not said.
        is_bgr: whether the network takes blue first.
        align_corners: how its logits are enlarged.
        facts: what else is worth keeping: JSON-ready. notes: lines for people.
        origin: texts that may name whose weights these are.
    """

    program: str
    layer_norm_eps: float
    class_names: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    normalisation: Normalisation = IMAGENET
    size: tuple[int, int] | None = None
    is_bgr: bool = False
    align_corners: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    origin: tuple[str, ...] = ()


def space_of(description: Description, count: int, source: str) -> LabelSpace:
    """The classes of a description, in its colours; else in those of a shipped label space of the same classes.

    Raises:
        UserError: names of another number of classes than the network has.
    """
    names = description.class_names
    if not names:
        names = tuple(f"class {number}" for number in range(count))
        description.notes.append("nothing names its classes: give them with --classes")
    if len(names) != count:
        raise UserError(
            f"{source}: names {len(names)} classes, its network has {count}: give the right ones with --classes",
            "label-space-mismatch",
        )
    names = _different(names)
    for name in shipped_names():
        shipped = shipped_space(name)
        if shipped.classes == names and description.colours in ((), shipped.colours):
            return shipped
    has_own = len(description.colours) == len(set(description.colours)) == count
    entries: list[dict[str, Any]] = [{"name": name} for name in names]
    if has_own:
        entries = [{"name": name, "colour": list(rgb)} for name, rgb in zip(names, description.colours, strict=True)]
    elif description.colours:
        told = f"its {len(description.colours)} colours are not {count} different ones: ours are used"
        description.notes.append(told)
    return LabelSpace.of_document({"name": f"imported-{count}", "classes": entries}, source)


def _different(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with their number behind those that several classes have."""
    words = [" ".join(name.split()) or "class" for name in names]
    often = Counter(words)
    return tuple(f"{word} ({number})" if often[word] > 1 else word for number, word in enumerate(words))


def normalisation_of(mean: Sequence[float], std: Sequence[float], unit: float) -> Normalisation:
    """Statistics of pixels that are divided by ``unit``, for planes that are divided by 255."""
    share = unit / 255.0
    return Normalisation.model_validate(
        {"mean": tuple(float(m) * share for m in mean), "std": tuple(float(s) * share for s in std)}
    )


def with_red_first(weight: torch.Tensor, description: Description) -> torch.Tensor:
    """First kernels (C, 3, k, k) of a network that takes blue first -> of one that takes red first.

    The statistics of the description, which are in the order of the network, turn with them.
    """
    mean, std = description.normalisation.mean, description.normalisation.std
    description.normalisation = Normalisation(mean=(mean[2], mean[1], mean[0]), std=(std[2], std[1], std[0]))
    return weight.flip(1)
