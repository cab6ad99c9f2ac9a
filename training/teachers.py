"""Frozen teachers of ``method=distil``: checkpoints, callables and folders of labels, and their mean."""

from __future__ import annotations

import hashlib
import importlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from any2seg_core.base.checksums import sha256_of
from any2seg_core.base.errors import UserError
from any2seg_core.data.samples import Sample
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.checkpoint_metadata import METADATA_FILE
from any2seg_core.vocabulary.class_mapping import ClassMapping, class_mapping
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_training.label_folder import SUM_TOLERANCE, LabelFolder, with_said

_LOG = logging.getLogger(__name__)


def is_folder(place: str) -> bool:
    """Whether a teacher is a folder of what a model has said; a checkpoint may be a folder too."""
    return Path(place).is_dir() and not (Path(place) / METADATA_FILE).is_file()


def is_callable(place: str) -> bool:
    """Whether a teacher is ``module:function``."""
    return ":" in place and not Path(place).exists()


def sensors_seen(contract: InputContract, suite: SensorSuite) -> dict[str, str]:
    """Sensors of a suite that a model looks at -> their names in the model; empty where there are none.

    A model of a camera alone looks at the camera of any suite, whatever its name is there.
    """
    same = {name: name for name in contract.modalities if name in suite.members}
    is_camera = contract.modalities == (contract.suite.camera,)
    return {suite.camera: contract.suite.camera} if is_camera and not same else same


class Teacher(ABC):
    """One that is asked for probabilities and never changes.

    Attributes:
        name: for messages and provenance. sensors: of the student's that it looks at; one of them suffices.
        space: its classes; None: those of the student. digest: of what decides its answers.
    """

    name: str
    sensors: tuple[str, ...]
    space: LabelSpace | None = None
    digest: str

    @abstractmethod
    def probabilities(self, images: dict[str, Tensor], present: Tensor) -> Tensor:
        """Images (N, 3, H, W) of its sensors as the student takes them, present (N, M') bool with one per row at least
        -> (N, K, h, w) float32.
        """


class CheckpointTeacher(Teacher):
    """A checkpoint, of a camera alone for example.

    Args:
        path: of the checkpoint. student: what the student is fed.

    Raises:
        UserError: no checkpoint, or none of its sensors is among the student's.
    """

    def __init__(self, path: Path, student: InputContract, device: torch.device) -> None:
        model, self.contract, _ = load_checkpoint(path)
        self.name, self.digest = path.name, sha256_of(path)
        self.space = self.contract.label_space
        seen = sensors_seen(self.contract, student.suite)
        self._own_names = {name: own for name, own in seen.items() if name in student.modalities}
        self.sensors = tuple(self._own_names)
        if not self.sensors:
            raise UserError(
                f"distil.teachers: {path} looks at {', '.join(self.contract.modalities)}, the data have "
                f"{', '.join(student.modalities)}: give data with one of its sensors",
                "sensor-absent",
            )
        for name, own in self._own_names.items():
            theirs, there = self.contract.encodings[own], student.encodings[name]
            if theirs != there:
                _LOG.warning("distil.teachers: %s knows %s as %s, the data have %s", path, own, theirs, there)
            if self.contract.scale.get(own, 1.0) != 1.0:
                raise UserError(
                    f"distil.teachers: {path} takes {own} at half the sides, a student at whole ones: give another",
                    "checkpoint-mismatch",
                )
        self._model = model.to(device).requires_grad_(False)
        self._affine = {name: self._change(student, name, device) for name in self.sensors}

    def _change(self, student: InputContract, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Factor and offset (3, 1, 1) from the student's normalisation to its own."""
        theirs, own = student.normalisation[name], self.contract.normalisation[self._own_names[name]]
        mean, std = torch.tensor(theirs.mean, device=device), torch.tensor(theirs.std, device=device)
        own_mean, own_std = torch.tensor(own.mean, device=device), torch.tensor(own.std, device=device)
        return (std / own_std).view(3, 1, 1), ((mean - own_mean) / own_std).view(3, 1, 1)

    def probabilities(self, images: dict[str, Tensor], present: Tensor) -> Tensor:
        names = self._own_names.values()
        given = {own: images[name] * factor + offset
                 for own, (name, (factor, offset)) in zip(names, self._affine.items(), strict=True)}  # fmt: skip
        logits = self._model.decode(self._model.fuse(self._model.encode(given, present))).float()
        temperature = [self.contract.temperature([own for own, there in zip(names, row, strict=True) if there])
                       for row in present.tolist()]  # fmt: skip
        return (logits / logits.new_tensor(temperature).view(-1, 1, 1, 1)).softmax(dim=1)


class FunctionTeacher(Teacher):
    """A Python callable, ``module:function``: pictures of the camera (N, H, W, 3) uint8 RGB -> (N, K, h, w)
    probabilities, an array or a tensor.

    Raises:
        UserError: it cannot be imported or called, or gives something else.
    """

    def __init__(self, place: str, student: InputContract) -> None:
        self.name, self.digest = place, hashlib.sha256(place.encode()).hexdigest()
        module, _, function = place.partition(":")
        try:
            self._function: Any = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"distil.teachers: {place} cannot be imported ({error}): give module:function, with the folder of the "
                "module in PYTHONPATH",
                "value-unknown",
            ) from None
        if not callable(self._function):
            raise UserError(f"distil.teachers: {place} is no function: give module:function", "value-type")
        camera = student.suite.camera
        if camera not in student.modalities:
            raise UserError(f"distil.teachers: {place} looks at {camera}, which the data lack", "sensor-absent")
        self.sensors, self._classes = (camera,), student.num_classes
        self._statistics = student.normalisation[camera]

    def probabilities(self, images: dict[str, Tensor], present: Tensor) -> Tensor:
        camera = images[self.sensors[0]]
        mean, std = (camera.new_tensor(each).view(3, 1, 1) for each in (self._statistics.mean, self._statistics.std))
        pictures = ((camera * std + mean) * 255.0).round().clamp(0, 255).byte().permute(0, 2, 3, 1)  # (N, H, W, C)
        given = self._function(pictures.cpu().numpy())
        try:
            found = torch.as_tensor(given if isinstance(given, Tensor) else np.asarray(given, np.float32)).detach()
        except (TypeError, ValueError):
            raise UserError(
                f"distil.teachers: {self.name} gives a {type(given).__name__} that is no array of numbers", "value-type"
            ) from None
        found = found.to(camera.device, torch.float32)
        if found.ndim != 4 or found.shape[:2] != (len(pictures), self._classes):
            raise UserError(
                f"distil.teachers: {self.name} gives {tuple(found.shape)}: expected ({len(pictures)}, {self._classes}, "
                "h, w)",
                "array-shape",
            )
        if not bool(((found.sum(dim=1) - 1.0).abs() < SUM_TOLERANCE).all()) or bool((found < 0).any()):
            raise UserError(
                f"distil.teachers: {self.name} gives numbers that are no probabilities: expected 0..1, of sum 1 over "
                "the classes",
                "value-range",
            )
        return found


class FolderTeacher(Teacher):
    """A folder of label images, each as sure as one can be, or of probabilities; it looks at no sensor."""

    sensors = ()

    def __init__(self, path: Path) -> None:
        self.folder = LabelFolder(path)
        self.name, self.digest, self.space = path.name, self.folder.digest, self.folder.space

    def probabilities(self, images: dict[str, Tensor], present: Tensor) -> Tensor:
        raise NotImplementedError(f"{self.name}: what it says comes with the frames")


class Teachers:
    """The mean of several teachers, in the classes of the student.

    Args:
        teachers: at least one. weights: of each. mapping: between other classes and the student's.

    Raises:
        UserError: teachers of other classes, and no mapping that leads to the student's.
    """

    def __init__(
        self, teachers: Sequence[Teacher], weights: Sequence[float], student: InputContract, mapping: str = ""
    ) -> None:
        self.teachers, self._student = teachers, student
        self._weights = list(weights) or [1.0] * len(teachers)
        declared = class_mapping(mapping) if mapping else None
        self._tables = [_table(teacher, student.label_space, declared) for teacher in teachers]

    @property
    def names(self) -> list[str]:
        return [teacher.name for teacher in self.teachers]

    @property
    def digests(self) -> list[str]:
        return [teacher.digest for teacher in self.teachers]

    @property
    def folders(self) -> list[tuple[LabelFolder, float]]:
        """Those of them that are labels on disk, and their weights."""
        every = zip(self.teachers, self._weights, strict=True)
        return [(teacher.folder, weight) for teacher, weight in every if isinstance(teacher, FolderTeacher)]

    def heard(self, sample: Sample) -> Sample:
        """A frame with what those on disk say of it."""
        return with_said(sample, self.folders, self._student.num_classes)

    @torch.no_grad()
    def probabilities(
        self, images: dict[str, Tensor], available: Tensor, size: tuple[int, ...], said: Tensor | None = None
    ) -> Tensor:
        """What they say of a batch.

        Args:
            images: per sensor of the student (N, 3, H, W), as it takes them. available: (N, M) bool.
            size: h, w of the result.
            said: (N, K, h, w), probabilities of the folders, each times its weight, added up; zero where they have
                none. None: nowhere any.

        Returns:
            (N, K, h, w) float32; zero for what no teacher sees, or what has no class of the student.
        """
        names = list(images)
        sums = torch.zeros(len(available), self._student.num_classes, *size, device=available.device)
        if said is not None:
            sums += said
        counts = sums.sum(dim=1, keepdim=True)
        for teacher, weight, table in zip(self.teachers, self._weights, self._tables, strict=True):
            if isinstance(teacher, FolderTeacher):
                continue
            present = available[:, [names.index(name) for name in teacher.sensors]]  # (N, M')
            rows = present.any(dim=1)
            if not bool(rows.any()):
                continue
            found = teacher.probabilities({name: images[name][rows] for name in teacher.sensors}, present[rows])
            if table is not None:
                found = torch.einsum("nkhw,kc->nchw", found, table.to(found.device))
            if found.shape[-2:] != size:
                found = F.interpolate(found, size, mode="bilinear", align_corners=False)
            sums[rows] += weight * found
            counts[rows] += weight
        return sums / counts.clamp_min(1e-12)


def _table(teacher: Teacher, space: LabelSpace, mapping: ClassMapping | None) -> Tensor | None:
    """(K', K) float32: which class of the student each of the teacher's is; None where they are the same."""
    if teacher.space is None:
        return None
    apart = teacher.space.told_apart(space)
    if apart is None:
        return None
    if isinstance(teacher, FolderTeacher):
        told = f"{teacher.name} has labels of {apart[0]}, the data of {apart[1]}"
        raise UserError(f"distil.teachers: {told}: give labels of the data's classes", "label-space-mismatch")
    if mapping is None or not (mapping.source.is_same(teacher.space) and mapping.target.is_same(space)):
        raise UserError(
            f"distil.teachers: {teacher.name} knows {apart[0]}, the data {apart[1]}: give distil.map, a mapping from "
            "its classes to theirs, or other data",
            "label-space-mismatch",
        )
    table = torch.zeros(len(teacher.space), len(space))
    for own, theirs in mapping.classes:
        table[teacher.space.id(own), space.id(theirs)] = 1.0
    return table
