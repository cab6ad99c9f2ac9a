"""Random colours. Palettes overlap between classes on purpose: colour alone must not give a class away."""

from __future__ import annotations

import colorsys

import numpy as np

from any2seg_drive.mesh import Colour

# Hue, saturation and value ranges (0..1) of display colours; each class mixes several of these.
_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "grey": ((0.0, 1.0), (0.0, 0.08), (0.3, 0.75)),
    "dark": ((0.0, 1.0), (0.0, 0.25), (0.08, 0.3)),
    "light": ((0.0, 1.0), (0.0, 0.12), (0.75, 0.95)),
    "earth": ((0.03, 0.13), (0.2, 0.55), (0.3, 0.75)),
    "brick": ((0.0, 0.06), (0.4, 0.7), (0.35, 0.65)),
    "pastel": ((0.0, 1.0), (0.12, 0.4), (0.6, 0.92)),
    "vivid": ((0.0, 1.0), (0.6, 0.95), (0.4, 0.9)),
    "green": ((0.2, 0.4), (0.3, 0.75), (0.25, 0.65)),
    "autumn": ((0.03, 0.17), (0.5, 0.85), (0.4, 0.75)),
    "blue": ((0.5, 0.68), (0.25, 0.7), (0.25, 0.65)),
    "sand": ((0.08, 0.15), (0.12, 0.4), (0.5, 0.85)),
    "asphalt": ((0.0, 1.0), (0.0, 0.07), (0.22, 0.5)),
    "skin": ((0.03, 0.09), (0.25, 0.6), (0.3, 0.9)),
}


def random_colour(rng: np.random.Generator, *kinds: str) -> Colour:
    """Linear RGB (0..1) drawn from one of the named ranges, each equally likely."""
    hue, saturation, value = _RANGES[kinds[int(rng.integers(len(kinds)))]]
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))
    return float(red) ** 2.2, float(green) ** 2.2, float(blue) ** 2.2


def dimmed(colour: Colour, factor: float) -> Colour:
    """Colour times a factor, kept within 0..1."""
    red, green, blue = (min(1.0, c * factor) for c in colour)
    return red, green, blue
