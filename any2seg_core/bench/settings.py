"""What a measurement is asked for. Light to import: the command line reads its help from here."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from any2seg_core.base.errors import UserError
from any2seg_core.base.precisions import PRECISION_HELP, Precision
from any2seg_core.base.runtimes import DEFAULT, RUNTIME_HELP, Runtime
from any2seg_core.base.shipped import default_checkpoint

PARTS = {
    "sensors": "planes to labels, by number of sensors",
    "size": "planes to labels, by size of the network's input",
    "batch": "encoding, fusion and head, by number of frames at once",
    "precision": "planes to labels, by precision",
    "runtime": "planes to labels, by the engine that runs the model",
    "reuse": "planes to labels of a stream whose camera is three times as fast as its other sensors",
    "peers": "the same frame by other networks and by products alone",
    "events": "events to plane, by number of events",
    "evt3": "EVT3 packets to events",
    "lidar": "LiDAR points to plane, by number of points",
    "frame": "messages to planes, with and without health checks",
    "node": "node callbacks to published label, without network and transport",
    "start": "load and first label of a fresh process",
    "bag": "any2seg bag evaluate, per frame and all subsets",
}
"""Name -> what is measured, in the order of the report."""
SLOW = ("precision", "runtime", "peers", "node", "start", "bag")
"""What --quick leaves out."""


class BenchSettings(BaseModel):
    """Which model, which parts, how."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str = Field(
        str(default_checkpoint()),
        description="checkpoint, folder of any2seg export, or mit_b0 to mit_b5 with random weights",
    )
    only: str = Field("", description=f"some parts, as sensors,lidar; all: {', '.join(PARTS)}")
    quick: bool = Field(False, description="under a minute: few turns, without the slow parts")
    size: int | None = Field(
        None, ge=64, le=4096, multiple_of=32, description="side of the network's input; default: the model's"
    )
    device: str = Field("cpu", description="cpu, cuda, cuda:1, ...")
    precision: Precision = Field("float32", description=PRECISION_HELP)
    runtime: Runtime = Field(DEFAULT, description=RUNTIME_HELP)
    recording: Path | None = Field(None, description="of the part bag; default: 6 s of the simulated drive")
    cmnext: Path | None = Field(None, description="of the part peers: a checkout of github.com/jamycheung/DELIVER")

    @property
    def parts(self) -> tuple[str, ...]:
        """What is measured, in the order of the report; UserError for an unknown part."""
        named = [name for name in self.only.split(",") if name]
        unknown = [name for name in named if name not in PARTS]
        if unknown:
            raise UserError(f"--only {unknown[0]}: choose among {', '.join(PARTS)}", "value-unknown")
        if named:
            return tuple(name for name in PARTS if name in named)
        return tuple(name for name in PARTS if not (self.quick and name in SLOW))
