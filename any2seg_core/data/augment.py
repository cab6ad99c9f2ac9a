"""Training augmentation: one random geometry for all planes and the label, colour changes for cameras alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

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
        window = self._draw_window(labels.shape, rng)
        flip = rng.random() < self.flip_probability
        labels = self._crop(labels, window, flip, cv2.INTER_NEAREST_EXACT, IGNORE)
        cropped = {}
        for name, plane in planes.items():
            method = cv2.INTER_NEAREST_EXACT if self.suite.sensor(name).is_sparse else cv2.INTER_LINEAR
            cropped[name] = self._crop(plane, window, flip, method, 0)
        for sensor in self.suite.sensors:
            if sensor.name in cropped and sensor.format in (COLOUR, GREY):
                cropped[sensor.name] = self._recoloured(cropped[sensor.name], rng)
        return cropped, labels

    def _recoloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        jitter, blur = rng.random(2) < (self.jitter_probability, self.blur_probability)
        if jitter:
            image = jitter_colour(image, rng, self.jitter_strength)
        return cv2.GaussianBlur(image, (3, 3), 0) if blur else image

    def _draw_window(self, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int, int, int]:
        """Source rectangle (top, left, rows, columns) and size of its image in the result (height, width)."""
        source_height, source_width = size
        factor = np.exp(rng.uniform(*np.log(self.scale)))
        rows = min(source_height, max(1, round(self.height / factor)))
        columns = min(source_width, max(1, round(self.width / factor)))
        top = int(rng.integers(source_height - rows + 1))
        left = int(rng.integers(source_width - columns + 1))
        height, width = min(self.height, round(rows * factor)), min(self.width, round(columns * factor))
        return top, left, rows, columns, height, width

    def _crop(self, image: np.ndarray, window: tuple[int, ...], flip: bool, method: int, fill: int) -> np.ndarray:
        top, left, rows, columns, height, width = window
        part = cv2.resize(image[top : top + rows, left : left + columns], (width, height), interpolation=method)
        if flip:
            part = cv2.flip(part, 1)
        below, right = self.height - height, self.width - width
        if below or right:
            part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(fill,) * 3)
        return np.ascontiguousarray(part)
