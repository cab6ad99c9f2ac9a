"""Whether an exported model says what the model says, over all subsets of its sensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from any2seg_core.base.errors import UserError
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.graph import Graph, GraphEngine
from any2seg_core.runtime.engines.parity import LIMIT, differing_share, mean_difference, probes, trial_subsets
from any2seg_core.runtime.engines.proof import is_settled
from any2seg_core.runtime.export.folder import empty_of, input_of
from any2seg_core.vocabulary.contract import InputContract


@torch.no_grad()
def require_parity(
    engine: GraphEngine,
    whole: Graph,
    model: Any2Seg,
    contract: InputContract,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> float:
    """Share of places, 0..1, whose labels are not those of the model, of the probe with the most of them.

    Compared are the engine and the graph of the whole, and in that one the labels with the logits.

    Args:
        engine: of encoder and fusion. whole: rows of images to labels and logits.
        progress: gets how many probes are done, of how many.

    Raises:
        UserError: more of them than rounding explains.
    """
    eager, worst = EagerEngine(model), 0.0
    checked = list(probes({name: contract.size_of(name) for name in contract.modalities}))
    if model.asks_for_content:
        checked.append(("half empty", half_empty(checked[0][1], contract)))
    usual = checked[0][1]  # where an image is NaN, only of others can be told what is settled
    for number, (name, images) in enumerate(checked):
        for share in (differing_share(engine, eager, images), _of_whole(whole, eager, images, contract)):
            if not is_settled(share, eager, images) and not is_settled(share, eager, usual):
                raise UserError(
                    f"the exported graph gives other labels than PyTorch at {share:.2%} of the places on images of "
                    f"{name}, allowed is {LIMIT:.1%}: run the checkpoint itself on this machine",
                    "model-unsuitable",
                )
            worst = max(worst, share)
        progress(number + 1, len(checked))
    return worst


def half_empty(images: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, np.ndarray]:
    """The same images (1, 3, h, w); every other sensor says nothing on the left, the rest nothing on the right."""
    found, empty = {}, contract.empty_pixels
    for number, (name, image) in enumerate(images.items()):
        middle = image.shape[3] // 2
        part = slice(middle) if number % 2 == 0 else slice(middle, None)
        found[name] = image.copy()
        found[name][:, :, :, part] = np.array(empty[name], np.float32)[:, None, None]
    return found


def _of_whole(whole: Graph, eager: EagerEngine, images: Mapping[str, np.ndarray], contract: InputContract) -> float:
    """Differing share of the graph of the whole, which encodes each subset for itself."""
    found, expected = [], []
    for subset in trial_subsets(images):
        given = {name: images[name] for name in subset}
        inputs = rows_of(given, contract)
        labels, logits = whole(("labels", "logits"), {name: inputs[name] for name in whole.inputs})
        _require_labels_of(labels, logits)
        found.append(logits)
        expected.append(eager.array(eager.decode(eager.fuse(eager.encode(eager.given(given))))))
    return mean_difference(found, expected)


def rows_of(images: Mapping[str, np.ndarray], contract: InputContract) -> dict[str, np.ndarray]:
    """Images (1, 3, h, w) of a subset of the sensors -> what a graph of the whole may take."""
    rows: dict[str, list[np.ndarray]] = {}
    empty = contract.empty_pixels
    for name in contract.modalities:
        share, image = contract.scale.get(name, 1.0), images.get(name)
        image = np.zeros((0, 3, *contract.size_of(name)), np.float32) if image is None else image
        rows.setdefault(input_of(share), []).append(image)
        rows.setdefault(empty_of(share), []).append(np.full((len(image), 3), empty[name], np.float32))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _require_labels_of(labels: np.ndarray, logits: np.ndarray) -> None:
    """UserError where labels are not the first of the largest logits, or not unlabelled where one is not finite."""
    K = logits.shape[1]
    winner = np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), 255 if K <= 255 else 65535)
    if labels.dtype != np.int32 or not np.array_equal(labels, winner):
        raise UserError(
            "the exported graph's labels are not those of its own logits: install another version of onnxruntime",
            "model-unsuitable",
        )
