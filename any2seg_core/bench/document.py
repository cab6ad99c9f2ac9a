"""bench.json: everything that was measured, on what, and how far it can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_json

FORMAT, VERSION = "any2seg bench", 1


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Share(_Stored):
    """Time of a row over that of something else, taken within each turn."""

    median: float = Field(gt=0)
    least: float = Field(gt=0)
    largest: float = Field(gt=0)


class Row(_Stored):
    """One measured number.

    Attributes:
        case: unique in its part. unit: of the numbers. clock: "processor" (all threads of the process), "wall" where
            a device computes, "" for what is no time.
        median, least: over the turns; of rates the median, and that of the shortest turn. wall: median by the clock.
        spread: how much longer the median turn took than the shortest, share of it. turns: how many count.
        line, x: where it stands in a plot; line is the sequence that it belongs to.
        shares: name of a peer -> share of the peer's time.
    """

    case: str
    unit: Literal["ms", "MB", "GFLOP/s"] = "ms"
    clock: Literal["processor", "wall", ""] = "processor"
    median: float = Field(gt=0)
    least: float = Field(gt=0)
    wall: float | None = Field(None, gt=0)
    spread: float = Field(0.0, ge=0)
    turns: int = Field(1, ge=1)
    line: str = ""
    x: float | None = None
    shares: dict[str, Share] = Field(default_factory=dict)


class Part(_Stored):
    """What one part measured; notes say what could not be, and how it can be had."""

    name: str
    title: str
    x_title: str = ""
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()


class Machine(_Stored):
    """What decides how fast this program is."""

    processor: str
    instruction_sets: tuple[str, ...]
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    accelerator: str = ""


class Conditions(_Stored):
    """What was asked for, and how busy the machine was: processes that want to run, mean of a minute."""

    model: str
    device: str
    precision: str
    engine: str
    input_size: tuple[int, int]
    threads: int = Field(ge=1)
    quick: bool
    load_before: float = Field(ge=0)
    load_after: float = Field(ge=0)


class BenchDocument(_Stored):
    """The whole file."""

    format: Literal["any2seg bench"] = "any2seg bench"
    version: Literal[1] = 1
    date: str
    command: str
    commit: str = ""
    machine: Machine
    versions: dict[str, str]
    conditions: Conditions
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()

    def row(self, part: str, case: str) -> Row | None:
        """A row by its names; None where it was not measured."""
        rows = (row for each in self.parts if each.name == part for row in each.rows)
        return next((row for row in rows if row.case == case), None)


def read_bench(path: Path) -> BenchDocument:
    """What an earlier run wrote: bench.json, or the folder that holds it.

    Raises:
        UserError: missing, no JSON, or no document of this kind and version.
    """
    file = path / "bench.json" if path.is_dir() else path
    content = read_json(file, "bench.json")
    try:
        return BenchDocument.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise UserError(
            f"{file}: is no bench.json of this version ({place}: {first['msg']}); give one of any2seg bench -o",
            "file-format",
        ) from None


def require_comparable(older: BenchDocument, machine: Machine, threads: int, source: Path) -> None:
    """UserError where the times of an older run would tell the machines apart and not the programs."""
    there, here = older.machine, machine
    differing = [
        f"{what} {one} there, {other} here"
        for what, one, other in (
            ("processor", there.processor, here.processor),
            ("instruction sets", " ".join(there.instruction_sets), " ".join(here.instruction_sets)),
            ("cores", there.cores, here.cores),
            ("accelerator", there.accelerator or "none", here.accelerator or "none"),
            ("threads", older.conditions.threads, threads),
        )
        if one != other
    ]
    if differing:
        raise UserError(
            f"--compare {source}: not comparable, {'; '.join(differing)}; measure both on one machine, alike",
            "machine-mismatch",
        )
