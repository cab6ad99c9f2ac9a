"""How people write subsets of sensors: one reading for every command, file, launch argument and node parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from any2seg_core.base.errors import UserError
from any2seg_core.vocabulary.modalities import SHIPPED, VEHICLE, SensorSuite

_EVERYTHING = ("all", "full")
EVERY_SUBSET = "every"
"""In a list of subsets: each of the 2^M - 1 that are possible."""
AUTO_SUBSETS = "auto"
"""In a list of subsets: each of up to five sensors; of more, each sensor alone, all but each, and all: 2 M + 1."""
SUBSETS_HELP = "auto (every one of up to 5 sensors; of more each alone, all but each, all), every, or a list: R,RL,all"
_FEW = 5


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
    possible = suite.canonical(suite.members if within is None else within)
    return suite.canonical(name for text in _texts(sensors, suite) for name in _sensors_of(text, suite, possible))


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
    """Read a list of subsets, as text with commas or as YAML list: ``R,camera+lidar,all``.

    ``every`` is all 2^M - 1, ``auto`` those that are worth it (`AUTO_SUBSETS`). Args and errors as of
    `parse_subset`, for each of them. Returns them as they were given, without repetitions.
    """
    found: list[tuple[str, ...]] = []
    for text in subsets.split(",") if isinstance(subsets, str) else _texts(subsets, suite):
        word, possible = text.strip().casefold(), suite.canonical(within or suite.members)
        if word == EVERY_SUBSET or (word == AUTO_SUBSETS and len(possible) <= _FEW):
            found += suite.all_subsets(possible)
        elif word == AUTO_SUBSETS:
            found += [*combinations(possible, 1), *combinations(possible, len(possible) - 1), possible]
        else:
            found.append(parse_subset(text, suite, within))
    return list(dict.fromkeys(found))


def subsets_with_all(
    subsets: str | Iterable[str], suite: SensorSuite = VEHICLE, within: Sequence[str] | None = None
) -> list[tuple[str, ...]]:
    """As `parse_subsets`, with that of all possible sensors always among them and last."""
    full = suite.canonical(within or suite.members)
    return [*(subset for subset in parse_subsets(subsets, suite, within) if subset != full), full]


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
    for suite in SHIPPED:
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
    title = suite.sensor(name).title
    return suite.letter(name) if title.casefold() == name else f"{suite.letter(name)}, {title}"


def _named(word: str, suite: SensorSuite) -> tuple[str, ...]:
    """What a name, a title or letters stand for; nothing for another word. A letter is no name in capitals."""
    for name in suite.members:
        if word in (name, suite.sensor(name).title):
            return (name,)
    by_letter = tuple(suite.members[suite.letters.index(letter)] for letter in word if letter in suite.letters)
    is_letters = len(by_letter) == len(word)
    if is_letters and len(set(word)) == len(word):
        return by_letter
    for name in suite.members:
        if word.casefold() in (name, suite.sensor(name).title.casefold()):
            return (name,)
    return by_letter if is_letters else ()
