"""Whether an exported model says what the model says, over all subsets of its sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.engines.choice import LIMIT, is_settled, mean_difference, trial_subsets
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.graph import GraphEngine
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
    probes = list(_probes(contract))
    usual = probes[0][1]  # where an image is NaN, only of others can be told what is settled
    for number, (name, images) in enumerate(probes):
        for share in (_of_one_encoding(engine, eager, images), _of_each_subset(engine, eager, images)):
            if not is_settled(share, eager, images) and not is_settled(share, eager, usual):
                raise UserError(
                    f"the exported graph gives other labels than PyTorch at {share:.2%} of the places on images of "
                    f"{name}, allowed is {LIMIT:.1%}: run the checkpoint itself on this machine",
                    "model-unsuitable",
                )
            worst = max(worst, share)
        progress(number + 1, len(probes))
    return worst


def _probes(contract: InputContract) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Images (1, 3, H, W) of all sensors at the size of the model: usual ones, ties, and numbers that are none."""
    names, shape = contract.modalities, (1, 3, contract.height, contract.width)
    rng = np.random.default_rng(0)
    noise = [torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for _ in names]
    yield "noise", dict(zip(names, noise, strict=True))
    yield "equal sensors", dict.fromkeys(names, noise[0])
    yield "nothing but zeros", dict.fromkeys(names, torch.zeros(shape))
    broken = noise[-1].clone()
    broken[0, 1, contract.height // 2, contract.width // 3] = torch.nan
    yield "NaN", dict(zip(names, [*noise[:-1], broken], strict=True))


def _of_one_encoding(engine: GraphEngine, eager: EagerEngine, images: dict[str, Tensor]) -> float:
    """Differing share of the subsets of what was encoded once."""
    subsets = trial_subsets(images)
    found = engine.fuse_subsets(engine.encode(_arrays(images)), subsets)
    expected = map(eager.decode, eager.fuse_subsets(eager.encode(images), subsets))
    return mean_difference(map(torch.from_numpy, found), expected)


def _of_each_subset(engine: GraphEngine, eager: EagerEngine, images: dict[str, Tensor]) -> float:
    """Differing share where each subset is encoded for itself."""
    found, expected = [], []
    for subset in trial_subsets(images):
        given = {name: images[name] for name in subset}
        labels, logits = engine.outputs(_arrays(given))
        _require_labels_of(labels, logits)
        found.append(torch.from_numpy(logits))
        expected.append(eager.decode(eager.fuse(eager.encode(given))))
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


def _arrays(images: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: image.numpy() for name, image in images.items()}
