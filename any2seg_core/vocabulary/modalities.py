"""Modalities and the sets that vehicles and data sets have of them. The only place that lists modality strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from any2seg_core.base.errors import UserError


@dataclass(frozen=True)
class Modality:
    """One kind of sensor.

    Attributes:
        name: key in every dict of images, samples and streams.
        letter: its capital in the first set that has it (RDEL for the vehicle); see `SensorSuite` for the others.
        title: for tables and pictures.
        channels: meaning of the three channels of a plane, in order.
        encodings: versions of the plane encoding that this program knows; the first is what `SensorRig` makes of raw
            data (or the reader, where a modality exists in files alone).
        folder: DELIVER folder that holds the planes; empty where DELIVER has no such sensor.
        suffix: DELIVER file suffix, ``<frame>_<suffix>_front.png``.
    """

    name: str
    letter: str
    title: str
    channels: tuple[str, str, str]
    encodings: tuple[str, ...]
    folder: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class SensorSuite:
    """The sensors of a vehicle or a data set, with the letters that its papers give them.

    Attributes:
        name: "vehicle", "muses" or "mcubes".
        members: modality names in canonical order.
        letters: one capital each, in the order of ``members``; letters of different sets may clash.
    """

    name: str
    members: tuple[str, ...]
    letters: str

    def letter(self, name: str) -> str:
        """Capital of a modality in this set; UserError for one that is not in it."""
        if name not in self.members:
            raise UserError(
                f"modality {name!r} is not in the set {self.name}: it has {', '.join(self.members)}", "sensor-absent"
            )
        return self.letters[self.members.index(name)]


_ALL = (
    Modality("rgb", "R", "camera", ("red", "green", "blue"), ("rgb8", "linear16-1"), "img", "rgb"),
    Modality(
        "depth",
        "D",
        "depth",
        ("inverse depth", "height over camera", "angle to gravity"),
        ("hha-1", "deliver-hha"),
        "hha",
        "depth",
    ),
    Modality(
        "event",
        "E",
        "event",
        ("positive count", "negative count", "recency"),
        ("counts-recency-1", "deliver-event", "muses-sdk-counts-1", "muses-hkust-1"),
        "event",
        "event",
    ),
    Modality(
        "lidar",
        "L",
        "LiDAR",
        ("inverse range", "intensity", "height over camera"),
        ("range-intensity-height-1", "deliver-lidar", "muses-sdk-range-1", "muses-hkust-1"),
        "lidar",
        "lidar",
    ),
    Modality("aolp", "A", "angle of polarisation", ("sine", "cosine", "sine"), ("sin-cos-sin-1",)),
    Modality("dolp", "D", "degree of polarisation", ("degree", "degree", "degree"), ("degree-1",)),
    Modality("nir", "N", "near infrared", ("intensity", "intensity", "intensity"), ("nir-1",)),
)
_BY_NAME = {m.name: m for m in _ALL}

KNOWN: tuple[str, ...] = tuple(m.name for m in _ALL)
"""All modalities in canonical order. Every (B, M) mask and every subset follows it."""

VEHICLE = SensorSuite("vehicle", KNOWN[:4], "".join(m.letter for m in _ALL[:4]))
MUSES = SensorSuite("muses", ("rgb", "event", "lidar"), "FEL")
MCUBES = SensorSuite("mcubes", ("rgb", "aolp", "dolp", "nir"), "IADN")
_SETS = (VEHICLE, MUSES, MCUBES)

MODALITIES: tuple[str, ...] = VEHICLE.members
"""The four modalities of the vehicle: what the node, the rig and the simulated drive have."""

RGB, DEPTH, EVENT, LIDAR = MODALITIES

WINDOWED = (EVENT,)
"""Modalities of which all messages that reach into the event window count, not only the nearest."""

SPARSE = (EVENT, LIDAR)
"""Planes that must not be averaged when resized: a mean of a point and "nothing" is a point at a wrong range."""


_EVERYTHING = ("all", "full")
EVERY_SUBSET = "every"
"""In a list of subsets: each of the 2^M - 1 that are possible."""


def modality(name: str) -> Modality:
    """Look a modality up by name; UserError lists the known ones."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UserError(f"unknown modality {name!r}: known are {', '.join(KNOWN)}", "sensor-unknown") from None


def modality_set(name: str) -> SensorSuite:
    """Look a set up by name; UserError lists the known ones."""
    for entry in _SETS:
        if entry.name == name:
            return entry
    raise UserError(
        f"unknown set of modalities {name!r}: known are {', '.join(entry.name for entry in _SETS)}", "value-unknown"
    )


def set_of(names: Iterable[str]) -> SensorSuite:
    """The set that lends its letters to these modalities: the first one that has all of them (the vehicle's, if any).

    UserError for a mixture that no set has: its subsets would have no letters.
    """
    wanted = canonical(names)
    for entry in _SETS:
        if set(wanted) <= set(entry.members):
            return entry
    known = "; ".join(f"{entry.name}: {', '.join(entry.members)}" for entry in _SETS)
    raise UserError(f"no data set has {', '.join(wanted)} together: known sets are {known}", "sensor-absent")


def canonical(names: Iterable[str], within: Sequence[str] = KNOWN) -> tuple[str, ...]:
    """Sort names into canonical order, without repetitions; UserError for an unknown name or one not ``within``."""
    listed = list(names) if isinstance(names, Iterable) else [names]
    if not all(isinstance(name, str) for name in listed):
        raise UserError(f"modalities are {names!r}: give a list of names of {', '.join(within)}", "value-type")
    wanted = {modality(name).name for name in listed}
    strange = sorted(wanted - set(within))
    if strange:
        raise UserError(
            f"modality {strange[0]!r} does not exist here: possible are {', '.join(within)}", "sensor-absent"
        )
    return tuple(name for name in KNOWN if name in wanted)


def parse_subset(
    sensors: str | Iterable[str], suite: SensorSuite = VEHICLE, within: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Read one subset of the sensors: the same words in every command, file, launch argument and node parameter.

    ``camera``, ``rgb`` or ``R`` is one sensor, ``RL`` or ``camera+lidar`` are several, ``all`` (or ``full``) is every
    possible one. Names and titles in any case, letters in capitals.

    Args:
        sensors: such a text; or a list of them, as YAML has it, which together are one subset.
        suite: whose letters, and which sensors there can be.
        within: which of them are possible here; None: all of the suite.

    Returns:
        Names in canonical order; none for an empty list alone.

    Raises:
        UserError: an unknown or impossible sensor, nothing at all, or a comma, which separates subsets.
    """
    possible = canonical(suite.members if within is None else within)
    return canonical(name for text in _texts(sensors, suite) for name in _sensors_of(text, suite, possible))


def parse_suite(
    sensors: str | Iterable[str], suite: SensorSuite = VEHICLE, within: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Read the sensors that somebody has or wants: one subset, in which a comma joins as in a list.

    For places that take no list of subsets: ``rgb,lidar`` is what ``camera+lidar`` and ``[rgb, lidar]`` are. Arguments,
    result and errors as of `parse_subset`.
    """
    return parse_subset([part for text in _texts(sensors, suite) for part in text.split(",")], suite, within)


def parse_subsets(
    subsets: str | Iterable[str], suite: SensorSuite = VEHICLE, within: Sequence[str] | None = None
) -> list[tuple[str, ...]]:
    """Read a list of subsets, as text with commas or as YAML list: ``R,camera+lidar,all``; ``every`` is all 2^M - 1.

    Args and errors as of `parse_subset`, for each of them. Returns them as they were given, without repetitions.
    """
    found: list[tuple[str, ...]] = []
    for text in subsets.split(",") if isinstance(subsets, str) else _texts(subsets, suite):
        is_every = text.strip().casefold() == EVERY_SUBSET
        found += all_subsets(within or suite.members) if is_every else [parse_subset(text, suite, within)]
    return list(dict.fromkeys(found))


def parse_order(sensors: str | Iterable[str], suite: SensorSuite = VEHICLE) -> tuple[str, ...]:
    """Read sensors in an order of preference: a list of subsets (`parse_subsets`) of one sensor each."""
    texts = sensors.split(",") if isinstance(sensors, str) else _texts(sensors, suite)
    subsets = [parse_subset(text, suite) for text in texts]
    for number, names in enumerate(subsets):
        if names in subsets[:number]:
            raise UserError(
                f"{'+'.join(names)} is there twice: list each sensor once, as {_listed(suite)}", "value-twice"
            )
        if len(names) != 1:
            raise UserError(
                f"{'+'.join(names)} has no order: list one sensor after the other, as {_listed(suite)}", "value-format"
            )
    return tuple(name for (name,) in subsets)


def settled_subset(sensors: str | Iterable[str]) -> str | tuple[str, ...]:
    """Names of a subset that is the same in every data set that has it; what needs a data set stays as it is.

    A comma joins, see `parse_suite`. UserError where no data set can read it.
    """
    texts = tuple(_texts(sensors, VEHICLE))
    readings: set[tuple[str, ...]] = set()
    refusals: list[UserError] = []
    for suite in _SETS:
        try:
            readings.add(parse_suite(texts, suite))
        except UserError as error:
            refusals.append(error)
    if not readings:
        raise refusals[0]
    has_letters = any(part.strip().isupper() for text in texts for part in text.replace(",", "+").split("+"))
    if not has_letters and len(readings) == 1:
        return readings.pop()
    return sensors if isinstance(sensors, str) else texts


def _listed(suite: SensorSuite) -> str:
    return f"[{', '.join(suite.members)}]"


def _texts(sensors: Iterable[str], suite: SensorSuite) -> list[str]:
    texts = [sensors] if isinstance(sensors, str) or not isinstance(sensors, Iterable) else list(sensors)
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"sensors are {sensors!r}: give a list of names of {', '.join(suite.members)}", "value-type")
    return texts


def _sensors_of(text: str, suite: SensorSuite, possible: Sequence[str]) -> Iterator[str]:
    names = (suite.members[0], suite.members[-1])
    way_out = f"one subset is written {'+'.join(names)} or {''.join(map(suite.letter, names))}"
    if "," in text:
        raise UserError(f"{text.strip()!r}: a comma separates subsets; {way_out}", "value-format")
    known = ", ".join(f"{name} ({_other_words(name, suite)})" for name in possible)
    for word in (part.strip() for part in text.split("+")):
        if word.casefold() in _EVERYTHING:
            yield from possible
            continue
        found = _named(word, suite)
        if not found:
            raise UserError(f"unknown sensor {word!r}: possible are {known}, all; {way_out}", "sensor-unknown")
        absent = [name for name in found if name not in possible]
        if absent:
            raise UserError(f"{absent[0]} is not possible here: possible are {known}, all", "sensor-absent")
        yield from found


def _other_words(name: str, suite: SensorSuite) -> str:
    title = modality(name).title
    return suite.letter(name) if title.casefold() == name else f"{suite.letter(name)}, {title}"


def _named(word: str, suite: SensorSuite) -> tuple[str, ...]:
    """What a name, a title or letters stand for; nothing for another word."""
    for name in suite.members:
        if word.casefold() in (name, modality(name).title.casefold()):
            return (name,)
    if set(word) <= set(suite.letters):
        return tuple(suite.members[suite.letters.index(letter)] for letter in word)
    return ()


def all_subsets(names: Sequence[str] = MODALITIES) -> list[tuple[str, ...]]:
    """All 2^M - 1 non-empty subsets, singles first, the full set last."""
    names = canonical(names)
    return [subset for size in range(1, len(names) + 1) for subset in combinations(names, size)]


def subset_letters(names: Iterable[str], suite: SensorSuite | None = None) -> str:
    """``("rgb", "lidar") -> "RL"``; ``suite`` says whose letters, default: those of ``set_of(names)``."""
    names = canonical(names)
    return "".join(map((suite or set_of(names)).letter, names))
