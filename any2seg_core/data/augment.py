"""Training augmentation: one random geometry for all planes and the label, colour changes for cameras alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from any2seg_core.vocabulary.labels import IGNORE
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import COLOUR, GREY

_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def jitter_colour(rgb: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Random brightness, contrast, gamma and saturation of (H, W, 3) RGB, uint8 or float32 in 0..255.

    ``strength`` 0 changes nothing. The type stays.
    """
    low, high = 1.0 - strength, 1.0 + strength
    brightness, contrast, saturation = rng.uniform(low, high, 3)
    gamma = np.exp(rng.uniform(-strength, strength))

    def tone(values: np.ndarray) -> np.ndarray:
        return ((values**gamma - 0.5) * contrast + 0.5) * brightness

    # A 3x3 colour matrix mixes every pixel with its own grey value.
    mix = (saturation * np.eye(3, dtype=np.float32) + (1.0 - saturation) * _GREY_WEIGHTS[None, :]).astype(np.float32)
    if rgb.dtype == np.uint8:
        table = np.clip(tone(np.linspace(0.0, 1.0, 256)) * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return cv2.transform(cv2.LUT(rgb, table), mix)
    bright = np.clip(tone(np.clip(rgb / np.float32(255.0), 0.0, 1.0)) * 255.0, 0.0, 255.0).astype(np.float32)
    return np.clip(cv2.transform(bright, mix), 0.0, 255.0)


class Placement(NamedTuple):
    """Which part of a frame becomes the sample, and how.

    Attributes:
        top, left, rows, columns: of the part, pixels of the frame. height, width: of its picture in the sample.
        flip: whether that is mirrored.
    """

    top: int
    left: int
    rows: int
    columns: int
    height: int
    width: int
    flip: bool


@dataclass(frozen=True)
class Augment:
    """Random flip, rescale and crop for all, colour jitter and blur for cameras (the DELIVER recipe).

    Sparse planes (events, points) and labels are resampled to the nearest pixel, dense ones bilinearly. Pixels outside
    the image are 0 in the planes and 255, ignored by every loss, in the label. Colour and grey images are jittered and
    blurred, each camera by draws of its own; thermal images and planes hold measurements, which stay.

    Attributes:
        height, width: size of the result in pixels.
        scale: smallest and largest factor of the random rescaling.
        flip_probability: horizontal flip.
        jitter_probability: colour jitter.
        jitter_strength: half-width of the brightness, contrast and saturation factors around 1.
        blur_probability: 3x3 Gaussian blur.
        suite: says of which kind a plane is.
    """

    height: int
    width: int
    scale: tuple[float, float] = (0.5, 2.0)
    flip_probability: float = 0.5
    jitter_probability: float = 0.2
    jitter_strength: float = 0.4
    blur_probability: float = 0.2
    suite: SensorSuite = VEHICLE

    def __call__(
        self, planes: dict[str, np.ndarray], labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """planes (H, W, 3) uint8 or float32, labels (H, W) uint8 -> new arrays (height, width); one draw for all."""
        place = self.placement(labels.shape, rng)
        labels = self._crop(labels, place, cv2.INTER_NEAREST_EXACT, IGNORE)
        cropped = {}
        for name, plane in planes.items():
            method = cv2.INTER_NEAREST_EXACT if self.suite.sensor(name).is_sparse else cv2.INTER_LINEAR
            cropped[name] = self._crop(plane, place, method, 0)
        for sensor in self.suite.sensors:
            if sensor.name in cropped and sensor.format in (COLOUR, GREY):
                cropped[sensor.name] = self._recoloured(cropped[sensor.name], rng)
        return cropped, labels

    def maps(self, maps: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Maps of a frame of ``size`` (H, W) at any resolution, moved as its planes are by an equal generator.

        Args:
            maps: (K, h, w) float32.

        Returns:
            (K, height / 4, width / 4) float32, bilinear; zero outside of the frame.
        """
        place = self.placement(size, rng)
        (frame_height, frame_width), rows, columns = size, self.height // 4, self.width // 4
        # Centres of the cells, as pixels of the frame, then -1 to 1 from edge to edge.
        y = place.top + (np.arange(rows) + 0.5) * self.height / rows * place.rows / place.height
        x = (np.arange(columns) + 0.5) * self.width / columns
        x = place.left + np.where(place.flip, place.width - x, x) * place.columns / place.width
        inside = (y < place.top + place.rows)[:, None] & ((x > place.left) & (x < place.left + place.columns))[None]
        grid = np.stack(np.broadcast_arrays((2 * x / frame_width - 1)[None], (2 * y / frame_height - 1)[:, None]), 2)
        where = torch.from_numpy(grid.astype(np.float32))[None]  # (1, h, w, 2)
        found = F.grid_sample(torch.from_numpy(maps)[None], where, padding_mode="border", align_corners=False)
        return found[0].numpy() * inside

    def cells(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Labels (H, W) uint8 of a frame, moved as its planes are by an equal generator.

        Returns:
            (height / 4, width / 4) uint8, the label in the middle of each cell; 255 outside of the frame.
        """
        moved = self._crop(labels, self.placement(labels.shape, rng), cv2.INTER_NEAREST_EXACT, IGNORE)
        return moved[2::4, 2::4]

    def _recoloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        jitter, blur = rng.random(2) < (self.jitter_probability, self.blur_probability)
        if jitter:
            image = jitter_colour(image, rng, self.jitter_strength)
        return cv2.GaussianBlur(image, (3, 3), 0) if blur else image

    def placement(self, size: tuple[int, int], rng: np.random.Generator) -> Placement:
        """The first draws of a sample, of a frame of size (H, W)."""
        source_height, source_width = size
        factor = np.exp(rng.uniform(*np.log(self.scale)))
        rows = min(source_height, max(1, round(self.height / factor)))
        columns = min(source_width, max(1, round(self.width / factor)))
        top = int(rng.integers(source_height - rows + 1))
        left = int(rng.integers(source_width - columns + 1))
        height, width = min(self.height, round(rows * factor)), min(self.width, round(columns * factor))
        return Placement(top, left, rows, columns, height, width, rng.random() < self.flip_probability)

    def _crop(self, image: np.ndarray, place: Placement, method: int, fill: int) -> np.ndarray:
        top, left, rows, columns, height, width, flip = place
        part = cv2.resize(image[top : top + rows, left : left + columns], (width, height), interpolation=method)
        if flip:
            part = cv2.flip(part, 1)
        below, right = self.height - height, self.width - width
        if below or right:
            part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(fill,) * 3)
        return np.ascontiguousarray(part)
