"""Whether an exported model says what the model says, over all subsets of its sensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from any2seg_core.base.errors import UserError
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.graph import GraphEngine
from any2seg_core.runtime.engines.parity import LIMIT, differing_share, mean_difference, probes, trial_subsets
from any2seg_core.runtime.engines.proof import is_settled
from any2seg_core.vocabulary.contract import InputContract


@torch.no_grad()
def require_parity(
    engine: GraphEngine, model: Any2Seg, contract: InputContract, progress: Callable[[int, int], None] = lambda *_: None
) -> float:
    """Share of places, 0..1, whose labels are not those of the model, of the probe with the most of them.

    Compared are both graphs, the whole one for each subset anew, and in each the labels with the logits.

    Args:
        progress: gets how many probes are done, of how many.

    Raises:
        UserError: more of them than rounding explains.
    """
    eager, worst = EagerEngine(model), 0.0
    checked = list(probes({name: contract.size_of(name) for name in contract.modalities}))
    usual = checked[0][1]  # where an image is NaN, only of others can be told what is settled
    for number, (name, images) in enumerate(checked):
        for share in (differing_share(engine, eager, images), _of_each_subset(engine, eager, images)):
            if not is_settled(share, eager, images) and not is_settled(share, eager, usual):
                raise UserError(
                    f"the exported graph gives other labels than PyTorch at {share:.2%} of the places on images of "
                    f"{name}, allowed is {LIMIT:.1%}: run the checkpoint itself on this machine",
                    "model-unsuitable",
                )
            worst = max(worst, share)
        progress(number + 1, len(checked))
    return worst


def _of_each_subset(engine: GraphEngine, eager: EagerEngine, images: Mapping[str, np.ndarray]) -> float:
    """Differing share where each subset is encoded for itself."""
    found, expected = [], []
    for subset in trial_subsets(images):
        given = {name: images[name] for name in subset}
        labels, logits = engine.outputs(given)
        _require_labels_of(labels, logits)
        found.append(logits)
        expected.append(eager.array(eager.decode(eager.fuse(eager.encode(eager.given(given))))))
    return mean_difference(found, expected)


def _require_labels_of(labels: np.ndarray, logits: np.ndarray) -> None:
    """UserError where labels are not the first of the largest logits, or not unlabelled where one is not finite."""
    K = logits.shape[1]
    winner = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), 255 if K <= 255 else 65535)
    if labels.dtype != np.int32 or not np.array_equal(labels, winner):
        raise UserError(
            "the exported graph's labels are not those of its own logits: install another version of onnxruntime",
            "model-unsuitable",
        )

