"""What frozen teachers teach: their probabilities of a batch, and what of them counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import track
from any2seg_core.data.sample import Sample, Word
from any2seg_core.data.samples import FrameDataset
from any2seg_core.evaluation.batches import spread
from any2seg_core.evaluation.subsets import PriorStatistics
from any2seg_core.losses.distillation import SoftTargets, certainties
from any2seg_core.losses.pooling import labels_of_cells
from any2seg_core.models.content import filled_pixels
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.vocabulary.contract import InputContract, default_encodings
from any2seg_core.vocabulary.labels import IGNORE
from any2seg_core.vocabulary.sensor import DEPTH, POINTS
from any2seg_training.batches import Frames
from any2seg_training.distil_config import DistilConfig
from any2seg_training.label_folder import SUM_TOLERANCE
from any2seg_training.teachers import Teachers

_NOTHING_THERE = "sky"
"""Class of what reflects no beam and has no depth."""
_MOST_KEPT = 1 << 30  # bytes of labels that have been asked for


class Lessons:
    """What of the teachers' word counts.

    Args:
        teachers: that are asked. contract: of the student. config: floors.

    Attributes:
        judged_by: whose labels the val frames have: "truth" or "the teachers".
    """

    def __init__(self, teachers: Teachers, contract: InputContract, config: DistilConfig, device: torch.device) -> None:
        self.teachers, self.contract, self._config, self._device = teachers, contract, config, device
        self.judged_by = "truth"
        names = [name.lower() for name in contract.label_space.classes]
        self._sky = names.index(_NOTHING_THERE) if _NOTHING_THERE in names else None
        self._measuring = _measuring(contract) if config.geometry else ()

    def judged(self, frames: FrameDataset) -> FrameDataset:
        """Val frames as they are where they have truth, else with the teachers' word in its place."""
        if not frames.labelled:
            self.judged_by = "the teachers"
            return cast(FrameDataset, TaughtFrames(frames, self))
        if apart := self.contract.label_space.told_apart(frames.label_space):
            told = f"truth of {apart[1]}, and the student learns {apart[0]}: give data of its classes"
            raise UserError(f"{frames.root}: {told}", "label-space-mismatch")
        return frames

    @torch.no_grad()
    def of_batch(
        self,
        images: dict[str, Tensor],
        available: Tensor,
        labels: Tensor,
        class_weights: Tensor | None,
        said: Tensor | None = None,
    ) -> SoftTargets:
        """Targets of a batch.

        Args:
            images: per sensor (N, 3, H, W), as the student takes them. available: (N, M) bool.
            labels: (N, H, W) int64; 255 outside of the frame. class_weights: (K,).
            said: (N, K, H/4, W/4), what teachers that are folders say, see `Teachers.probabilities`.
        """
        size = tuple(-(-side // 4) for side in labels.shape[1:])
        cells = labels_of_cells(labels, size[0], size[1])  # (N, h, w)
        inside = cells != IGNORE
        with torch.autocast(labels.device.type, enabled=False):  # the teachers in float32, whatever the student has
            found = self.teachers.probabilities(images, available, size, said)  # (N, K, h, w)
        counted = inside & self._counted(found, images, inside)
        # Of probabilities whose classes the student does not all have, the rest says how much is known.
        known = found.sum(dim=1)  # (N, h, w)
        weight = known.masked_fill(known > 1.0 - SUM_TOLERANCE, 1.0) * counted
        winner = found.argmax(dim=1)
        if class_weights is not None:
            weight = weight * class_weights[winner]
        if self._config.hard:
            found = F.one_hot(winner, found.shape[1]).permute(0, 3, 1, 2).float()
        return SoftTargets(found, weight)

    def _counted(self, found: Tensor, images: dict[str, Tensor], inside: Tensor) -> Tensor:
        """(N, h, w) bool: where the teachers' word (N, K, h, w) counts; inside: what is of the frame."""
        confidence, winner = found.max(dim=1)  # (N, h, w)
        counted = (confidence >= self._config.floor) & (confidence > 0.0)
        counted &= ~self._blind(confidence, found.sum(dim=1), inside)[:, None, None]
        if self._sky is not None and self._measuring:
            counted &= ~((winner == self._sky) & self._measured(images, winner.shape[1:]))
        return counted

    def _measured(self, images: dict[str, Tensor], size: Sequence[int]) -> Tensor:
        """(N, h, w) bool: cells in which LiDAR or depth see a surface."""
        seen = [filled_pixels(images[name], self.contract.empty_pixels[name]) for name in self._measuring]
        cells = [F.adaptive_max_pool2d(each.float(), tuple(size))[:, 0] > 0 for each in seen]
        return torch.stack(cells).any(dim=0)

    def _blind(self, confidence: Tensor, known: Tensor, inside: Tensor) -> Tensor:
        """(N,) bool: frames of which the teachers are not sure in the mean over what they say, or see nothing.

        Args:
            confidence: (N, h, w). known: (N, h, w), sum of their probabilities: less than 1 where some have no class of
                the student, 0 where a label image has none.
        """
        sure, said = ((each * inside).sum(dim=(1, 2)) for each in (confidence, known))
        return (sure < self._config.frame_floor * said) | (said == 0.0)

    def labels(self, sample: Sample) -> np.ndarray:
        """(H, W) uint8 of a whole frame: the most probable class, 255 where the teachers' word does not count."""
        winner, counted = self.word(sample)
        return np.where(counted, winner, IGNORE).astype(np.uint8)

    @torch.no_grad()
    def word(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) uint8 of a whole frame, the most probable class, 255 where none is; and (H, W) bool, where it counts.
        """
        found, counted = self._said(sample)
        confidence, winner = found.max(dim=1)
        winner = winner.masked_fill(confidence == 0.0, IGNORE)
        return winner[0].to(torch.uint8).cpu().numpy(), counted[0].cpu().numpy()

    @torch.no_grad()
    def drawn(self, sample: Sample, rng: np.random.Generator) -> np.ndarray:
        """(H, W) uint8 of a whole frame: per pixel a class drawn from the probabilities; 255 where they do not count.

        What is as likely as these labels say is as sure as the teachers are.
        """
        found, counted = self._said(sample)
        up_to = found[0].cpu().numpy().cumsum(axis=0)  # (K, H, W)
        chosen = (up_to < rng.random(up_to.shape[1:], np.float32) * up_to[-1]).sum(axis=0)
        return np.where(counted[0].cpu().numpy(), chosen, IGNORE).astype(np.uint8)

    def _said(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """(1, K, H, W) probabilities of a whole frame, and (1, H, W) bool, where they count."""
        contract = self.contract
        known = planes_to_tensor(sample.planes, contract, self._device)
        empty = {name: torch.tensor(pixel, device=self._device) for name, pixel in contract.empty_pixels.items()}
        size = contract.height, contract.width
        images = {name: known.get(name, empty[name].view(1, 3, 1, 1).expand(1, 3, *size)) for name in empty}
        available = torch.tensor([[name in known for name in empty]], device=self._device)
        cells = contract.height // 4, contract.width // 4
        words = [word.weight * self._cells(word, cells) for word in self.teachers.heard(sample).said]
        said = sum(words[1:], words[0]) if words else None
        found = self.teachers.probabilities(images, available, cells, said)
        found = F.interpolate(found, sample.labels.shape, mode="bilinear", align_corners=False)
        return found, self._counted(found, images, torch.ones_like(found[:, 0], dtype=torch.bool))

    def _cells(self, word: Word, size: tuple[int, int]) -> Tensor:
        """(1, K, h, w) float32, what was said of a whole frame."""
        values = torch.from_numpy(word.values)[None].to(self._device)
        if values.ndim == 3:
            return certainties(labels_of_cells(values, *size), word.classes)
        return F.interpolate(values, size, mode="bilinear", align_corners=False)

    def survey(self, frames: Frames, is_shown: bool) -> PriorStatistics:
        """How often each class is in what they say, from a few frames all over the data.

        Raises:
            UserError: nothing of it counts.
        """
        prior = PriorStatistics(self.contract.num_classes)
        chosen = spread(len(frames), self._config.count_frames)
        for index in track(chosen, "ask the teacher", len(chosen), is_shown):
            prior.update(self.labels(frames.next_readable(index)[1]))
        if not prior.class_pixels().any():
            raise UserError(
                f"distil.teachers: of {len(chosen)} frames none has a pixel of which {', '.join(self.teachers.names)} "
                f"is sure (distil.floor={self._config.floor:g}, distil.frame_floor={self._config.frame_floor:g}): "
                "lower them, or take a teacher that knows such pictures",
                "teacher-unsure",
            )
        return prior


class TaughtFrames:
    """Frames without truth, with the teachers' word in its place: what an evaluation then measures is agreement.

    It has what an evaluation asks of a `FrameDataset`.
    """

    def __init__(self, frames: FrameDataset, lessons: Lessons) -> None:
        self.frames, self.root, self._lessons = frames, frames.root, lessons
        self._labels: dict[int, np.ndarray] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.frames)

    def readable(self, index: int) -> Sample | None:
        """The frame of that number; None if it is corrupt and skipped."""
        sample = self.frames.readable(index)
        if sample is None:
            return None
        labels = self._labels.get(index)
        if labels is None:
            labels = self._label(index, sample)
            if self._bytes + labels.nbytes <= _MOST_KEPT:
                self._labels[index], self._bytes = labels, self._bytes + labels.nbytes
        return sample._replace(labels=labels)

    def _label(self, index: int, sample: Sample) -> np.ndarray:
        return self._lessons.labels(sample)

    def readable_labels(self, indices: Iterable[int] | None = None) -> Iterator[np.ndarray]:
        """Labels of the given frames, None: all."""
        for index in range(len(self)) if indices is None else indices:
            sample = self.readable(index)
            if sample is not None:
                yield sample.labels


def _measuring(contract: InputContract) -> tuple[str, ...]:
    """Sensors whose planes say where a surface was met: zeros where none was, as this program makes them."""
    made_here = default_encodings(contract.suite)
    return tuple(
        name for name in contract.modalities
        if contract.suite.sensor(name).kind in (POINTS, DEPTH) and contract.encodings[name] == made_here[name]
    )  # fmt: skip
