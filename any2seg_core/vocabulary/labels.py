"""Label spaces: class names, palette, and raw id -> train id as a lookup table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from any2seg_core.base.errors import UserError

IGNORE = 255
"""Train id of a pixel that no loss and no score may look at: void in the truth, or the padding of a crop."""

NOT_ANNOTATED = 254
"""Train id, in memory only, of a real pixel whose class nobody has said. Supervised losses and scores skip it like
IGNORE; pseudo labels and self-supervision apply to it. Files and messages say 255 for both."""

if TYPE_CHECKING:  # torch is not imported for it
    from torch import Tensor

Ids = TypeVar("Ids", "np.ndarray[Any, Any]", "Tensor")


def is_labelled(labels: Ids) -> Ids:
    """Train ids of any shape -> bool of that shape: neither IGNORE nor NOT_ANNOTATED."""
    return labels < NOT_ANNOTATED


def require_train_ids(num_classes: int) -> None:
    """UserError for more classes than train ids of truth: with 255 of them 254 would be a class and NOT_ANNOTATED."""
    if num_classes > NOT_ANNOTATED:
        raise UserError(
            f"{num_classes} classes cannot be trained or scored: truth is 8-bit with {NOT_ANNOTATED} and {IGNORE} "
            f"taken, so it has room for {NOT_ANNOTATED}; merge some classes",
            "value-range",
        )


@dataclass(frozen=True)
class LabelSpace:
    """Names and colours of K classes; train ids are 0..K-1.

    Attributes:
        name: key stored in checkpoints.
        classes: K class names in the order of their train ids.
        colours: K RGB triples 0..255.
        other: class that stands for "everything else", left out of the mean "without other"; None if there is none.

    Examples:
        >>> from any2seg_core import LabelSpace
        >>> space = LabelSpace("yard", ("ground", "crate"), ((81, 0, 81), (180, 140, 90)))
        >>> len(space), space.id("crate"), space.void_id
        (2, 1, 255)
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    other: str | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def id(self, class_name: str) -> int:
        """Train id of a class by name; UserError lists the classes."""
        try:
            return self.classes.index(class_name)
        except ValueError:
            raise UserError(
                f"no class {class_name!r} in {self.name}: it has {', '.join(self.classes)}", "value-unknown"
            ) from None

    @property
    def void_id(self) -> int:
        """Id of an unlabelled pixel in a label image that leaves the program: 255, or 65535 where 255 is a class."""
        return 255 if len(self) <= 255 else 65535

    @cached_property
    def palette(self) -> np.ndarray:
        """(256, 3) or (65536, 3) uint8 RGB lookup table; unlabelled and unknown ids are black."""
        table = np.zeros((self.void_id + 1, 3), np.uint8)
        table[: len(self.colours)] = np.asarray(self.colours, np.uint8)
        return table

    def colourise(self, labels: np.ndarray) -> np.ndarray:
        """labels of any shape (...), uint8 or uint16 train ids -> (..., 3) uint8 RGB."""
        return np.take(self.palette, labels, axis=0)


_DELIVER = (
    ("Building", (70, 70, 70)),
    ("Fence", (100, 40, 40)),
    ("Other", (55, 90, 80)),
    ("Pedestrian", (220, 20, 60)),
    ("Pole", (153, 153, 153)),
    ("RoadLine", (157, 234, 50)),
    ("Road", (128, 64, 128)),
    ("SideWalk", (244, 35, 232)),
    ("Vegetation", (107, 142, 35)),
    ("Cars", (0, 0, 142)),
    ("Wall", (102, 102, 156)),
    ("TrafficSign", (220, 220, 0)),
    ("Sky", (70, 130, 180)),
    ("Ground", (81, 0, 81)),
    ("Bridge", (150, 100, 100)),
    ("RailTrack", (230, 150, 140)),
    ("GroundRail", (180, 165, 180)),
    ("TrafficLight", (250, 170, 30)),
    ("Static", (110, 190, 160)),
    ("Dynamic", (170, 120, 50)),
    ("Water", (45, 60, 150)),
    ("Terrain", (145, 170, 100)),
    ("TwoWheeler", (0, 0, 230)),
    ("Bus", (0, 60, 100)),
    ("Truck", (0, 0, 70)),
)

DELIVER = LabelSpace(
    "deliver-25",
    tuple(name for name, _ in _DELIVER),
    tuple(colour for _, colour in _DELIVER),
    other="Other",
)

_CITYSCAPES = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)

MUSES = LabelSpace(
    "muses-19", tuple(name for name, _ in _CITYSCAPES), tuple(colour for _, colour in _CITYSCAPES)
)
"""The 19 evaluation classes of Cityscapes, in the order of their train ids."""

_MCUBES = (
    ("asphalt", (44, 160, 44)),
    ("concrete", (31, 119, 180)),
    ("metal", (255, 127, 14)),
    ("road_marking", (214, 39, 40)),
    ("fabric", (140, 86, 75)),
    ("glass", (127, 127, 127)),
    ("plaster", (188, 189, 34)),
    ("plastic", (255, 152, 150)),
    ("rubber", (23, 190, 207)),
    ("sand", (174, 199, 232)),
    ("gravel", (196, 156, 148)),
    ("ceramic", (197, 176, 213)),
    ("cobblestone", (247, 182, 210)),
    ("brick", (199, 199, 199)),
    ("grass", (219, 219, 141)),
    ("wood", (158, 218, 229)),
    ("leaf", (57, 59, 121)),
    ("water", (107, 110, 207)),
    ("human", (156, 158, 222)),
    ("sky", (99, 121, 57)),
)

MCUBES = LabelSpace("mcubes-20", tuple(name for name, _ in _MCUBES), tuple(colour for _, colour in _MCUBES))
"""Materials of MCubeS; its PNGs hold these train ids."""

_SPACES = {space.name: space for space in (DELIVER, MUSES, MCUBES)}


def label_space(name: str) -> LabelSpace:
    """Look a label space up by the name stored in a checkpoint; UserError lists the known ones.

    Examples:
        >>> from any2seg_core import label_space
        >>> label_space("muses-19").classes[:2]
        ('road', 'sidewalk')
    """
    try:
        return _SPACES[name]
    except KeyError:
        raise UserError(
            f"unknown label space {name!r}: known are {', '.join(_SPACES)}", "label-space-unknown"
        ) from None


def lookup_table(raw_to_train: dict[int, int]) -> np.ndarray:
    """(256,) uint8 table from raw ids to train ids; every raw id that is not named maps to 255."""
    table = np.full(256, IGNORE, np.uint8)
    for raw, train in raw_to_train.items():
        table[raw] = train
    return table


DELIVER_PNG_TO_TRAIN = lookup_table({train + 1: train for train in range(len(DELIVER))})
"""DELIVER's semantic PNGs store train id + 1; 0 and 255 are unlabelled."""
