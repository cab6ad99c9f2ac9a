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
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.shipped import shipped_file
from any2seg_core.base.text_files import read_yaml
from any2seg_core.data.kinds import RECIPE_SUFFIXES, is_recipe_name, shipped_recipes
from any2seg_core.data.path_patterns import PathPattern
from any2seg_core.data.recipe_parts import (
    DRIVE,
    FRAME,
    NUMBER,
    SPLIT,
    TABLE_VALUES,
    CalibrationFiles,
    LabelFiles,
    NuscenesTables,
    Part,
    SensorFiles,
    Shares,
    SplitRule,
    Words,
)
from any2seg_core.vocabulary.labels import label_space
from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, POINTS

_KIND_OF_KEY = {
    "columns": POINTS, "intensity_max": POINTS, "depth_scale": DEPTH, "invalid": DEPTH, "coding": DEPTH,
    "time_unit": EVENTS, "window_ms": EVENTS,
}  # fmt: skip


_OF_PYDANTIC = ("literal[", "dict[", "function-")  # parts of its places that are no keys


class Recipe(Part):
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
        frame_unit: of ``{frame}`` where it is a time: ns, us, ms or s.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^\PC+$")
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
    frame_unit: Literal["", "ns", "us", "ms", "s"] = ""
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
    def _by_split(self) -> dict[str, dict[str, Any]]:
        """Key -> what it says of each split, where it does."""
        said: dict[str, Any] = {"tables.path": self.tables and self.tables.path}
        if self.labels is not None:
            said |= {"labels.path": self.labels.path, "labels.coding": self.labels.coding}
        return {key: value for key, value in said.items() if isinstance(value, dict)}

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
        for key, by_split in self._by_split.items():
            strange = [name for name in by_split if name not in self.rules]
            if strange:
                raise ValueError(f"{key}: {strange[0]!r} is none of the splits {', '.join(self.rules)}")
        if self.tables is not None and isinstance(self.tables.path, dict):
            without = [split for split in self.rules if split not in self.tables.path]
            if without:
                raise ValueError(f"tables.path: names no folder for {without[0]}: add it")
        if len({rule.first is None for rule in self.rules.values()}) > 1:
            raise ValueError("splits: first says {number}: give it for every split, or for none")
        timed = [name for name, part in self.sensors.items() if part.nearest_ms]
        if bool(timed) != bool(self.frame_unit):
            raise ValueError("frame_unit and nearest_ms of a sensor belong together: give both or none")
        for name in timed:
            if self.sensors[name].path == self.reference or FRAME not in self.sensors[name].path.names:
                raise ValueError(f"sensors.{name}.nearest_ms: its pattern needs a {{frame}} of its own")
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
    except ValidationError as error:
        raise UserError(f"{path}: {_first(error)}", code_of(error)) from None
    try:
        suite = sensor_suite(recipe.suite)
    except UserError as error:
        raise UserError(f"{path}: suite: {error}", error.code) from None
    try:
        label_space(recipe.label_space)
    except UserError as error:
        raise UserError(f"{path}: label_space: {error}", error.code) from None
    for name, part in recipe.sensors.items():
        _require_effect(path, name, part, suite)
    _require_points(path, recipe, suite)
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
    if part.intensity_max and sensor.value_range:
        raise UserError(
            f"{path}: sensors.{name}.intensity_max: the suite {suite.name} says its range: leave it out",
            "value-conflict",
        )
    if part.plane and part.plane not in sensor.encodings:
        known = ", ".join(sensor.encodings)
        raise UserError(f"{path}: sensors.{name}.plane: {part.plane!r} is none of {known}", "value-unknown")


def _require_points(path: Path, recipe: Recipe, suite: SensorSuite) -> None:
    """UserError for labels of the points of a sensor that has none, and points without a place."""
    if recipe.labels is not None and recipe.labels.of and suite.sensor(recipe.labels.of).kind != POINTS:
        known = ", ".join(suite.of_kind(POINTS)) or "no sensor here"
        raise UserError(f"{path}: labels.of: {recipe.labels.of} has no points; {known} has", "value-conflict")
    if recipe.calibration is not None and recipe.calibration.hfov_deg is not None:
        for name in suite.of_kind(POINTS):
            if name in recipe.sensors and not recipe.sensors[name].plane:
                told = f"does not say where {name} is: give path, a calibration with lidar_to_camera"
                raise UserError(f"{path}: calibration.hfov_deg: {told}", "extrinsics-missing")


def _first(error: ValidationError) -> str:
    """The first mistake: key, and what is wrong."""
    found = error.errors()[0]
    parts = [str(part) for part in found["loc"] if part not in ("str", "constrained-str")]
    key = ".".join(part for part in parts if not part.startswith(_OF_PYDANTIC))
    text = "there is no such key: correct or remove it" if found["type"] == "extra_forbidden" else found["msg"]
    return f"{key}: {text.removeprefix('Value error, ')}".removeprefix(": ")
