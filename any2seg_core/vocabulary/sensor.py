"""One sensor of a suite: what kind it is of, and what its planes mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from any2seg_core.base.errors import UserError

KINDS = IMAGE, DEPTH, POINTS, EVENTS = ("image", "depth", "points", "events")
"""What a sensor measures, and so how its messages become a plane."""

FORMATS = COLOUR, GREY, THERMAL8, THERMAL16, PLANE = ("colour", "grey", "thermal8", "thermal16", "plane")
"""What an image holds. ``plane``: three channels of 8 bit that are taken as they are."""


class _Plane(NamedTuple):
    """Meaning of the three channels of a plane, and the versions of its encoding that this program knows.

    The first version is the one that `SensorRig` makes of raw data; the others come from data sets.
    """

    channels: tuple[str, str, str]
    encodings: tuple[str, ...]


_THERMAL = _Plane(("temperature", "temperature", "temperature"), ("range8-1",))
_PLANES = {
    (IMAGE, COLOUR): _Plane(("red", "green", "blue"), ("rgb8", "linear16-1")),
    (IMAGE, GREY): _Plane(("intensity", "intensity", "intensity"), ("grey8-1",)),
    (IMAGE, THERMAL8): _THERMAL,
    (IMAGE, THERMAL16): _THERMAL,
    (IMAGE, PLANE): _Plane(("first", "second", "third"), ("plane-1",)),
    (DEPTH, ""): _Plane(("inverse depth", "height over camera", "angle to gravity"), ("hha-1", "deliver-hha")),
    (POINTS, ""): _Plane(
        ("inverse range", "intensity", "height over camera"),
        ("range-intensity-height-1", "deliver-lidar", "muses-sdk-range-1", "muses-hkust-1"),
    ),
    (EVENTS, ""): _Plane(
        ("positive count", "negative count", "recency"),
        ("counts-recency-1", "deliver-event", "muses-sdk-counts-1", "muses-hkust-1"),
    ),
}
_NEAREST_SHARE, _NEAREST = 1e-6, 1e-30
_WIDEST_RANGES = {THERMAL8: (0.0, 255.0), THERMAL16: (0.0, 65535.0), "": (-1e9, 1e9)}
_NAME = re.compile(r"[a-z](_?[a-z0-9])*")
_WORDS = ("all", "full", "every", "auto", "none")  # in lists of subsets and topics
_RESERVED = (*_WORDS, "truth", "odometry", "semantic", "health")
_RESERVED_FOLDERS = ("semantic", "depth")  # labels, and depth in metres, of DELIVER's layout
_LONGEST_NAME = 40
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_TITLE = re.compile(r"[^\W_][\w .()/-]{0,59}")
_TOPIC = re.compile(r"(?!.*__)(?=.{1,255}$)(/|~/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class Sensor:
    """One named sensor.

    Attributes:
        name: key in every dict of images, samples and streams, part of topics and parameters.
        letter: its capital in the names of subsets.
        kind: one of KINDS. format: one of FORMATS for an image, "" for the other kinds.
        title: for tables and pictures; default: the name.
        value_range: raw value that becomes 0 and the one that becomes 1: of thermal images in counts, of points that of
            their intensity, in its unit; None: 0..255 of thermal8, found per stream for points.
        channels: meaning of the three channels of a plane; an own one for planes only.
        encoding: version of the encoding of planes that are taken as they are; "" for all others.
        folder, suffix: in DELIVER's layout, ``<folder>/.../<frame>_<suffix>_front.png``; default: the name.
        topic: where its messages come from unless somebody says otherwise, or "".

    Raises:
        UserError: a value that does not fit, in one line that begins with the key.

    Examples:
        >>> from any2seg_core import Sensor
        >>> Sensor("thermal", "T", "image", "thermal16", value_range=(28000, 32000)).channels
        ('temperature', 'temperature', 'temperature')
    """

    name: str
    letter: str
    kind: str
    format: str = ""
    title: str = ""
    value_range: tuple[float, float] | None = None
    channels: tuple[str, str, str] = ("", "", "")
    encoding: str = ""
    folder: str = ""
    suffix: str = ""
    topic: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not re.fullmatch("[A-Z]", self.letter):
            raise UserError(f"letter is {self.letter[:80]!r}: give one capital, A to Z", "value-format")
        if self.kind not in KINDS:
            raise UserError(f"kind is {self.kind[:80]!r}: choose one of {', '.join(KINDS)}", "value-unknown")
        formats = FORMATS if self.kind == IMAGE else ("",)
        object.__setattr__(self, "format", self.format or formats[0])
        if self.format not in formats and self.kind == IMAGE:
            raise UserError(f"format is {self.format[:80]!r}: choose one of {', '.join(FORMATS)}", "value-unknown")
        if self.format not in formats:
            raise UserError(f"format is {self.format[:80]!r}: only images have one, leave it out", "option-unsupported")
        if self.format != PLANE and (self.encoding or any(self.channels)):
            key = "encoding" if self.encoding else "channels"
            told = f"only images of format {PLANE} have their own; leave it out"
            raise UserError(f"{key}: {told}", "option-unsupported")
        object.__setattr__(self, "value_range", self._checked_range())
        own = _PLANES[self.kind, self.format]
        folder = self.name if self.kind != DEPTH else "hha" if self.name == DEPTH else f"hha_{self.name}"
        defaults = {"title": self.name, "channels": own.channels, "folder": folder, "suffix": self.name}
        for key, default in defaults.items():
            if not any(getattr(self, key)):
                object.__setattr__(self, key, default)
        for key, pattern in (("title", _TITLE), ("folder", FILE_NAME), ("suffix", FILE_NAME), ("topic", _TOPIC)):
            value = getattr(self, key)
            if not pattern.fullmatch(value) and (value or key != "topic"):
                allowed = {"title": "letters, digits, spaces and . ( ) / -", "topic": "the name of a ROS topic"}
                told = allowed.get(key, "letters, digits and _ . -")
                raise UserError(f"{key} is {value[:80]!r}: give {told}", "value-format")
        for key, values in (("channels", self.channels), ("encoding", (self.encoding,) if self.encoding else ())):
            for value in values:
                if not _TITLE.fullmatch(value):
                    told = "letters, digits, spaces and . ( ) / -"
                    raise UserError(f"{key} has {value[:80]!r}: give {told}", "value-format")
        if self.title.casefold() in _WORDS:
            raise UserError(f"title {self.title!r} means something else in commands: take another", "value-unknown")
        if self.folder in _RESERVED_FOLDERS:
            raise UserError(f"folder is {self.folder!r}, where DELIVER has other files: take another", "value-unknown")

    def _checked_range(self) -> tuple[float, float] | None:
        if self.value_range is None:
            if self.format == THERMAL16:
                raise UserError(
                    "range is missing: thermal16 needs the counts that become 0 and 1, as [28000, 32000]", "key-missing"
                )
            return _WIDEST_RANGES[THERMAL8] if self.format == THERMAL8 else None
        if self.kind != POINTS and self.format not in (THERMAL8, THERMAL16):
            told = f"only images of {THERMAL8} or {THERMAL16} and {POINTS} have one; leave it out"
            raise UserError(f"range: {told}", "option-unsupported")
        low, high = self.value_range
        least, most = _WIDEST_RANGES[self.format]
        fits = least <= low < high <= most
        if not fits or high - low < max(_NEAREST_SHARE * max(abs(low), abs(high)), _NEAREST):  # float32: the same
            raise UserError(
                f"range is [{str(low)[:20]}, {str(high)[:20]}]: give two numbers from {least:g} to {most:g}, the "
                "smaller one first",
                "value-range",
            )
        return float(low), float(high)

    @property
    def encodings(self) -> tuple[str, ...]:
        """Versions of the plane encoding that this program knows; the first is what `SensorRig` makes of raw data."""
        return (self.encoding,) if self.encoding else _PLANES[self.kind, self.format].encodings

    @property
    def is_sparse(self) -> bool:
        """Whether planes must not be averaged: a mean of a point and "nothing" is a point at a wrong range."""
        return self.kind in (POINTS, EVENTS)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UserError(
            f"its name {name[:80]!r} cannot be part of a ROS topic and parameter: small letters, digits and single _ "
            f"between them, a letter first, {_LONGEST_NAME} characters at most",
            "value-format",
        )
    if name in _RESERVED or name.endswith("_info"):
        raise UserError(f"its name {name!r} means something else in commands and topics: take another", "value-unknown")
