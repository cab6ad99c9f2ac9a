"""Rules that say which topic of a recording a sensor may be: shipped ones, a user's own, those for other sensors."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.shipped import shipped_file
from any2seg_core.base.text_files import read_yaml
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import THERMAL8, THERMAL16, Sensor

RULES_FILE = shipped_file("any2seg_core.bags", "topics.yaml")

TRUTH, ODOMETRY = "truth", "odometry"
"""Roles that are no sensors."""

_OF_KIND = MappingProxyType({sensor.kind: sensor.name for sensor in VEHICLE.sensors})
"""Kind -> role of the shipped rules that is of it."""
_COUNTS = MappingProxyType({THERMAL8: ("mono8", "8UC1"), THERMAL16: ("mono16", "16UC1")})


class Rule(BaseModel):
    """What a topic must look like to play one role; `topics.yaml` explains the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    types: tuple[str, ...]
    encodings: tuple[str, ...] = ()
    layout: str = Field("", pattern="^(points|events)?$")
    needs: dict[str, str] = {}
    names: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()


class RulesFile(BaseModel):
    """Roles with their rules, and topics that are fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    roles: dict[str, Rule] = {}
    topics: dict[str, str] = {}


def load_rules(path: Path) -> RulesFile:
    """Rules of a YAML file; UserError names the file and what is wrong in it."""
    document = read_yaml(path, "file of topic rules")
    try:
        rules = RulesFile.model_validate({} if document is None else document)
        for rule in rules.roles.values():
            for pattern in (*rule.names, *rule.never, *rule.prefer, *rule.needs.values()):
                re.compile(pattern)
        return rules
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {first['msg']}" if where else "is no mapping with roles or topics"
        raise UserError(f"{path}: {problem}; see the comments in bags/topics.yaml", code_of(error)) from None
    except (re.error, RecursionError, OverflowError) as error:
        problem = " ".join(str(error).split())
        raise UserError(
            f"{path}: a pattern cannot be parsed ({problem}); see bags/topics.yaml", "file-content"
        ) from None


def rules_of(suite: SensorSuite, own: RulesFile, source: Path | None) -> dict[str, Rule]:
    """Role -> rule for every sensor of a suite, truth and odometry, in the order in which they choose.

    Sensors of the vehicle have the shipped rules. For another one the topic has its name, as a whole word, and is what
    the shipped rule of its kind takes; the only one of its kind may have any name. Who needs its name chooses first.

    Args:
        own: replaces rules. source: where it is from.

    Raises:
        UserError: a rule for a role that there is not.
    """
    shipped = load_rules(RULES_FILE).roles
    others = [sensor for sensor in suite.sensors if not _has_shipped_rule(sensor)]
    alone = [sensor for sensor in others if len(suite.of_kind(sensor.kind)) == 1]
    rules = {sensor.name: _named_rule(shipped[_OF_KIND[sensor.kind]], sensor) for sensor in others
             if sensor not in alone}  # fmt: skip
    rules |= {sensor.name: _only_rule(shipped[_OF_KIND[sensor.kind]], sensor) for sensor in alone}
    rules |= {role: rule for role, rule in shipped.items()
              if role in suite.members or role not in VEHICLE.members}  # fmt: skip
    unknown = [role for role in own.roles if role not in rules]
    if unknown:
        raise UserError(f"{source}: unknown role {unknown[0]!r}: known are {', '.join(rules)}", "key-unknown")
    return rules | own.roles


def _has_shipped_rule(sensor: Sensor) -> bool:
    known = VEHICLE.sensor(sensor.name) if sensor.name in VEHICLE.members else None
    return known is not None and (known.kind, known.format) == (sensor.kind, sensor.format)


def _only_rule(rule: Rule, sensor: Sensor) -> Rule:
    """For the only sensor of its kind: what the kind's rule takes, in a topic of any name, best of its own."""
    own = _own_names(sensor)
    words = f"{sensor.name} {sensor.title}"
    never = tuple(pattern for pattern in rule.never if not re.search(pattern, words, re.I))
    changes: dict[str, Any] = {"never": never, "prefer": (*own, *rule.prefer)}
    encodings = _COUNTS.get(sensor.format)
    if encodings is not None:
        changes |= {"encodings": (*encodings, *rule.encodings), "needs": {}}
    return rule.model_copy(update=changes)


def _named_rule(rule: Rule, sensor: Sensor) -> Rule:
    return _only_rule(rule, sensor).model_copy(update={"names": _own_names(sensor), "needs": {}})


def _own_names(sensor: Sensor) -> tuple[str, ...]:
    """Patterns of a topic that says which sensor it is: its name, or its title, as a whole word."""
    words = dict.fromkeys((sensor.name, re.sub(r"\W+", "_", sensor.title.strip()).strip("_").lower()))
    return tuple(rf"(^|[/_]){re.escape(word)}([/_]|$)" for word in words)
