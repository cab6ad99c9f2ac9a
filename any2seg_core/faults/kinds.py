"""What can be done to a recording: one model per kind of fault, and the file format of a schedule."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from any2seg_core.base.atomic import replacing
from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import parse_json, parse_yaml, read_text
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import EVENTS, IMAGE, POINTS
from any2seg_core.vocabulary.sensor import KINDS as SENSOR_KINDS
from any2seg_core.vocabulary.subsets import parse_subset

_SUITE = "suite"  # in the context of a validation


class _Window(BaseModel):
    """Sensors and the interval of the recording, [start_s, end_s) in seconds from its first message; end None: its end.

    `probability`: share of the messages that are hit, each drawn on its own. `sensors` are those of the suite that
    `make_fault` and `load_faults` are given, of the vehicle otherwise; default: all that the fault can be done to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
    takes: ClassVar[tuple[str, ...]] = SENSOR_KINDS
    """Kinds of sensors that it can be done to."""
    sensors: tuple[str, ...] = ()
    start_s: float = Field(0.0, ge=0.0)
    end_s: float | None = None
    probability: float = Field(1.0, ge=0.0, le=1.0)

    @field_validator("sensors", mode="before")
    @classmethod
    def _known_sensors(cls, sensors: str | Iterable[str], info: ValidationInfo) -> tuple[str, ...]:
        suite = (info.context or {}).get(_SUITE, VEHICLE)
        able = cls.sensors_of(suite)
        if not able:
            raise ValueError(f"is done to {' or '.join(cls.takes)}, and the suite {suite.name} has no such sensor")
        return parse_subset(sensors, suite, able) or able

    @model_validator(mode="after")
    def _has_length(self) -> _Window:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s:g} must be later than start_s {self.start_s:g}")
        return self

    def is_active(self, time_s: float) -> bool:
        """Whether a time from the start of the recording lies in the window."""
        return self.start_s <= time_s and (self.end_s is None or time_s < self.end_s)

    def __str__(self) -> str:
        """The fault as `--fault` takes it; parameters that have their default are left out."""
        end = "" if self.end_s is None else f"{self.end_s:.12g}"
        window = "" if self.end_s is None and self.start_s == 0.0 else f"@{self.start_s:.12g}:{end}"
        defaults = type(self).model_fields
        given = {name: getattr(self, name) for name in self.parameters()}
        texts = [f",{name}={value:.12g}" for name, value in given.items() if value != defaults[name].default]
        return f"{defaults['kind'].default}:{'+'.join(self.sensors)}{window}{''.join(texts)}"

    @classmethod
    def sensors_of(cls, suite: SensorSuite) -> tuple[str, ...]:
        """Those of a suite that this fault can be done to."""
        return tuple(sensor.name for sensor in suite.sensors if sensor.kind in cls.takes)

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Names of what can be set beside kind, sensors and window."""
        return tuple(name for name in cls.model_fields if name not in ("kind", "sensors", "start_s", "end_s"))

    @property
    def seed(self) -> int:
        """A number of this very fault: draws depend on it and on the message, never on other faults."""
        return zlib.crc32(str(self).encode())


class Drop(_Window):
    """Messages are lost."""

    kind: Literal["drop"] = "drop"


class Delay(_Window):
    """Messages arrive later by a fixed time; stamps stay."""

    kind: Literal["delay"] = "delay"
    delay_s: float = Field(0.1, ge=0.0, le=60.0)


class Jitter(_Window):
    """Messages arrive later by a time drawn from [0, max_s), each on its own; they may overtake each other."""

    kind: Literal["jitter"] = "jitter"
    max_s: float = Field(0.05, ge=0.0, le=60.0)


class Freeze(_Window):
    """The sensor goes on with new stamps but repeats what it saw last before the window."""

    kind: Literal["freeze"] = "freeze"


class Blur(_Window):
    """Motion blur of images: a mostly horizontal smear of `length` times the image width."""

    takes: ClassVar[tuple[str, ...]] = (IMAGE,)
    kind: Literal["blur"] = "blur"
    length: float = Field(0.06, gt=0.0, le=0.5)


class Exposure(_Window):
    """A stuck exposure: 2**stops times the light; DELIVER's failures are about +2.8 and -4.4, and -20 is black.

    Of 16-bit grey images, which store counts and no display values, 2**stops times the counts.
    """

    takes: ClassVar[tuple[str, ...]] = (IMAGE,)
    kind: Literal["exposure"] = "exposure"
    stops: float = Field(3.0, ge=-20.0, le=20.0)


class Beams(_Window):
    """A share of the beams of a LiDAR or radar is lost, the same ones all the time."""

    takes: ClassVar[tuple[str, ...]] = (POINTS,)
    kind: Literal["beams"] = "beams"
    share: float = Field(0.5, ge=0.0, le=1.0)


class Shake(_Window):
    """A loose LiDAR or radar: each sweep turned (sd 1.5 degrees) and shifted (sd 0.15 m), times `scale`."""

    takes: ClassVar[tuple[str, ...]] = (POINTS,)
    kind: Literal["shake"] = "shake"
    scale: float = Field(1.0, gt=0.0, le=20.0)


class Noise(_Window):
    """Background events: `rate_hz` per pixel over the pixels and the time that the packet's own events span."""

    takes: ClassVar[tuple[str, ...]] = (EVENTS,)
    kind: Literal["noise"] = "noise"
    rate_hz: float = Field(5.0, ge=0.0, le=1000.0)


class Duplicate(_Window):
    """Messages arrive `copies` times more, with the same stamp."""

    kind: Literal["duplicate"] = "duplicate"
    copies: int = Field(1, ge=1, le=10)


class Reorder(_Window):
    """A message is overtaken by the next one of its topic."""

    kind: Literal["reorder"] = "reorder"


class Skew(_Window):
    """The sensor's clock is off: stamps (and event times) move by `offset_s`, growing by `drift_ppm` in the window."""

    kind: Literal["skew"] = "skew"
    offset_s: float = Field(0.1, ge=-3600.0, le=3600.0)
    drift_ppm: float = Field(0.0, ge=-1e6, le=1e6)


Fault = Drop | Freeze | Shake | Beams | Noise | Blur | Exposure | Skew | Duplicate | Reorder | Delay | Jitter
KINDS: dict[str, type[Fault]] = {cls.model_fields["kind"].default: cls for cls in get_args(Fault)}
"""Name of a kind -> its model, in the order in which faults act on one message."""

_PLAN = TypeAdapter(tuple[Annotated[Fault, Field(discriminator="kind")], ...])


def make_fault(kind: str, suite: SensorSuite = VEHICLE, **fields: object) -> Fault:
    """A fault by the name of its kind, of the sensors of a suite; UserError names the field at fault."""
    if kind not in KINDS:
        raise UserError(f"unknown fault {kind!r}: known are {', '.join(KINDS)}", "value-unknown")
    try:
        return KINDS[kind].model_validate(fields, context={_SUITE: suite})
    except ValidationError as error:
        raise UserError(f"{kind}: {_first(error)}", code_of(error)) from None


def load_faults(path: Path, suite: SensorSuite = VEHICLE) -> tuple[Fault, ...]:
    """Read a schedule, a YAML or JSON list of faults of a suite's sensors; UserError names the file and the defect."""
    try:
        text = read_text(path, "schedule")
    except UserError as error:
        raise UserError(f"cannot read the schedule: {error}", error.code) from None
    try:
        document = (parse_json if path.suffix == ".json" else parse_yaml)(text, str(path))
    except UserError as error:
        raise UserError(f"schedule is neither YAML nor JSON: {error}", error.code) from None
    try:
        return _PLAN.validate_python(document, context={_SUITE: suite})
    except ValidationError as error:
        raise UserError(f"{path}: schedule, {_first(error)}", code_of(error)) from None


def save_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Write a schedule as JSON."""
    with replacing(path) as partial:
        partial.write_text(json.dumps([fault_document(fault) for fault in faults], indent=1) + "\n", encoding="utf-8")


def fault_document(fault: Fault) -> dict[str, object]:
    """A fault as plain JSON types, kind first: an entry of a schedule."""
    document = fault.model_dump(mode="json")
    return {"kind": document.pop("kind"), **document}


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "tuple_type":
        return "is no list; write entries such as {kind: drop, sensors: [rgb], start_s: 2, end_s: 4}"
    if first["type"].startswith("union_tag"):
        kind = first.get("ctx", {}).get("tag")
        said = "has no kind" if kind is None else f"unknown kind {kind!r}"
        return f"entry {first['loc'][0]}: {said}, known are {', '.join(KINDS)}"
    where = "".join(f"{part}: " for part in first["loc"])
    return f"{where}{first['msg'].removeprefix('Value error, ')}"
