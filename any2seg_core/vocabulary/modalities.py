"""Sensors and suites of them, which are data: YAML files, shipped ones beside this module (docs/sensors.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from any2seg_core.base.errors import UserError
from any2seg_core.base.text_files import read_yaml
from any2seg_core.vocabulary.sensor import FILE_NAME, IMAGE, Sensor

_MOST_LISTED = 12  # 4095 subsets; each further sensor doubles them


@dataclass(frozen=True)
class SensorSuite:
    """The sensors of a vehicle or a data set.

    Attributes:
        name: for messages and reports.
        sensors: in canonical order: every (B, M) mask, every subset and every table follows it.
        camera: name of the image sensor whose pixel grid is the grid of the labels; default: the first one.

    Raises:
        UserError: no image sensor, a name, letter, title or folder twice, or a camera that is none.

    Examples:
        >>> from any2seg_core import Sensor, SensorSuite
        >>> suite = SensorSuite("yard", (Sensor("front", "F", "image"), Sensor("radar", "R", "points")))
        >>> suite.camera, suite.letters, suite.all_subsets()
        ('front', 'FR', [('front',), ('radar',), ('front', 'radar')])
    """

    name: str
    sensors: tuple[Sensor, ...]
    camera: str = ""

    def __post_init__(self) -> None:
        if not FILE_NAME.fullmatch(self.name):
            raise UserError(f"name is {self.name[:80]!r}: give letters, digits and _ . -", "value-format")
        if not self.of_kind(IMAGE):
            raise UserError("sensors: none is an image; the labels need the grid of a camera: add one", "sensor-none")
        _require_different(self.sensors)
        object.__setattr__(self, "camera", self.camera or self.of_kind(IMAGE)[0])
        if self.camera not in self.of_kind(IMAGE):
            raise UserError(
                f"camera is {self.camera[:80]!r}: choose an image sensor, {', '.join(self.of_kind(IMAGE))}",
                "value-unknown",
            )

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Names in canonical order."""
        return tuple(sensor.name for sensor in self.sensors)

    @cached_property
    def letters(self) -> str:
        """One capital each, in the order of `members`."""
        return "".join(sensor.letter for sensor in self.sensors)

    @cached_property
    def _by_name(self) -> dict[str, Sensor]:
        return {sensor.name: sensor for sensor in self.sensors}

    def sensor(self, name: str) -> Sensor:
        """Look a sensor up; UserError lists those there are."""
        try:
            return self._by_name[name]
        except (KeyError, TypeError):
            raise UserError(
                f"sensor {name!r} is not in the suite {self.name}: it has {', '.join(self.members)}", "sensor-unknown"
            ) from None

    def letter(self, name: str) -> str:
        """Capital of a sensor; UserError as of `sensor`."""
        return self.sensor(name).letter

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Names of the sensors of one of KINDS."""
        return tuple(sensor.name for sensor in self.sensors if sensor.kind == kind)

    def canonical(self, names: Iterable[str]) -> tuple[str, ...]:
        """Sort names into canonical order, without repetitions; UserError for one that is not in the suite."""
        listed = list(names) if isinstance(names, Iterable) else [names]
        if not all(isinstance(name, str) for name in listed):
            raise UserError(f"sensors are {names!r}: give a list of names of {', '.join(self.members)}", "value-type")
        for name in listed:
            self.sensor(name)
        return tuple(name for name in self.members if name in listed)

    def subset_letters(self, names: Iterable[str]) -> str:
        """``("rgb", "lidar") -> "RL"``."""
        return "".join(map(self.letter, self.canonical(names)))

    def all_subsets(self, names: Iterable[str] | None = None) -> list[tuple[str, ...]]:
        """All 2^M - 1 non-empty subsets of `names`, default: of all sensors; singles first, the full set last.

        UserError for more than 12 sensors.
        """
        return all_subsets(self.members if names is None else self.canonical(names))

    def to_document(self) -> dict[str, Any]:
        """What `of_document` reads: of each sensor the keys that differ from their defaults."""
        return {
            "name": self.name,
            "camera": self.camera,
            "sensors": {sensor.name: _document_of(sensor) for sensor in self.sensors},
        }

    @classmethod
    def of_document(cls, document: Any, source: str = "sensor suite") -> SensorSuite:
        """A suite of the content of its YAML file.

        Raises:
            UserError: one line with `source`, the key, what is wrong and the way out.
        """
        table = _mapping(document, source, ("name", "camera", "sensors"))
        if "name" not in table:
            raise UserError(f"{source}: name is missing: give the suite one, as name: my-van", "key-missing")
        entries = table.get("sensors")
        if not isinstance(entries, dict) or not entries:
            raise UserError(
                f"{source}: sensors must be a mapping of a name to what the sensor is, as "
                "front: {kind: image, letter: F}",
                "key-missing" if entries is None else "value-type",
            )
        sensors = tuple(
            _read_sensor(name, entry, f"{source}: sensors.{_shown(name)}") for name, entry in entries.items()
        )
        try:
            return cls(_text(table, "name"), sensors, _text(table, "camera"))
        except UserError as error:
            raise UserError(f"{source}: {error}", error.code) from None


def _require_different(sensors: Sequence[Sensor]) -> None:
    """UserError where two sensors share what must tell them apart."""
    for key in ("name", "letter", "folder", "topic"):
        owners: dict[str, str] = {}
        for sensor in sensors:
            value = getattr(sensor, key)
            if value in owners:
                raise UserError(
                    f"sensors.{sensor.name}: {key} {value} is that of {owners[value]} too: give each sensor its own",
                    "value-twice",
                )
            if value:
                owners[value] = sensor.name
    letters = {sensor.letter for sensor in sensors}
    words: dict[str, str] = {sensor.name: sensor.name for sensor in sensors}
    for sensor in sensors:
        title = sensor.title.casefold()
        is_letters = sensor.title != sensor.letter and set(sensor.title) <= letters
        if is_letters or words.setdefault(title, sensor.name) != sensor.name:
            told = "could be read as letters of sensors" if is_letters else f"means {words[title]} too"
            raise UserError(f"sensors.{sensor.name}: title {sensor.title!r} {told}: choose another", "value-twice")


_SENSOR_KEYS = ("kind", "letter", "title", "format", "range", "channels", "encoding", "folder", "suffix", "topic")


def _document_of(sensor: Sensor) -> dict[str, Any]:
    plain = Sensor(sensor.name, sensor.letter, sensor.kind, sensor.format, value_range=sensor.value_range)
    found: dict[str, Any] = {"kind": sensor.kind, "letter": sensor.letter}
    for entry in fields(Sensor):
        value = getattr(sensor, entry.name)
        if entry.name == "value_range":
            found |= {"range": list(value)} if value else {}
        elif entry.name == "format":
            found |= {"format": value} if value else {}
        elif entry.name != "name" and value != getattr(plain, entry.name):
            found[entry.name] = list(value) if isinstance(value, tuple) else value
    return found


def _read_sensor(name: Any, entry: Any, place: str) -> Sensor:
    table = _mapping(entry, place, _SENSOR_KEYS)
    for key in ("kind", "letter"):
        if key not in table:
            raise UserError(f"{place}: {key} is missing: give it, as {{kind: image, letter: F}}", "key-missing")
    try:
        texts = {key: _text(table, key) for key in table if key not in ("range", "channels")}
        own_range, channels = table.get("range"), table.get("channels", ["", "", ""])
        if own_range is not None:
            if not _is_list(own_range, 2, (int, float)):
                raise UserError("range must be two numbers, as [28000, 32000]", "value-type")
            own_range = (own_range[0], own_range[1])
        if not _is_list(channels, 3, (str,)):
            raise UserError("channels must be the names of three, as [sine, cosine, sine]", "value-type")
        return Sensor(str(name), value_range=own_range, channels=(channels[0], channels[1], channels[2]), **texts)
    except UserError as error:
        raise UserError(f"{place}: {error}", error.code) from None


def _mapping(document: Any, place: str, known: Sequence[str]) -> dict[str, Any]:
    if not isinstance(document, Mapping):
        raise UserError(f"{place}: must be a mapping with the keys {', '.join(known)}", "value-type")
    for key in document:
        if key not in known:
            raise UserError(f"{place}: unknown key {str(key)[:40]!r}; known are {', '.join(known)}", "key-unknown")
    return dict(document)


def _text(table: Mapping[str, Any], key: str, default: str = "") -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        told = "give a text, in quotation marks where YAML reads it otherwise"
        raise UserError(f"{key} is {str(value)[:80]!r}: {told}", "value-type")
    return value


def _shown(name: Any) -> str:
    """A key of a file in one line."""
    text = str(name)[:40]
    return text if text.isprintable() else repr(text)


def _is_list(value: Any, count: int, types: tuple[type, ...]) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(each) in types for each in value)


def _of_file(path: Path) -> SensorSuite:
    return SensorSuite.of_document(read_yaml(path, "sensor suite"), str(path))


def sensor_suite(name_or_path: str | Path) -> SensorSuite:
    """A shipped suite by its name, or one of a YAML file.

    Raises:
        UserError: neither, or a file that is no suite: file, key, what is wrong and the way out.

    Examples:
        >>> from any2seg_core import sensor_suite
        >>> sensor_suite("vehicle").members
        ('rgb', 'depth', 'event', 'lidar')
    """
    name, path = str(name_or_path), Path(name_or_path)
    is_name = len(path.parts) == 1 and not path.suffix and not path.exists()
    return shipped_suite(name) if is_name or name in _shipped_names() else _of_file(path)


def shipped_suite(name: str) -> SensorSuite:
    """A suite that comes with the program, by its name; UserError lists them."""
    for suite in SHIPPED:
        if suite.name == name:
            return suite
    raise UserError(
        f"unknown sensor suite {name[:80]!r}: known are {', '.join(_shipped_names())}; or give a YAML file",
        "value-unknown",
    )


def _shipped_names() -> tuple[str, ...]:
    return tuple(suite.name for suite in SHIPPED)


_FOLDER = Path(__file__).resolve().parent / "suites"
SHIPPED = VEHICLE, MUSES, MCUBES = tuple(_of_file(_FOLDER / f"{name}.yaml") for name in ("vehicle", "muses", "mcubes"))
"""Suites that come with the program."""


def all_subsets(names: Sequence[str] = VEHICLE.members) -> list[tuple[str, ...]]:
    """All 2^M - 1 non-empty subsets of names in canonical order: singles first, the full set last.

    UserError for more than 12 sensors.
    """
    if len(names) > _MOST_LISTED:
        raise UserError(
            f"{len(names)} sensors have {2 ** len(names) - 1} subsets, too many to list: name those that you want",
            "value-range",
        )
    return [subset for size in range(1, len(names) + 1) for subset in combinations(names, size)]
