"""Which engine runs a model: the fastest known one that proves itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from any2seg_core.models import Any2Seg, Encoded
from any2seg_core.models.precision import settled_precision, with_precision
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.vocabulary.modalities import all_subsets

_LOG = logging.getLogger(__name__)
_SIDE = 64  # pixels of the input of a trial: the smallest that every precision takes
_SUBSETS = 32  # at most so many subsets of the sensors
_ALL_SUBSETS = 12  # sensors of which all subsets are listed to choose among; of more than these, each alone and all
_TIE = 1e-4  # share of the largest logit: so near to the winner a class may win by rounding
LIMIT = 0.001
"""Share of the places, over all subsets, whose labels may differ without a tie."""
# Where MFF has to choose between two modalities that are equally like their mean, rounding decides. In a new model,
# whose norms give all features one length, that is nearly everywhere if there are two.
_STRONGER = 1e-5  # share of themselves by which features are made stronger, to see which choices are settled


def engine_of(
    model: Any2Seg, size: tuple[int, int], device: str | torch.device = "cpu", precision: str = "float32"
) -> EagerEngine:
    """The engine for a model, which is changed in place.

    Args:
        size: (H, W) of the images, pixels. precision: of the encoder, see `settled_precision`.
    """
    model = model.to(device).eval()
    settled = settled_precision(model, precision, size)
    return choose_engine(with_precision(model, settled, size[1]), settled)


@torch.no_grad()
def choose_engine(model: Any2Seg, precision: str = "float32") -> EagerEngine:
    """The engine for a model that is in its final place, mode and precision.

    Where the labels of the compiled engine are not those of the model on this machine, it is the model itself, and a
    warning tells.
    """
    eager = EagerEngine(model, precision)
    if not CpuEngine.fits(model):
        return eager
    compiled = CpuEngine(model, precision)
    images = _noise(model)
    share = differing_share(compiled, eager, images)
    if is_settled(share, eager, images):
        return compiled
    _LOG.warning("engine %s: %.2g %% of its labels are not those of PyTorch here, which runs instead", compiled.name,
                 100 * share)  # fmt: skip
    return eager


def _noise(model: Any2Seg) -> dict[str, Tensor]:
    """An image (1, 3, h, w) of normal noise per modality, the same in every process."""
    sizes = {name: model.image_size(name, (_SIDE, _SIDE)) for name in model.modalities}
    rng, device = np.random.default_rng(0), next(model.parameters()).device
    noise = {name: rng.normal(size=(1, 3, *size)).astype(np.float32) for name, size in sizes.items()}
    return {name: torch.from_numpy(each).to(device) for name, each in noise.items()}


def is_settled(share: float, eager: EagerEngine, images: dict[str, Tensor]) -> bool:
    """Whether so small a share of places, 0..1, that are labelled differently is rounding."""
    return share <= LIMIT or share <= LIMIT + unsettled_share(eager, images)


def differing_share(engine: Engine, reference: Engine, images: dict[str, Tensor]) -> float:
    """Share of places, 0..1, at which two engines label images differently, over all subsets of the sensors.

    Not counted are ties: places whose two classes the reference tells apart by less than rounding does. Places without
    a finite logit count as equal where both engines have none.

    Args:
        images: per modality (1, 3, h, w).
    """
    subsets = trial_subsets(images)
    return mean_difference(*(_logits(each, each.encode(images), subsets) for each in (engine, reference)))


def unsettled_share(eager: EagerEngine, images: dict[str, Tensor]) -> float:
    """Share of places, 0..1, whose label depends on which sensor's features are stronger by next to nothing."""
    subsets, encoded, share = trial_subsets(images), eager.encode(images), 0.0
    for first, last in ((0.0, _STRONGER), (_STRONGER, 0.0)):
        factors = 1.0 + torch.linspace(first, last, len(encoded.modalities), device=encoded.present.device)  # (M,)
        moved = replace(encoded, levels=[level * factors.view(1, -1, 1, 1, 1) for level in encoded.levels])
        share += mean_difference(_logits(eager, moved, subsets), _logits(eager, encoded, subsets))
    return share


def trial_subsets(images: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """All subsets of the sensors, of many sensors some of them, evenly spread; that of all sensors is the first."""
    names = tuple(images)
    subsets = all_subsets(names)[::-1] if len(names) <= _ALL_SUBSETS else [names, *((name,) for name in names)]
    return subsets[:: 1 + len(subsets) // _SUBSETS]


def _logits(engine: Engine, encoded: Encoded, subsets: list[tuple[str, ...]]) -> Iterator[Tensor]:
    return map(engine.decode, engine.fuse_subsets(encoded, subsets))


def mean_difference(found: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    """Share of places, 0..1, labelled differently in pairs of logits (1, K, h, w); ties as in `differing_share`."""
    shares = [_differing(*pair) for pair in zip(found, expected, strict=True)]
    return sum(shares) / len(shares)


def _differing(found: Tensor, expected: Tensor) -> float:
    """The same share of two logits (1, K, h, w)."""
    there = [logits.isfinite().all(dim=1, keepdim=True) for logits in (found, expected)]  # (1, 1, h, w)
    found = found.masked_fill(~there[0], 0.0)
    expected = expected.masked_fill(~there[1], 0.0)
    rival = expected.gather(1, found.argmax(dim=1, keepdim=True))  # (1, 1, h, w)
    behind = expected.amax(dim=1, keepdim=True) - rival > _TIE * expected.abs().amax()
    return float((behind | (there[0] != there[1])).float().mean())
