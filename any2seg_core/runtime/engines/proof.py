"""Whether an engine gives the labels of PyTorch on this machine, but for what rounding explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from any2seg_core.models import Encoded
from any2seg_core.runtime.engines.chooser import Proof
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.engines.parity import LIMIT, Sizes, differing_share, mean_difference, probes, trial_subsets

# Where MFF has to choose between two modalities that are equally like their mean, rounding decides. In a new model,
# whose norms give all features one length, that is nearly everywhere if there are two.
_STRONGER = 1e-5  # share of themselves by which features are made stronger, to see which choices are settled


@torch.no_grad()
def proof_of(engine: Engine, eager: EagerEngine, sizes: Sizes) -> Proof:
    """How far its labels are those of ``eager``, on all `probes` of these sizes and all subsets of the sensors."""
    worst = Proof(0.0, True, "noise")
    usual: dict[str, np.ndarray] = {}
    for name, images in probes(sizes):
        usual = usual or images  # where an image is NaN, only of others can be told what is settled
        share = differing_share(engine, eager, images)
        holds = is_settled(share, eager, images) or is_settled(share, eager, usual)
        worst = max(worst, Proof(share, holds, name), key=lambda proof: (not proof.holds, proof.share))
    return worst


@torch.no_grad()
def is_settled(share: float, eager: EagerEngine, images: Mapping[str, np.ndarray]) -> bool:
    """Whether so small a share of places, 0..1, that are labelled differently is rounding."""
    return share <= LIMIT or share <= LIMIT + unsettled_share(eager, images)


def unsettled_share(eager: EagerEngine, images: Mapping[str, np.ndarray]) -> float:
    """Share of places, 0..1, whose label depends on which sensor's features are stronger by next to nothing."""
    subsets, encoded, share = trial_subsets(images), eager.encode(eager.given(images)), 0.0
    for first, last in ((0.0, _STRONGER), (_STRONGER, 0.0)):
        factors = 1.0 + torch.linspace(first, last, len(encoded.modalities), device=encoded.present.device)  # (M,)
        moved = replace(encoded, levels=[_scaled(level, factors) for level in encoded.levels])
        share += mean_difference(_logits(eager, moved, subsets), _logits(eager, encoded, subsets))
    return share


def _scaled(level: Tensor, factors: Tensor) -> Tensor:
    """(B, M, C, H, W) times (M,)."""
    return level * factors.view(1, -1, 1, 1, 1)


def _logits(eager: EagerEngine, encoded: Encoded, subsets: list[tuple[str, ...]]) -> Iterator[np.ndarray]:
    for fused in eager.fuse_subsets(encoded, subsets):
        yield eager.array(eager.decode(fused))
