"""What a user can say about a recording that is read as a data set: in a YAML beside it, or as an option."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from any2seg_core.bags.motion import parse_motion
from any2seg_core.bags.opened import BagOptions
from any2seg_core.bags.reader import ZSTD_SUFFIXES
from any2seg_core.bags.topic_rules import ODOMETRY, TRUTH
from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_yaml
from any2seg_core.data.recording_truth import NO_TRUTH, TruthCoding
from any2seg_core.data.usable_sets import Selection
from any2seg_core.vocabulary.cases import CONDITIONS
from any2seg_core.vocabulary.labels import DELIVER, LabelSpace, is_space_file, label_space
from any2seg_core.vocabulary.modalities import SHIPPED, VEHICLE, SensorSuite, sensor_suite
from any2seg_core.vocabulary.truth_codings import CARLA_VERSION, CODINGS, RIDER, TRAIN_IDS

SETTINGS_FILE = "any2seg.yaml"
"""In the folder of a recording; of a single file drive.mcap it is drive.any2seg.yaml beside it."""

_PATHS = ("rules", "calibration", "params", "planes")


class BagSettings(BaseModel):
    """How a recording becomes frames. Defaults are those of `bag extract`, except that sets may lack sensors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    suite: str = Field(VEHICLE.name, description="sensors: vehicle, muses, mcubes or a YAML file (docs/sensors.md)")
    topics: dict[str, str] = Field({}, description="role: topic, e.g. {rgb: /camera/image_raw, truth: none}")
    rules: Path | None = Field(None, description="YAML with own topic rules, as bags/topics.yaml")
    calibration: Path | None = Field(None, description="calibration YAML; wins over what the recording says")
    params: Path | None = Field(None, description="ROS 2 parameter file with synchroniser settings")
    every: int = Field(1, ge=1, description="take every n-th set")
    min_motion: str = Field("", description="least motion between frames: 0.5m by odometry, 4% of the picture")
    start_s: float = Field(0.0, ge=0, description="seconds after the first message; earlier sets are left out")
    end_s: float | None = Field(None, gt=0, description="later sets are left out")
    val_share: float = Field(0.0, ge=0, lt=1, description="share of the recording, its end, that is the split val")
    label_space: str = Field(DELIVER.name, description="classes of the truth: a shipped label space, or a YAML file")
    truth_coding: str = Field(TRAIN_IDS, description=f"of the truth topic: {', '.join(CODINGS)}")
    carla_version: str = Field(CARLA_VERSION, description="whose tags CARLA's truth has")
    rider: str = Field(RIDER, description="CARLA's riders are: ignore, Pedestrian or TwoWheeler")
    complete: bool = Field(False, description="only sets that have all sensors")
    condition: str = Field("", description=f"{', '.join(CONDITIONS)}; default: what the recording says, else bag")
    keep: bool = Field(False, description="keep the planes on disk whatever the cache, as cache=disk does")
    planes: Path | None = Field(None, description="where they are kept; default: beside the recording")

    @field_validator("condition")
    @classmethod
    def _known_condition(cls, value: str) -> str:
        if value and value not in CONDITIONS:
            raise ValueError(f"expected one of {', '.join(CONDITIONS)}")
        return value

    @field_validator("min_motion")
    @classmethod
    def _readable_motion(cls, value: str) -> str:
        if value:
            try:
                parse_motion(value)
            except UserError as error:
                raise ValueError(str(error)) from None
        return value

    @property
    def sensors(self) -> SensorSuite:
        """The sensors that the recording can have; UserError for a suite that cannot be read."""
        return sensor_suite(self.suite)

    @property
    def space(self) -> LabelSpace:
        """Classes of the truth; UserError for a label space that cannot be read."""
        return label_space(self.label_space)

    def coding(
        self, kind: str = TRAIN_IDS, carla_version: str = CARLA_VERSION, rider: str = RIDER, space: str = ""
    ) -> TruthCoding:
        """How the truth says its classes: what is given, and these settings where that is the default.

        UserError as of `TruthCoding`, and where classes and coding do not belong together.
        """
        coding = TruthCoding(
            self.truth_coding if kind == TRAIN_IDS else kind,
            self.carla_version if carla_version == CARLA_VERSION else carla_version,
            self.rider if rider == RIDER else rider,
            label_space(space) if space else self.space,
        )
        coding.require_effect()
        coding.require_space(coding.space)
        return coding

    def topics_for(self, suite: SensorSuite, given: Sequence[str] = ()) -> list[str]:
        """``role=/topic`` of each topic that is fixed, as `choose_topics` takes them.

        Args:
            suite: whose sensors are wanted; topics of others are left out.
            given: by somebody else, which wins.

        Raises:
            UserError: a sensor that is of another kind in the recording than in the suite.
        """
        for name in suite.members:
            own = self.sensors.sensor(name).kind if name in self.sensors.members else suite.sensor(name).kind
            if own != suite.sensor(name).kind:
                raise UserError(
                    f"sensor {name} is {suite.sensor(name).kind} in the suite {suite.name}, and {own} in the suite "
                    f"{self.sensors.name} of {SETTINGS_FILE}: give a checkpoint of that suite, or correct the file",
                    "checkpoint-mismatch",
                )
        roles = (*suite.members, TRUTH, ODOMETRY)
        said = {pair.partition("=")[0].strip() for pair in given}
        own_topics = {role: topic for role, topic in self.topics.items() if role not in said}
        return [f"{role}={topic}" for role, topic in own_topics.items() if role.partition(".")[0] in roles] + [*given]

    def selection(self) -> Selection:
        """Which sets are wanted."""
        end_s = math.inf if self.end_s is None else self.end_s
        return Selection(self.every, self.min_motion, self.complete, self.start_s, end_s, truth_coding=self.coding())

    def bag_options(
        self, modalities: Sequence[str], labelled: bool, suite: SensorSuite | None = None
    ) -> BagOptions:
        """For `open_bag`; without labels no truth topic is read. suite: other sensors than the recording's own."""
        suite = suite or self.sensors
        pairs = self.topics_for(suite, () if labelled else [f"{TRUTH}={NO_TRUTH}"])
        return BagOptions(pairs, self.rules, self.calibration, self.params, modalities, may_lack=True, suite=suite)

    def facts(self) -> dict[str, Any]:
        """All that decides the frames but the suite, JSON-ready; of files their content."""
        outside = {*_PATHS, "val_share", "condition", "keep", "suite", "label_space"}
        facts = self.model_dump(mode="json", exclude=outside)
        if not self.space.is_same(DELIVER):
            facts["label_space"] = self.space.to_document()
        return facts | {name: _content(getattr(self, name)) for name in _PATHS[:3]}


def read_settings(root: Path, given: BagSettings | Mapping[str, Any] | None = None) -> BagSettings:
    """Settings of a recording: those of the YAML beside it, and over them those that are given.

    Paths in the YAML are relative to it.

    Raises:
        UserError: an unreadable file, an unknown key or a bad value; it names the file and the key.
    """
    path = settings_path(root)
    own = _read_yaml(path) if path.is_file() else {}
    said = given.model_dump(exclude_unset=True) if isinstance(given, BagSettings) else dict(given or {})
    merged = own | said
    if isinstance(own.get("topics"), dict) and isinstance(said.get("topics"), dict):
        merged["topics"] = own["topics"] | said["topics"]
    try:
        settings = BagSettings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        place = "bag" if first["loc"][0] in said else str(path)
        known = f"; known are {', '.join(BagSettings.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{place}: {key}={first['input']!r}: {first['msg']}{known}", code_of(error)) from None
    settings.selection()
    return settings


def settings_path(root: Path) -> Path:
    """Where the YAML of a recording would lie."""
    if root.is_dir():
        return root / SETTINGS_FILE
    name = root.stem if root.suffix in ZSTD_SUFFIXES else root.name
    return root.with_name(f"{Path(name).stem}.{SETTINGS_FILE}")


def _read_yaml(path: Path) -> dict[str, Any]:
    document = read_yaml(path, "file of settings")
    if document is not None and not isinstance(document, dict):
        raise UserError(
            f"{path}: expected 'key: value' lines, known keys are {', '.join(BagSettings.model_fields)}", "file-content"
        )
    settings = document or {}
    if isinstance(settings.get("label_space"), str) and is_space_file(settings["label_space"]):
        settings["label_space"] = str(path.parent / settings["label_space"])
    for name in _PATHS:
        if isinstance(settings.get(name), str):
            settings[name] = str(path.parent / settings[name])
    suite = settings.get("suite")
    if isinstance(suite, str) and suite not in [each.name for each in SHIPPED]:
        settings["suite"] = str(path.parent / suite)
    return settings


def _content(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_bytes().hex()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give another file", "file-unreadable") from None
