"""Settings of ``method=distil``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from any2seg_core.models import FUSIONS, FusionName
from any2seg_core.vocabulary.class_mapping import ClassMap


class DistilConfig(BaseModel):
    """Which teachers a student learns from, and what of them counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    teachers: tuple[str, ...] = Field(
        (), description="one or more: a checkpoint, a folder of label images or probabilities, or module:function"
    )
    weights: tuple[float, ...] = Field((), description="of the teachers in their mean; default: all alike")
    temperature: float = Field(1.0, gt=0, le=100, description="of both softmaxes; above 1 the small ones count more")
    floor: float = Field(0.0, ge=0, lt=1, description="pixels of which the teacher is less sure are not taught")
    frame_floor: float = Field(0.5, ge=0, lt=1, description="frames of which it is less sure in the mean are left out")
    hard: bool = Field(False, description="teach the most probable class as if the teacher were sure of it")
    weight: float = Field(1.0, gt=0, description="of the loss against the teacher, beside 1 for truth")
    keep: float = Field(
        0.0, ge=0, description="weight of the loss on the teachers' own sensors alone, decoded from the same encoding"
    )
    geometry: bool = Field(
        True, description="where LiDAR or depth measure something the teachers' word that it is sky does not count"
    )
    count_frames: int = Field(32, gt=0, description="frames on which the teacher is asked before the first step")
    map: ClassMap = ""

    @field_validator("teachers", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _weight_for_each(self) -> DistilConfig:
        if len(set(self.teachers)) < len(self.teachers):
            raise ValueError("a teacher twice: give each of them once")
        if self.weights and (len(self.weights) != len(self.teachers) or min(self.weights) <= 0):
            count = len(self.teachers)
            raise ValueError(f"weights are {self.weights}: give a number above 0 for each of the {count} teachers")
        return self


def require_teachable(config: DistilConfig, fusion: FusionName) -> None:
    """ValueError where the settings of a run leave the teachers nothing to teach."""
    if not config.teachers:
        raise ValueError("method=distil needs distil.teachers, such as a checkpoint of a camera")
    if not FUSIONS[fusion].encodes_alone:
        raise ValueError(f"method=distil teaches subsets of one encoding, which fusion={fusion} lacks")
