"""Temperatures of the confidence, per subset of the sensors (temperature scaling of Guo et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.calibration import CalibrationHistogram
from any2seg_core.evaluation.dataset import EvaluationTarget
from any2seg_core.evaluation.feature_statistics import feature_statistics
from any2seg_core.evaluation.settings import EvaluateSettings, Progress
from any2seg_core.evaluation.subsets import plain_softmax, subset_logits, subset_predictions
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import is_labelled

TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 33))
"""What is tried: steps of a tenth, between which a parabola finds the minimum."""


class TemperatureFit:
    """The temperature at which the confidences of some pixels are most likely.

    Attributes:
        pixels: how many were added.
        surprises: (T,) float64, the sum over them of -log of the softmax of the true class, per entry of TEMPERATURES.
    """

    def __init__(self) -> None:
        self.pixels = 0
        self.surprises = np.zeros(len(TEMPERATURES))

    def update(self, logits: Tensor, truth: Tensor) -> None:
        """Add the labelled pixels of logits (B, K, h, w) and truth (B, H, W), which is read at the logits' size."""
        nearest = F.interpolate(truth[:, None].float(), logits.shape[-2:], mode="nearest-exact")[:, 0].long()
        chosen = torch.from_numpy(is_labelled(nearest.numpy()))  # (B, h, w)
        rows, ids = logits.permute(0, 2, 3, 1)[chosen].float(), nearest[chosen]  # (n, K), (n,)
        usable = rows.isfinite().all(dim=1)
        rows, ids = rows[usable], ids[usable]
        behind = rows.amax(dim=1) - rows.gather(1, ids[:, None])[:, 0]  # (n,)
        rows = rows - rows.amax(dim=1, keepdim=True)
        self.pixels += len(ids)
        for i, temperature in enumerate(TEMPERATURES):
            total = torch.logsumexp(rows / temperature, dim=1) + behind / temperature
            self.surprises[i] += float(total.sum(dtype=torch.float64))

    def best(self) -> tuple[float, float]:
        """The temperature of least surprise, and that surprise per pixel: a parabola through the lowest entries."""
        i = int(np.clip(self.surprises.argmin(), 1, len(TEMPERATURES) - 2))
        left, middle, right = self.surprises[i - 1 : i + 2]
        curvature = left - 2.0 * middle + right
        offset = float(np.clip(0.5 * (left - right) / curvature, -1.0, 1.0)) if curvature > 0.0 else 0.0
        surprise = middle - 0.5 * (left - right) * offset + 0.5 * curvature * offset**2
        step = TEMPERATURES[1] / TEMPERATURES[0]
        return float(TEMPERATURES[i] * step**offset), float(surprise) / self.pixels

    def plain_surprise(self) -> float:
        """That of the plain softmax, in nats per pixel."""
        return float(self.surprises[len(TEMPERATURES) // 2]) / self.pixels


@dataclass(frozen=True)
class Calibrated:
    """What a temperature changed for one subset, on the frames that it was fitted on.

    Attributes:
        temperature: above 1 where the softmax promised too much.
        surprise, plain_surprise: mean negative log likelihood in nats with it, and of the plain softmax.
        ece, plain_ece: expected calibration error, 0..1, both ways.
    """

    temperature: float
    surprise: float
    plain_surprise: float
    ece: float
    plain_ece: float


def calibrate_checkpoint(settings: EvaluateSettings, out: Path, progress: Progress) -> dict[str, Calibrated]:
    """Write a checkpoint again with the temperatures that labelled frames show, and with the statistics of its features
    on them; per subset what the temperatures changed.

    Args:
        settings: checkpoint, data, split, subsets. The frames should be none that the model was trained on, nor those
            that it is judged on later.
        out: the new checkpoint; UserError where something is there already.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; remove it or choose another name", "output-exists")
    model, _, provenance = load_checkpoint(settings.checkpoint)
    target = EvaluationTarget.open(settings, settings.checkpoint)
    contract, found = calibrated(target, progress)
    origin = {"data": settings.data.resolve().name, "split": settings.split, "frames": len(target.indices)}
    save_checkpoint(out, model, contract, provenance | {"temperatures": origin})
    return found


def calibrated(
    target: EvaluationTarget, progress: Progress, judged_on: EvaluationTarget | None = None
) -> tuple[InputContract, dict[str, Calibrated]]:
    """The contract of a target with temperatures and feature statistics of its frames, and what they changed.

    Args:
        judged_on: other frames of the same model, on which the calibration error is measured; None: the same frames,
            and every subset must have a labelled pixel there. With others those that have none get no temperature.

    Raises:
        UserError: subsets for which no pixel has a label.
    """
    fits = _fits(target, progress)
    if judged_on is not None:
        fits = {letters: fit for letters, fit in fits.items() if fit.pixels}
    silent = [letters for letters, fit in fits.items() if not fit.pixels]
    if silent:
        raise UserError(
            f"{target.settings.data}: no labelled pixel in {len(target.indices)} frames of split "
            f"{target.settings.split} that {', '.join(silent)} could be calibrated by: give a split with labels and "
            "these sensors",
            "data-unlabelled",
        )
    best = {letters: fit.best() for letters, fit in fits.items()}
    contract = target.contract.model_copy(update={
        "temperatures": {letters: round(t, 4) for letters, (t, _) in best.items()},
        "feature_statistics": feature_statistics(target, progress),
    })  # fmt: skip
    judged_on = judged_on or target
    plain_ece = _errors(judged_on, plain_softmax, progress)
    ece = _errors(judged_on, contract.temperature, progress)
    return contract, {
        letters: Calibrated(*best[letters], fit.plain_surprise(), ece[letters], plain_ece[letters])
        for letters, fit in fits.items()
    }


def _fits(target: EvaluationTarget, progress: Progress) -> dict[str, TemperatureFit]:
    fits = {target.suite.subset_letters(subset): TemperatureFit() for subset in target.subsets}
    done = 0
    for batch in target.batches():
        for subset, logits in subset_logits(target.model, batch, target.subsets, engine=target.engine):
            if logits is not None:
                fits[target.suite.subset_letters(subset)].update(logits.cpu(), batch.truth)
        done += len(batch.indices)
        progress("temperatures", done, len(target.indices))
    return fits


def _errors(
    target: EvaluationTarget, temperature: Callable[[Sequence[str]], float], progress: Progress
) -> dict[str, float]:
    """Letters of a subset -> expected calibration error, 0..1, at the size of the truth."""
    histograms = {target.suite.subset_letters(subset): CalibrationHistogram() for subset in target.subsets}
    found = subset_predictions(
        target.model, target.batches(), target.subsets, None, target.suite, temperature, target.engine
    )
    done = 0
    for batch, letters, labels, confidence in found:
        histograms[letters].update(confidence, labels, batch.truth)
        if letters == next(reversed(histograms)):
            done += len(batch.indices)
            progress("calibration error", done, len(target.indices))
    return {letters: histogram.ece() for letters, histogram in histograms.items()}
