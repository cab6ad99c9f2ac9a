"""Settings of what is trained on, and of M3L."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from any2seg_core.base.units import share_of
from any2seg_core.data.bag_settings import BagSettings
from any2seg_core.data.sparse import SparseConfig


class DataConfig(BaseModel):
    """What is trained on. A plain path stands for ``root``: ``data=PATH`` is ``data.root=PATH``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    short_form: ClassVar[str] = "root"
    root: Path = Field(description="data set with the splits train and val, or a recording with data.bag.val_share")
    further: tuple[Path, ...] = Field(
        (), description="recordings or data sets that are one with root: each gives frames of both splits"
    )
    held_out: float = Field(
        0.0, ge=0, lt=1, description="share at the end of each recording that is val, where a data set has no val"
    )
    labels: Literal["learn", "judge", "ignore"] = Field(
        "learn", description="judge: those of val alone are read, ignore: none; for method=distil"
    )
    sparse: SparseConfig | None = Field(None, description="training labels to keep, e.g. {kind: points, count: 20}")
    pseudo: Path | None = Field(None, description="labels of a first stage, see training/pseudo_labels.py")
    labelled_fraction: float = Field(1.0, description="share of the train frames that keep labels: 0.01 or 1%")
    labelled: Path | None = Field(None, description="file with the names of the train frames that keep labels")
    unlabelled: tuple[Path, ...] = Field(
        (),
        description="more unlabelled frames: data sets or recordings, one or more; cases, source and parity hold for "
        "those of root's kind",
    )
    bag: BagSettings = Field(BagSettings(), description="how recordings are read, e.g. bag={every: 5, val_share: 0.2}")

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        return value if isinstance(value, dict | cls) else {cls.short_form: value}

    @field_validator("labelled_fraction", mode="before")
    @classmethod
    def _share(cls, value: Any) -> float:
        try:
            share = share_of(value)
        except ValueError:
            share = 0.0
        if not 0.0 < share <= 1.0:
            raise ValueError("expected a share above 0 and up to 1, such as 0.01 or 1%")
        return share

    @field_validator("unlabelled", "further", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("unlabelled", "further")
    @classmethod
    def _each_once(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        if len(set(paths)) < len(paths):
            raise ValueError("a name twice: give each of them once")
        return paths

    @model_validator(mode="after")
    def _one_split(self) -> DataConfig:
        if self.labelled is not None and self.labelled_fraction < 1.0:
            raise ValueError("labelled and labelled_fraction exclude each other: a list of frames, or a share of them")
        if self.pseudo is not None and self.sparse is None:
            raise ValueError("pseudo completes sparse labels: set sparse, or leave pseudo out")
        if self.labels != "learn" and (self.has_few_labels or self.sparse is not None):
            raise ValueError(f"labels={self.labels} learns none: leave labelled, labelled_fraction and sparse out")
        return self

    def options(self, kind: str) -> dict[str, Any]:
        """What only data sets of that kind are told."""
        if kind != "bag":
            return {}
        share = self.bag.val_share or self.held_out
        return {"bag": self.bag.model_copy(update={"val_share": share}) if share else self.bag}

    @property
    def has_few_labels(self) -> bool:
        """Whether some of the train frames lose their labels."""
        return self.labelled is not None or self.labelled_fraction < 1.0


class M3LConfig(BaseModel):
    """Teacher and student (M3L, WACV 2024, section 3.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lambda_u: float = Field(1.0, ge=0, description="weight of L_u, the student against pseudo labels")
    warmup_steps: int = Field(0, ge=0, description="lambda_u grows linearly from 0 over these steps")
    decay: float = Field(0.99, ge=0, lt=1, description="of the teacher per step, once 1 - 1/(n + 1) exceeds it")
    masking: Literal["one_or_none", "uniform_subsets"] | float | dict[str, float] = Field(
        "one_or_none", description="what the student sees: nothing or one modality hidden, or as modality_dropout"
    )
    labels: Literal["paper", "released"] = Field(
        "paper", description="released: truth also for masked copies, pseudo labels also for unmasked samples"
    )

    def weight(self, step: int) -> float:
        """Of L_u in step number ``step``, counted from 0."""
        return self.lambda_u * min(1.0, step / self.warmup_steps) if self.warmup_steps else self.lambda_u
