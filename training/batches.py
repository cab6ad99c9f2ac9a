"""Batches for training: labelled frames, and unlabelled ones beside them where a method learns from both.

All randomness follows from (seed, number of the sample), so a run resumes exactly and sees the same samples with any
number of workers and, for one global batch size, of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from any2seg_core.data.augment import Augment
from any2seg_core.data.sample import Sample, Word
from any2seg_core.faults.planes import Degradation
from any2seg_core.losses.distillation import certainties
from any2seg_core.runtime.preprocess import normalise, resize_planes
from any2seg_core.vocabulary.contract import InputContract

# Third entries of (seed, number, stream): streams of one seed that must not meet. Permutations of the labelled part
# have no third entry.
_AUGMENTATION = 1
_PERMUTATIONS = 10
MASKING = 20
DROPOUT = 30
SUBSETS = 40
_DEGRADATION = 50
OTHERS = 60


class SampleKey(NamedTuple):
    """One sample of a batch.

    Attributes:
        part: 0 labelled, 1 unlabelled.
        number: of the sample within its part, from the first step on; its randomness follows from it.
        frame: index of the frame within its part.
    """

    part: int
    number: int
    frame: int


class Batch(NamedTuple):
    """Augmented frames, not yet normalised.

    Attributes:
        planes: per modality (B, 3, H, W) uint8 or float32 0..255, channels last in memory; zero where a frame lacks it.
            Labelled samples come first.
        labels: (B, H, W) uint8; 254 where nobody labelled, all over the unlabelled samples; 255 outside the frame.
        present: (B, M) bool, columns in the order of ``planes``: what each frame has.
        keys: B, with the frame that was read: another than was asked for where that one is corrupt and skipped.
        said: (B, K, H/4, W/4) float32, what teachers have said beforehand, added up by their weights, zero where that
            is nothing; None: of no sample of the batch anything.
        clean: planes as above, without the faults that were planted, of the sensors that have one in any sample;
            None: no sample has one, or nobody asked.
    """

    planes: dict[str, Tensor]
    labels: Tensor
    present: Tensor
    keys: list[SampleKey]
    said: Tensor | None = None
    clean: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class ModelBatch:
    """A batch as a model takes it, on its device.

    Attributes:
        images: per modality (N, 3, H, W) float32, normalised, at the size of its branch.
        labels: (N, H, W) int64.
        available: (N, M) bool, what each sample has at all.
        keys: N, those of labelled samples first.
        said: as in `Batch`.
        clean: images as above of the sensors that some sample shows with a planted fault, without it.
    """

    images: dict[str, Tensor]
    labels: Tensor
    available: Tensor
    keys: list[SampleKey]
    said: Tensor | None = None
    clean: dict[str, Tensor] | None = None

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.images)

    @property
    def undamaged(self) -> dict[str, Tensor]:
        """Images without planted faults: what teachers see."""
        return self.images | (self.clean or {})


class Frames(Protocol):
    """What samples are drawn from: a `FrameDataset`, or several in a row (`FramePool`)."""

    def __len__(self) -> int: ...

    def next_readable(self, index: int) -> tuple[int, Sample]: ...

    def name(self, index: int) -> str: ...


class ChangedFrames:
    """Frames, each changed when it is read.

    Args:
        change: gives the changed sample; a function that worker processes can be sent.
    """

    def __init__(self, frames: Frames, change: Callable[[Sample], Sample]) -> None:
        self.frames, self._change = frames, change

    def __len__(self) -> int:
        return len(self.frames)

    def name(self, index: int) -> str:
        """Of the frame with that number."""
        return self.frames.name(index)

    def next_readable(self, index: int) -> tuple[int, Sample]:
        """As of a `FrameDataset`."""
        number, sample = self.frames.next_readable(index)
        return number, self._change(sample)


class SampleNumbers:
    """Endless batches of (sample number, frame index): a new permutation per epoch, from any step on.

    Args:
        frames: number of frames N.
        batch_size: per process.
        seed: of the permutations.
        first_step: step of the first batch.
        rank, world_size: this process takes its part of each global batch.
        part: other parts of a batch have other permutations.
    """

    def __init__(
        self,
        frames: int,
        batch_size: int,
        seed: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        part: int = 0,
    ):
        self.frames, self.batch_size, self.seed, self.first_step = frames, batch_size, seed, first_step
        self.rank, self.world_size, self.part = rank, world_size, part
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def batch(self, step: int) -> list[SampleKey]:
        """What this process takes at that step."""
        first = (step * self.world_size + self.rank) * self.batch_size
        return [SampleKey(self.part, number, self._frame(number)) for number in range(first, first + self.batch_size)]

    def _frame(self, number: int) -> int:
        epoch, position = divmod(number, self.frames)
        if epoch != self._epoch:
            key = (self.seed, epoch) if self.part == 0 else (self.seed, epoch, _PERMUTATIONS + self.part)
            self._epoch, self._order = epoch, np.random.default_rng(key).permutation(self.frames)
        return int(self._order[position])


class MixedNumbers(Sampler[list[SampleKey]]):
    """Batches of several parts: the labelled samples, then the unlabelled ones if there are any."""

    def __init__(self, parts: Sequence[SampleNumbers]):
        self.parts = parts

    def __iter__(self) -> Iterator[list[SampleKey]]:
        step = self.parts[0].first_step
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> list[SampleKey]:
        """What this process takes at that step."""
        return [key for part in self.parts for key in part.batch(step)]


class AugmentedSample(NamedTuple):
    """One sample: planes by name (H, W, 3), labels (H, W) uint8, its key with the frame that was read, and what
    teachers have said beforehand (K, H/4, W/4) float32, added up by their weights, if anything; and planes by name
    without the faults that they have been given, where somebody learns from those.
    """

    planes: dict[str, np.ndarray]
    labels: np.ndarray
    key: SampleKey
    said: np.ndarray | None = None
    clean: dict[str, np.ndarray] | None = None


class AugmentedFrames(Dataset):
    """Frames by sample key, with planted faults if there are any, augmented by a generator of that sample.

    A corrupt frame is an error, or, where the data set skips such frames, the next one that can be read stands in: the
    key that comes with planes and labels names it.

    Args:
        with_clean: samples with a planted fault also have the planes without it, for a teacher.
    """

    def __init__(
        self,
        parts: Sequence[Frames],
        augment: Augment,
        seed: int,
        degradation: Degradation | None = None,
        with_clean: bool = False,
    ):
        self.parts, self.augment, self.seed, self.degradation = parts, augment, seed, degradation
        self.with_clean = with_clean

    def __getitem__(self, key: SampleKey) -> AugmentedSample:
        frame, sample = self.parts[key.part].next_readable(key.frame)
        planes = sample.planes
        if self.degradation is not None:
            planes = self.degradation(planes, self._random(key, _DEGRADATION))
        augmented = self.augment(planes, sample.labels, self._random(key, _AUGMENTATION))
        heard = [word.weight * self._moved(word, sample.labels.shape, key) for word in sample.said]
        said = sum(heard[1:], heard[0]) if heard else None
        clean = self._clean(sample, planes, key) if self.with_clean else None
        return AugmentedSample(*augmented, key._replace(frame=frame), said, clean)

    def _moved(self, word: Word, size: tuple[int, int], key: SampleKey) -> np.ndarray:
        """(K, H/4, W/4) float32 of a frame of ``size`` (H, W), moved as its planes are."""
        rng = self._random(key, _AUGMENTATION)
        if word.values.ndim == 3:
            return self.augment.maps(word.values, size, rng)
        return certainties(torch.from_numpy(self.augment.cells(word.values, rng))[None], word.classes)[0].numpy()

    def _clean(self, sample: Sample, shown: dict[str, np.ndarray], key: SampleKey) -> dict[str, np.ndarray] | None:
        """Planes (H, W, 3) without faults, of the sensors that are shown with one, augmented as all of the sample are.
        """
        spoiled = [name for name, plane in shown.items() if plane is not sample.planes[name]]
        if not spoiled:
            return None
        whole, _ = self.augment(sample.planes, sample.labels, self._random(key, _AUGMENTATION))
        return {name: whole[name] for name in spoiled}

    def _random(self, key: SampleKey, stream: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, key.number, stream + key.part))


def collate(modalities: Sequence[str], samples: Sequence[AugmentedSample]) -> Batch:
    """Stack samples, with a place for each of ``modalities``."""
    labels = np.stack([sample.labels for sample in samples])  # (B, H, W)
    size = labels.shape[1:]
    planes = {name: _stacked([sample.planes.get(name) for sample in samples], size) for name in modalities}
    spoiled = [name for name in modalities if any(name in (sample.clean or {}) for sample in samples)]
    whole = [sample.planes | (sample.clean or {}) for sample in samples]
    clean = {name: _stacked([each.get(name) for each in whole], size) for name in spoiled}
    present = torch.tensor([[name in sample.planes for name in modalities] for sample in samples])  # (B, M)
    heard = [sample.said for sample in samples if sample.said is not None]
    said = torch.zeros(len(samples), *heard[0].shape) if heard else None  # (B, K, h, w)
    for row, sample in enumerate(samples):
        if said is not None and sample.said is not None:
            said[row] = torch.from_numpy(sample.said)
    return Batch(planes, torch.from_numpy(labels), present, [sample.key for sample in samples], said, clean or None)


def _stacked(planes: Sequence[np.ndarray | None], size: tuple[int, ...]) -> Tensor:
    """B planes (H, W, 3) of one sensor -> (B, 3, H, W), zero where there is none."""
    kinds = [plane.dtype for plane in planes if plane is not None]
    blank = np.zeros((*size, 3), kinds[0] if kinds else np.uint8)  # (H, W, C)
    stacked = np.stack([blank if plane is None else plane for plane in planes])  # (B, H, W, C)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)  # (B, C, H, W)


def training_batches(
    modalities: Sequence[str],
    parts: Sequence[Frames],
    augment: Augment,
    numbers: MixedNumbers,
    workers: int,
    degradation: Degradation | None = None,
    with_clean: bool = False,
) -> Iterator[Batch]:
    """Endless augmented batches, not yet normalised, of the parts in the order of ``numbers``; see `AugmentedFrames`.
    """
    loader = DataLoader(
        AugmentedFrames(parts, augment, numbers.parts[0].seed, degradation, with_clean),
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=partial(collate, modalities),
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # its own, so that making a loader leaves the global one alone
    )
    return iter(loader)


def to_model_batch(batch: Batch, contract: InputContract, device: torch.device) -> ModelBatch:
    """Normalised and on the device."""
    return ModelBatch(
        to_model_input(batch.planes, contract, device),
        batch.labels.to(device, torch.int64),
        batch.present.to(device),
        batch.keys,
        None if batch.said is None else batch.said.to(device),
        None if batch.clean is None else to_model_input(batch.clean, contract, device),
    )


def to_model_input(planes: dict[str, Tensor], contract: InputContract, device: torch.device) -> dict[str, Tensor]:
    """Batched planes (B, 3, H, W) 0..255 -> normalised float32 on the device, of the same size times the scale."""
    return {name: _scaled(plane.to(device, non_blocking=True), name, contract) for name, plane in planes.items()}


def _scaled(planes: Tensor, name: str, contract: InputContract) -> Tensor:
    share = contract.scale.get(name, 1.0)
    height, width = (round(share * side) for side in planes.shape[-2:])
    return normalise(resize_planes(planes, contract.suite.sensor(name), height, width), name, contract)
