"""InputContract: all that a caller must know to feed a checkpoint. Part of every checkpoint."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from any2seg_core.labels import label_space
from any2seg_core.modalities import MODALITIES, canonical

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalisation(BaseModel):
    """Per channel, on planes scaled to 0..1: (plane / 255 - mean) / std."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def default_normalisation() -> dict[str, Normalisation]:
    """ImageNet statistics for RGB, plain 0..1 for all others, as in the DELIVER recipe."""
    plain = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    imagenet = Normalisation(mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
    return {name: imagenet if name == MODALITIES[0] else plain for name in MODALITIES}


ENCODINGS = {"rgb": "rgb8", "depth": "hha-1", "event": "counts-recency-1", "lidar": "range-intensity-height-1"}
"""Version of each plane encoding. A change of an encoding is a new version, and old checkpoints are refused."""


class InputContract(BaseModel):
    """What goes into a model and what its ids mean.

    Attributes:
        modalities: names the model was built with, canonical order.
        height, width: network input size in pixels; planes are resized to it. Both multiples of 32.
        normalisation: per modality.
        encodings: per modality, the version of its plane encoding.
        event_window_ns: length of the event window that ends at the stamp of the set.
        label_space: name of the label space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    modalities: tuple[str, ...] = MODALITIES
    height: int = Field(256, gt=0, multiple_of=32)
    width: int = Field(256, gt=0, multiple_of=32)
    normalisation: dict[str, Normalisation] = Field(default_factory=default_normalisation)
    encodings: dict[str, str] = Field(default_factory=lambda: dict(ENCODINGS))
    event_window_ns: int = Field(50_000_000, gt=0)
    label_space: str = "deliver-25"

    @field_validator("modalities")
    @classmethod
    def _known_modalities(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or canonical(names) != tuple(names):
            raise ValueError(f"modalities must be a non-empty part of {MODALITIES} in that order, got {names}")
        return tuple(names)

    @field_validator("label_space")
    @classmethod
    def _known_label_space(cls, name: str) -> str:
        return label_space(name).name

    @property
    def num_classes(self) -> int:
        """K, from the label space."""
        return len(label_space(self.label_space))
