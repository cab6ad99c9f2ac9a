"""Parts of a recipe: files of sensors, labels and calibration, and rules of splits; see `Recipe`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from any2seg_core.base.errors import UserError
from any2seg_core.base.units import share_of
from any2seg_core.data.path_patterns import PathPattern
from any2seg_core.files.points import parse_columns

SPLIT, DRIVE, FRAME = "split", "drive", "frame"
"""Placeholders that mean something: the part of the data, what was recorded in one go, one moment of it."""
NUMBER = "number"
"""Place of a frame in the list of its split, see `SplitRule.first`."""

CalibrationKind = Literal[
    "any2seg", "kitti-raw", "kitti-object", "kitti-360", "cityscapes", "stanford", "k-matrix", "camera-info", "kalibr"
]


def _pattern(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return PathPattern(value)
        except UserError as error:
            raise ValueError(str(error)) from None
    return value


Pattern = Annotated[PathPattern, BeforeValidator(_pattern)]


def _words(value: Any) -> Any:
    """One word or a list of them. YAML reads 08 as text, 010 as eight and 00 as zero: numbers are refused."""
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, str) for each in listed):
        raise ValueError('give names, as [a, b], and numbers in quotes, as ["08"]')
    return tuple(listed)


Share = Annotated[float, BeforeValidator(share_of), Field(ge=0, lt=1, allow_inf_nan=False)]
Word = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Columns = Annotated[tuple[str, ...], BeforeValidator(lambda value: _words(str(value) if type(value) is int else value))]


class Part(BaseModel):
    """Of a recipe; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Files(Part):
    """A plain text stands for ``path``."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value


class SensorFiles(Files):
    """Files of one sensor.

    Attributes:
        path: pattern.
        optional: a frame may lack it: then the sensor is missing there.
        nearest_ms: its ``{frame}`` is a time as that of the first sensor, and the file nearest to that is taken, if it
            is no further away; see `Recipe.frame_unit`. 0: both are the same.
        plane: encoding of planes, (H, W, 3) images that somebody made of raw data and that are taken as they are.
        columns, intensity_max: of points, see `read_points`.
        depth_scale, invalid, coding: of depth: whole numbers per metre (floats are metres), stored values that mean
            "unknown" beside 0, and how they are packed: ``sun-rgbd``, ``carla`` (24 bits), or
            ``disparity``: Cityscapes' (value - 1) / depth_scale pixels.
        time_unit, window_ms: of events, see `read_events`; the last so many milliseconds of each file are drawn.
    """

    path: Pattern
    optional: bool = False
    nearest_ms: float = Field(0.0, ge=0, allow_inf_nan=False)
    plane: str = ""
    columns: Columns = ()
    intensity_max: float = Field(0.0, ge=0, allow_inf_nan=False)
    depth_scale: float = Field(1000.0, gt=0, allow_inf_nan=False)
    coding: Literal["linear", "sun-rgbd", "carla", "disparity"] = "linear"
    invalid: tuple[float, ...] = ()
    time_unit: Literal["", "ns", "us", "ms", "s"] = ""
    window_ms: float = Field(0.0, ge=0, le=10_000, allow_inf_nan=False)

    @field_validator("columns")
    @classmethod
    def _readable_columns(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return parse_columns(",".join(names))
        except UserError as error:
            raise ValueError(str(error)) from None


SplitCoding = Literal["ids", "train_ids", "instance_ids", "raw_colours", "scribbles"]
Coding = Literal["ids", "train_ids", "instance_ids", "raw_colours", "scribbles", "instance-colours"]


class LabelFiles(Files):
    """Files of the truth.

    Attributes:
        path: pattern, or one for each split.
        of: sensor whose points the files label (SemanticKITTI's ``.label``, nuScenes' lidarseg ``.bin``); "": images.
        coding: of images, one or one for each split: ``ids`` that the label space calls raw (train ids where it has
            none); ``train_ids``, ``instance_ids``, ``raw_colours``, see `FILE_CODINGS`; ``scribbles``, ScribbleSup's
            XML; ``instance-colours``, Stanford's 24 bits, which are places in the list of ``names``, a JSON file.
        partial: frames without such a file are left out, where labels are wanted.
        unlabelled: what a pixel without a class is: ``ignored`` (255) or ``open`` (254, see `NOT_ANNOTATED`), as
            around scribbles.
    """

    path: Pattern | dict[str, Pattern]
    of: str = ""
    coding: Coding | dict[str, SplitCoding] = "ids"
    names: str = ""
    partial: bool = False
    unlabelled: Literal["ignored", "open"] = "ignored"

    @model_validator(mode="after")
    def _names_where_needed(self) -> LabelFiles:
        if (self.coding == "instance-colours") != bool(self.names):
            raise ValueError("names belongs to coding: instance-colours, which needs it")
        if self.of and self.coding != "ids":
            raise ValueError("coding is of images: leave it or of out")
        return self

    def coding_of(self, split: str) -> str:
        """How a split says its classes."""
        return self.coding.get(split, "ids") if isinstance(self.coding, dict) else self.coding

    def pattern(self, split: str) -> PathPattern | None:
        """Where the labels of a split lie; None where it has none."""
        return self.path.get(split) if isinstance(self.path, dict) else self.path


class CalibrationFiles(Files):
    """Where the sensors are.

    Attributes:
        path: pattern of a file, or of a folder for the kinds that have several; None with hfov_deg.
        kind: any2seg: our own YAML; or whose files they are.
        camera: number or channel of the camera, where a file holds several.
        hfov_deg: instead of files: horizontal field of view of the one camera, which has no distortion.
    """

    path: Pattern | None = None
    kind: CalibrationKind = "any2seg"
    camera: Word = ""
    hfov_deg: float | None = Field(None, gt=0, lt=180)

    @model_validator(mode="after")
    def _one_source(self) -> CalibrationFiles:
        if (self.path is None) == (self.hfov_deg is None):
            raise ValueError("give path, or hfov_deg alone")
        if self.kind.startswith("kitti") and not self.camera.isdecimal() and self.camera:
            raise ValueError(f"camera {self.camera!r}: KITTI's cameras are numbers, as 2")
        return self


class SplitRule(Part):
    """Frames of one split: those that ``where`` and ``listed`` both name, and ``without`` does not.

    Attributes:
        where: placeholder -> values it may have.
        without: placeholder -> values; a frame that has one of each is left out.
        listed: text file of frames, one a line; ``{split}`` in it is the name of the split.
        line: what the first word of a line looks like, with placeholders; the whole line, where this has a space.
        first: value of ``{number}`` in the first line of the list, from which lines count on; None: there is none.
    """

    where: dict[str, Words] = Field(default_factory=dict)
    without: dict[str, Words] = Field(default_factory=dict)
    listed: Pattern | None = None
    line: Pattern = PathPattern("{frame}")
    first: int | None = Field(None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        """Words are values of {split}; a mapping without own keys is ``where``."""
        if not isinstance(value, dict):
            return {"where": {SPLIT: value}}
        return value if set(value) & set(cls.model_fields) else {"where": value}

    @model_validator(mode="after")
    def _counts_in_a_list(self) -> SplitRule:
        if self.first is not None and self.listed is None:
            raise ValueError("first counts the lines of a list: give listed, or leave first out")
        return self


class Shares(Part):
    """Splits by share, drawn from the names; the same files are in the same split on every machine, also when others
    come. ``by``: what is not divided: drive (default where there is such a placeholder), frame, or any placeholder.
    """

    val: Share = 0.0
    test: Share = 0.0
    by: str = ""

    @model_validator(mode="after")
    def _leave_some(self) -> Shares:
        if self.val + self.test >= 1.0:
            raise ValueError("val and test together leave nothing for train")
        return self


class NuscenesTables(Files):
    """Frames by nuScenes' tables instead of by the names of files: the key frames of some cameras.

    Attributes:
        path: folder of the tables, as "v1.0-trainval", or one for each split; ``*`` is allowed, where one folder fits.
        cameras: channels; each gives frames of its own.
    """

    path: Pattern | dict[str, Pattern]
    cameras: Words = ("CAM_FRONT",)


TABLE_VALUES = ("image", "lidar", "lidarseg", DRIVE, "camera", FRAME)
"""Placeholders that `NuscenesTables` fill: files below the root; scene, channel and token of the key frame."""
