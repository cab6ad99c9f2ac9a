"""Recipe of a data set: a YAML that says which files are what (docs/datasets.md). Read by `FolderDataset`.

name: yard
suite: vehicle                      # name of a suite, or a YAML beside this file
label_space: yard-3                 # name of a label space, or a YAML beside this file
splits: {train: training, val: validation}
sensors:                            # the first one says which frames there are
  rgb: "{split}/image/{drive}/{frame}.jpg"
  lidar: {path: "{split}/velodyne/{drive}/{frame}.bin", columns: [x, y, z, intensity, ring], optional: true}
labels: "{split}/label/{drive}/{frame}.png"
calibration: "calib/{drive}.yaml"
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.shipped import shipped_file
from any2seg_core.base.text_files import read_yaml
from any2seg_core.base.units import share_of
from any2seg_core.data.kinds import RECIPE_SUFFIXES, is_recipe_name, shipped_recipes
from any2seg_core.data.path_patterns import PathPattern
from any2seg_core.files.points import parse_columns
from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, POINTS

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
    """One word or a list of them; numbers as YAML reads them are words too, but 08 and 008 must be quoted."""
    listed = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, str) or type(each) is int for each in listed):
        raise ValueError('give names, as [a, b]; put numbers in quotes, as ["08"]')
    return tuple(map(str, listed))


Share = Annotated[float, BeforeValidator(share_of), Field(ge=0, lt=1, allow_inf_nan=False)]
Word = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class _Files(_Part):
    """A plain text stands for ``path``."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value


class SensorFiles(_Files):
    """Files of one sensor.

    Attributes:
        path: pattern.
        optional: a frame may lack it: then the sensor is missing there.
        plane: encoding of planes, (H, W, 3) images that somebody made of raw data and that are taken as they are.
        columns, intensity_max: of points, see `read_points`.
        depth_scale, invalid, coding: of depth: whole numbers per metre (floats are metres), stored values that mean
            "unknown" beside 0, and how they are packed: ``sun-rgbd``, ``carla`` (24 bits), or
            ``disparity``: Cityscapes' (value - 1) / depth_scale pixels.
        time_unit, window_ms: of events, see `read_events`; the last so many milliseconds of each file are drawn.
    """

    path: Pattern
    optional: bool = False
    plane: str = ""
    columns: Words = ()
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
_KIND_OF_KEY = {
    "columns": POINTS, "intensity_max": POINTS, "depth_scale": DEPTH, "invalid": DEPTH, "coding": DEPTH,
    "time_unit": EVENTS, "window_ms": EVENTS,
}  # fmt: skip


class LabelFiles(_Files):
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
    coding: Literal["instance-colours"] | SplitCoding | dict[str, SplitCoding] = "ids"
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


class CalibrationFiles(_Files):
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


class SplitRule(_Part):
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


class Shares(_Part):
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


class NuscenesTables(_Files):
    """Frames by nuScenes' tables instead of by the names of files: the key frames of some cameras.

    Attributes:
        path: folder of the tables, as "v1.0-trainval", or one for each split; ``*`` is allowed, where one folder fits.
        cameras: channels; each gives frames of its own.
    """

    path: Pattern | dict[str, Pattern]
    cameras: Words = ("CAM_FRONT",)


TABLE_VALUES = ("image", "lidar", "lidarseg", DRIVE, "camera", FRAME)
"""Placeholders that `NuscenesTables` fill: files below the root; scene, channel and token of the key frame."""


class Recipe(_Part):
    """Which files of a folder are what.

    Attributes:
        name: of the data set. about: one line for people.
        suite, label_space: name, or path of a YAML, relative to the recipe.
        splits: name -> `SplitRule`. Default: train, val and test, each the value of ``{split}`` of that name.
        share: instead of ``splits``: train and what these shares say.
        tables: where tables say which files belong together; they fill the placeholders of TABLE_VALUES.
        sensors: name in the suite -> files. The first one says which frames there are.
        labels, calibration: None: there are none.
        only: placeholder -> values that it may have; other files are none of this data set's.
        condition: what a frame counts as, with placeholders, as "{weather}/{time}".
    """

    name: str = Field(min_length=1)
    about: str = ""
    suite: str = "vehicle"
    label_space: str
    splits: dict[str, SplitRule] = Field(default_factory=dict)
    share: Shares | None = None
    tables: NuscenesTables | None = None
    sensors: dict[str, SensorFiles] = Field(min_length=1)
    labels: LabelFiles | None = None
    calibration: CalibrationFiles | None = None
    only: dict[str, Words] = Field(default_factory=dict)
    condition: str = ""
    _source: str = PrivateAttr("")

    @property
    def source(self) -> str:
        """Its file, or its name, for messages."""
        return self._source or f"recipe {self.name}"

    @property
    def reference(self) -> PathPattern:
        """The pattern that says which frames there are."""
        return next(iter(self.sensors.values())).path

    @property
    def placeholders(self) -> tuple[str, ...]:
        """What is known of each frame."""
        if self.tables is not None:
            return TABLE_VALUES
        has_number = any(rule.first is not None for rule in self.rules.values())
        return (*self.reference.names, NUMBER) if has_number else self.reference.names

    @property
    def split_names(self) -> tuple[str, ...]:
        """train first where there is one."""
        return tuple(self.rules)

    @property
    def rules(self) -> Mapping[str, SplitRule]:
        """Rule of each split."""
        if self.share is not None:
            drawn = {"val": self.share.val, "test": self.share.test}
            return {"train": SplitRule(), **{name: SplitRule() for name, part in drawn.items() if part}}
        if self.splits:
            return self.splits
        return {name: SplitRule(where={SPLIT: (name,)}) for name in ("train", "val", "test")}

    @property
    def unit(self) -> str:
        """Placeholder whose values are never divided between splits by share."""
        if self.share is not None and self.share.by:
            return self.share.by
        return DRIVE if DRIVE in self.placeholders else FRAME

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        known = set(self.placeholders)
        if self.splits and self.share is not None:
            raise ValueError("splits and share exclude each other: keep one")
        patterns: dict[str, PathPattern | None] = {f"sensors.{name}": part.path for name, part in self.sensors.items()}
        for split, rule in self.rules.items():
            patterns[f"splits.{split}.line"] = rule.line if rule.listed is not None else None
            patterns[f"labels ({split})"] = None if self.labels is None else self.labels.pattern(split)
        patterns["calibration"] = None if self.calibration is None else self.calibration.path
        patterns["condition"] = PathPattern(self.condition) if self.condition else None
        for key, pattern in patterns.items():
            strange = [name for name in (pattern.names if pattern else ()) if name not in known | {SPLIT}]
            if strange:
                first = "tables" if self.tables is not None else f"the first sensor, {next(iter(self.sensors))}"
                raise ValueError(f"{key}: {{{strange[0]}}} is not known by {first}: {', '.join(sorted(known))}")
        chosen = self.rules.values() if self.splits or self.share else ()
        wheres = [where for rule in chosen for where in (rule.where, rule.without)]
        asked = {name for where in (*wheres, self.only) for name in where} | ({self.unit} if self.share else set())
        if asked - known:
            word = min(asked - known)
            raise ValueError(f"{{{word}}} chooses frames and is none of {', '.join(sorted(known))}")
        if not self.splits and self.share is None and SPLIT not in known:
            raise ValueError(f"{{split}} does not occur in {self.reference.text!r}: say splits or share")
        if self.tables is not None and self.calibration is not None:
            raise ValueError("calibration: tables know it of each frame: leave it out")
        if self.labels is not None and self.labels.of and self.labels.of not in self.sensors:
            raise ValueError(f"labels.of: {self.labels.of!r} is none of the sensors {', '.join(self.sensors)}")
        return self


def read_recipe(name_or_path: str | Path) -> Recipe:
    """A shipped recipe by its name, or that of a YAML file.

    Raises:
        UserError: neither, or a recipe with a mistake: file, key and way out.
    """
    word = str(name_or_path)
    if not is_recipe_name(word):
        known = ", ".join(shipped_recipes()) or "none"
        raise UserError(f"recipe {word!r}: known are {known}, or give a YAML file", "value-unknown")
    is_shipped = word in shipped_recipes()
    path = shipped_file("any2seg_core", "data", "recipes", f"{word}.yaml") if is_shipped else Path(name_or_path)
    document = read_yaml(path, "recipe")
    if not isinstance(document, dict):
        raise UserError(f"{path}: is no recipe: give name, label_space and sensors", "file-content")
    for key in ("suite", "label_space"):
        if Path(str(document.get(key, ""))).suffix in RECIPE_SUFFIXES:
            document[key] = str(path.parent / str(document[key]))
    try:
        recipe = Recipe.model_validate(document)
        suite = sensor_suite(recipe.suite)
    except ValidationError as error:
        raise UserError(f"{path}: {_first(error)}", code_of(error)) from None
    except UserError as error:
        raise UserError(f"{path}: suite: {error}", error.code) from None
    for name, part in recipe.sensors.items():
        _require_effect(path, name, part, suite)
    recipe._source = str(path)
    return recipe


def _require_effect(path: Path, name: str, part: SensorFiles, suite: SensorSuite) -> None:
    """UserError for a sensor that the suite does not have, or a key that its kind does not take."""
    if name not in suite.members:
        known = ", ".join(suite.members)
        raise UserError(f"{path}: sensors.{name}: the suite {suite.name} has {known}", "sensor-absent")
    sensor = suite.sensor(name)
    for key, kind in _KIND_OF_KEY.items():
        if key in part.model_fields_set and (kind != sensor.kind or part.plane):
            why = "a plane, which is taken as it is" if part.plane else f"of the kind {sensor.kind}"
            raise UserError(
                f"{path}: sensors.{name}.{key}: is for {kind}, {name} is {why}: leave it out", "value-conflict"
            )
    if part.plane and part.plane not in sensor.encodings:
        known = ", ".join(sensor.encodings)
        raise UserError(f"{path}: sensors.{name}.plane: {part.plane!r} is none of {known}", "value-unknown")


def _first(error: ValidationError) -> str:
    """The first mistake: key, and what is wrong."""
    found = error.errors()[0]
    key = ".".join(str(part) for part in found["loc"] if part not in ("str", "constrained-str"))
    text = "there is no such key: correct or remove it" if found["type"] == "extra_forbidden" else found["msg"]
    return f"{key}: {text.removeprefix('Value error, ')}".removeprefix(": ")
