"""Which topic of a recording carries which sensor: by type, encoding of the first message, and name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from any2seg_core.bags.reader import BagTopic, Recording
from any2seg_core.bags.topic_notes import topic_notes
from any2seg_core.bags.topic_rules import ODOMETRY, TRUTH, Rule, RulesFile, load_rules, rules_of
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.pictures import picture_head
from any2seg_core.messages.clouds import RADAR_STRENGTHS, STRENGTHS
from any2seg_core.messages.images import is_known_encoding
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS
from any2seg_core.vocabulary.topics import TopicMap, node_camera_infos

COMPRESSED_KIND = "sensor_msgs/msg/CompressedImage"
IMAGE_KINDS = ("sensor_msgs/msg/Image", COMPRESSED_KIND)
CLOUD_KIND, CAMERA_INFO_KIND = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/CameraInfo"
_NO_TOPIC = "none"
_EVENT_STEP = 13  # CARLA's event clouds, whatever their field list says
_INFO_SUFFIX = ".camera_info"
_DEPTH_UNITS = {"16UC1": "millimetres", "32FC1": "metres"}
_SAYS_DEPTH = re.compile(r"depth|stereo|distance|registered|(?<![a-z])(range|tof)(?![a-z])", re.I)
_OF_COLOUR = {"rgb", "rgba"}
_FORMATS = ("jpeg", "jpg", "webp", "tiff")
_READ_FORMATS = (*_FORMATS, "png", "compressedDepth")
_GREY_PNG = {1: "mono8", 2: "mono16"}  # bytes per pixel -> encoding
_ALSO = MappingProxyType({EVENTS: IMAGE_KINDS, TRUTH: (CLOUD_KIND,)})
"""What a topic that is given may be and none is taken for: event pictures, and CARLA's semantic LiDAR as truth."""


@dataclass(frozen=True)
class Peek:
    """What the first message of a topic says; empty where its type has no such field.

    Attributes:
        frame_id: of its header. encoding: of an image, or the first word of a compressed image's format.
        width, height: in pixels. fields: names of a cloud's fields. point_step: bytes per point.
        problem: why the message could not be read, one line.
    """

    frame_id: str = ""
    encoding: str = ""
    width: int = 0
    height: int = 0
    fields: tuple[str, ...] = ()
    point_step: int = 0
    problem: str = ""

    @property
    def layout(self) -> str:
        """Of a cloud: "events", "points" or ""."""
        if self.point_step == _EVENT_STEP or ({"x", "y", "t"} <= set(self.fields) and "z" not in self.fields):
            return "events"
        return "points" if {"x", "y", "z"} <= set(self.fields) else ""


@dataclass(frozen=True)
class TopicChoice:
    """The mapping of one recording.

    Attributes:
        map: role -> topic, as the node and the drive use it.
        peeks: topic -> what its first message says, for every topic that could be a sensor.
        reasons: role -> why this topic, one line. others: role -> topics that could play it too.
        notes: what else a user should know about the topics, one line each.
    """

    map: TopicMap
    peeks: dict[str, Peek]
    reasons: dict[str, str] = field(default_factory=dict)
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def choose_topics(
    bag: Recording, rules_file: Path | None = None, fixed: Sequence[str] = (), suite: SensorSuite = VEHICLE
) -> TopicChoice:
    """Map the topics of a bag to roles.

    Args:
        rules_file: YAML that replaces some of the shipped rules, or fixes topics.
        fixed: ``role=/topic`` each; role is a sensor, ``<sensor>.camera_info``, truth or odometry; the topic ``none``
            leaves a role empty.
        suite: sensors there can be; their own topics count where the bag has them and nobody says otherwise.

    Raises:
        UserError: an unknown role, one that is given twice, a topic that the bag lacks, that has another role too or is
            of another type, a rules file that is wrong.
    """
    own = RulesFile() if rules_file is None else load_rules(rules_file)
    rules = rules_of(suite, own, rules_file)
    given = _fixed_topics({**own.topics, **_parse_fixed(fixed)}, bag, rules, suite)
    by_suite = {sensor.name: sensor.topic for sensor in suite.sensors if sensor.topic in bag.topics}
    wishes = {name: topic for name, topic in by_suite.items() if topic not in given.values()} | given
    peeks = _peek(bag, rules)
    for role, topic in wishes.items():
        if topic:
            _require_kind(role, bag.topics[topic], rules, peeks.get(topic), suite)
    chosen: dict[str, str] = {}
    reasons: dict[str, str] = {}
    others: dict[str, tuple[str, ...]] = {}
    for role, rule in rules.items():
        if role in wishes:
            chosen[role] = wishes[role]
            reasons[role] = "as given" if role in given else f"as the sensor suite {suite.name} says"
            continue
        ranked = _ranked(bag, rule, peeks, taken=set(chosen.values()) | set(wishes.values()))
        if ranked:
            chosen[role], reasons[role] = ranked[0][1], ranked[0][2]
            others[role] = tuple(topic for _, topic, _ in ranked[1:])
    infos = _camera_infos(bag, chosen, wishes, peeks, suite)
    streams = {name: chosen[name] for name in suite.members if chosen.get(name)}
    topic_map = TopicMap(streams, infos, chosen.get(TRUTH, ""), chosen.get(ODOMETRY, ""), suite)
    reasons = {role: why for role, why in reasons.items() if chosen[role]}
    absent = {suite.sensor(name).kind: name for name in reversed(suite.members) if name not in streams}
    notes = (
        *topic_notes(bag.topics, absent),
        *_depth_notes(topic_map, peeks, given), *_cloud_notes(topic_map, peeks, given),
        *_refused_notes(bag, rules, peeks, chosen, suite), *_unread_notes(bag, peeks, absent),
    )  # fmt: skip
    return TopicChoice(topic_map, peeks, reasons, others, notes)


def _depth_notes(topics: TopicMap, peeks: Mapping[str, Peek], given: Mapping[str, str]) -> Iterator[str]:
    """Packed depth is a picture of four channels like any other: only its name says what it is; and numbers of 16 or 32
    bits may be of anything."""
    for name in topics.suite.of_kind(DEPTH):
        topic = topics.streams.get(name, "")
        encoding = peeks.get(topic, Peek()).encoding
        if encoding in ("bgra8", "png") and name not in given and "carla" not in topic.lower():
            kind = "bgra8" if encoding == "bgra8" else "a png of colours"
            way_out = f"if it is a picture: --topic {name}={_NO_TOPIC}"
            yield f"{topic}: {kind}, read as CARLA's packed depth by its name; {way_out}"
        if encoding in _DEPTH_UNITS and name not in given and not _SAYS_DEPTH.search(topic):
            read_as = f"{encoding}, read as depth in {_DEPTH_UNITS[encoding]}"
            yield f"{topic}: {read_as}, though its name says nothing of it; if it is none: --topic {name}={_NO_TOPIC}"


def _cloud_notes(topics: TopicMap, peeks: Mapping[str, Peek], given: Mapping[str, str]) -> Iterator[str]:
    """Stereo cameras and radars send clouds too; their fields tell what the rules by name cannot."""
    for sensor in topics.suite.sensors:
        topic = topics.streams.get(sensor.name, "")
        fields = set(peeks.get(topic, Peek()).fields)
        if sensor.name in given or sensor.kind != POINTS or sensor.value_range or fields & set(STRENGTHS):
            continue
        other = "a depth camera" if fields & _OF_COLOUR else "a radar" if fields & set(RADAR_STRENGTHS) else ""
        if other:
            told = ", ".join(sorted(fields & {*_OF_COLOUR, *RADAR_STRENGTHS}))
            way_out = f"if so: --topic {sensor.name}={_NO_TOPIC}"
            yield f"{topic}: points with {told} and no intensity, as of {other}, read as {sensor.name}; {way_out}"


def _refused_notes(
    bag: Recording, rules: Mapping[str, Rule], peeks: Mapping[str, Peek], chosen: Mapping[str, str], suite: SensorSuite
) -> Iterator[str]:
    """Topics that could be a sensor for which none was found, but for their name: of a node, it may be."""
    for role in suite.members:
        for name, topic in bag.topics.items() if role not in chosen else ():
            word = next((found[0] for each in rules[role].never if (found := re.search(each, name, re.I))), "")
            why = "its name does not say so" if rules[role].names else f"its name says {word!r}"
            any_name = rules[role].model_copy(update={"never": (), "names": ()})
            is_told = bool(word or rules[role].names)
            if is_told and name not in chosen.values() and _fits(topic, any_name, peeks.get(name)):
                yield f"{name}: not taken for {role}, because {why}; if it is: --topic {role}={name}"


def _unread_notes(bag: Recording, peeks: Mapping[str, Peek], absent: Mapping[str, str]) -> Iterator[str]:
    """Pictures in a layout that nothing here reads, where there is no camera; `absent`: kind -> sensor."""
    for name, topic in bag.topics.items() if IMAGE in absent else ():
        encoding = peeks.get(name, Peek()).encoding
        is_read = encoding in _READ_FORMATS or is_known_encoding(encoding)
        if topic.kind in IMAGE_KINDS and encoding and not is_read:
            what, way_out = ("encoding", "rgb8") if topic.kind != COMPRESSED_KIND else ("format", "jpeg")
            yield (
                f"{name}: images of {what} {encoding[:40]!r} are not read, so there is no {absent[IMAGE]}: set its "
                f"driver to {way_out}, or republish it so and record that"
            )


def _parse_fixed(pairs: Sequence[str]) -> dict[str, str]:
    wishes: dict[str, str] = {}
    for pair in pairs:
        role, equals, topic = pair.partition("=")
        if not equals or not role or not topic:
            raise UserError(
                f"--topic {pair!r}: write role=/topic, for example rgb=/camera/image_raw or depth=none", "value-format"
            )
        if role.strip() in wishes:
            raise UserError(
                f"--topic {pair!r}: {role.strip()} is {wishes[role.strip()]} already; give one of them", "value-twice"
            )
        wishes[role.strip()] = topic.strip()
    return wishes


def _fixed_topics(
    wishes: Mapping[str, str], bag: Recording, rules: Mapping[str, Rule], suite: SensorSuite
) -> dict[str, str]:
    roles = (*suite.members, *(name + _INFO_SUFFIX for name in node_camera_infos(suite)), TRUTH, ODOMETRY)
    fixed: dict[str, str] = {}
    for role, topic in wishes.items():
        if role not in roles:
            raise UserError(f"topic of {role!r}: no such role; known are {', '.join(roles)}", "value-unknown")
        if topic != _NO_TOPIC and topic not in bag.topics:
            fitting = [name for name, found in bag.topics.items() if found.kind in _kinds(role, rules, suite)]
            near = [name for name in fitting if topic.strip("/") in name] or fitting or list(bag.topics)
            nor = ", nor is there such a folder" if role == TRUTH else ""
            raise UserError(
                f"topic of {role}: {bag.path} has no {topic}{nor}; it has {', '.join(near[:5]) or 'no topics'}"
                f"{' ...' if len(near) > 5 else ''}",
                "bag-topic-missing",
            )
        others = [each for each, taken in fixed.items() if taken == topic]
        if others and not role.endswith(_INFO_SUFFIX):  # a registered depth image shares the camera's camera_info
            raise UserError(
                f"topic of {role}: {topic} is that of {others[0]}; give another, or {_NO_TOPIC}", "value-twice"
            )
        fixed[role] = "" if topic == _NO_TOPIC else topic
    return fixed


def _kinds(role: str, rules: Mapping[str, Rule], suite: SensorSuite) -> tuple[str, ...]:
    """Types of the topics that can be given for a role."""
    if role.endswith(_INFO_SUFFIX):
        return (CAMERA_INFO_KIND,)
    also = suite.sensor(role).kind if role in suite.members else role
    return (*(rules[role].types if role in rules else ()), *_ALSO.get(also, ()))


def _require_kind(
    role: str, topic: BagTopic, rules: Mapping[str, Rule], peek: Peek | None, suite: SensorSuite
) -> None:
    """UserError for a topic that was given and cannot play its role, by its type or by the fields of its clouds."""
    kinds, layout = _kinds(role, rules, suite), rules[role].layout if role in rules else ""
    if topic.kind not in kinds:
        raise UserError(
            f"topic of {role}: {topic.name} is {topic.kind}, expected {' or '.join(kinds)}; give another",
            "bag-topic-type",
        )
    if topic.kind == CLOUD_KIND and layout and peek is not None and not peek.problem:
        is_fitting = {"x", "y", "z"} <= set(peek.fields) if layout == "points" else peek.layout == layout
        if not is_fitting:
            wanted = "x, y, z" if layout == "points" else "x, y, t and no z"
            raise UserError(
                f"topic of {role}: the points of {topic.name} have the fields {', '.join(peek.fields)}, expected "
                f"{wanted}; give another",
                "bag-topic-type",
            )


def _peek(bag: Recording, rules: Mapping[str, Rule]) -> dict[str, Peek]:
    """First message of every topic that some rule or a camera_info could want."""
    kinds = {kind for rule in rules.values() for kind in rule.types} | {CAMERA_INFO_KIND}
    wanted = {name for name, topic in bag.topics.items() if topic.kind in kinds and topic.count and not topic.problem}
    peeks: dict[str, Peek] = {}
    for message in bag.messages(wanted) if wanted else ():
        if message.topic not in peeks or peeks[message.topic].problem:
            try:
                peeks[message.topic] = _look_at(message.value)
            except (MessageError, AttributeError, TypeError, ValueError) as error:
                peeks[message.topic] = Peek(problem=str(error))
            if len(peeks) == len(wanted) and not any(peek.problem for peek in peeks.values()):
                break
    return peeks


def _look_at(message: Any) -> Peek:
    is_compressed = hasattr(message, "format")
    return Peek(
        frame_id=str(message.header.frame_id).lstrip("/"),
        encoding=_compressed_encoding(message) if is_compressed else str(getattr(message, "encoding", "")),
        width=int(getattr(message, "width", 0)),
        height=int(getattr(message, "height", 0)),
        fields=tuple(str(entry.name) for entry in getattr(message, "fields", ())),
        point_step=int(getattr(message, "point_step", 0)),
    )


def _compressed_encoding(message: Any) -> str:
    """image_transport writes "bgr8; jpeg compressed bgr8", others plain "jpeg"; what it was made from says more.

    A plain "png" may be depth or colours, and writers fill in what they like ("JPEG", "image/png", nothing): the head
    of the picture says which.
    """
    words = re.split(r"[;\s]+", str(message.format).strip())
    if "compressedDepth" in words:
        return "compressedDepth"
    if words[0] in _FORMATS or is_known_encoding(words[0]):
        return words[0]
    with suppress(MessageError):
        head = picture_head(message.data)
        return _GREY_PNG.get(head.pixel_bytes, head.kind) if head.kind == "png" else head.kind
    return words[0]


def _ranked(
    bag: Recording, rule: Rule, peeks: Mapping[str, Peek], taken: set[str]
) -> list[tuple[tuple[int, bool, int, str], str, str]]:
    """(rank, topic, why), best first."""
    ranked = []
    for name, topic in bag.topics.items():
        if name in taken or not _fits(topic, rule, peeks.get(name)):
            continue
        place = next((k for k, pattern in enumerate(rule.prefer) if re.search(pattern, name, re.I)), len(rule.prefer))
        has_info = topic.kind in IMAGE_KINDS and _sibling_info(bag, name) is not None
        why = f"name matches {rule.prefer[place]!r}" if place < len(rule.prefer) else "by its type"
        detail = f"{topic.kind.rpartition('/')[2]} {peeks[name].encoding}".strip() if name in peeks else topic.kind
        ranked.append(((place, not has_info, -topic.count, name), name, f"{detail}; {why}; {topic.count} messages"))
    return sorted(ranked)


def _fits(topic: BagTopic, rule: Rule, peek: Peek | None) -> bool:
    if topic.kind not in rule.types or not topic.count or topic.problem or (peek is not None and peek.problem):
        return False
    if any(re.search(pattern, topic.name, re.I) for pattern in rule.never):
        return False
    if rule.names and not any(re.search(pattern, topic.name, re.I) for pattern in rule.names):
        return False
    if topic.kind == CLOUD_KIND and rule.layout:
        return peek is not None and peek.layout == rule.layout
    if topic.kind in IMAGE_KINDS and rule.encodings:
        if peek is None or peek.encoding not in rule.encodings:
            return False
        needed = rule.needs.get(peek.encoding, "")
        return not needed or re.search(needed, topic.name, re.I) is not None
    return True


def _camera_infos(
    bag: Recording, chosen: Mapping[str, str], wishes: Mapping[str, str], peeks: Mapping[str, Peek], suite: SensorSuite
) -> dict[str, str]:
    """Sensor -> its camera_info: the sibling topic, else the one of the same frame."""
    infos = {name: topic for name, topic in bag.topics.items() if topic.kind == CAMERA_INFO_KIND and topic.count}
    found: dict[str, str] = {}
    for name in node_camera_infos(suite):
        role = name + _INFO_SUFFIX
        if role in wishes:
            found[name] = wishes[role]
        elif chosen.get(name):
            frame = peeks.get(chosen[name], Peek()).frame_id
            same = [info for info in infos if frame and peeks.get(info, Peek()).frame_id == frame]
            found[name] = _sibling_info(bag, chosen[name]) or (same[0] if len(same) == 1 else "")
    camera = suite.camera
    left = [info for info in infos if info not in found.values()]
    if not found.get(camera) and not chosen.get(camera) and camera + _INFO_SUFFIX not in wishes and len(left) == 1:
        found[camera] = left[0]  # a recording without pictures still knows its camera plane
    return {name: info for name, info in found.items() if info}


def _sibling_info(bag: Recording, topic: str) -> str | None:
    """image_transport's rule: camera_info beside the image, one level higher for ``image/compressed``."""
    image = topic if not topic.endswith(("/compressed", "/compressedDepth")) else posixpath.dirname(topic)
    for candidate in (f"{posixpath.dirname(image)}/camera_info", f"{image}/camera_info"):
        known = bag.topics.get(candidate)
        if known is not None and known.kind == CAMERA_INFO_KIND and known.count:
            return candidate
    return None
