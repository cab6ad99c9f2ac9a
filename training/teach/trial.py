"""A few steps on the first seconds of a recording: what the whole will take, measured."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from any2seg_core.base.errors import UserError
from any2seg_core.data.bag import BagDataset
from any2seg_core.data.images import write_png
from any2seg_core.data.samples import FrameDataset
from any2seg_training.batches import MixedNumbers, SampleNumbers, training_batches
from any2seg_training.build import Run, build_run
from any2seg_training.config import TrainConfig
from any2seg_training.distil import Distillation
from any2seg_training.processes import Processes
from any2seg_training.sample_changes import build_augment, fitted_frames
from any2seg_training.splits import open_split
from any2seg_training.teach.judge import MOST_FAULTY, MOST_FRAMES, Judge, silent
from any2seg_training.teach.recipe import student_config
from any2seg_training.teach.recordings import Source, Start
from any2seg_training.teach.settings import TeachSettings
from any2seg_training.train import gradients

_STEPS = 3
_FIRST_S = (2.0, 10.0, 60.0, 1e9)  # seconds of a recording to try, until there are frames in it
_FEWEST = 4  # frames
_UNSURE = "teacher-unsure"
_TOO_SHORT = ("bag-no-sets", "data-empty", _UNSURE)  # what a longer part may mend
_SURE_S = 60.0  # of which a teacher is sure of nothing: more would have to be kept in memory
_SAVE_S = 60.0  # work that a kill may cost
_PASSES = 3.0  # over the frames held out: half of them for temperatures, features and two errors, all for the verdict
_MIB = 2**20


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        frames: that are taught. held_out: that are judged. planes_s, planes_mib: to read recordings and keep planes.
        step_s: a step; steps: of them. judging_s: the evaluation. memory_mib: of the process at its largest.
        state_mib: of training states and checkpoints. taught: share of the pixels tried on which the teacher's word
            counts.
    """

    frames: int
    held_out: int
    planes_s: float
    planes_mib: float
    step_s: float
    steps: int
    judging_s: float
    memory_mib: float
    state_mib: float
    taught: float

    @property
    def total_s(self) -> float:
        """Planes, training and evaluation."""
        return self.planes_s + self.steps * self.step_s + self.judging_s

    @property
    def disk_mib(self) -> float:
        """Of the folder --out."""
        return self.planes_mib + self.state_mib

    @property
    def save_every(self) -> int:
        """Steps between two training states."""
        return max(1, min(self.steps, round(_SAVE_S / self.step_s)))

    def lines(self) -> list[str]:
        """For people."""
        count = self.frames + self.held_out
        return [
            f"planes: about {count} frames, {_time(self.planes_s)}, {_size(self.planes_mib)}",
            f"training: {self.steps} steps of {self.step_s:.2f} s, {_time(self.steps * self.step_s)}",
            f"taught: {100 * self.taught:.0f} % of the pixels tried; of the others the teacher is unsure",
            f"evaluation: {self.held_out} frames held out, {_time(self.judging_s)}",
            f"together about {_time(self.total_s)}, {_size(self.memory_mib)} of memory, {_size(self.disk_mib)} of disk",
        ]


def tried(settings: TeachSettings, sources: Sequence[Source], start: Start | None, processes: Processes) -> Estimate:
    """Read the first seconds of the recording with the most sensors, take a few steps, judge a frame.

    Nothing is left on the disk. A longer part is read where the first has too few sets, or none of which the teacher is
    sure.

    Raises:
        UserError: what a training would refuse: teachers that do not fit or are sure of nothing, no usable set.
    """
    first = max(sources, key=lambda source: (len(source.sensors) > 1, source.is_bag, len(source.sensors)))
    for end_s in _FIRST_S:
        is_whole = not first.is_bag or end_s >= first.duration_s
        folder = Path(tempfile.mkdtemp(prefix="any2seg-teach-"))
        try:
            return _estimate(settings, sources, first, start, None if is_whole else end_s, folder, processes)
        except UserError as error:
            if is_whole or error.code not in _TOO_SHORT or (error.code == _UNSURE and end_s >= _SURE_S):
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    raise AssertionError("the last of _FIRST_S is longer than any recording")


def _estimate(
    settings: TeachSettings, sources: Sequence[Source], first: Source, start: Start | None, end_s: float | None,
    folder: Path, processes: Processes,
) -> Estimate:  # fmt: skip
    """From the seconds of the first recording before ``end_s``, None: all; UserError as of `tried`."""
    config, frames, read_s = _first_frames(settings, first, start, end_s, folder)
    png_mib = _png_mib(frames, folder / "planes") if first.is_bag else 0.0
    run = build_run(config, processes)
    step_s, taught = _steps(run, processes)
    score_s, fault_s = _judging(run, processes.device)
    count = len(frames.index.frames) if isinstance(frames, BagDataset) else len(run.train_frames) + len(run.val_frames)
    messages = sum(source.messages for source in sources)
    whole = messages / max(1, first.messages) / _share(first, end_s) if first.is_bag else 1.0
    count = max(2, round(count * whole))
    held_out = max(1, round(settings.held_out * count))
    judged, faulty = min(held_out, MOST_FRAMES), min(held_out, MOST_FAULTY)
    return Estimate(
        frames=count - held_out, held_out=held_out, planes_s=read_s * whole, planes_mib=png_mib * count,
        step_s=step_s, steps=settings.steps or max(1, round(60.0 * settings.minutes / step_s)),
        judging_s=_PASSES * score_s * judged + fault_s * faulty,
        memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, state_mib=_state_mib(run), taught=taught,
    )  # fmt: skip


def _share(first: Source, end_s: float | None) -> float:
    """How much of a recording the seconds before ``end_s`` are."""
    return 1.0 if end_s is None else end_s / first.duration_s


def _first_frames(
    settings: TeachSettings, first: Source, start: Start | None, end_s: float | None, folder: Path
) -> tuple[TrainConfig, FrameDataset, float]:
    """Settings of the trial, its frames, and seconds to read them."""
    own = settings.model_copy(update={"out": folder, "held_out": 1.0 - 0.5 * _share(first, end_s)})
    config = student_config(own, [first], start, _STEPS, 1, cache="ram" if first.is_bag else "none")
    if end_s is not None:
        bag = config.data.bag.model_copy(update={"end_s": end_s})
        config = config.model_copy(update={"data": config.data.model_copy(update={"bag": bag})})
    frames = open_split(config, "train", config.cache)
    began_s = time.monotonic()  # the second time: functions are compiled
    open_split(config, "val", config.cache)
    read_s = time.monotonic() - began_s if first.is_bag else 0.0
    if end_s is not None and isinstance(frames, BagDataset) and len(frames.index.frames) < _FEWEST:
        raise UserError(f"{first.path}: less than {_FEWEST} sets in its first {end_s:g} s", "bag-no-sets")
    return config, frames, read_s


def _steps(run: Run, processes: Processes) -> tuple[float, float]:
    """Seconds of a step, the first of which compiles and does not count; share of the pixels that are taught."""
    config = run.config
    numbers = MixedNumbers([SampleNumbers(len(part), config.batch_size, config.seed) for part in run.parts])
    parts = fitted_frames(run.method.parts(run.parts), run.contract)
    augment = build_augment(config, run.contract.suite)
    batches = training_batches(run.contract.modalities, parts, augment, numbers, config.workers)
    begins, shares = [], []
    for _ in range(_STEPS):
        begins.append(time.monotonic())
        run.optimizer.zero_grad()
        losses, terms, _keys = gradients(config, run, processes, run.model, batches)
        shares += [float(each["taught_share"]) for each in terms]
        run.optimizer.step()
        run.average.update(run.model, run.step)
        run.step += 1
        float(losses[-1])  # a GPU has now done it
    return (time.monotonic() - begins[1]) / (_STEPS - 1), sum(shares) / len(shares)


def _state_mib(run: Run) -> float:
    """MiB of two training states, as one is written beside the other, and of two checkpoints."""
    weights = sum(value.numel() * value.element_size() for value in run.model.state_dict().values()) / _MIB
    moments = [value for slot in run.optimizer.state.values() for value in slot.values()]
    return 2 * (2 * weights + sum(value.numel() * value.element_size() for value in moments) / _MIB) + 2 * weights


def _judging(run: Run, device: torch.device) -> tuple[float, float]:
    """Seconds to judge a frame, and to plant all faults into one."""
    assert isinstance(run.method, Distillation)  # `student_config` says so
    held_out = open_split(run.config, "val", run.config.cache)
    judge = Judge(run.average.model, run.contract, held_out, run.method.lessons, device, run.config.seed)
    chosen = judge.target.indices[:1]
    spent = []
    for work in (judge.labels_of, judge.labels_of, lambda index: judge.faults([index], silent)):
        began_s = time.monotonic()
        work(chosen[0])
        spent.append(time.monotonic() - began_s)
    return spent[1], spent[2]


def _png_mib(frames: FrameDataset, folder: Path) -> float:
    """MiB that the planes of a frame take as files; of the first frame."""
    folder.mkdir()
    for name, plane in frames[0].planes.items():
        write_png(folder / f"{name}.png", plane)
    size = sum(path.stat().st_size for path in folder.iterdir()) / _MIB
    shutil.rmtree(folder)
    return size


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(mib: float) -> str:
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"
