"""InputContract: all that a caller must know to feed a checkpoint. Part of every checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.labels import MCUBES as MCUBES_CLASSES
from any2seg_core.vocabulary.labels import MUSES as MUSES_CLASSES
from any2seg_core.vocabulary.labels import label_space
from any2seg_core.vocabulary.modalities import (
    KNOWN,
    MCUBES,
    MODALITIES,
    MUSES,
    RGB,
    SensorSuite,
    canonical,
    modality,
    set_of,
)  # fmt: skip

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_LARGEST_SIDE = 16384
_LONGEST_WINDOW_NS = 10_000_000_000

_Mean = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Std = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]  # a divisor: far from where float32 overflows


class Normalisation(BaseModel):
    """Per channel, on planes scaled to 0..1: (plane / 255 - mean) / std. std is at least 1e-6."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: tuple[_Mean, _Mean, _Mean]
    std: tuple[_Std, _Std, _Std]


_FAMILIES = {MUSES_CLASSES.name: MUSES, MCUBES_CLASSES.name: MCUBES}


def default_normalisation(names: Iterable[str] = MODALITIES) -> dict[str, Normalisation]:
    """ImageNet statistics for RGB, plain 0..1 for all others, as in the DELIVER recipe."""
    plain = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    imagenet = Normalisation(mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
    return {name: imagenet if name == RGB else plain for name in names}


def default_encodings(names: Iterable[str] = MODALITIES) -> dict[str, str]:
    """Per modality the version of the encoding that this program's own road from raw data to planes makes.

    A change of an encoding is a new version, and checkpoints of versions that nothing makes any more are refused.
    """
    return {name: modality(name).encodings[0] for name in names}


def unknown_encodings(encodings: dict[str, str]) -> dict[str, str]:
    """Those entries that no reader or rig of this version makes."""
    return {n: v for n, v in encodings.items() if n not in KNOWN or v not in modality(n).encodings}


class InputContract(BaseModel):
    """What goes into a model and what its ids mean.

    Attributes:
        modalities: names the model was built with, canonical order.
        height, width: network input size in pixels; planes are resized to it. Both multiples of 32.
        normalisation: per modality.
        encodings: per modality, the version of its plane encoding.
        event_window_ns: length of the event window that ends at the stamp of the set, at most 10 s.
        label_space: name of the label space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    modalities: tuple[str, ...] = MODALITIES
    height: int = Field(256, gt=0, le=_LARGEST_SIDE, multiple_of=32)
    width: int = Field(256, gt=0, le=_LARGEST_SIDE, multiple_of=32)
    normalisation: dict[str, Normalisation] = Field(default_factory=dict)
    encodings: dict[str, str] = Field(default_factory=dict)
    event_window_ns: int = Field(50_000_000, gt=0, le=_LONGEST_WINDOW_NS)
    label_space: str = "deliver-25"

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_set(cls, values: Any) -> Any:
        """Statistics and encodings that are not given follow from the set that the modalities belong to."""
        if not isinstance(values, dict):
            return values
        members = set_of(values.get("modalities", MODALITIES)).members
        defaults = {"normalisation": default_normalisation(members), "encodings": default_encodings(members)}
        return defaults | values

    @field_validator("modalities")
    @classmethod
    def _known_modalities(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or canonical(names) != tuple(names):
            raise ValueError(f"modalities must be a non-empty part of {KNOWN} in that order, got {names}")
        return tuple(names)

    @field_validator("label_space")
    @classmethod
    def _known_label_space(cls, name: str) -> str:
        return label_space(name).name

    def foreign_encodings(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the modalities whose planes the model was trained on are made by other code than here."""
        made_here = default_encodings(self.modalities)
        return tuple(name for name in names if name in self.modalities and self.encodings[name] != made_here[name])

    def encoding_notes(self, names: Iterable[str]) -> tuple[str, ...]:
        """One line for each modality whose planes of messages are not what the model was trained on."""
        made_here = default_encodings(self.modalities)
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

    @model_validator(mode="after")
    def _complete(self) -> InputContract:
        for table in ("normalisation", "encodings"):
            missing = [name for name in self.modalities if name not in getattr(self, table)]
            if missing:
                raise ValueError(f"{table} has no entry for {', '.join(missing)}")
        return self

    @property
    def suite(self) -> SensorSuite:
        """Whose letters name the subsets: those of the data set that the label space belongs to."""
        own = _FAMILIES.get(self.label_space)
        return own if own is not None and set(self.modalities) <= set(own.members) else set_of(self.modalities)

    @property
    def num_classes(self) -> int:
        """K, from the label space."""
        return len(label_space(self.label_space))
