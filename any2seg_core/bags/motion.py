"""Frames that show something new: chosen by the way driven, or by how much the picture has changed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Literal

import cv2
import numpy as np

from any2seg_core.bags.reader import Recorded
from any2seg_core.base.errors import MessageError, UserError

_THUMBNAIL = (64, 48)


def parse_motion(text: str) -> tuple[float, Literal["m", "%"]]:
    """Read "0.5m" or "4%"; UserError for anything else."""
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(m|%)\s*", text)
    if found is None or not math.isfinite(float(found[1])):
        raise UserError(
            f"--min-motion {text!r}: give metres by odometry (0.5m) or change of the picture (4%)", "value-format"
        )
    return float(found[1]), "m" if found[2] == "m" else "%"


class MotionGate:
    """Lets a frame through when enough has happened since the last one that passed.

    Args:
        least: metres, or percent of the full scale. unit: "m" or "%".
        odometry: topic of nav_msgs/Odometry; needed for metres.

    Raises:
        UserError: metres without odometry.
    """

    def __init__(self, least: float, unit: Literal["m", "%"], odometry: str = "") -> None:
        if unit == "m" and not odometry:
            raise UserError(
                "--min-motion in metres needs odometry: name it, --topic odometry=/..., or use 4%", "bag-topic-missing"
            )
        self._least, self._unit, self._odometry = least, unit, odometry
        self._position: np.ndarray | None = None
        self._last: np.ndarray | None = None

    def watch(self, messages: Iterable[Recorded]) -> Iterator[Recorded]:
        """Passes messages on and notes the odometry among them."""
        for message in messages:
            if message.topic == self._odometry:
                try:
                    point = message.value.pose.pose.position
                    position = np.array([point.x, point.y, point.z], np.float64)
                    self._position = position if np.isfinite(position).all() else self._position
                except (MessageError, AttributeError):
                    pass  # the last position stands
            yield message

    def passes(self, plane: np.ndarray) -> bool:
        """Whether the frame with this picture, (H, W, 3) uint8, is far enough from the last one that passed."""
        here = self._position if self._unit == "m" else _thumbnail(plane)
        if here is None:
            return False
        if self._last is None:
            distance = math.inf
        elif self._unit == "m":
            distance = float(np.linalg.norm(here - self._last))
        else:
            distance = 100.0 * float(np.abs(here - self._last).mean()) / 255.0
        if distance < self._least:
            return False
        self._last = here
        return True


def _thumbnail(plane: np.ndarray) -> np.ndarray:
    """(48, 64) float32 grey picture: small enough that noise and a pixel of shift do not count."""
    grey = cv2.cvtColor(plane, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
