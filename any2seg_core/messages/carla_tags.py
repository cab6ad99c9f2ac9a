"""CARLA's semantic tags and palettes, 0.9.10 to 0.9.16, as train ids of DELIVER.

The list of tags changed with 0.9.14: the same number means something else, so whoever reads tags must say which list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.messages.clouds import cloud_columns
from any2seg_core.messages.images import image_to_array, image_to_rgb
from any2seg_core.vocabulary.class_mapping import class_mapping
from any2seg_core.vocabulary.label_tables import raw_table
from any2seg_core.vocabulary.labels import DELIVER, IGNORE, LabelSpace, lookup_table

_RIDERS = ("Pedestrian", "TwoWheeler", "ignore")
_UNKNOWN_SHARE = 0.01


@dataclass(frozen=True)
class TagList:
    """Semantic tags of a range of CARLA versions.

    Attributes:
        name: for options and messages. tags: tag -> (CARLA's name, RGB of CARLA's palette, class of DELIVER or "").
        space: the tags as a label space of their own.
    """

    name: str
    tags: Mapping[int, tuple[str, tuple[int, int, int], str]]
    space: LabelSpace

    def to_train(self, rider: str = "ignore") -> np.ndarray:
        """(256,) uint8 table from tags to train ids of DELIVER, read-only; what has no class there is 255.

        Args:
            rider: class of riders, a tag of its own since 0.9.14 that DELIVER does not have: "Pedestrian",
                "TwoWheeler" or "ignore".
        """
        if rider not in _RIDERS:
            raise UserError(f"rider {rider!r}: use one of {', '.join(_RIDERS)}", "value-unknown")
        return self._train_tables[rider]

    def from_train(self) -> np.ndarray:
        """(256,) uint8 table from train ids of DELIVER to the lowest tag of that class; 0 where there is none."""
        table = np.zeros(256, np.uint8)
        for tag, (_, _, name) in sorted(self.tags.items(), reverse=True):
            if name:
                table[DELIVER.id(name)] = tag
        return table

    @cached_property
    def _train_tables(self) -> dict[str, np.ndarray]:
        """Of each rider its table: images of a truth topic come many times a second."""
        tables = {}
        for rider in _RIDERS:
            classes = {tag: rider if name == "Rider" else deliver for tag, (name, _, deliver) in self.tags.items()}
            ids = {tag: DELIVER.id(name) for tag, name in classes.items() if name not in ("", "ignore")}
            tables[rider] = lookup_table(ids)
            tables[rider].setflags(write=False)
        return tables

    @cached_property
    def _colour_to_tag(self) -> np.ndarray:
        """(2^24,) uint8, 255 for a colour that no tag has."""
        table = np.full(1 << 24, 255, np.uint8)
        for tag, (_, (red, green, blue), _) in self.tags.items():
            table[red << 16 | green << 8 | blue] = tag
        return table

    def tags_of_palette(self, rgb: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 palette colours to (H, W) uint8 tags; 255 for a colour that no tag has."""
        code = rgb[..., 0].astype(np.int32) << 16 | rgb[..., 1].astype(np.int32) << 8 | rgb[..., 2]
        return np.take(self._colour_to_tag, code)


def _tags(name: str, space: str) -> TagList:
    """Of a shipped label space and its mapping to DELIVER's."""
    mapping = class_mapping(f"{space}_to_{DELIVER.name}")
    deliver = dict(mapping.classes)
    entries = zip(mapping.source.classes, mapping.source.colours, mapping.source.raw, strict=True)
    tags = {tag: (word, colour, deliver.get(word, "")) for word, colour, raw in entries for tag in raw}
    return TagList(name, MappingProxyType({0: ("Unlabeled", (0, 0, 0), "")} | tags), mapping.source)


CARLA_0_9_10 = _tags("0.9.10-0.9.13", "carla-0.9.10")
"""23 tags; vehicles of every kind share tag 10, so cars, two-wheelers, buses and trucks cannot be told apart."""

CARLA_0_9_14 = _tags("0.9.14-0.9.16", "carla-0.9.14")
"""29 tags in the order of Cityscapes. Tag 29, rock, exists in CARLA's UE5 branch only and counts as unlabelled."""


def tag_list(version: str) -> TagList:
    """The tags of a CARLA version such as "0.9.13"; UserError for one before 0.9.10 or no version at all."""
    try:
        number = tuple(int(part) for part in version.split("."))
    except ValueError:
        number = ()
    if len(number) != 3 or number < (0, 9, 10):
        raise UserError(f"CARLA version {version!r}: expected 0.9.10 or newer, such as 0.9.13", "value-unknown")
    return CARLA_0_9_10 if number < (0, 9, 14) else CARLA_0_9_14


def semantic_to_train(
    msg: Any, tags: TagList, coding: str, rider: str = "ignore", space: LabelSpace = DELIVER
) -> np.ndarray:
    """CARLA's semantic camera to train ids of DELIVER, or of the tags' own label space.

    Args:
        msg: sensor_msgs/Image. tags: list of the CARLA version.
        coding: "palette" (the ROS bridge sends colours) or "tag" (native ROS 2 sends the tag in the red channel).
        rider: see `TagList.to_train`. space: DELIVER, or that of the tags.

    Returns:
        (H, W) uint8, 255 where CARLA has no label or DELIVER no class.

    Raises:
        MessageError: not a readable image, or more than 1 % of its pixels have a colour or tag of no class of this
            list: the wrong version or coding.
    """
    if coding == "palette":
        found = tags.tags_of_palette(image_to_rgb(msg))
    elif coding == "tag":
        pixels = image_to_array(msg)
        found = image_to_rgb(msg)[..., 0] if pixels.ndim == 3 else np.minimum(pixels, 255).astype(np.uint8)
    else:
        raise UserError(f"coding {coding!r}: use 'palette' (ROS bridge) or 'tag' (native ROS 2)", "value-unknown")
    known = np.zeros(256, bool)
    known[list(tags.tags)] = True
    unknown = float(1.0 - known[found].mean())
    if unknown > _UNKNOWN_SHARE:
        raise MessageError(
            f"semantic image: {unknown:.0%} of its pixels are no {coding} of CARLA {tags.name}; choose the other "
            "version or coding",
            "value",
        )
    return np.take(_train_table(tags, rider, space), found)


def _train_table(tags: TagList, rider: str, space: LabelSpace) -> np.ndarray:
    """(N,) uint8 train id of each tag."""
    return raw_table(space).to_train if space.is_same(tags.space) else tags.to_train(rider)


def semantic_cloud_to_train(
    msg: Any, tags: TagList, rider: str = "ignore", space: LabelSpace = DELIVER
) -> tuple[np.ndarray, np.ndarray]:
    """CARLA's semantic LiDAR (fields x, y, z, CosAngle, ObjIdx, ObjTag) to points with train ids of DELIVER.

    Args:
        msg: sensor_msgs/PointCloud2. tags: list of the CARLA version. rider: see `TagList.to_train`.
        space: DELIVER, or that of the tags.

    Returns:
        points (N, 3) float32 in metres, (N,) uint8, 255 where CARLA has no label or DELIVER no class.

    Raises:
        MessageError: no such cloud, or more than 1 % of its points have a tag that is not in this list.
    """
    columns = cloud_columns(msg, required=("x", "y", "z", "ObjTag"), optional=())
    points = np.stack([columns[axis].reshape(-1).astype(np.float32) for axis in "xyz"], axis=1)  # (N, 3)
    found = columns["ObjTag"].reshape(-1)
    unknown = 1.0 - np.isin(found, list(tags.tags)).mean() if found.size else 0.0
    if unknown > _UNKNOWN_SHARE:
        raise MessageError(
            f"semantic cloud: {unknown:.0%} of its points have no tag of CARLA {tags.name}; choose the other version",
            "value",
        )
    return points, np.take(_train_table(tags, rider, space), np.minimum(found, 255).astype(np.uint8))


def is_scorable(tags: TagList) -> np.ndarray:
    """(K,) bool: classes of DELIVER that this list of tags can show; the others must not count in a score."""
    train = tags.to_train("TwoWheeler")
    shown = np.zeros(len(DELIVER), bool)
    shown[train[train != IGNORE]] = True
    return shown
