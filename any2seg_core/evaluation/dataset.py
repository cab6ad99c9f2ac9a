"""Evaluate a checkpoint on a data set: sensor subsets, conditions, damaged sensors. Settings in, one document out."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from any2seg_core.base.errors import UserError
from any2seg_core.base.home import expanded_text
from any2seg_core.base.text_files import read_json
from any2seg_core.data.catalogue import DATASETS, Layout, layout
from any2seg_core.data.samples import FrameDataset
from any2seg_core.evaluation.batches import EvaluationBatch, evaluation_batches, resized_truth, spread
from any2seg_core.evaluation.bootstrap import FrameBlocks
from any2seg_core.evaluation.frame_views import FrameView
from any2seg_core.evaluation.monotonicity import monotonicity
from any2seg_core.evaluation.noise import NOISE_LEVELS, NoiseLevel, add_noise
from any2seg_core.evaluation.policies import POLICIES
from any2seg_core.evaluation.published import published
from any2seg_core.evaluation.robustness import (
    FAILURE_PROBABILITIES,
    MISSING_RATES,
    failure_expectation,
    mm_robust,
    random_missing,
    retention,
)
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore, percent, rounded_document
from any2seg_core.evaluation.settings import EvaluateSettings, Progress
from any2seg_core.evaluation.stages import Stages
from any2seg_core.evaluation.subsets import (
    FILL_INS,
    FrameScores,
    PriorBaselines,
    PriorStatistics,
    evaluate_subsets,
    frame_scores,
    prior_baselines,
)
from any2seg_core.evaluation.tables import summarise
from any2seg_core.models import Any2Seg
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.devices import available_device
from any2seg_core.runtime.engines.choice import engine_of
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.vocabulary.class_mapping import Comparison, class_mapping
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import LabelSpace, is_labelled
from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite
from any2seg_core.vocabulary.subsets import parse_subset, subsets_with_all

_LOG = logging.getLogger(__name__)
_SHOWN = 6


@dataclasses.dataclass
class EvaluationTarget:
    """A model in evaluation mode with all it is evaluated on.

    Attributes:
        comparison: which classes labels and truth are counted as. indices: numbers of the frames that count.
        engine: what runs it, as the settings say.
        left_out: labelled pixels of the truth whose class is not compared, and all labelled ones, of the last pass.
    """

    model: Any2Seg
    engine: Engine
    contract: InputContract
    comparison: Comparison
    frames: FrameDataset
    indices: list[int]
    settings: EvaluateSettings
    left_out: tuple[int, int] = (0, 0)

    @classmethod
    def open(cls, settings: EvaluateSettings, checkpoint: Path) -> EvaluationTarget:
        """Read a checkpoint and find its frames; UserError where they do not belong together."""
        device = available_device(settings.device)
        model, contract, _ = load_checkpoint(checkpoint)
        size = (contract.height, contract.width)
        engine = engine_of(model, size, device, settings.precision, settings.runtime)
        if settings.filled_rows:
            engine.encode_filled_rows(contract)
        found = data_layout(settings, contract)
        data = f"{settings.data} is {found.name}"
        comparison = Comparison.between(
            contract.label_space, found.label_space, class_mapping(settings.map) if settings.map else None,
            lambda own, rival: f"{checkpoint} was trained on labels {own}, {data} with {rival}",
        )  # fmt: skip
        absent = [name for name in contract.modalities if name not in found.suite.members]
        if absent:
            raise UserError(
                f"{data} with the sensors {', '.join(found.suite.members)}; {checkpoint} was trained on "
                f"{', '.join(absent)} too: give the data set of the checkpoint, or suite=FILE",
                "sensor-absent",
            )
        frames = open_split(settings, settings.split, contract, settings.cases)
        other = {name: v for name, v in frames.encodings.items() if not _is_alike(name, contract, frames)}
        if other:
            _LOG.warning(
                "%s was trained on other planes (%s) than %s has (%s): expect less than it can do",
                checkpoint, {name: contract.encodings[name] for name in other}, settings.data, other,
            )  # fmt: skip
        indices = spread(len(frames), settings.frames)
        return cls(model, engine, contract, comparison, frames, indices, settings)

    @property
    def space(self) -> LabelSpace:
        """The classes that count."""
        return self.comparison.space

    @property
    def suite(self) -> SensorSuite:
        """Whose letters name the subsets."""
        return self.contract.suite

    @property
    def subsets(self) -> list[tuple[str, ...]]:
        """Subsets of the model's sensors that are judged, all of them last."""
        return subsets_with_all(self.settings.subsets, self.suite, self.model.modalities)

    def batches(self) -> Iterator[EvaluationBatch]:
        """All frames that count."""
        device = next(self.model.parameters()).device
        size = self.settings.eval_size
        batches = evaluation_batches(self.frames, self.indices, self.contract, device, self.settings.batch_size, size)
        return batches if self.comparison.mapping is None else self._compared(batches)

    def _compared(self, batches: Iterator[EvaluationBatch]) -> Iterator[EvaluationBatch]:
        self.left_out = (0, 0)
        for batch in batches:
            whole = batch.truth.numpy()
            truth = self.comparison.of_truth(whole)
            labelled, kept = (int(is_labelled(ids).sum()) for ids in (whole, truth))
            self.left_out = (self.left_out[0] + labelled - kept, self.left_out[1] + labelled)
            yield batch._replace(truth=torch.from_numpy(truth))

    def truths(self, frames: FrameDataset | None = None) -> Iterator[np.ndarray]:
        """Labels (H, W) uint8 as they are compared: of the frames that count, or of all of another split."""
        labels = self.frames.readable_labels(self.indices) if frames is None else frames.readable_labels()
        return map(self.comparison.of_truth, labels)

    def cases(self, index: int) -> list[str]:
        """Condition and failures of a frame."""
        return self.frames.condition(self.frames.frames[index]).split(", ")


def _is_alike(name: str, contract: InputContract, frames: FrameDataset) -> bool:
    """Whether planes of a sensor are made as those that a model was trained on."""
    ranges = (suite.sensor(name).value_range for suite in (contract.suite, frames.suite))
    return contract.encodings[name] == frames.encodings[name] and len(set(ranges)) == 1


def data_layout(settings: EvaluateSettings, contract: InputContract) -> Layout:
    """The data set of the settings, with their suite; else its own if that has a model's sensors, else the model's."""
    if settings.suite is not None:
        found = layout(settings.dataset, settings.data, suite=sensor_suite(settings.suite))
    else:
        found = layout(settings.dataset, settings.data).having(contract.suite, contract.modalities)
    return found


def open_split(
    settings: EvaluateSettings, split: str, contract: InputContract, cases: Sequence[str] | None = None
) -> FrameDataset:
    """One split of the data set of the settings, with the sensors of a model."""
    options = {} if settings.parity == "none" else {"parity": settings.parity}
    found = data_layout(settings, contract)
    return found.open(split, contract.modalities, cases, skip_corrupt=settings.skip_corrupt, **options)


def evaluate_dataset(
    settings: EvaluateSettings, progress: Progress, views: list[FrameView] | None = None
) -> dict[str, Any]:
    """Everything asked for, JSON-ready and in percent.

    Args:
        views: takes a few frames, evenly spread, with the labels of all sensors; None: none are wanted.

    Raises:
        UserError: missing or foreign checkpoint or data, an unreadable frame, specialists that do not fit.
    """
    target = EvaluationTarget.open(settings, settings.checkpoint)
    if not any(is_labelled(labels).any() for labels in target.truths()):
        raise UserError(
            f"{settings.data}: no labelled pixel{_of_compared(target)} in {len(target.indices)} frames of split "
            f"{settings.split}: nothing to evaluate by; `any2seg predict` needs no labels",
            "data-unlabelled",
        )
    data_set = paper_data_set(target.frames) if target.comparison.mapping is None else None
    rivals = _read_specialists(settings.specialists, target)
    specialists = sum(isinstance(rival, EvaluationTarget) for rival in rivals.values())
    passes = 1 + specialists + (len(MISSING_RATES) + len(NOISE_LEVELS) if settings.noise else 0)
    stages = Stages(len(target.indices), passes, progress)

    board, blocks = Scoreboard(target.space), FrameBlocks(target.space)
    per_frame = []
    shown = [target.indices[number] for number in spread(len(target.indices), _SHOWN)]
    for frame in _scored(target, stages.over("subsets", target.batches())):
        board.add(frame.scores, target.cases(frame.number))
        blocks.add(frame.scores)
        counts = {letters: score.class_counts() for letters, score in frame.scores.items()}
        per_frame.append({"frame": target.frames.frames[frame.number].name, "counts": counts})
        if views is not None and frame.number in shown:
            views.append(_view(target, frame))
    miou = {letters: 100.0 * score.confusion.miou("all") for letters, score in board.total.items()}
    mapping = target.comparison.document(*target.left_out)
    evaluated = len(target.indices) - len(target.frames.skipped)
    document = summarise(board.total, target.space, evaluated, _prior_baselines(target), settings.protocol)
    document |= {"split": settings.split, "eval_size": settings.eval_size, "data_set": data_set}
    document |= {"precision": target.engine.precision, "engine": target.engine.facts}
    document |= {"filled_rows": settings.filled_rows}
    document |= {"checkpoint": str(settings.checkpoint), "data": str(settings.data), "seed": settings.seed}
    document |= {"parity": settings.parity, "skipped": list(target.frames.skipped)}
    document |= {"calibration": _calibration(board.total), "cases": _cases(board, target)}
    document |= {"label_space": target.space.reference, "mapping": mapping, "per_frame": per_frame}
    document["suite"] = target.suite.to_document()
    document["mm_robust"] = mm_robust(miou, target.suite)
    document["failure_expectation"] = {f"{p:g}": failure_expectation(miou, p) for p in FAILURE_PROBABILITIES}
    document["monotonicity"] = monotonicity(miou, blocks.counts(), seed=settings.seed)
    if rivals:
        reached = {
            letters: _miou_percent(rival, stages.over(f"specialist {letters}", rival.batches()))
            if isinstance(rival, EvaluationTarget)
            else rival
            for letters, rival in rivals.items()
        }
        document["retention"] = retention(miou, reached)
    if settings.noise:
        document["noise"] = damage_benchmark(target, stages)
    rows = published(data_set) if data_set else ()
    document["published"] = [dataclasses.asdict(row) | {"mean": row.mean} for row in rows]
    return rounded_document(document)


def _scored(target: EvaluationTarget, batches: Iterator[EvaluationBatch]) -> Iterator[FrameScores]:
    """Scores of each frame with the sensors of each subset of the settings."""
    fill_in, of_labels = FILL_INS[target.settings.protocol], target.comparison.of_labels
    temperature = target.contract.temperature
    return frame_scores(
        target.model, batches, target.space, target.subsets, fill_in, target.suite, of_labels, temperature,
        target.engine,
    )  # fmt: skip


def _of_compared(target: EvaluationTarget) -> str:
    return "" if target.comparison.mapping is None else f" of {', '.join(target.space.classes)}"


def _view(target: EvaluationTarget, frame: FrameScores) -> FrameView:
    sample = target.frames[frame.number]
    truth = target.comparison.of_truth(resized_truth(sample.labels, target.settings.eval_size))
    miou = frame.scores[max(frame.scores, key=len)].frame_document()["miou_present"]
    note = ", ".join(target.cases(frame.number)) + ("" if miou is None else f"; mIoU {miou:.0f} %")
    return FrameView(target.frames.frames[frame.number].name, note, sample.planes, frame.labels, truth)


def paper_data_set(frames: FrameDataset) -> str | None:
    """Name of the published data set that these frames are; None for others, of a simulation or other sensors too."""
    own = DATASETS.get(frames.kind)
    if own is None or (frames.suite, frames.label_space) != (own.suite, own.label_space):
        return None
    return frames.kind if published(frames.kind) and not any(frames.root.glob("drive_*.json")) else None


def _read_specialists(path: Path | None, target: EvaluationTarget) -> dict[str, float | EvaluationTarget]:
    """Before any frame is judged: letters -> mIoU in percent, or the specialist itself."""
    if path is None:
        return {}
    try:
        given = read_json(path)
    except UserError as error:
        raise UserError(
            f"{path}: not a readable JSON file ({error}); `any2seg evaluate --help` shows one", error.code
        ) from None
    if not isinstance(given, dict) or not given:
        raise UserError(f'{path}: expected subset letters with mIoU or checkpoint, as in {{"R": 57.2}}', "file-content")
    suite, there = target.suite, target.model.modalities
    rivals: dict[str, float | EvaluationTarget] = {}
    for text, value in given.items():
        try:
            sensors = parse_subset(text, suite, there)
        except UserError as error:
            raise UserError(f"{path}: {error}", error.code) from None
        letters = suite.subset_letters(sensors)
        if letters in rivals:
            raise UserError(
                f"{path}: {text} is {letters}, which is there already: give each subset once", "value-twice"
            )
        rivals[letters] = _specialist(path, letters, sensors, value, target)
    return rivals


def _specialist(
    path: Path, letters: str, sensors: tuple[str, ...], value: object, target: EvaluationTarget
) -> float | EvaluationTarget:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 100:
        return float(value)
    if not isinstance(value, str):
        raise UserError(
            f"{path}: {letters} is {value!r}: expected mIoU in percent above 0, or a checkpoint", "value-type"
        )
    rival = EvaluationTarget.open(target.settings, path.parent / expanded_text(value))
    if rival.model.modalities != sensors:
        raise UserError(
            f"{path}: {value} was trained on {', '.join(rival.model.modalities)}; a specialist of {letters} is trained "
            f"on {', '.join(sensors)} alone",
            "checkpoint-mismatch",
        )
    return rival


def _miou_percent(target: EvaluationTarget, batches: Iterator[EvaluationBatch]) -> float:
    """mIoU over all classes with every sensor."""
    table = evaluate_subsets(
        target.model, batches, target.space, [target.model.modalities], suite=target.suite,
        of_labels=target.comparison.of_labels, engine=target.engine,
    )  # fmt: skip
    return 100.0 * next(iter(table.values())).miou("all")


def _prior_baselines(target: EvaluationTarget) -> PriorBaselines | None:
    """Baselines on the evaluated labels; None, logged, when the data has no split to learn the prior from."""
    settings = target.settings
    try:
        known = open_split(settings, settings.prior_from, target.contract)
    except UserError as error:
        _LOG.warning("no prior baselines: %s", error)
        return None
    prior = PriorStatistics(len(target.space))
    for labels in target.truths(known):
        prior.update(labels)
    truths = (resized_truth(labels, settings.eval_size) for labels in target.truths())
    return prior_baselines(prior, truths, target.space)


def _calibration(scores: dict[str, SubsetScore]) -> dict[str, Any]:
    """Per subset ECE and overconfidence in percent, and the bins of the reliability diagram."""
    return {
        letters: {
            "ece": percent(score.calibration.ece()),
            "overconfidence": percent(score.calibration.overconfidence()),
            "bins": {
                "pixels": score.calibration.sums[0].tolist(),
                "accuracy": [percent(value) for value in score.calibration.accuracy()],
                "confidence": [percent(value) for value in score.calibration.confidence()],
            },
        }
        for letters, score in scores.items()
    }


def _cases(board: Scoreboard, target: EvaluationTarget) -> dict[str, Any]:
    """Per condition and failure, in the data set's order: frames and mIoU of every subset, classes present there."""
    counts = Counter(case for index in target.indices for case in target.cases(index))
    cases: dict[str, Any] = {}
    for case in target.frames.cases:
        if case in board.groups:
            matrices = {letters: score.confusion for letters, score in board.groups[case].items()}
            cases[case] = {"frames": counts[case]}
            for policy in POLICIES:
                cases[case][f"miou_{policy}"] = {name: percent(each.miou(policy)) for name, each in matrices.items()}
    return cases


def damage_benchmark(target: EvaluationTarget, stages: Stages) -> dict[str, Any]:
    """Benchmark of arXiv 2503.18445 beyond EMM: RMM over all subsets, NM with all sensors; mIoU over all classes."""
    seed, suite = target.settings.seed, target.suite
    rmm: dict[str, Any] = {}
    for rate in MISSING_RATES:
        batches = stages.over(f"missing values {rate:g}", target.batches())
        fill_in = random_missing(rate, seed)
        of_labels = target.comparison.of_labels
        scored = evaluate_subsets(
            target.model, batches, target.space, target.subsets, fill_in, suite, of_labels, target.engine
        )
        miou = {letters: 100.0 * matrix.miou("all") for letters, matrix in scored.items()}
        expected = {f"{p:g}": failure_expectation(miou, p) for p in FAILURE_PROBABILITIES}
        rmm[f"{rate:g}"] = {"subsets": miou, "mean": float(np.mean(list(miou.values()))), "expectation": expected}
    nm = {}
    for name, level in NOISE_LEVELS.items():
        noisy = _noisy(stages.over(f"noise {name}", target.batches()), level, seed, suite)
        nm[name] = _miou_percent(target, noisy)
    return {"rmm": rmm, "nm": nm}


def _noisy(
    batches: Iterator[EvaluationBatch], level: NoiseLevel, seed: int, suite: SensorSuite
) -> Iterator[EvaluationBatch]:
    """Noise that depends on the seed and the number of the frame, not on how frames are batched."""
    for batch in batches:
        frames = [
            add_noise({name: image[row : row + 1] for name, image in batch.images.items()}, level, seed, index, suite)
            for row, index in enumerate(batch.indices)
        ]
        images = {name: torch.cat([frame[name] for frame in frames]) for name in batch.images}  # (B, C, H, W)
        yield batch._replace(images=images)
