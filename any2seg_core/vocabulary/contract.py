"""InputContract: all that a caller must know to feed a checkpoint. Part of every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, model_validator

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.labels import DELIVER, LabelSpace, stored_label_space
from any2seg_core.vocabulary.labels import MCUBES as MCUBES_CLASSES
from any2seg_core.vocabulary.labels import MUSES as MUSES_CLASSES
from any2seg_core.vocabulary.modalities import MCUBES, MUSES, SHIPPED, VEHICLE, SensorSuite, shipped_suite
from any2seg_core.vocabulary.sensor import COLOUR

Pixel = tuple[float, float, float]
"""Of a normalised image: its three channels."""

_LARGEST_SIDE = 16384
_LONGEST_WINDOW_NS = 10_000_000_000

_Mean = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Temperature = Annotated[float, Field(ge=0.01, le=100.0, allow_inf_nan=False)]
_Std = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]  # a divisor: far from where float32 overflows


class Normalisation(BaseModel):
    """Per channel, on planes scaled to 0..1: (plane / 255 - mean) / std. std is at least 1e-6."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: tuple[_Mean, _Mean, _Mean]
    std: tuple[_Std, _Std, _Std]


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Statistics of colour pictures, which networks of ImageNet weights are fed with."""


class FeatureStatistics(BaseModel):
    """Of the pooled features of one sensor on frames like those of training; see `any2seg_core.runtime.novelty`.

    Attributes:
        mean: of each of the C features.
        whitening: lower triangle of a (C, C) matrix, row by row, that makes their covariance the identity.
        limit: distance beyond which 1 % of such frames lie.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: tuple[_Mean, ...] = Field(min_length=1)
    whitening: tuple[tuple[_Mean, ...], ...]
    limit: float = Field(gt=0.0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _complete(self) -> FeatureStatistics:
        lengths = [len(row) for row in self.whitening]
        if lengths != list(range(1, len(self.mean) + 1)):
            raise ValueError(f"whitening: expected the lower triangle of {len(self.mean)} features, rows of 1, 2, ...")
        return self

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (C,) and whitening (C, C), float64."""
        matrix = np.zeros((len(self.mean), len(self.mean)))
        matrix[np.tril_indices(len(self.mean))] = [value for row in self.whitening for value in row]
        return np.array(self.mean), matrix


def _known_scales(scale: dict[str, float]) -> dict[str, float]:
    if unknown := {name: share for name, share in scale.items() if share not in SCALES}:
        raise ValueError(f"scale of {unknown}: choose {' or '.join(f'{share:g}' for share in SCALES)}")
    return scale


SCALES = (1.0, 0.5)
"""Sides of a sensor's image as a share of the model's input."""
SensorScales = Annotated[dict[str, float], AfterValidator(_known_scales)]
"""Sensor -> one of `SCALES`; 1 for those that are not named."""


def require_scalable(height: int, width: int, scale: Mapping[str, float]) -> None:
    """ValueError where images of (height, width) pixels have, at one of the scales, sides that no model takes."""
    step = round(32 / min(scale.values(), default=1.0))
    if height % step or width % step:
        raise ValueError(f"{width}x{height} pixels with scale {dict(scale)}: give multiples of {step}")


def _space(value: Any) -> LabelSpace:
    return value if isinstance(value, LabelSpace) else stored_label_space(value)


_Space = Annotated[LabelSpace, PlainValidator(_space), PlainSerializer(LabelSpace.to_document)]
_OF_LABELS = {MUSES_CLASSES.name: MUSES, MCUBES_CLASSES.name: MCUBES}


def default_normalisation(suite: SensorSuite = VEHICLE) -> dict[str, Normalisation]:
    """ImageNet statistics for colour images, plain 0..1 for all others, as in the DELIVER recipe."""
    plain = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return {sensor.name: IMAGENET if sensor.format == COLOUR else plain for sensor in suite.sensors}


def default_encodings(suite: SensorSuite = VEHICLE) -> dict[str, str]:
    """Per sensor the version of the encoding that this program's own road from raw data to planes makes.

    A change of an encoding is a new version, and checkpoints of versions that nothing makes any more are refused.
    """
    return {sensor.name: sensor.encodings[0] for sensor in suite.sensors}


def unknown_encodings(encodings: dict[str, str], suite: SensorSuite) -> dict[str, str]:
    """Those entries that no reader or rig of this version makes."""
    return {n: v for n, v in encodings.items() if n not in suite.members or v not in suite.sensor(n).encodings}


def _suite(value: Any) -> SensorSuite:
    if isinstance(value, SensorSuite):
        return value
    # a checkpoint opens no file that it names
    return shipped_suite(value) if isinstance(value, str) else SensorSuite.of_document(value, "suite")


def _suite_of(names: Any, labels: Any) -> SensorSuite:
    """Of a checkpoint that names no suite: the shipped one of its label space, else the first that has its sensors."""
    wanted = tuple(names) if isinstance(names, list | tuple) else (names,)
    if not all(isinstance(name, str) for name in wanted):
        raise UserError(f"modalities are {names!r}: give a list of names", "value-type")
    fitting = [suite for suite in SHIPPED if set(wanted) <= set(suite.members)]
    if not fitting:
        known = "; ".join(f"{suite.name}: {', '.join(suite.members)}" for suite in SHIPPED)
        raise UserError(f"no data set has {', '.join(wanted)} together: known suites are {known}", "sensor-unknown")
    if isinstance(labels, dict):
        labels = labels.get("name")
    own = _OF_LABELS.get(labels.name if isinstance(labels, LabelSpace) else str(labels))
    return own if own in fitting else fitting[0]


class InputContract(BaseModel):
    """What goes into a model and what its ids mean.

    Attributes:
        suite: the sensors that there can be. One that is not given, as in checkpoints from before there were suites, is
            the shipped one that label space and names mean.
        modalities: names the model was built with, in the order of the suite; default: all of it.
        height, width: network input size in pixels; planes are resized to it. Both multiples of 32.
        scale: per modality, of its image's sides against this size: 1, as for those that are not named, or 0.5. See
            :meth:`size_of`.
        normalisation: per modality.
        encodings: per modality, the version of its plane encoding.
        event_window_ns: length of the event window that ends at the stamp of the set, at most 10 s.
        temperatures: per subset of the sensors, by its letters, what logits are divided by before their softmax becomes
            the confidence, see `temperature`; `any2seg calibrate` finds them. Labels do not depend on them.
        feature_statistics: per modality, what its features are like in training; `any2seg calibrate` finds them. Where
            they are missing, nobody says whether a frame is unlike training.
        label_space: classes of the model; stored whole. Checkpoints from before hold the name of a shipped one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    suite: Annotated[SensorSuite, PlainValidator(_suite), PlainSerializer(SensorSuite.to_document)] = VEHICLE
    modalities: tuple[str, ...] = VEHICLE.members
    height: int = Field(256, gt=0, le=_LARGEST_SIDE, multiple_of=32)
    width: int = Field(256, gt=0, le=_LARGEST_SIDE, multiple_of=32)
    scale: SensorScales = Field(default_factory=dict)
    normalisation: dict[str, Normalisation] = Field(default_factory=dict)
    encodings: dict[str, str] = Field(default_factory=dict)
    event_window_ns: int = Field(50_000_000, gt=0, le=_LONGEST_WINDOW_NS)
    temperatures: dict[str, _Temperature] = Field(default_factory=dict)
    feature_statistics: dict[str, FeatureStatistics] = Field(default_factory=dict)
    label_space: _Space = DELIVER

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_suite(cls, values: Any) -> Any:
        """Sensors, statistics and encodings that are not given follow from the suite."""
        if not isinstance(values, dict):
            return values
        given = values.get("suite")
        names = values.get("modalities", VEHICLE.members)
        suite = _suite(given) if given is not None else _suite_of(names, values.get("label_space"))
        defaults: dict[str, Any] = {"modalities": suite.members if given is not None else names}
        defaults |= {"normalisation": default_normalisation(suite), "encodings": default_encodings(suite)}
        return defaults | values | {"suite": suite}

    def size_of(self, modality: str) -> tuple[int, int]:
        """(H, W) of the image that the model takes of a modality, pixels."""
        share = self.scale.get(modality, 1.0)
        return round(share * self.height), round(share * self.width)

    @property
    def empty_pixels(self) -> dict[str, Pixel]:
        """Per modality what normalisation makes of a pixel of zeros, which in every encoding say that nothing is there.
        """

        def pixel(statistics: Normalisation) -> Pixel:
            red, green, blue = (-m / std for m, std in zip(statistics.mean, statistics.std, strict=True))
            return red, green, blue

        return {name: pixel(self.normalisation[name]) for name in self.modalities}

    def foreign_encodings(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the modalities whose planes the model was trained on are made by other code than here."""
        made_here = default_encodings(self.suite)
        return tuple(name for name in names if name in self.modalities and self.encodings[name] != made_here[name])

    def encoding_notes(self, names: Iterable[str]) -> tuple[str, ...]:
        """One line for each modality whose planes of messages are not what the model was trained on."""
        made_here = default_encodings(self.suite)
        return tuple(
            f"{name}: the checkpoint was trained on planes of the encoding {self.encodings[name]}, of its data set; "
            f"messages give {made_here[name]}: expect worse labels, or train on raw files (source=raw)"
            for name in self.foreign_encodings(names)
        )

    def require_own_encodings(self, names: Iterable[str]) -> None:
        """UserError where a model was trained on planes of other code than what makes planes of raw data here."""
        for name in self.foreign_encodings(names):
            raise UserError(
                f"raw {name}: this checkpoint was trained on planes of the encoding {self.encodings[name]}, of its "
                "data set; train on raw files (source=raw) or give such a plane, (H, W, 3) uint8",
                "plane-encoding",
            )

    def temperature(self, names: Iterable[str]) -> float:
        """That of a subset of the sensors: its own, else the geometric mean of subsets of as many sensors, else 1."""
        letters = self.suite.subset_letters(names)
        if letters in self.temperatures:
            return self.temperatures[letters]
        alike = [math.log(value) for subset, value in self.temperatures.items() if len(subset) == len(letters)]
        return math.exp(sum(alike) / len(alike)) if alike else 1.0

    @model_validator(mode="after")
    def _complete(self) -> InputContract:
        if not self.modalities or self.suite.canonical(self.modalities) != self.modalities:
            raise ValueError(
                f"modalities must be a non-empty part of {self.suite.members} in that order, got {self.modalities}"
            )
        for table in ("normalisation", "encodings"):
            missing = [name for name in self.modalities if name not in getattr(self, table)]
            if missing:
                raise ValueError(f"{table} has no entry for {', '.join(missing)}")
        possible = self.suite.subset_letters(self.modalities)
        for letters in self.temperatures:
            if not letters or letters != "".join(letter for letter in possible if letter in letters):
                raise ValueError(f"temperatures has {letters!r}: expected letters of {possible}, in that order")
        for field, named in (("scale", self.scale), ("feature_statistics", self.feature_statistics)):
            if unknown := [name for name in named if name not in self.modalities]:
                raise ValueError(f"{field} names {', '.join(unknown)}, which is none of {', '.join(self.modalities)}")
        require_scalable(self.height, self.width, self.scale)
        return self

    @property
    def num_classes(self) -> int:
        """K, from the label space."""
        return len(self.label_space)
