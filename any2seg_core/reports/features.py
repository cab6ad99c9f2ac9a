"""Features of every sensor as a picture: the two principal components, coloured by sensor and by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from any2seg_core.evaluation.features import FeatureSample, explained_by, principal_components
from any2seg_core.evaluation.scores import percent
from any2seg_core.reports.timeline import sensor_colours

_SIDE, _EDGE, _HEAD, _ROW, _DOT = 640, 24, 44, 22, 3
_INK, _GROUND, _FRAME = (27, 31, 36), (255, 255, 255), (200, 206, 212)
_COLUMNS = 6


def features_document(sample: FeatureSample) -> dict[str, Any]:
    """What the picture says in figures, in percent: variance along the components, between sensors, between classes."""
    _, shares = principal_components(sample.features)
    return {
        "unit": "percent",
        "frames": sample.frames,
        "features": len(sample.features),
        "component_variance": [percent(share) for share in shares],
        "between_sensors": percent(explained_by(sample.features, sample.sensors)),
        "between_classes": percent(explained_by(sample.features, sample.classes)),
        "per_sensor": {name: int((sample.sensors == number).sum()) for number, name in enumerate(sample.names)},
    }


def features_picture(sample: FeatureSample) -> np.ndarray:
    """(H, W, 3) uint8 RGB: left a dot per feature in the colour of its sensor, right in that of its class."""
    points, shares = principal_components(sample.features)
    places = _places(points)
    of_suite = sensor_colours(sample.suite)
    of_sensors = [ImageColor.getrgb(of_suite[name]) for name in sample.names]
    present = np.unique(sample.classes)
    legends = (
        [
            (sample.suite.sensor(name).title, of_sensors[k])
            for k, name in enumerate(sample.names)
            if (sample.sensors == k).any()
        ],
        [(sample.space.classes[k], sample.space.colours[k]) for k in present],
    )
    colours = (
        [of_sensors[number] for number in sample.sensors],
        [tuple(sample.space.colours[number]) for number in sample.classes],
    )
    rows = max(-(-len(legend) // _COLUMNS) for legend in legends)
    image = Image.new("RGB", (2 * (_SIDE + _EDGE) + _EDGE, _HEAD + _SIDE + _EDGE + rows * _ROW), _GROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    axes = f"right: {percent(shares[0]):.0f} % of the variance, up: {percent(shares[1]):.0f} %"
    for panel, title in enumerate((f"by sensor ({axes})", "by class")):
        left = _EDGE + panel * (_SIDE + _EDGE)
        draw.text((left, 14), title, _INK, font)
        draw.rectangle((left, _HEAD, left + _SIDE, _HEAD + _SIDE), outline=_FRAME)
        for (x, y), colour in zip(places, colours[panel], strict=True):
            dot = (left + x - _DOT, _HEAD + y - _DOT, left + x + _DOT, _HEAD + y + _DOT)
            draw.ellipse(dot, fill=tuple(colour))
        for index, (name, colour) in enumerate(legends[panel]):
            x = left + (index % _COLUMNS) * _SIDE // _COLUMNS
            y = _HEAD + _SIDE + 10 + (index // _COLUMNS) * _ROW
            draw.rectangle((x, y + 3, x + 11, y + 14), fill=tuple(colour))
            draw.text((x + 16, y), name, _INK, font)
    return np.asarray(image)


def _places(points: np.ndarray) -> np.ndarray:
    """(N, 2) coordinates -> pixels of a panel, upwards positive; both axes on one scale, the whole in the middle."""
    low, high = points.min(axis=0), points.max(axis=0)
    reach = max(float((high - low).max()) / 2, 1e-12)
    room = _SIDE / 2 - 4 * _DOT
    return _SIDE / 2 + (points - (low + high) / 2) * [room / reach, -room / reach]
