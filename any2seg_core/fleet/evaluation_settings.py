"""What an evaluation of a fleet is asked for. Light to import: the command line makes its options of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.text_files import read_text
from any2seg_core.evaluation.recording.settings import EvaluateRequest, JudgingSettings
from any2seg_core.faults.kinds import fault_document

LOCAL: Literal["local"] = "local"
RAY: Literal["ray"] = "ray"


@dataclass(frozen=True)
class FleetEvaluateRequest(JudgingSettings):
    """What to evaluate, with what, where; each setting with its text for the command line.

    Attributes:
        name: of the evaluation in the store; "": that of the checkpoint.
        cut_s: recordings longer than this are judged in parts; 0: none.
        workers: processes, on all machines; 0: as many as there are processors, over `threads`.
        address: of a Ray cluster; "": a Ray of this machine alone, for as long as the run lasts.
        other attributes: as in `EvaluateRequest`; subsets are of the checkpoint's sensors, of which a recording is
            judged with those that it has.
    """

    store: Annotated[Path, Field(description="Folder of `any2seg fleet index`.")]
    checkpoint: Annotated[
        Path, Field(description="Checkpoint (.safetensors), or a folder of any2seg export.")
    ] = default_checkpoint()
    name: Annotated[str, Field(description="Of the evaluation in the store; default: the checkpoint's.")] = ""
    truth: Annotated[str, Field(description="Topic of labels; default: the recording's own; none.")] = ""
    cut_s: Annotated[float, Field(ge=0, description="Judge longer recordings in parts, at once; 0: never.")] = 600.0
    engine: Annotated[
        Literal["local", "ray"], Field(description="local (processes of this machine) or ray.")
    ] = LOCAL
    workers: Annotated[int, Field(ge=0, description="Processes, each with the model; 0: one per processor.")] = 0
    threads: Annotated[int, Field(ge=1, description="Threads of each of them.")] = 1
    gpus: Annotated[float, Field(ge=0, description="Share of a GPU that each worker takes of Ray: 0.5, 1.")] = 0.0
    address: Annotated[str, Field(description="Ray cluster: ray://HOST:10001, HOST:6379, auto.")] = ""

    @property
    def evaluation(self) -> str:
        """Name in the store: what was given, else that of the checkpoint with what no name may have left out."""
        return self.name or re.sub(r"[^A-Za-z0-9_.-]+", "_", self.checkpoint.stem).lstrip(".-") or "evaluation"

    def of_recording(self, bag: Path) -> EvaluateRequest:
        """The same of one recording."""
        shared: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(JudgingSettings)}
        return EvaluateRequest(bag, self.checkpoint, truth=self.truth, **shared)

    def options(self) -> dict[str, object]:
        """All that changes results, as plain JSON types; how many workers there are does not."""
        return {
            "seed": self.seed,
            "every": self.every,
            "precision": self.precision,
            "runtime": self.runtime,
            "stream": self.stream,
            "truth": self.truth,
            "topics": list(self.topics),
            "rules": None if self.rules is None else read_text(self.rules),
            "params": None if self.params is None else read_text(self.params),
            "faults": [{"text": str(fault), **fault_document(fault)} for fault in self.faults],
        }
