"""What `any2seg teach` is asked for. Light to import: the command line reads its help from here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from any2seg_core.base.command_options import image_size
from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.class_mapping import ClassMap

PLANES, TRAINING = "planes", "training"
"""Folders in --out: planes of recordings, and the run with its state."""
CHECKPOINT, REPORT, SUMMARY, PLAN = "checkpoint.safetensors", "report.html", "summary.json", "plan.json"
"""Files in --out."""


class TeachSettings(BaseModel):
    """Which recordings, which teachers, how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recordings: tuple[Path, ...] = Field(min_length=1, description="recordings or folders of frames; no labels needed")
    teacher: tuple[str, ...] = Field(
        min_length=1, description="a checkpoint, a folder of labels or probabilities, module:function; may be repeated"
    )
    out: Path = Field(description="folder for checkpoint.safetensors, report.html and all that goes on after a kill")
    minutes: float = Field(60.0, gt=0, description="how long to train; measured steps say how many that are")
    steps: int | None = Field(None, gt=0, description="train so many steps, whatever they take")
    size: str = Field(
        "", description="WIDTHxHEIGHT of the model's input, multiples of 32; default: the checkpoint's, else 256x256"
    )
    held_out: float = Field(0.2, gt=0, lt=1, description="share at the end of each recording to judge by, not taught")
    labels: Literal["judge", "learn", "ignore"] = Field(
        "judge", description="what labels of recordings are for, if there are any: judge, learn (both), ignore"
    )
    map: ClassMap = ""
    frame_floor: float = Field(0.5, ge=0, lt=1, description="frames of which the teacher is less sure are not taught")
    every: int = Field(1, ge=1, description="take every n-th set of a recording")
    suite: str = Field("", description="sensors: vehicle, muses, mcubes or a YAML file; default: as any2seg.yaml says")
    batch_size: int = Field(4, gt=0, description="frames of a step")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto, cpu or cuda")
    threads: int | None = Field(None, gt=0, description="of the processor; default: all")
    seed: int = Field(0, ge=0, description="of everything that is drawn")

    @field_validator("size")
    @classmethod
    def _sides(cls, text: str) -> str:
        if text:
            try:
                sides = image_size(text)
            except UserError as error:
                raise ValueError(str(error)) from None
            if any(side < 64 or side % 32 for side in sides):
                raise ValueError("give multiples of 32, 64 at least, such as 512x256")
        return text

    @field_validator("recordings", "teacher")
    @classmethod
    def _each_once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(given)) < len(given):
            raise ValueError("something is given twice: give each once")
        return given

    def deciding(self) -> dict[str, Any]:
        """All that decides what is learned; of paths the names."""
        names = {
            "recordings": [path.resolve().name for path in self.recordings],
            "teacher": [Path(place).name for place in self.teacher],
            "map": Path(self.map).name,
            "suite": Path(self.suite).name,
        }
        return self.model_dump(mode="json", exclude={"out", "device", "threads"}) | names
