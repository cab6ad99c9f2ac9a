"""What an evaluation is asked for. Light to import: the command line reads its help from here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from any2seg_core.base.precisions import PRECISION_HELP, Precision
from any2seg_core.base.runtimes import DEFAULT, FILLED_ROWS_HELP, RUNTIME_HELP, Runtime
from any2seg_core.data.kinds import Kind
from any2seg_core.evaluation.policies import Policy
from any2seg_core.vocabulary.class_mapping import ClassMap
from any2seg_core.vocabulary.subsets import AUTO_SUBSETS, SUBSETS_HELP

Progress = Callable[[str, int, int], None]
"""Called with the stage, the frames done in all stages and the frames of all stages."""


class EvaluateSettings(BaseModel):
    """Which checkpoint, on what, how."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checkpoint: Path = Field(description="Any2Seg checkpoint (.safetensors)")
    data: Path = Field(description="data set folder")
    dataset: Kind = Field("auto", description="what lies in that folder: auto, deliver, muses, mcubes")
    suite: str | None = Field(
        None, description="sensors of the data, where it lets one choose: name or YAML; default: the checkpoint's"
    )
    parity: Literal["none", "hkust"] = Field(
        "none", description="MUSES: repeat the published loader, defects included (hkust)"
    )
    skip_corrupt: bool = Field(False, description="leave frames out whose files cannot be read, and count them")
    map: ClassMap = ""
    split: str = Field("val", description="which frames")
    cases: tuple[str, ...] | None = Field(None, description="only these conditions and failures; may be repeated")
    frames: int | None = Field(None, gt=0, description="at most so many, evenly spread")
    subsets: str = Field(AUTO_SUBSETS, description=SUBSETS_HELP)
    protocol: Literal["drop", "zero"] = Field(
        "drop", description="absent sensors leave the fusion (drop) or are zeros (zero)"
    )
    noise: bool = Field(False, description="also the benchmark of damaged sensors (RMM, NM)")
    specialists: Path | None = Field(
        None, description="JSON: subset letters -> mIoU in percent, or checkpoint trained on these sensors alone"
    )
    eval_size: int | None = Field(None, gt=0, description="shorter side of the truth in pixels; default: as on disk")
    batch_size: int = Field(4, gt=0, description="frames encoded at once")
    device: str = Field("cpu", description="cpu, cuda, cuda:1, ...")
    precision: Precision = Field("float32", description=PRECISION_HELP)
    runtime: Runtime = Field(DEFAULT, description=RUNTIME_HELP)
    filled_rows: bool = Field(False, description=FILLED_ROWS_HELP)
    seed: int = Field(0, ge=0, description="of the damage")
    prior_from: str = Field("train", description="split that gives the label statistics of the prior baselines")


class RobustnessSettings(BaseModel):
    """Which checkpoints, on what, under which faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checkpoint: Path = Field(description="Any2Seg checkpoint (.safetensors)")
    data: Path = Field(description="data set folder")
    beside: Path | None = Field(None, description="a second checkpoint of the same sensors and classes, side by side")
    dataset: Kind = Field("auto", description="what lies in that folder: auto, deliver, muses, mcubes")
    suite: str | None = Field(
        None, description="sensors of the data, where it lets one choose: name or YAML; default: the checkpoint's"
    )
    split: str = Field("val", description="which frames")
    frames: int = Field(24, gt=0, description="at most so many, evenly spread")
    faults: tuple[str, ...] | None = Field(None, description="only these faults; may be repeated; default: all")
    severities: tuple[float, ...] = Field(
        (0.25, 0.5, 1.0), min_length=1, description="of each fault, above 0 and up to 1; may be repeated"
    )
    skip_noise: bool = Field(False, description="leave out the benchmark of damaged sensors (RMM, NM), half the time")
    device: str = Field("cpu", description="cpu, cuda, cuda:1, ...")
    seed: int = Field(0, ge=0, description="of the faults")


class CompareSettings(BaseModel):
    """Which two evaluations, and how their difference is judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    first: Path = Field(description="evaluation A: the folder or JSON of evaluate or bag evaluate")
    second: Path = Field(description="evaluation B, of the same frames")
    policy: Policy = Field("present", description="classes that mIoU is the mean of: present, all, without_other")
    resamples: int = Field(2000, ge=100, description="draws of the bootstrap")
    block: int = Field(1, ge=1, description="neighbouring frames drawn together: those of one drive are alike")
    seed: int = Field(0, ge=0, description="of the bootstrap")


class FeatureSettings(BaseModel):
    """Whose features, of what, and which of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checkpoint: Path = Field(description="Any2Seg checkpoint (.safetensors)")
    data: Path = Field(description="data set folder")
    dataset: Kind = Field("auto", description="what lies in that folder: auto, deliver, muses, mcubes")
    suite: str | None = Field(
        None, description="sensors of the data, where it lets one choose: name or YAML; default: the checkpoint's"
    )
    split: str = Field("val", description="which frames")
    frames: int = Field(20, gt=0, description="at most so many, evenly spread")
    points: int = Field(50, gt=0, description="places per frame, the same for every sensor")
    level: int = Field(4, ge=1, le=4, description="of the encoder: 1 is the finest, 4 the coarsest")
    device: str = Field("cpu", description="cpu, cuda, cuda:1, ...")
    seed: int = Field(0, ge=0, description="of the places")
