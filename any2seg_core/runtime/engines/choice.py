"""Which engine runs a model: the fastest known one that proves itself."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from any2seg_core.models import Any2Seg
from any2seg_core.runtime.engines.cpu import CpuEngine
from any2seg_core.runtime.engines.engine import EagerEngine, Engine
from any2seg_core.vocabulary.modalities import all_subsets

_LOG = logging.getLogger(__name__)
_SIDE = 64  # pixels of the images of a trial: the smallest that every precision takes
_SUBSETS = 32  # at most so many subsets of the sensors
_TIE = 1e-4  # share of the largest logit: so near to the winner a class may win by rounding
_LIMIT = 0.001  # share of the places, over all subsets, whose labels may differ without a tie
# Where MFF has to choose between two modalities that are equally like their mean, rounding decides; in a new model,
# whose norms give all features one length, that is everywhere if there are two. PyTorch is then as far from itself.
_MOVED = 1e-4  # of the images, for the labels of PyTorch that are not settled


@torch.no_grad()
def choose_engine(model: Any2Seg) -> Engine:
    """The engine for a model that is in its final place, mode and precision.

    Where the labels of the compiled engine are not those of the model on this machine, it is the model itself, and a
    warning tells.
    """
    eager = EagerEngine(model)
    if not CpuEngine.fits(model):
        return eager
    compiled = CpuEngine(model)
    images = _noise(model)
    share = differing_share(compiled, eager, images)
    if share <= _LIMIT or share <= _LIMIT + 2 * differing_share(eager, eager, images, moved=_MOVED):
        return compiled
    _LOG.warning("engine %s: %.2g %% of its labels are not those of PyTorch here, which runs instead", compiled.name,
                 100 * share)  # fmt: skip
    return eager


def _noise(model: Any2Seg) -> dict[str, Tensor]:
    """An image (1, 3, h, w) of normal noise per modality, the same in every process."""
    noise = np.random.default_rng(0).normal(size=(len(model.modalities), 1, 3, _SIDE, _SIDE)).astype(np.float32)
    device = next(model.parameters()).device
    return {name: torch.from_numpy(each).to(device) for name, each in zip(model.modalities, noise, strict=True)}


def differing_share(engine: Engine, reference: Engine, images: dict[str, Tensor], moved: float = 0.0) -> float:
    """Share of places, 0..1, at which two engines label images differently, over all subsets of the sensors.

    Not counted are ties: places whose two classes the reference tells apart by less than rounding does. Places without
    a finite logit count as equal where both engines have none.

    Args:
        images: per modality (1, 3, h, w).
        moved: share of themselves by which the images of the first engine are larger.
    """
    subsets = all_subsets(images)[::-1]
    subsets = subsets[:: 1 + len(subsets) // _SUBSETS]
    scaled = {name: image * (1.0 + moved) for name, image in images.items()}
    judged = [one.fuse_subsets(one.encode(seen), subsets) for one, seen in ((engine, scaled), (reference, images))]
    shares = [
        _differing(engine.decode(found), reference.decode(expected)) for found, expected in zip(*judged, strict=True)
    ]
    return sum(shares) / len(shares)


def _differing(found: Tensor, expected: Tensor) -> float:
    """The same share of two logits (1, K, h, w)."""
    there = [logits.isfinite().all(dim=1, keepdim=True) for logits in (found, expected)]  # (1, 1, h, w)
    found = found.masked_fill(~there[0], 0.0)
    expected = expected.masked_fill(~there[1], 0.0)
    rival = expected.gather(1, found.argmax(dim=1, keepdim=True))  # (1, 1, h, w)
    behind = expected.amax(dim=1, keepdim=True) - rival > _TIE * expected.abs().amax()
    return float((behind | (there[0] != there[1])).float().mean())
