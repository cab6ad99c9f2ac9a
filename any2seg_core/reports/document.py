"""The document of every report: title, facts, sections of tables and pictures, problems. Out as HTML or Markdown.

The HTML holds everything it shows: pictures as data URIs, charts as inline SVG, one style, no script, no network.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

_LARGEST = 512
_WIDE = 12  # columns that fit a page with space between them


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Attributes:
        headings: of the columns. rows: as many cells each. left: headings of texts; the other columns hold numbers.
    """

    kind: ClassVar[str] = "table"
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(f"{len(row)} cells under {len(self.headings)} headings: {list(row)}")

    @property
    def is_wide(self) -> bool:
        """Whether the columns need a narrower style."""
        return len(self.headings) > _WIDE

    @property
    def sides(self) -> list[str]:
        """ "left" or "right" per column; the first one is left."""
        return ["left" if not index or head in self.left else "right" for index, head in enumerate(self.headings)]


@dataclass(frozen=True)
class Figure:
    """A chart: inline SVG that the project's own functions drew, and what it shows, for those who cannot see it.

    Attributes:
        file: name of its own file beside the report, which Markdown shows; empty: it has none.
    """

    kind: ClassVar[str] = "figure"
    svg: str
    title: str
    file: str = ""


@dataclass(frozen=True)
class Terms:
    """Explanations: (term, text) each; "" is a sentence without a term."""

    kind: ClassVar[str] = "terms"
    entries: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class SheetRow:
    """One row of pictures: a caption and one (H, W, 3) uint8 RGB picture per column, None for "off"."""

    title: str
    note: str
    pictures: tuple[np.ndarray | None, ...]


@dataclass(frozen=True)
class Sheet:
    """Rows of pictures; `exact` names the columns that hold label colours, which are kept to the last bit."""

    kind: ClassVar[str] = "sheet"
    columns: Sequence[str]
    rows: Sequence[SheetRow]
    exact: Sequence[str] = ()


@dataclass(frozen=True)
class Legend:
    """Classes with their colours, RGB 0..255."""

    kind: ClassVar[str] = "legend"
    entries: Sequence[tuple[str, tuple[int, int, int]]]


Block = Table | Figure | Terms | Sheet | Legend


@dataclass(frozen=True)
class Section:
    """A heading, a sentence that says how to read what follows, and the blocks."""

    title: str
    blocks: Sequence[Block] = ()
    note: str = ""

    @property
    def table(self) -> Table:
        """Its first table; StopIteration without one."""
        return next(block for block in self.blocks if isinstance(block, Table))


@dataclass(frozen=True)
class Report:
    """A whole document.

    Attributes:
        introduction: plain text. facts: (name, text) of what was run, on what, how. command: that repeats it.
        problems: warnings and refusals, one line each.
    """

    title: str
    introduction: str
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = ()
    command: str = ""
    problems: Sequence[str] = ()

    def html(self) -> str:
        """One file that refers to nothing outside itself."""
        return _environment().get_template("report.html.j2").render(report=self)

    def markdown(self) -> str:
        """The same without pictures, and with those charts that have files of their own."""
        return _environment().get_template("report.md.j2").render(report=self)


def picture(pixels: np.ndarray, is_exact: bool) -> str:
    """(H, W, 3) uint8 RGB -> data URI; PNG with few colours for label images, JPEG otherwise.

    The larger side becomes 512 pixels where it is larger.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    shrink = max(image.size) / _LARGEST
    if shrink > 1:  # a page of a few frames, not a copy of the data set
        width, height = (max(1, round(side / shrink)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.NEAREST if is_exact else Image.Resampling.BOX)
    if is_exact:
        image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=88)
    return f"data:image/{'png' if is_exact else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("any2seg_core.reports"),
        autoescape=select_autoescape(["html.j2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["picture"] = picture
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment
